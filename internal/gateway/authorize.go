package gateway

import (
	"context"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace/internal/gateway/mapping"
	"millrace/internal/policy"
	"millrace/internal/restapi"
)

// Authorization is step 4 of the service's order, before API keys:
//
//	resource policy ─┬─ NONE      it has to allow
//	                 ├─ AWS_IAM   the signature, then: it must not deny
//	                 └─ CUSTOM    it must not deny; then the authorizer's answer, kept for its TTL: neither denies, one allows
//
// A method of type NONE in an API without a resource policy has no guard: its path holds nothing of all this.

// Gatekeeper checks callers for the gateway, which knows neither credentials nor HTTP.
type Gatekeeper interface {
	// Signer checks the signature of a request, whose body is as it was sent. refused is nil when it is good.
	Signer(req *Request) (accessKey string, refused *SignatureFault)
	// Ask calls an authorizer's function, by its ARN, as Lambda's Invoke does. An answer longer than
	// [MaxAuthorizerAnswer] is an error, and so is none before ctx ends.
	Ask(ctx context.Context, function string, event []byte) (answer []byte, err error)
}

// MaxAuthorizerAnswer bounds what is read of an authorizer.
const MaxAuthorizerAnswer = 256 << 10

// authorizerTimeout bounds the wait for an authorizer: the caller's time is 29 s, of which its event needs some.
const authorizerTimeout = 10 * time.Second

// SignatureFault is why a signature is not good, with the service's code and text.
type SignatureFault struct {
	Code, Message string
	Missing       bool // there is none
	Expired       bool // it was good once
}

// guard checks who calls a method.
type guard struct {
	kind       string // restapi.Open, IAM or Custom
	broken     string // why nobody can be let in
	policy     *policy.Policy
	authorizer *authorizer
}

// authorizer is a restapi.Authorizer, compiled.
type authorizer struct {
	id, function string
	token        string // of type TOKEN: the header that holds it
	sources      []parameter
	validation   *regexp.Regexp
	ttl          time.Duration
}

// guards gives the methods of a definition their guards.
func (g *Gateway) guards(def *definition, d *restapi.Definition, apiID string) {
	var rules *policy.Policy
	var bad error
	if d.Policy != "" {
		rules, bad = policy.ParseResource(d.Policy, policy.Scope{Partition: g.Account.Partition, Region: g.Account.Region, Account: g.Account.ID, API: apiID})
	}
	for _, m := range def.methods {
		src := d.Resources[m.resourceID].Methods[m.verb]
		z := &guard{kind: src.AuthorizationType, policy: rules}
		tell := func(property, why string) {
			z.broken = property + ": " + why
			def.warnings = append(def.warnings, Warning{Path: m.resourcePath, Verb: m.verb, Property: property, Err: refusal(why)})
		}
		switch why := g.Gate.Refuses(d, src); {
		case bad != nil:
			tell("policy", bad.Error())
		case why != "":
			tell("authorizationType", why)
		case z.kind == restapi.Custom:
			var err error
			if z.authorizer, err = compileAuthorizer(d.Authorizers[src.AuthorizerID]); err != nil {
				tell("authorizerId", err.Error())
			}
		case z.kind != restapi.IAM:
			if z.kind = restapi.Open; rules == nil {
				continue
			}
		}
		m.guard = z
	}
}

// cannot says why every call of the method is answered with 500, "" when it can run.
func (m *method) cannot() string {
	if m.guard != nil && m.guard.broken != "" {
		return m.guard.broken
	}
	return m.broken
}

// refusal is a reason for a warning.
type refusal string

func (r refusal) Error() string { return string(r) }

func compileAuthorizer(src *restapi.Authorizer) (*authorizer, error) {
	z := &authorizer{id: src.ID, function: src.Function(), ttl: time.Duration(src.TTL()) * time.Second}
	for _, expr := range src.Sources() {
		from, arg, ok := compileSource(expr)
		if !ok {
			return nil, refusal("the identity source " + expr + " is not known")
		}
		z.sources = append(z.sources, parameter{source: from, arg: arg})
	}
	if src.Type != restapi.TokenAuthorizer {
		return z, nil
	}
	if len(z.sources) != 1 || z.sources[0].source != fromHeader {
		return nil, refusal("the token stands in no header: " + src.IdentitySource)
	}
	z.token = z.sources[0].arg
	if src.IdentityValidation != "" {
		var err error
		z.validation, err = restapi.CompileIdentityValidation(src.IdentityValidation)
		return z, err
	}
	return z, nil
}

// authorize decides whether the caller gets through to the method. When it returns false the response is written.
// rest is what follows the stage in the path.
func (x *exchange) authorize(ctx context.Context, rest string) bool {
	z := x.method.guard
	if z.broken != "" {
		x.fail(errAuthorizerConfiguration, "Execution failed due to configuration error: "+z.broken)
		return false
	}
	in := policy.Invocation{ARN: x.methodARN(rest), SourceIP: x.context.SourceIP}
	said := policy.Silent
	if z.policy != nil {
		said = evaluate(z.policy, in)
	}
	switch z.kind {
	case restapi.IAM:
		if !x.signed() {
			return false
		}
		if said == policy.Denied {
			return x.deny(x.context.Signer.UserARN, in, said)
		}
	case restapi.Custom:
		return x.custom(ctx, in, said)
	default:
		if said != policy.Allowed {
			return x.deny("anonymous", in, said)
		}
	}
	return true
}

// evaluate asks a policy about a path as it was sent and, where that is another one, as a backend may read it: decoded,
// and with the dots gone that lead upwards. What is denied in one spelling is in all. That a decoded path is allowed is
// not asked for, as most authorizers allow the very ARN that they were asked about; but a path whose dots lead out of
// what is allowed is not.
func evaluate(p *policy.Policy, in policy.Invocation) policy.Effect {
	said := p.Evaluate(in)
	if said == policy.Denied {
		return said
	}
	if strings.IndexByte(in.ARN, '%') >= 0 {
		in.ARN = decodePath(in.ARN)
		if p.Evaluate(in) == policy.Denied {
			return policy.Denied
		}
	}
	if strings.Contains(in.ARN, "/.") {
		in.ARN = withoutDots(in.ARN)
		if flat := p.Evaluate(in); flat == policy.Denied || said == policy.Allowed {
			return flat
		}
	}
	return said
}

// withoutDots cleans the path of a method's ARN, which begins behind the third slash.
func withoutDots(arn string) string {
	at := 0
	for range 3 {
		at += strings.IndexByte(arn[at:], '/') + 1
	}
	return arn[:at] + strings.TrimPrefix(path.Clean("/"+arn[at:]), "/")
}

// decodePath undoes percent-encoding; what can't be decoded stays.
func decodePath(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// methodARN names what the caller asks for. The path is written as it is matched: slashes in front count as one, one
// at the end does not count.
func (x *exchange) methodARN(rest string) string {
	return x.executeARN(x.g.Account.ID) + "/" + x.verb() + "/" + strings.TrimSuffix(strings.TrimLeft(rest, "/"), "/")
}

func (x *exchange) executeARN(account string) string {
	return "arn:" + x.g.Account.Partition + ":execute-api:" + x.g.Account.Region + ":" + account + ":" + x.api.id + "/" + x.stage.name
}

// deny answers as the service does where a resource policy does not let a caller in; of the account it shows the end.
func (x *exchange) deny(user string, in policy.Invocation, said policy.Effect) bool {
	const shown = 4
	id := x.g.Account.ID
	hidden := strings.Repeat("*", max(len(id)-shown, 0)) + id[max(len(id)-shown, 0):]
	text := "User: " + user + " is not authorized to perform: execute-api:Invoke on resource: " +
		x.executeARN(hidden) + strings.TrimPrefix(in.ARN, x.executeARN(id))
	x.fail(errAccessDenied.because(text+explicit(said)), "")
	return false
}

func explicit(said policy.Effect) string {
	if said == policy.Denied {
		return " with an explicit deny"
	}
	return ""
}

// signed checks the signature, and lets templates know who signed.
func (x *exchange) signed() bool {
	key, refused := x.g.Gatekeeper.Signer(x.req)
	switch {
	case refused == nil:
		x.context.Signer = mapping.Signer{AccessKey: key, AccountID: x.g.Account.ID, UserARN: "arn:" + x.g.Account.Partition + ":iam::" + x.g.Account.ID + ":user/" + key}
		return true
	case refused.Missing:
		x.fail(errMissingToken, "")
	default:
		f := *errInvalidSignature
		if refused.Expired {
			f = *errExpiredToken
		}
		f.errorType, f.message = refused.Code, refused.Message
		x.fail(&f, "")
	}
	return false
}

// custom asks the authorizer, or what it has said before.
func (x *exchange) custom(ctx context.Context, in policy.Invocation, said policy.Effect) bool {
	if said == policy.Denied {
		return x.deny("anonymous", in, said)
	}
	z := x.method.guard.authorizer
	identity, ok := x.identity(z)
	if !ok {
		x.fail(errUnauthorized, "Unauthorized request: "+x.requestID)
		return false
	}
	ask := func() (*decision, *failure, string) {
		event, err := x.event(z, in.ARN, identity)
		if err != nil {
			return nil, errAuthorizerConfiguration, err.Error()
		}
		return x.g.ask(ctx, z.function, event)
	}
	var d *decision
	var f *failure
	var why string
	if z.ttl > 0 {
		d, f, why = x.g.decisions.get(ctx, x.decisionKey(z, identity), x.g.Now, z.ttl, ask)
	} else {
		d, f, why = ask()
	}
	if f != nil {
		x.fail(f, why)
		return false
	}
	x.context.Authorizer = d.context
	x.usageKey = d.usageKey
	if x.informs() {
		x.log(false, "Using valid authorizer policy for principal: "+starred(d.principal))
	}
	answer := evaluate(d.policy, in)
	if answer == policy.Denied || answer == policy.Silent && said != policy.Allowed {
		x.fail(errAccessDenied.because(errAccessDenied.message+explicit(answer)), "")
		return false
	}
	return true
}

// identity gives the values of the identity sources; ok is false when one is missing, or is not what the authorizer
// wants to be asked about.
func (x *exchange) identity(z *authorizer) (values []string, ok bool) {
	for i := range z.sources {
		value, ok, err := x.value(&z.sources[i])
		if !ok || err != nil || value == "" {
			return nil, false
		}
		values = append(values, value)
	}
	if z.validation != nil && !z.validation.MatchString(values[0]) {
		return nil, false
	}
	return values, true
}

// ask calls an authorizer and reads its answer. f is the caller's, with why for the log.
func (g *Gateway) ask(ctx context.Context, function string, event []byte) (d *decision, f *failure, why string) {
	began := g.Now()
	limited := withTimeout(ctx, authorizerTimeout)
	defer limited.release()
	answer, err := g.Gatekeeper.Ask(limited, function, event)
	if err != nil {
		return nil, errAuthorizerFailure, "Execution failed due to an authorizer error: " + err.Error()
	}
	d, f, why = readAnswer(answer)
	if d != nil {
		latency := strconv.FormatInt(g.Now().Sub(began).Milliseconds(), 10)
		d.context = append(d.context, mapping.Param{Name: "integrationLatency", Value: latency})
	}
	return d, f, why
}

// FlushAuthorizers forgets what authorizers have said for a stage.
func (g *Gateway) FlushAuthorizers(api, stage string) { g.decisions.flush(stageKey{api, stage}) }
