package restapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Lint lists what the service takes and its callers or owner will regret: integrations whose errors a default
// response of 2xx hides, and what answers 500 to every call.
func Lint(d *Definition) []Problem {
	var all []Problem
	d.eachMethod(func(r *Resource, m *Method) {
		if m.Integration == nil {
			return
		}
		tell := func(property, format string, args ...any) {
			all = append(all, Problem{r.Path, m.HTTPMethod, property, fmt.Sprintf(format, args...)})
		}
		if m.Integration.Type == HTTPProxy { // there what the backend answers is the answer
			lintProxy(m.Integration, tell)
		} else {
			lintResponses(m, tell)
		}
		lintTargets(m.Integration, tell)
	})
	return all
}

// lintProxy looks for what a proxy has no use for.
func lintProxy(i *Integration, tell teller) {
	if len(i.RequestTemplates) > 0 {
		tell("integration.requestTemplates", "an HTTP_PROXY integration passes the payload as it is; templates are not used")
	}
	for _, code := range slices.Sorted(maps.Keys(i.Responses)) {
		if r := i.Responses[code]; len(r.ResponseTemplates) > 0 || len(r.ResponseParameters) > 0 {
			tell("integration.responses."+code, "an HTTP_PROXY integration passes the backend's answer as it is; templates and parameters of responses are not used")
		}
	}
}

// lintResponses looks at what becomes of the backend's statuses.
func lintResponses(m *Method, tell teller) {
	i := m.Integration
	if len(i.Responses) == 0 {
		tell("integration.responses", "there is none, so that every call is answered with 500")
		return
	}
	codes := slices.Sorted(maps.Keys(i.Responses))
	for _, code := range codes {
		if m.Responses[code] == nil {
			tell("integration.responses."+code, "the method has no response %s, so that such an answer becomes 500", code)
		}
	}
	if i.Type == Mock {
		return
	}
	for _, backend := range []string{"400", "500"} {
		chosen := chosenFor(i.Responses, codes, backend)
		if chosen == "" {
			tell("integration.responses", "nothing fits a backend's %s, so that the caller gets 500 and not its cause", backend)
			continue
		}
		pattern := i.Responses[chosen].SelectionPattern
		if chosen[0] == '2' && (pattern == "" || pattern == ".*") {
			when := "on AWS the caller gets %s when the record was refused (%s); "
			if i.Type == HTTP {
				when = "the caller gets %s when the backend said %s; "
			}
			tell("integration.responses."+chosen, "it takes every status, so that "+when+`add a response with a selectionPattern such as "[45]\\d{2}"`, chosen, backend)
			return
		}
	}
}

// chosenFor gives the status code of the response that a backend's status selects, "" for none.
func chosenFor(responses map[string]*IntegrationResponse, codes []string, status string) string {
	fallback := ""
	for _, code := range codes {
		pattern := responses[code].SelectionPattern
		if pattern == "" {
			if fallback == "" {
				fallback = code
			}
			continue
		}
		if re, err := CompileSelectionPattern(pattern); err == nil && re.MatchString(status) {
			return code
		}
	}
	return fallback
}

// lintTargets looks for headers that no mapping may set.
func lintTargets(i *Integration, tell teller) {
	for _, target := range slices.Sorted(maps.Keys(i.RequestParameters)) {
		name, ok := strings.CutPrefix(target, "integration.request.header.")
		if ok && HeaderPresent(name, i.Type) {
			tell("integration.requestParameters."+target, "%s header already present, so that every call is answered with 500", name)
		}
	}
}

// headersPresent are the headers of an integration request that no mapping may set, for they are there already. On
// integrations other than AWS and AWS_PROXY only the first four are.
var headersPresent = []string{
	"Content-Length", "Transfer-Encoding", "X-Amzn-Trace-Id", "X-Amzn-Apigateway-Api-Id",
	"Authorization", "Connection", "Expect", "Proxy-Authenticate", "TE",
}

const headersPresentEverywhere = 4

// HeaderPresent reports whether a mapping that sets a header of the integration request makes the call fail.
func HeaderPresent(name, integrationType string) bool {
	list := headersPresent
	if integrationType != AWS && integrationType != AWSProxy {
		list = list[:headersPresentEverywhere]
	}
	for _, h := range list {
		if strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}
