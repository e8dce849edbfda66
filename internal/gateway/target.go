package gateway

import (
	"errors"
	"strings"

	"millrace/internal/restapi"
)

// awsTarget is the uri of an AWS integration, taken apart:
// arn:{partition}:apigateway:{region}:{[subdomain.]service}:{path|action}/{rest}.
type awsTarget struct {
	subdomain string // a bucket, on Amazon S3
	service   string
	name      string // of the action, or ByPath
	rest      string // the path; of an action its parameters, "Bucket=a&Key=b"
}

func parseTarget(uri string) (t awsTarget, ok bool) {
	parts := strings.SplitN(uri, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "apigateway" {
		return t, false
	}
	t.service = parts[4]
	if at := strings.LastIndexByte(t.service, '.'); at >= 0 && !strings.Contains(t.service[at:], "}") {
		t.subdomain, t.service = t.service[:at], t.service[at+1:]
	}
	kind, rest, found := strings.Cut(parts[5], "/")
	switch {
	case found && kind == ByPath:
		t.name, t.rest = ByPath, strings.TrimLeft(rest, "/")
	case found && kind == "action":
		t.name, t.rest, _ = strings.Cut(rest, "&")
	default:
		return t, false
	}
	return t, true
}

func (t *awsTarget) byPath() bool { return t.name == ByPath }

// find finds the target's action.
func (t *awsTarget) find(actions Actions) (action Action, why string) {
	if actions != nil {
		if a, found := actions.Action(t.service, t.name); found {
			return a, ""
		}
	}
	kind := "action/" + t.name
	if t.byPath() {
		kind = ByPath + "/" + t.rest
	}
	return nil, t.service + ":" + kind + " is not supported by this version of Millrace"
}

// target finds what an AWS integration calls, now unless its service or action is known only when a request has filled
// in variables.
func (c *compiler) target(i *restapi.Integration) {
	m := c.method
	if m.broken != "" {
		return
	}
	t, ok := parseTarget(i.URI)
	if !ok {
		m.broken = c.warn("integration.uri", errEndpoint)
		return
	}
	m.uri = i.URI
	if strings.Contains(t.service+t.name, "{") {
		return
	}
	action, why := t.find(c.actions)
	if action == nil {
		m.broken = c.warn("integration.uri", errors.New(why))
		return
	}
	m.action = action
	switch {
	case t.byPath() && t.subdomain != "":
		m.address = compileURI(t.subdomain + "/" + t.rest)
	case t.byPath():
		m.address = compileURI(t.rest)
	case t.rest != "":
		m.address = compileURI("?" + t.rest)
	}
}

// endpoint compiles the uri of an HTTP integration.
func (c *compiler) endpoint(i *restapi.Integration) {
	m := c.method
	if m.broken != "" {
		return
	}
	if c.sender == nil {
		m.broken = c.warn("integration.type", errors.New("nothing sends HTTP requests here"))
		return
	}
	m.address, m.insecure = compileURI(i.URI), i.InsecureTLS
	if m.address == nil {
		m.broken = c.warn("integration.uri", errEndpoint)
	}
}

// answersHeaders reports whether the backend's answer has headers of its own. An action by name answers with JSON and
// those that every service sends.
func (m *method) answersHeaders() bool { return m.address != nil }
