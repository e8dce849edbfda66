package gateway

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"millrace/internal/restapi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

func zipped(body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(body))
	w.Close()
	return b.String()
}

// Every default gateway response, with its headers and its body to the byte.
func TestFailures(t *testing.T) {
	mapped := putRecord(map[string]string{"application/json": "{}"})
	mapped.Integration.RequestParameters = map[string]string{"integration.request.header.X": "method.request.body.id"}
	present := putRecord(map[string]string{"application/json": "{}"})
	present.Integration.RequestParameters = map[string]string{"integration.request.header.Expect": "'x'"}
	only200 := putRecord(map[string]string{"application/json": "{}"})
	only200.Integration.Responses["200"].SelectionPattern = "200"
	undeclared := putRecord(map[string]string{"application/json": "{}"})
	undeclared.Responses = nil
	proxy := putRecord(nil)
	proxy.Integration.Type = restapi.AWSProxy
	keyed := putRecord(nil)
	keyed.APIKeyRequired = true
	unknown := putRecord(nil)
	unknown.Integration.URI = "arn:aws:apigateway:us-east-1:sqs:action/SendMessage"
	badResponse := mock(`{"statusCode": 200}`, map[string]string{"application/json": "#if("})
	raising := mock(`{"statusCode": 200}`, map[string]string{"application/json": "$util.urlDecode('%')"})
	api := define("abcde12345", map[string]*restapi.Method{
		"POST /v1":           putRecord(map[string]string{"application/json": "$input.json('$')"}),
		"POST /mapped":       mapped,
		"POST /present":      present,
		"POST /only200":      only200,
		"POST /undeclared":   undeclared,
		"POST /proxy":        proxy,
		"POST /keyed":        keyed,
		"POST /unknown":      unknown,
		"POST /syntax":       putRecord(map[string]string{"application/json": "line one\n  #if("}),
		"POST /bad-response": badResponse,
		"POST /raising":      raising,
		"POST /mock":         mock(`statusCode: 200`, nil),
		"POST /none":         {},
		"POST /twice": putRecord(map[string]string{"application/json": `#set($context.requestOverride.header.X = "1")
#set($context.requestOverride.header.X = "2")`}),
		"POST /forbidden-override": putRecord(map[string]string{"application/json": `#set($context.requestOverride.header.te = "1")`}),
		"POST /bad-name":           mock(`{"statusCode": 200}`, map[string]string{"application/json": `#set($context.responseOverride.header["a b"] = "1")`}),
	})
	f := func(name string, r *Request, wantLog string) {
		t.Helper()
		s := serving(t, answering(400, Refused, `{}`), api)
		golden(t, "failures/"+name+".http", dump(s.do(r)))
		log := s.log.text()
		if wantLog == "" && log != "" || !strings.Contains(log, wantLog) {
			t.Errorf("%s logged %q, want %q", name, log, wantLog)
		}
	}
	with := func(r *Request, name, value string) *Request {
		r.Header = append(r.Header, Field{name, value})
		return r
	}
	const config = "Execution failed due to configuration error: "
	f("unknown-path", post("/prod/v9", "", "{}"), "")
	f("unknown-stage", post("/nope/v1", "", "{}"), "")
	f("unknown-api", withHost(post("/prod/v1", "", "{}"), "zzzzz00000.execute-api.us-east-1.amazonaws.com"), "")
	f("media-type", post("/prod/v1", "text/plain", "hello"), "")
	f("too-large", post("/prod/v1", "", strings.Repeat("x", maxBodyBytes+1)), "")
	f("inflated-too-large", with(post("/prod/v1", "", zipped(strings.Repeat("x", maxBodyBytes+1))), "Content-Encoding", "gzip"), "")
	f("bad-gzip", with(post("/prod/v1", "", "not gzip"), "Content-Encoding", "gzip"), "")
	f("unknown-coding", with(post("/prod/v1", "", "{}"), "Content-Encoding", "br"), "")
	f("uri-too-long", post("/prod/v1?"+strings.Repeat("x", maxURIBytes), "", ""), "")
	f("headers-too-large", with(post("/prod/v1", "", ""), "X", strings.Repeat("x", maxHeaderBytes)), "")
	f("bad-json-mapped", post("/prod/mapped", "", `{"id":`), "")
	f("template-fails", post("/prod/v1", "", `{"id":`), config+"Unable to transform request: ")
	f("template-syntax", post("/prod/syntax", "", "{}"), "application/json:2:")
	f("response-template-syntax", post("/prod/bad-response", "", "{}"), config+"Unable to transform response: ")
	f("response-template-fails", post("/prod/raising", "", "{}"), config+"Unable to transform response: ")
	f("header-present", post("/prod/present", "", "{}"), config+"Expect header already present")
	f("override-forbidden", post("/prod/forbidden-override", "", "{}"), config+"te header already present")
	f("override-twice", post("/prod/twice", "", "{}"), "overridden twice")
	f("override-bad-name", post("/prod/bad-name", "", "{}"), config+"Invalid header name")
	f("no-match", post("/prod/only200", "", "{}"), config+"No match for output mapping and no default output mapping configured. Endpoint Response Status Code: 400")
	f("undeclared-status", post("/prod/undeclared", "", "{}"), config+"Output mapping refers to an invalid method response: 200")
	f("mock-without-status", post("/prod/mock", "", "{}"), config+"Unable to parse statusCode. It should be an integer that is defined in the request template.")
	f("no-integration", post("/prod/none", "", "{}"), config)
	f("unsupported-type", post("/prod/proxy", "", "{}"), "AWS_PROXY is not supported")
	f("no-key", post("/prod/keyed", "", "{}"), "")
	f("unsupported-action", post("/prod/unknown", "", "{}"), "sqs:action/SendMessage is not supported")
}

func withHost(r *Request, host string) *Request {
	r.Host = host
	return r
}

// A backend that takes too long is given up, and the caller is told so.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := putRecord(map[string]string{"application/json": "{}"})
		m.Integration.TimeoutMillis = 50
		s := serving(t, &fakeActions{wait: true}, define("abcde12345", map[string]*restapi.Method{"POST /v1": m}))
		golden(t, "failures/timeout.http", dump(s.do(post("/prod/v1", "", "{}"))))
		if !strings.Contains(s.log.text(), "Method completed with status: 504") {
			t.Errorf("logged %q", s.log.text())
		}
	})
}

// noBudget has some bytes left.
type noBudget struct{ left, given int64 }

func (b *noBudget) Take(n int64) bool {
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

func (b *noBudget) Give(n int64) { b.given += n }

// A body that inflates beyond the node's budget is refused, and what it took is given back.
func TestInflatedBodiesAreBounded(t *testing.T) {
	budget := &noBudget{left: 100 << 10}
	s := servingWith(t, Options{Budget: budget}, &fakeActions{}, collector(t))
	r := post("/prod/v1/x", "", zipped(strings.Repeat("x", 1<<20)))
	r.Header = append(r.Header, Field{"Content-Encoding", "gzip"})
	golden(t, "failures/over-budget.http", dump(s.do(r)))
	if budget.given == 0 || budget.left+budget.given != 100<<10 {
		t.Errorf("%d bytes left, %d given back", budget.left, budget.given)
	}
}

// The default answer of each type, as the request path and each failure's own text make it.
func TestDefaultAnswers(t *testing.T) {
	var b strings.Builder
	for k, want := range restapi.ResponseTypes {
		for _, f := range []*failure{
			errMissingToken, errTooLarge, errInvalidKey, errThrottled, errQuota, errUnauthorized, errAccessDenied,
			errInvalidSignature, errExpiredToken, errAuthorizerFailure, errAuthorizerConfiguration, errBadParameters,
			errBadBody, errBadJSON, errMediaType, errInternal, errConfiguration, errTimeout, errNetwork, errEncoding, errOverBudget,
			errBadParameters.because("Missing required request parameters: [a, b]"),
		} {
			if f.kind != kind(k) {
				continue
			}
			fmt.Fprintf(&b, "%s %d %s %s\n", want.Name, f.status, f.errorType, f.appendBody(nil))
			if want.Status != "" && want.Status != strconv.Itoa(f.status) {
				t.Errorf("%s: status %d, the type's is %s", want.Name, f.status, want.Status)
			}
		}
	}
	golden(t, "failures/defaults.txt", []byte(b.String()))
	if f := errBadBody.detailed("[too long]"); f.validation != "[too long]" || errBadBody.validation != "" {
		t.Errorf("%+v of %+v", f, errBadBody)
	}
}
