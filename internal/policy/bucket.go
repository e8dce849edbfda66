package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxBucketBytes bounds the policy of a bucket, as the service does.
const MaxBucketBytes = 20 << 10

// BucketScope is the bucket that a policy is for.
type BucketScope struct{ Partition, Account, Bucket string }

// BucketCall is a call on a bucket, or on an object in it.
type BucketCall struct {
	Action   string // "s3:GetObject"
	Key      string // empty: the bucket itself
	SourceIP string
	Secure   bool    // it came by TLS, or from within
	TLS      float64 // version of TLS: 1.3; 0: none
}

// BucketPolicy is the policy of a bucket, as far as it can change what happens to callers who are the bucket's owner: its
// denials. What it allows the owner, and the services and principals of its account, they may do without it.
type BucketPolicy struct {
	bucket  string
	denials []denial
}

type denial struct {
	actions    []glob
	resources  []glob // of BUCKET or BUCKET/KEY
	conditions []bucketCondition
}

type bucketCondition struct {
	key      string // as below
	secure   bool   // of secureTransport: the value that it denies
	below    float64
	networks condition
}

// The keys of conditions that denials are evaluated with, in lower case.
const (
	secureTransport = "aws:securetransport"
	tlsVersion      = "s3:tlsversion"
	sourceIP        = "aws:sourceip"
)

// ErrPublic: the policy lets callers in who are not signed in, or the principals of others.
var ErrPublic = errors.New("a statement that allows everyone makes the bucket public")

// UnsupportedError names what of a policy is not evaluated.
type UnsupportedError struct{ What string }

func (e *UnsupportedError) Error() string {
	return e.What + " is not supported by this version of Millrace"
}

func unsupported(format string, args ...any) error {
	return &UnsupportedError{fmt.Sprintf(format, args...)}
}

// ParseBucket reads the policy of a bucket. Errors are ErrPublic, *UnsupportedError, or say what is malformed.
func ParseBucket(text []byte, scope BucketScope) (*BucketPolicy, error) {
	if len(text) > MaxBucketBytes {
		return nil, fmt.Errorf("has %d bytes; a bucket policy has at most %d", len(text), MaxBucketBytes)
	}
	root, err := decode(text)
	if err != nil {
		return nil, err
	}
	object, ok := root.([]member)
	if !ok {
		return nil, errors.New("is no JSON object")
	}
	r := bucketReader{scope: scope}
	found := false
	for _, m := range object {
		switch m.name {
		case "Version":
			if m.value != "2012-10-17" && m.value != "2008-10-17" {
				return nil, at("Version", "%v is none; it is 2012-10-17", m.value)
			}
		case "Id":
		case "Statement":
			found = true
			if err := r.statements(m.value); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s is no element of a policy", m.name)
		}
	}
	if !found {
		return nil, at("Statement", "is required")
	}
	return &BucketPolicy{scope.Bucket, r.denials}, nil
}

// Denies reports whether a statement denies the call.
func (p *BucketPolicy) Denies(c *BucketCall) bool {
	if len(p.denials) == 0 {
		return false
	}
	action, resource := strings.ToLower(c.Action), p.bucket
	if c.Key != "" {
		resource += "/" + c.Key
	}
	for i := range p.denials {
		if p.denials[i].fits(c, action, resource) {
			return true
		}
	}
	return false
}

func (d *denial) fits(c *BucketCall, action, resource string) bool {
	if !slices.ContainsFunc(d.actions, func(g glob) bool { return g.match(action) }) ||
		!slices.ContainsFunc(d.resources, func(g glob) bool { return g.match(resource) }) {
		return false
	}
	for i := range d.conditions {
		if !d.conditions[i].holds(c) {
			return false
		}
	}
	return true
}

func (b *bucketCondition) holds(c *BucketCall) bool {
	switch b.key {
	case secureTransport:
		return c.Secure == b.secure
	case tlsVersion:
		return c.TLS > 0 && c.TLS < b.below // a key that is not there does not compare
	}
	source, err := netip.ParseAddr(c.SourceIP)
	s := statement{conditions: []condition{b.networks}}
	return s.holds(source.Unmap().WithZone(""), err == nil)
}

type bucketReader struct {
	reader
	scope   BucketScope
	denials []denial
}

func (r *bucketReader) statements(v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 || len(list) > maxStatements {
		return at("Statement", "there are %d statements; a policy has 1 to %d", len(list), maxStatements)
	}
	for i, one := range list {
		object, ok := one.([]member)
		if !ok {
			return at(fmt.Sprintf("Statement[%d]", i), "is no JSON object")
		}
		if err := r.statement(object); err != nil {
			return fmt.Errorf("Statement[%d].%w", i, err)
		}
	}
	return nil
}

// elements of a statement, as they came.
type elements struct {
	effect                                 string
	principal, action, resource, condition any
}

func (r *bucketReader) statement(object []member) error {
	var e elements
	for _, m := range object {
		switch m.name {
		case "Sid":
		case "Effect":
			e.effect, _ = m.value.(string)
		case "Principal":
			e.principal = m.value
		case "Action":
			e.action = m.value
		case "Resource":
			e.resource = m.value
		case "Condition":
			e.condition = m.value
		case "NotPrincipal", "NotAction", "NotResource":
			return unsupported("%s", m.name)
		default:
			return fmt.Errorf("%s is no element of a statement", m.name)
		}
	}
	for _, required := range []struct {
		name  string
		value any
	}{{"Principal", e.principal}, {"Action", e.action}, {"Resource", e.resource}} {
		if required.value == nil {
			return at(required.name, "is required")
		}
	}
	d, err := r.targets(&e)
	if err != nil {
		return err
	}
	who, err := r.principals(e.principal)
	if err != nil {
		return at("Principal", "%w", err)
	}
	switch e.effect {
	case "Allow":
		return r.allows(who, e.condition)
	case "Deny":
		return r.denies(d, who, e.condition)
	}
	return at("Effect", "is Allow or Deny")
}

// targets reads the actions and the resources.
func (r *bucketReader) targets(e *elements) (denial, error) {
	var d denial
	actions, err := r.texts(e.action)
	if err != nil {
		return d, at("Action", "%w", err)
	}
	for _, a := range actions {
		a = strings.ToLower(a)
		if a != "*" && !strings.HasPrefix(a, "s3:") || len(a) > maxPattern {
			return d, at("Action", "%.60q is no action of Amazon S3", a)
		}
		d.actions = append(d.actions, compileGlob(a))
	}
	resources, err := r.texts(e.resource)
	if err != nil {
		return d, at("Resource", "%w", err)
	}
	for _, text := range resources {
		if err := r.resource(&d, text); err != nil {
			return d, at("Resource", "%w", err)
		}
	}
	return d, nil
}

// resource reads an ARN of the bucket, or of keys in it.
func (r *bucketReader) resource(d *denial, text string) error {
	if strings.Contains(text, "${") {
		return unsupported("the variable in %q", text)
	}
	pattern, ok := strings.CutPrefix(text, "arn:"+r.scope.Partition+":s3:::")
	if text == "*" {
		pattern, ok = "*", true
	}
	plain := pattern // up to the first character that stands for others
	if i := strings.IndexAny(pattern, "*?"); i >= 0 {
		plain = pattern[:i]
	}
	inside := strings.HasPrefix(plain, r.scope.Bucket+"/") || plain == r.scope.Bucket ||
		len(plain) < len(pattern) && strings.HasPrefix(r.scope.Bucket+"/", plain)
	if !ok || !inside || len(text) > maxPattern {
		return fmt.Errorf("%.100q is neither this bucket nor in it", text)
	}
	d.resources = append(d.resources, compileGlob(pattern))
	return nil
}

// principals of a statement.
type principals struct{ everyone, account, others bool }

func (r *bucketReader) principals(v any) (who principals, err error) {
	if v == "*" {
		return principals{everyone: true}, nil
	}
	object, ok := v.([]member)
	if !ok || len(object) == 0 {
		return who, errors.New(`is "*" or an object`)
	}
	for _, m := range object {
		list, err := r.texts(m.value)
		if err != nil {
			return who, err
		}
		for _, p := range list {
			switch {
			case m.name == "AWS" && p == "*":
				who.everyone = true
			case m.name == "AWS" && (p == r.scope.Account || p == "arn:"+r.scope.Partition+":iam::"+r.scope.Account+":root"):
				who.account = true
			case m.name == "AWS" && strings.HasPrefix(p, "arn:"+r.scope.Partition+":iam::"+r.scope.Account+":"), m.name == "Service":
				who.others = true
			default:
				return who, unsupported("the principal %s %.100q", m.name, p)
			}
		}
	}
	return who, nil
}

// allows checks that a statement lets nobody in who is a stranger. All who can sign are the account, which may do everything.
func (r *bucketReader) allows(who principals, conditions any) error {
	if !who.everyone {
		return nil
	}
	object, _ := conditions.([]member)
	for _, op := range object {
		keys, _ := op.value.([]member)
		for _, k := range keys {
			if slices.Contains(signedInKeys, strings.ToLower(k.name)) && slices.Contains(presentOperators, op.name) {
				return nil
			}
		}
	}
	return at("Principal", "%w", ErrPublic)
}

// signedInKeys are not there in calls of those who have not signed in.
var signedInKeys = []string{"aws:principalorgid", "aws:principalaccount", "aws:principalarn", "aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid"}

// presentOperators do not hold of a key that is not there.
var presentOperators = []string{"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"}

// denies takes a denial of everyone, or of the account.
func (r *bucketReader) denies(d denial, who principals, conditions any) error {
	if who.others {
		return at("Principal", "%w", unsupported("a denial of single principals"))
	}
	if conditions != nil {
		object, ok := conditions.([]member)
		if !ok {
			return at("Condition", "is a JSON object")
		}
		for _, op := range object {
			keys, ok := op.value.([]member)
			if !ok {
				return at("Condition", "%s is a JSON object", op.name)
			}
			for _, k := range keys {
				c, err := r.condition(op.name, strings.ToLower(k.name), k.value)
				if err != nil {
					return at("Condition", "%w", err)
				}
				d.conditions = append(d.conditions, c)
			}
		}
	}
	r.denials = append(r.denials, d)
	return nil
}

func (r *bucketReader) condition(op, key string, v any) (c bucketCondition, err error) {
	c.key = key
	switch {
	case op == "Bool" && key == secureTransport:
		text := fmt.Sprint(v)
		if list, ok := v.([]any); ok && len(list) == 1 {
			text = fmt.Sprint(list[0])
		}
		if c.secure, err = strconv.ParseBool(text); err != nil {
			return c, fmt.Errorf("%s is true or false", key)
		}
		return c, nil
	case op == "NumericLessThan" && key == tlsVersion:
		text := fmt.Sprint(v)
		if list, ok := v.([]any); ok && len(list) == 1 {
			text = fmt.Sprint(list[0])
		}
		if c.below, err = strconv.ParseFloat(text, 64); err != nil {
			return c, fmt.Errorf("%s is a number such as 1.2", key)
		}
		return c, nil
	case (op == "IpAddress" || op == "NotIpAddress") && key == sourceIP:
		networks, err := r.networks(v)
		c.networks = condition{not: op == "NotIpAddress", networks: networks}
		return c, err
	}
	return c, unsupported("%s of %s in a denial", op, key)
}
