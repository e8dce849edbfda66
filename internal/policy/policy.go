// Package policy reads IAM policies on execute-api:Invoke, and says what they allow:
// the resource policy of a REST API, and the policy that an authorizer answers with;
// and policies of buckets, and says what they deny.
//
//	JSON ── ParseResource, ParseAnswer ─> Policy ── Evaluate(Invocation) ─> Silent | Allowed | Denied
//	     ── ParseBucket ─> BucketPolicy ── Denies(BucketCall)
//
// It promises that no element of a policy is passed over: what it does not evaluate
// (principals other than everyone, conditions other than on aws:SourceIp, NotAction and
// its like, variables) is an error that names it. A Policy is immutable.
package policy

import (
	"fmt"
	"net/netip"
	"strings"
)

// Bounds of what is read. The service takes resource policies of 8192 characters.
const (
	MaxResourceBytes = 8192
	MaxAnswerBytes   = 64 << 10
	maxDepth         = 8    // statements lie at 3, the values of their conditions at 6
	maxStatements    = 256  // of one policy
	maxPatterns      = 1024 // actions, resources and networks of one policy
	maxPattern       = 1600 // bytes of one ARN, the length that IAM has for them
)

// Effect is what a policy says of an invocation.
type Effect uint8

// The effects, the stronger ones later.
const (
	Silent  Effect = iota // no statement fits
	Allowed               // one allows, none denies
	Denied                // one denies
)

// Invocation is a call of a method.
type Invocation struct {
	// ARN of the method: arn:aws:execute-api:us-east-1:000000000000:{api}/{stage}/{verb}/{path}
	ARN      string
	SourceIP string
}

// Policy is a policy that has been read.
type Policy struct{ statements []statement }

type statement struct {
	deny       bool
	resources  []arnPattern
	conditions []condition
}

// arnPattern is a Resource. Each of the fields before the resource part is matched by itself: a star must not reach
// from the account into a path that the caller has chosen.
type arnPattern struct {
	any    bool // "*"
	fields [arnFields]glob
}

const arnFields = 6

// condition is IpAddress or NotIpAddress on aws:SourceIp.
type condition struct {
	not      bool
	networks []netip.Prefix
}

// Evaluate says what the policy says of an invocation: a denial wins over all that allow.
func (p *Policy) Evaluate(in Invocation) Effect {
	fields, ok := splitARN(in.ARN)
	if !ok {
		return Denied // no ARN of ours; an unknown place is not open
	}
	source, err := netip.ParseAddr(in.SourceIP)
	source = source.Unmap().WithZone("")
	effect := Silent
	for i := range p.statements {
		s := &p.statements[i]
		if effect == Allowed && !s.deny || !s.fits(fields) || !s.holds(source, err == nil) {
			continue
		}
		if s.deny {
			return Denied
		}
		effect = Allowed
	}
	return effect
}

func splitARN(arn string) (fields [arnFields]string, ok bool) {
	for i := range arnFields - 1 {
		if fields[i], arn, ok = strings.Cut(arn, ":"); !ok {
			return fields, false
		}
	}
	fields[arnFields-1] = arn
	return fields, true
}

func (s *statement) fits(arn [arnFields]string) bool {
	for i := range s.resources {
		if s.resources[i].fits(arn) {
			return true
		}
	}
	return false
}

func (a *arnPattern) fits(arn [arnFields]string) bool {
	if a.any {
		return true
	}
	for i := range arn {
		if !a.fields[i].match(arn[i]) {
			return false
		}
	}
	return true
}

// holds reports whether all conditions hold. Of an address that is none, IpAddress does not hold, and NotIpAddress
// does, as of a key that is not there.
func (s *statement) holds(source netip.Addr, known bool) bool {
	for i := range s.conditions {
		c := &s.conditions[i]
		in := false
		for _, n := range c.networks {
			in = in || known && n.Contains(source)
		}
		if in == c.not {
			return false
		}
	}
	return true
}

// compileARN reads a Resource. An incomplete ARN is completed with stars, as IAM does.
func compileARN(text string) (arnPattern, error) {
	if text == "*" {
		return arnPattern{any: true}, nil
	}
	if len(text) > maxPattern {
		return arnPattern{}, fmt.Errorf("the resource %.40q… has more than %d bytes", text, maxPattern)
	}
	if strings.Contains(text, "${") {
		return arnPattern{}, fmt.Errorf("the variable in %q is not supported by this version of Millrace", text)
	}
	parts := strings.SplitN(text, ":", arnFields)
	if parts[0] != "arn" {
		return arnPattern{}, fmt.Errorf("the resource %q is no ARN", text)
	}
	var a arnPattern
	for i := range a.fields {
		part := "*"
		if i < len(parts) {
			part = parts[i]
		}
		a.fields[i] = compileGlob(part)
	}
	return a, nil
}
