package restapi

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Problem is something in a definition that will not run as written.
type Problem struct {
	Path     string // of the resource: "/v1/{stream-name}"
	Verb     string // of the method: "POST"
	Property string // as the API reference spells it: "integration.uri"
	Message  string
}

func (p Problem) String() string {
	return p.Verb + " " + p.Path + ": " + p.Property + ": " + p.Message
}

// Check lists what a definition asks for and Millrace does not do. The service accepts all of it, so a refusal names
// each place. What the service itself would refuse to run is [Lint]'s.
func Check(d *Definition) []Problem {
	var all []Problem
	d.eachMethod(func(r *Resource, m *Method) {
		tell := func(property, format string, args ...any) {
			all = append(all, Problem{r.Path, m.HTTPMethod, property, fmt.Sprintf(format, args...)})
		}
		checkOpen(m, tell)
		if m.Integration != nil {
			checkServed(m.Integration, tell)
		}
	})
	return all
}

// eachMethod walks over the methods in the order of paths and verbs.
func (d *Definition) eachMethod(visit func(*Resource, *Method)) {
	for _, r := range d.Sorted() {
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			visit(r, r.Methods[verb])
		}
	}
}

type teller func(property, format string, args ...any)

func checkOpen(m *Method, tell teller) {
	switch m.AuthorizationType {
	case "", Open, IAM, Custom: // whether the node at hand can check its callers, Gate says
	default:
		tell("authorizationType", "%s is not supported by this version of Millrace: the types are NONE, AWS_IAM and CUSTOM", m.AuthorizationType)
	}
}

func checkServed(i *Integration, tell teller) {
	switch i.Type {
	case Mock:
	case AWS:
		if action := i.action(); action != "" && !canBeServed(action) {
			tell("integration.uri", "%s is not supported by this version of Millrace: the actions are %s", action, strings.Join(Actions, ", "))
		}
	case HTTP, HTTPProxy:
		if name := i.hostFromCaller(); name != "" {
			tell("integration.uri", "its host holds {%s}, which a caller fills in: that is not supported by Millrace, for it lets callers choose where the node "+
				"sends requests; take the host from a literal or a stage variable", name)
		}
	default:
		tell("integration.type", "%s is not supported by this version of Millrace: the types are AWS (Kinesis, Firehose and S3), HTTP, HTTP_PROXY and MOCK", i.Type)
	}
	if i.Type == HTTPProxy {
		return // its responses are not used
	}
	for _, code := range slices.Sorted(maps.Keys(i.Responses)) {
		pattern := i.Responses[code].SelectionPattern
		if pattern == "" {
			continue
		}
		if _, err := CompileSelectionPattern(pattern); err != nil {
			tell("integration.responses."+code+".selectionPattern", "%v", err)
		}
	}
}

// canBeServed reports whether a uri's action is one of [Actions], or can become one when a request fills in its
// variables: "kinesis:action/{op}".
func canBeServed(action string) bool {
	action = withoutSubdomain(action)
	if path, ok := strings.CutPrefix(action, "s3:path/"); ok {
		return strings.Trim(path, "/") != ""
	}
	if strings.HasPrefix(action, "s3:action/") {
		action, _, _ = strings.Cut(action, "&") // its parameters
	}
	fixed, _, hasVariable := strings.Cut(action, "{")
	return slices.ContainsFunc(Actions, func(served string) bool {
		return served == action || hasVariable && strings.HasPrefix(served, fixed)
	})
}

// withoutSubdomain turns "bucket.s3:path/key" into "s3:path/key".
func withoutSubdomain(action string) string {
	service, rest, ok := strings.Cut(action, ":")
	if at := strings.LastIndexByte(service, '.'); ok && at >= 0 {
		return service[at+1:] + ":" + rest
	}
	return action
}

// CompileSelectionPattern reads a selection pattern, which fits whole texts. What Java's expressions have beyond
// Go's, looking around and possessive repetition, is refused.
func CompileSelectionPattern(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil { // alone first: "a)|(b" would fit into the brackets below
		return nil, fmt.Errorf("the pattern %q is not supported: %w", pattern, err)
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}
