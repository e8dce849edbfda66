package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// member of an object, in the order of the text.
type member struct {
	name  string
	value any // string, bool, json.Number, nil, []any, []member
}

// decode reads a JSON text. Of two members with one name another reader might take the other one, so that they are an
// error, and so is what is nested deeper than any policy.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := value(d, maxDepth)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return v, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errors.New("is not well-formed JSON")
	}
	delim, opens := t.(json.Delim)
	if !opens {
		return t, nil
	}
	if depth == 0 {
		return nil, errors.New("is nested too deep for a policy")
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := value(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, closed(d)
	}
	object, seen := []member{}, map[string]bool{}
	for d.More() {
		key, err := d.Token()
		name, isText := key.(string)
		if err != nil || !isText {
			return nil, errors.New("is not well-formed JSON")
		}
		if seen[name] {
			return nil, fmt.Errorf("holds %q twice", name)
		}
		seen[name] = true
		v, err := value(d, depth-1)
		if err != nil {
			return nil, err
		}
		object = append(object, member{name, v})
	}
	return object, closed(d)
}

// closed reads the end of a list or an object.
func closed(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return errors.New("is not well-formed JSON")
	}
	return nil
}

// Scope is the API that a resource policy is for: it completes resources of the form execute-api:/stage/verb/path.
type Scope struct{ Partition, Region, Account, API string }

func (s Scope) complete(resource string) string {
	if rest, ok := strings.CutPrefix(resource, "execute-api:/"); ok {
		return "arn:" + s.Partition + ":execute-api:" + s.Region + ":" + s.Account + ":" + s.API + "/" + rest
	}
	return resource
}

// ParseResource reads the resource policy of an API.
func ParseResource(text string, scope Scope) (*Policy, error) {
	if len(text) > MaxResourceBytes {
		return nil, fmt.Errorf("has %d bytes; a resource policy has at most %d", len(text), MaxResourceBytes)
	}
	return parse([]byte(text), reader{scope: scope, resource: true})
}

// ParseAnswer reads the policy that an authorizer answers with. It speaks of its one caller: it has no Principal.
// Statements on other actions than execute-api:Invoke are of no matter here.
func ParseAnswer(text []byte) (*Policy, error) {
	if len(text) > MaxAnswerBytes {
		return nil, fmt.Errorf("has %d bytes; at most %d are read", len(text), MaxAnswerBytes)
	}
	return parse(text, reader{})
}

// at words what is wrong with an element.
func at(element, format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{element}, args...)...)
}

type reader struct {
	scope    Scope
	resource bool
	patterns int
}

func parse(text []byte, r reader) (*Policy, error) {
	root, err := decode(text)
	if err != nil {
		return nil, err
	}
	object, ok := root.([]member)
	if !ok {
		return nil, errors.New("is no JSON object")
	}
	p, found := &Policy{}, false
	for _, m := range object {
		switch m.name {
		case "Version":
			if m.value != "2012-10-17" && m.value != "2008-10-17" {
				return nil, at("Version", "%v is not supported; it is 2012-10-17", m.value)
			}
		case "Id":
		case "Statement":
			found = true
			if err := r.statements(p, m.value); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s is no element of a policy that is evaluated", m.name)
		}
	}
	if !found {
		return nil, at("Statement", "is required")
	}
	return p, nil
}

func (r *reader) statements(p *Policy, v any) error {
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
		s, on, err := r.statement(object)
		if err != nil {
			return fmt.Errorf("%s.%w", fmt.Sprintf("Statement[%d]", i), err)
		}
		if on {
			p.statements = append(p.statements, s)
		}
	}
	return nil
}

// statement reads one statement; on is false when it is on other actions.
func (r *reader) statement(object []member) (s statement, on bool, err error) {
	has := map[string]bool{}
	for _, m := range object {
		has[m.name] = true
		switch m.name {
		case "Sid":
		case "Effect":
			if m.value != "Allow" && m.value != "Deny" {
				return s, false, at("Effect", "is Allow or Deny, not %v", m.value)
			}
			s.deny = m.value == "Deny"
		case "Action":
			on, err = r.actions(m.value)
		case "Resource":
			s.resources, err = r.resources(m.value)
		case "Condition":
			s.conditions, err = r.conditions(m.value)
		case "Principal":
			if !r.resource {
				return s, false, at("Principal", "stands in resource policies alone")
			}
			err = everyone(m.value)
		default:
			return s, false, fmt.Errorf("%s: is not supported by this version of Millrace", m.name)
		}
		if err != nil {
			return s, false, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	for _, name := range [...]string{"Effect", "Action", "Resource", "Principal"} {
		if !has[name] && (name != "Principal" || r.resource) {
			return s, false, fmt.Errorf("%s: is required", name)
		}
	}
	return s, on, nil
}

// texts reads a text or a list of them.
func (r *reader) texts(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if r.patterns += len(list); len(list) == 0 || r.patterns > maxPatterns {
		return nil, fmt.Errorf("a policy has at least one, and at most %d of them in all", maxPatterns)
	}
	texts := make([]string, len(list))
	for i, one := range list {
		if texts[i], ok = one.(string); !ok {
			return nil, errors.New("is a text or a list of texts")
		}
	}
	return texts, nil
}

const invoke = "execute-api:invoke"

func (r *reader) actions(v any) (on bool, err error) {
	list, err := r.texts(v)
	for _, a := range list {
		if len(a) > maxPattern {
			return false, fmt.Errorf("%.40q… has more than %d bytes", a, maxPattern)
		}
		fits := compileGlob(strings.ToLower(a)).match(invoke)
		if !fits && r.resource {
			return false, fmt.Errorf("%q is not evaluated by this version of Millrace; the action is execute-api:Invoke", a)
		}
		on = on || fits
	}
	return on, err
}

func (r *reader) resources(v any) (all []arnPattern, err error) {
	list, err := r.texts(v)
	for _, text := range list {
		if r.resource {
			text = r.scope.complete(text)
		}
		a, err := compileARN(text)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, err
}

// everyone checks a Principal: "*", {"AWS": "*"} or {"AWS": ["*"]}.
func everyone(v any) error {
	if object, ok := v.([]member); ok && len(object) == 1 && object[0].name == "AWS" {
		v = object[0].value
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0]
		}
	}
	if v != "*" {
		return errors.New(`principals other than "*" are not supported by this version of Millrace`)
	}
	return nil
}

func (r *reader) conditions(v any) (all []condition, err error) {
	object, ok := v.([]member)
	if !ok {
		return nil, errors.New("is a JSON object")
	}
	for _, op := range object {
		if op.name != "IpAddress" && op.name != "NotIpAddress" {
			return nil, fmt.Errorf("the operator %s is not supported by this version of Millrace; there are IpAddress and NotIpAddress", op.name)
		}
		keys, ok := op.value.([]member)
		if !ok {
			return nil, fmt.Errorf("%s: is a JSON object", op.name)
		}
		for _, k := range keys {
			if !strings.EqualFold(k.name, "aws:SourceIp") {
				return nil, fmt.Errorf("the key %s is not supported by this version of Millrace; there is aws:SourceIp", k.name)
			}
			networks, err := r.networks(k.value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", op.name, err)
			}
			all = append(all, condition{not: op.name == "NotIpAddress", networks: networks})
		}
	}
	return all, nil
}

// mappedBits are before an address of IPv4 that is written as one of IPv6: ::ffff:192.0.2.1.
const mappedBits = 96

func (r *reader) networks(v any) (all []netip.Prefix, err error) {
	list, err := r.texts(v)
	for _, text := range list {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, netip.PrefixFrom(a.Unmap().WithZone(""), a.Unmap().BitLen()))
			continue
		}
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", text)
		}
		if a := n.Addr(); a.Is4In6() && n.Bits() >= mappedBits { // addresses are compared without this prefix
			n = netip.PrefixFrom(a.Unmap(), n.Bits()-mappedBits)
		}
		all = append(all, n.Masked())
	}
	return all, err
}
