package gateway

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/gateway/mapping"
	"millrace/internal/policy"
)

// decision is what an authorizer has said of a caller. It is immutable.
type decision struct {
	principal string
	policy    *policy.Policy
	context   mapping.Params // $context.authorizer
	usageKey  string         // usageIdentifierKey
	size      int64          // bytes that it holds, about
}

// readAnswer reads {principalId, policyDocument, context, usageIdentifierKey}, or the error of a function that failed,
// of which one says that the caller is not known: Unauthorized.
func readAnswer(answer []byte) (d *decision, f *failure, why string) {
	const op = "Execution failed due to configuration error: "
	bad := func(why string) (*decision, *failure, string) { return nil, errAuthorizerConfiguration, op + why }
	var members map[string]json.RawMessage
	if err := json.Unmarshal(answer, &members); err != nil || members == nil {
		return bad("Could not parse policy: the answer is no JSON object")
	}
	if failed, ok := members["errorMessage"]; ok {
		var text string
		if json.Unmarshal(failed, &text) == nil && text == "Unauthorized" {
			return nil, errUnauthorized, "Unauthorized request"
		}
		return nil, errAuthorizerFailure, "Execution failed due to an authorizer error: the function failed"
	}
	d = &decision{size: int64(2*len(answer)) + decisionBytes}
	if json.Unmarshal(members["principalId"], &d.principal) != nil || d.principal == "" {
		return bad("Invalid authorizer response: principalId is a text")
	}
	var err error
	if d.policy, err = policy.ParseAnswer(members["policyDocument"]); err != nil {
		return bad("Could not parse policy: policyDocument: " + err.Error())
	}
	if key, ok := members["usageIdentifierKey"]; ok && json.Unmarshal(key, &d.usageKey) != nil {
		return bad("Invalid authorizer response: usageIdentifierKey is a text")
	}
	d.context = mapping.Params{{Name: "principalId", Value: d.principal}}
	var given map[string]json.RawMessage
	if sent, ok := members["context"]; ok && json.Unmarshal(sent, &given) != nil {
		return bad("Invalid authorizer response: context is an object")
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value, ok := contextText(given[name])
		if !ok {
			return bad("Invalid authorizer response: context holds texts, numbers and booleans alone")
		}
		if name != "principalId" {
			d.context = append(d.context, mapping.Param{Name: name, Value: value})
		}
	}
	return d, nil, ""
}

// contextText gives a value of the answer's context as templates see it: "1", "true".
func contextText(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case '{', '[', 'n':
		return "", false
	case '"':
		var text string
		return text, json.Unmarshal(raw, &text) == nil
	}
	return string(raw), true
}

// Bounds of what is kept of authorizers' answers. At a bound the one that was longest not asked for goes: it costs
// another call.
const (
	maxDecisions     = 10_000
	maxDecisionBytes = 32 << 20
	decisionBytes    = 1 << 10 // of one, beside its answer
)

type stageKey struct{ api, stage string }

// decisionKey names a caller's decision. It is a hash, so that tokens don't stay in memory, and long ones take no room.
type decisionKey struct {
	stage stageKey
	sum   [sha256.Size]byte
}

// decisionKey tells decisions of authorizers, deployments and callers apart: a new deployment asks anew.
func (x *exchange) decisionKey(z *authorizer, identity []string) decisionKey {
	h := sha256.New()
	var length [8]byte
	write := func(s string) {
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		h.Write(length[:])
		h.Write([]byte(s))
	}
	write(x.stage.deploymentID)
	write(x.stage.isCanary) // a canary of the same deployment has variables of its own
	write(z.id)
	for i, v := range identity {
		write(v)
		x.eachEarlier(&z.sources[i], func(value string) { write("earlier"); write(value) }) // the authorizer sees them, too
		write("last")
	}
	k := decisionKey{stage: stageKey{x.api.id, x.stage.name}}
	h.Sum(k.sum[:0])
	return k
}

// eachEarlier calls f with the values of an identity source that stand before the last one; as a rule there are none.
func (x *exchange) eachEarlier(s *parameter, f func(value string)) {
	var in mapping.Params
	switch s.source {
	case fromHeader:
		in = x.in.Header
	case fromQuery:
		in = x.in.Query
	}
	var last *mapping.Param
	for i := range in {
		if p := &in[i]; p.Name == s.arg || s.source == fromHeader && strings.EqualFold(p.Name, s.arg) {
			if last != nil {
				f(last.Value)
			}
			last = p
		}
	}
}

// decisions keeps what authorizers have said. One call is made for all who wait for the same answer.
type decisions struct {
	mu    sync.Mutex
	byKey map[decisionKey]*verdict
	used  list.List // of *verdict, those that were asked for last in front
	bytes int64
}

// verdict is a decision, or the call that is under way to one.
type verdict struct {
	key     decisionKey
	done    chan struct{} // closed when the call has ended
	place   *list.Element // nil while the call is under way
	expires time.Time

	d   *decision
	f   *failure
	why string
}

// get gives the decision of a key, by ask when there is none that lives. What fails is told to all who wait, and not
// kept.
func (s *decisions) get(ctx context.Context, key decisionKey, now func() time.Time, ttl time.Duration, ask func() (*decision, *failure, string)) (*decision, *failure, string) {
	s.mu.Lock()
	k := s.byKey[key]
	if k != nil && k.place != nil && !now().Before(k.expires) {
		s.drop(k)
		k = nil
	}
	if k == nil {
		k = s.begin(key)
		s.mu.Unlock()
		defer s.end(k, now, ttl)
		k.f, k.why = errAuthorizerFailure, "Execution failed due to an authorizer error" // what a panic leaves behind
		k.d, k.f, k.why = ask()
		return k.d, k.f, k.why
	}
	if k.place != nil {
		s.used.MoveToFront(k.place)
	}
	s.mu.Unlock()
	select {
	case <-k.done:
		return k.d, k.f, k.why
	case <-ctx.Done():
		return nil, errAuthorizerFailure, "Execution failed due to an authorizer error: " + ctx.Err().Error()
	}
}

func (s *decisions) begin(key decisionKey) *verdict {
	k := &verdict{key: key, done: make(chan struct{})}
	if s.byKey == nil {
		s.byKey = map[decisionKey]*verdict{}
	}
	s.byKey[key] = k
	return k
}

// end keeps what a call brought, unless it failed or the cache was flushed meanwhile.
func (s *decisions) end(k *verdict, now func() time.Time, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(k.done)
	if s.byKey[k.key] != k {
		return
	}
	if k.f != nil || k.d.size > maxDecisionBytes {
		delete(s.byKey, k.key)
		return
	}
	k.expires = now().Add(ttl)
	k.place = s.used.PushFront(k)
	s.bytes += k.d.size
	for s.used.Len() > maxDecisions || s.bytes > maxDecisionBytes {
		s.drop(s.used.Back().Value.(*verdict))
	}
}

// drop forgets a decision. Of a call under way the answer goes to those who wait for it, and is not kept.
func (s *decisions) drop(k *verdict) {
	delete(s.byKey, k.key)
	if k.place != nil {
		s.used.Remove(k.place)
		s.bytes -= k.d.size
	}
}

func (s *decisions) flush(stage stageKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.byKey {
		if key.stage == stage {
			s.drop(k)
		}
	}
}
