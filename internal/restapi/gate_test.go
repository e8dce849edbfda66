package restapi

import "testing"

const testFunction = "arn:aws:lambda:us-east-1:000000000000:function:my-auth"

// A method whose callers the node can't check is named with what the node lacks.
func TestAGateNamesWhatTheNodeLacks(t *testing.T) {
	f := func(g Gate, change func(*Definition, *Method), want ...string) {
		t.Helper()
		var d *Definition
		var method *Method
		d = definitionOf(func(m *Method) { method = m })
		d.Authorizers = map[string]*Authorizer{"abc123": {ID: "abc123", Name: "mine",
			URI: "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/" + testFunction + "/invocations"}}
		change(d, method)
		expectProblems(t, g.Check(d), want...)
	}
	full := Gate{Signatures: true, Functions: map[string]string{testFunction: "http://127.0.0.1:9000/"}}
	is := func(kind, authorizer string) func(*Definition, *Method) {
		return func(_ *Definition, m *Method) { m.AuthorizationType, m.AuthorizerID = kind, authorizer }
	}
	f(Gate{}, is(Open, ""))
	f(full, is(IAM, ""))
	f(Gate{}, is(IAM, ""), "authorizationType: AWS_IAM checks signatures, and this node has no credentials: start it with --credentials FILE")
	f(full, is(Custom, "abc123"))
	f(full, is(Custom, "none"), "authorizerId: there is no authorizer none")
	f(Gate{Signatures: true}, is(Custom, "abc123"), "authorizerId: the authorizer mine is the function "+testFunction+
		", and no URL is configured for it: name one under the key authorizers of the configuration file")
	f(full, is("COGNITO_USER_POOLS", ""), "authorizationType: COGNITO_USER_POOLS is not supported")
}
