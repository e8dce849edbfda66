package gateway

import (
	"crypto/subtle"
	"hash/maphash"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"millrace/internal/restapi"
)

// The account's throttle, as the service sets it: 10,000 requests a second, 5,000 at once.
var accountLimit = limitOf(&restapi.Throttle{Rate: restapi.DefaultThrottlingRate, Burst: restapi.DefaultThrottlingBurst})

// The most buckets that are kept of the methods of one stage (twice what one deployment can have), and of one key in it.
const (
	maxStageBuckets = 2 * restapi.MaxResources * int(verbs)
	maxKeyBuckets   = 2 * 20
)

// stageMeter is what a stage has to count by. It outlives what is published, so that a change of an API fills no bucket.
type stageMeter struct {
	keys    atomic.Pointer[callers] // nil: no usage plan covers the stage
	methods buckets                 // of the throttles in the stage's method settings
}

// callers are the keys that may call a stage: enabled, and in a usage plan that covers it. It never changes.
type callers struct {
	seed   maphash.Seed
	byHash map[uint64]*caller
}

// caller is a key in a usage plan, seen from a stage.
type caller struct {
	next    *caller // has the same hash
	id      string
	value   string
	plan    string
	limits  *planLimits
	tally   *tally
	buckets *buckets // of the plan's throttles of methods
}

// planLimits are a usage plan's, of one stage.
type planLimits struct {
	throttled bool
	throttle  limit
	methods   map[methodName]limit
}

// tally is what one key has used of one plan, over all stages.
type tally struct {
	bucket bucket
	today  atomic.Int64 // requests that this node has counted on the present day
	before atomic.Int64 // what else counts: earlier days of the period, and other nodes
	most   atomic.Int64 // of the period; unlimited: there is no quota
	saved  int64        // of today; the metering's lock guards it
}

const unlimited = math.MaxInt64

// find looks a key up. The hash has a seed that nobody knows, and values are compared in a time that does not tell
// where they differ.
func (c *callers) find(value string) *caller {
	if c == nil || value == "" {
		return nil
	}
	for k := c.byHash[maphash.String(c.seed, value)]; k != nil; k = k.next {
		if len(k.value) == len(value) && subtle.ConstantTimeCompare([]byte(k.value), []byte(value)) == 1 {
			return k
		}
	}
	return nil
}

// count counts a request, unless the quota is used up.
func (t *tally) count() bool {
	n := t.today.Add(1)
	if most := t.most.Load(); most != unlimited && t.before.Load()+n > most {
		t.today.Add(-1)
		return false
	}
	return true
}

// meter asks the caller's key and counts the request: first what its usage plan allows, then the stage, then the
// account. When it returns false the response is written.
func (x *exchange) meter() bool {
	m := x.stage.meter
	if keys := m.keys.Load(); (keys != nil || x.method.keyed) && !x.admit(keys) {
		return false
	}
	if t := x.setting.Throttle; t != nil && !m.methods.of(x.method.name(), maxStageBuckets).take(x.sinceBegun(), limitOf(t)) {
		x.turnAway(errThrottled, "Method throttle of API Stage "+x.apiStage()+" exceeded")
		return false
	}
	if x.g.AccountThrottle && !x.g.metering.account.take(x.sinceBegun(), accountLimit) {
		x.turnAway(errThrottled, "Account throttle exceeded")
		return false
	}
	return true
}

// admit lets a caller in by its key. A method that needs none takes every caller; the request of one that has a key
// counts all the same.
func (x *exchange) admit(keys *callers) bool {
	value := x.callerKey()
	k := keys.find(value)
	if x.informs() && value != "" {
		x.log(false, "Verifying Usage Plan for request: "+x.requestID+". API Key: "+starred(value)+" API Stage: "+x.apiStage())
	}
	if k == nil {
		if !x.method.keyed {
			return true
		}
		x.turnAway(errInvalidKey, "API Key "+starred(value)+" not authorized because method '"+x.method.verb+" "+x.method.resourcePath+
			"' requires API Key and API Key is not associated with a Usage Plan for API Stage "+x.apiStage())
		return false
	}
	if x.method.keyed {
		x.context.APIKey, x.context.APIKeyID = k.value, k.id
	}
	if bad := k.use(x.method.name(), x.sinceBegun(), &x.g.metering, x.req.Received); bad != nil {
		x.turnAway(bad, "Usage Plan check failed for API Key "+starred(value)+" and API Stage "+x.apiStage())
		return false
	}
	if x.informs() {
		x.log(false, "Usage Plan check succeeded for API Key "+starred(value)+" and API Stage "+x.apiStage())
	}
	return true
}

// use takes what a request costs: of the plan's throttle of the method, of the plan's own, of the quota.
func (k *caller) use(name methodName, now int64, m *metering, received time.Time) *failure {
	l := k.limits
	if l.methods != nil {
		if own, ok := l.methods[name]; ok && !k.buckets.of(name, maxKeyBuckets).take(now, own) {
			return errThrottled
		}
	}
	if l.throttled && !k.tally.bucket.take(now, l.throttle) {
		return errThrottled
	}
	m.keepDay(received)
	if !k.tally.count() {
		return errQuota
	}
	return nil
}

// turnAway refuses a request, and counts that.
func (x *exchange) turnAway(f *failure, why string) {
	m := &x.g.metering
	switch f {
	case errInvalidKey:
		m.strangers.Add(1)
	case errThrottled:
		m.throttled.Add(1)
	case errQuota:
		m.exhausted.Add(1)
	}
	x.fail(f, why)
}

// headerKey is where a caller shows its key, unless its authorizer tells it.
const headerKey = "x-api-key"

// callerKey gives the key that a request is made with; "" when it has none.
func (x *exchange) callerKey() string {
	if x.method.def.keyOfAuthorizer {
		return x.usageKey
	}
	return strings.TrimSpace(x.req.Header.Get(headerKey))
}

// sinceBegun is when the request came, on the clock of the buckets. That clock does not jump when the day's does.
func (x *exchange) sinceBegun() int64 { return int64(x.req.Received.Sub(x.g.metering.begun)) }

func (x *exchange) apiStage() string { return x.api.id + "/" + x.stage.name }

func (m *method) name() methodName { return methodName{m.resourcePath, m.verb} }
