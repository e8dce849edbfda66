package restapi

import (
	"strings"
	"testing"
)

// definitionOf makes a definition of POST /v1 with one change.
func definitionOf(change func(*Method)) *Definition {
	m := &Method{
		HTTPMethod: "POST", AuthorizationType: "NONE",
		Responses: map[string]*MethodResponse{"200": {StatusCode: "200"}, "400": {StatusCode: "400"}, "500": {StatusCode: "500"}},
		Integration: &Integration{
			Type: AWS, HTTPMethod: "POST", URI: "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord",
			Responses: map[string]*IntegrationResponse{
				"200": {StatusCode: "200"},
				"400": {StatusCode: "400", SelectionPattern: `4\d{2}`},
				"500": {StatusCode: "500", SelectionPattern: `5\d{2}`},
			},
		},
	}
	change(m)
	return &Definition{RootResourceID: "root", Resources: map[string]*Resource{
		"root": {ID: "root", Path: "/"},
		"v1":   {ID: "v1", ParentID: "root", PathPart: "v1", Path: "/v1", Methods: map[string]*Method{"POST": m}},
	}}
}

func expectProblems(t *testing.T, got []Problem, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %v, want %q", got, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i].String(), "POST /v1: "+want[i]) {
			t.Errorf("got %q, want it to begin with %q", got[i], want[i])
		}
	}
}

func TestCheckNamesWhatIsNotServed(t *testing.T) {
	f := func(change func(*Method), want ...string) {
		t.Helper()
		expectProblems(t, Check(definitionOf(change)), want...)
	}
	f(func(*Method) {})
	f(func(m *Method) { m.Integration = &Integration{Type: Mock} })
	f(func(m *Method) { m.Integration = nil }) // the service's own fault, told when it is deployed
	f(func(m *Method) { m.AuthorizationType = "AWS_IAM" })
	f(func(m *Method) { m.AuthorizationType = "COGNITO_USER_POOLS" }, "authorizationType: COGNITO_USER_POOLS is not supported")
	f(func(m *Method) { m.APIKeyRequired = true })
	f(func(m *Method) { m.Integration.Type = AWSProxy }, "integration.type: AWS_PROXY is not supported")
	f(func(m *Method) { m.Integration.URI = "arn:aws:apigateway:us-east-1:sqs:action/SendMessage" },
		"integration.uri: sqs:action/SendMessage is not supported by this version of Millrace: the actions are kinesis:action/PutRecord")
	for _, served := range []string{"s3:path/{bucket}/{key}", "s3:path//bucket", "bucket.s3:path/{key}", "s3:action/GetObject&Bucket={b}&Key={k}",
		"s3:action/HeadObject"} {
		f(func(m *Method) { m.Integration.URI = "arn:aws:apigateway:us-east-1:" + served })
	}
	for _, refused := range []string{"s3:path/", "s3:action/ListBuckets", "s3:action/GetObjectAcl&Bucket=b", "bucket.sqs:path/x"} {
		f(func(m *Method) { m.Integration.URI = "arn:aws:apigateway:us-east-1:" + refused }, "integration.uri: "+refused+" is not supported")
	}
	f(func(m *Method) { m.Integration.URI = "arn:aws:apigateway:us-east-1:kinesis:action/{op}" })
	f(func(m *Method) {
		m.Integration.URI = "arn:aws:apigateway:us-east-1:${stageVariables.s}:action/PutRecord"
	})
	f(func(m *Method) { m.Integration.Responses["400"].SelectionPattern = "(?!200).*" },
		"integration.responses.400.selectionPattern: the pattern")
	f(func(m *Method) { m.Integration.Responses["400"].SelectionPattern = "a)|(b" },
		"integration.responses.400.selectionPattern: the pattern")
}

// A definition does not let callers choose the host that the node sends requests to.
func TestCheckRefusesHostsOfCallers(t *testing.T) {
	f := func(uri, source string, want ...string) {
		t.Helper()
		for _, kind := range []string{HTTP, HTTPProxy} {
			expectProblems(t, Check(definitionOf(func(m *Method) {
				m.Integration.Type, m.Integration.URI = kind, uri
				if source != "" {
					m.Integration.RequestParameters = map[string]string{"integration.request.path.p": source}
				}
			})), want...)
		}
	}
	const refused = "integration.uri: its host holds {p}"
	f("http://example.com/{p}", "method.request.path.p")
	f("http://example.com?x={p}", "method.request.path.p")
	f("https://{p}.example.com/", "method.request.path.p", refused)
	f("https://{p}.example.com/", "method.request.body", refused)
	f("https://{p}.example.com/", "context.identity.sourceIp", refused)
	f("https://{p}.example.com/", "", refused)
	f("https://${stageVariables.a}.example.com:{p}/", "method.request.header.p", refused)
	f("https://example.com{p}", "method.request.path.p", refused)
	f("https://{p}.example.com/", "'eu'")
	f("https://{p}.example.com/", "stageVariables.region")
	f("https://${stageVariables.host}/{p}", "method.request.path.p")
	f("${stageVariables.url}/{p}", "method.request.path.p")
}

func TestLintTellsOfHiddenErrors(t *testing.T) {
	f := func(change func(*Method), want ...string) {
		t.Helper()
		expectProblems(t, Lint(definitionOf(change)), want...)
	}
	only := func(r ...*IntegrationResponse) func(*Method) {
		return func(m *Method) {
			m.Integration.Responses = map[string]*IntegrationResponse{}
			for _, one := range r {
				m.Integration.Responses[one.StatusCode] = one
			}
		}
	}
	f(func(*Method) {})
	const hides = "integration.responses.200: it takes every status, so that on AWS the caller gets 200 when the record was refused"
	f(only(&IntegrationResponse{StatusCode: "200"}), hides)
	f(only(&IntegrationResponse{StatusCode: "200", SelectionPattern: ".*"}), hides)
	f(only(&IntegrationResponse{StatusCode: "200"}, &IntegrationResponse{StatusCode: "400", SelectionPattern: `4\d{2}`}), hides)
	f(only(&IntegrationResponse{StatusCode: "200", SelectionPattern: `2\d{2}`}, &IntegrationResponse{StatusCode: "500"}))
	f(only(&IntegrationResponse{StatusCode: "200", SelectionPattern: "200"}),
		"integration.responses: nothing fits a backend's 400", "integration.responses: nothing fits a backend's 500")
	f(only(), "integration.responses: there is none")
	f(func(m *Method) { delete(m.Responses, "400") }, "integration.responses.400: the method has no response 400")
	f(func(m *Method) {
		m.Integration.RequestParameters = map[string]string{"integration.request.header.expect": "'x'"}
	}, "integration.requestParameters.integration.request.header.expect: expect header already present")
	f(func(m *Method) {
		m.Integration = &Integration{Type: Mock, Responses: map[string]*IntegrationResponse{"200": {StatusCode: "200"}},
			RequestParameters: map[string]string{"integration.request.header.expect": "'x'"}}
	})
	f(func(m *Method) { m.Integration = nil })
}

func TestSelectionPatternsFitWholeTexts(t *testing.T) {
	f := func(pattern, text string, want bool) {
		t.Helper()
		re, err := CompileSelectionPattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := re.MatchString(text); got != want {
			t.Errorf("%s on %q: %v", pattern, text, got)
		}
	}
	f(`4\d{2}`, "400", true)
	f(`4\d`, "400", false)
	f(`200|201`, "201", true)
	f(`20|1`, "201", false)
	f(`.*00`, "400", true)
}

func TestLintOfHTTP(t *testing.T) {
	f := func(change func(*Integration), want ...string) {
		t.Helper()
		expectProblems(t, Lint(definitionOf(func(m *Method) {
			m.Integration.Type, m.Integration.URI = HTTP, "http://example.com/"
			change(m.Integration)
		})), want...)
	}
	f(func(*Integration) {})
	f(func(i *Integration) { i.Responses = map[string]*IntegrationResponse{"200": {StatusCode: "200"}} },
		"integration.responses.200: it takes every status, so that the caller gets 200 when the backend said 400")
	f(func(i *Integration) { i.Type, i.Responses = HTTPProxy, nil })
	f(func(i *Integration) {
		i.Type, i.RequestTemplates = HTTPProxy, map[string]string{"application/json": "x"}
		i.Responses = map[string]*IntegrationResponse{"200": {StatusCode: "200", ResponseTemplates: map[string]string{"application/json": "x"}}}
	}, "integration.requestTemplates: an HTTP_PROXY integration passes", "integration.responses.200: an HTTP_PROXY integration passes")
}
