package offline

import (
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/gateway"
)

var rewrite = flag.Bool("rewrite", false, "write what the tests give instead of comparing")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s", file, lines(string(want), got))
	}
}

func load(t *testing.T, name string, o Options) *Definition {
	t.Helper()
	file := filepath.Join("testdata", name)
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Load(file, body, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func cases(t *testing.T, name string) (*CaseFile, error) {
	t.Helper()
	file := filepath.Join("testdata", name)
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return LoadCases(file, body)
}

// The way of a request is told step by step, with what was chosen and why.
func TestTrails(t *testing.T) {
	d, guarded := load(t, "orders.yaml", Options{Streams: []string{"orders"}}), load(t, "guarded.yaml", Options{})
	header := func(fields ...string) (h gateway.Header) {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			h = append(h, gateway.Field{Name: name, Value: value})
		}
		return h
	}
	for _, one := range []struct {
		name   string
		req    Request
		answer *Answer
	}{
		{"stored", Request{Method: "POST", Target: "/prod/orders/7?tenant=a%20b", Header: header("Content-Type: application/json; charset=utf-8", "Accept: text/plain"), Body: []byte("{\"id\": 7,\n \"city\": \"Oslo\"}")}, nil},
		{"refused by the service", Request{Method: "POST", Target: "/prod/orders/7", Header: header("Content-Type: text/csv", "X-Shop: s"), Body: []byte("a,b")}, nil},
		{"answered as told", Request{Method: "POST", Target: "/prod/orders/7", Body: []byte("{}")}, &Answer{Status: 500, Body: `{"__type":"InternalFailure"}`}},
		{"a template that fails", Request{Method: "POST", Target: "/prod/orders/7", Header: header("Content-Type: text/xml"), Body: []byte("<a/>")}, nil},
		{"the body as it is", Request{Method: "POST", Target: "/prod/raw", Body: []byte(`{"DeliveryStreamName": "none", "Record": {"Data": ""}}`)}, nil},
		{"a mock", Request{Method: "GET", Target: "/prod/health?ok=no"}, nil},
		{"a proxy", Request{Method: "PUT", Target: "/prod/proxy/a", Header: header("X-A: b"), Body: []byte("raw")}, &Answer{Status: 201, Header: header("X-B: c"), Body: "made"}},
		{"no such method", Request{Method: "GET", Target: "/prod/orders/7"}, nil},
	} {
		t.Run(one.name, func(t *testing.T) {
			d := d
			if strings.Contains(one.req.Target, "proxy") {
				d = guarded
			}
			out, err := d.Run(t.Context(), one.req, one.answer)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := WriteTrail(&b, &out.Trail); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.ReplaceAll(one.name, " ", "-")+".trail", b.String())
			again, err := d.Run(t.Context(), one.req, one.answer)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(out) {
				t.Errorf("a second run gives something else: %v\n%v\n%v", err, again, out)
			}
		})
	}
}

// What a case says is compared with what came of it; all that differs is told at once.
func TestFailures(t *testing.T) {
	f, err := cases(t, "failing.cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range f.Cases {
		failure, _ := f.Run(t.Context(), c)
		if failure == "" {
			t.Errorf("%s passes", c.Name)
		}
		fmt.Fprintf(&b, "== %s\n%s\n", c.Name, failure)
	}
	golden(t, "failing.want", b.String())
}

func TestCasesPass(t *testing.T) {
	var f *CaseFile
	for _, name := range []string{"guarded.cases.yaml", "keys.cases.yaml", "direct.cases.yaml"} {
		var err error
		if f, err = cases(t, name); err != nil {
			t.Fatal(err)
		}
		for _, c := range f.Cases {
			if failure, _ := f.Run(t.Context(), c); failure != "" {
				t.Errorf("%s: %s", c.Name, failure)
			}
		}
	}
	if req := f.Cases[2].Request; req.Target != "/v1?a=1&b=x+y&c=1&c=2" || req.SourceIP != "198.51.100.7" ||
		!req.Time.Equal(time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)) || len(req.Header) != 2 {
		t.Errorf("%+v", req)
	}
	if _, err := f.Definition.Run(t.Context(), Request{Method: "GET", Target: "/v1"}, nil); err == nil || !strings.Contains(err.Error(), "several APIs; name one of") {
		t.Error(err)
	}
}

// What is unknown, misspelt or said twice is refused with its line: it must not make a case pass.
func TestCaseFilesThatAreRefused(t *testing.T) {
	_, err := cases(t, "refused.cases.yaml")
	if err == nil {
		t.Fatal("it loads")
	}
	golden(t, "refused.want", err.Error()+"\n")

	f := func(text, want string) {
		t.Helper()
		if _, err := LoadCases("testdata/x.cases.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	f("cases: []", "the definition file is to be named")
	f("definition: orders.yaml", "cases: there is none")
	f("definition: none.yaml\ncases: [{name: a, request: {path: /}, want: {records: []}}]", "none.yaml")
	f("definition: failing.want\ncases: [{name: a, request: {path: /}, want: {records: []}}]", "failing.want")
	f("a: [", "x.cases.yaml:")
	if IsCaseFile("a.json", []byte(`{"name": "a", "template": ""}`)) || IsCaseFile("a.yaml", []byte("a: [")) || !IsCaseFile("a.yaml", []byte("cases:")) {
		t.Error("a file of cases is known by its cases")
	}
}

// The report is what CI systems know as JUnit's.
func TestJUnit(t *testing.T) {
	r := Report{Suites: []Suite{
		{"a.cases.yaml", []Result{{Name: "passes", Elapsed: 1500 * time.Millisecond}, {Name: `"fails" <&>`, Failure: "first\nsecond \x01 ]]>"}}},
		{"b.json", []Result{{Name: "b.json", Failure: "b.json:1:2: no JSON", Broken: true}}},
	}}
	if passed, failed := r.Count(); passed != 1 || failed != 2 {
		t.Error(passed, failed)
	}
	var b strings.Builder
	if err := r.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.xml", b.String())

	type problem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	var doc struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Tests int    `xml:"tests,attr"`
			Cases []struct {
				Name    string   `xml:"name,attr"`
				Class   string   `xml:"classname,attr"`
				Time    string   `xml:"time,attr"`
				Failure *problem `xml:"failure"`
				Error   *problem `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Tests != 3 || doc.Failures != 1 || doc.Errors != 1 || len(doc.Suites) != 2 || doc.Suites[0].Tests != 2 {
		t.Errorf("%+v", doc)
	}
	failed, broken := doc.Suites[0].Cases[1], doc.Suites[1].Cases[0]
	if failed.Name != `"fails" <&>` || failed.Failure == nil || failed.Failure.Message != "first" || !strings.Contains(failed.Failure.Text, "second") || failed.Error != nil {
		t.Errorf("%+v", failed)
	}
	if broken.Error == nil || broken.Failure != nil || doc.Suites[0].Cases[0].Failure != nil || doc.Suites[0].Cases[0].Time != "1.500" {
		t.Errorf("%+v", doc)
	}
}

// Headers come to templates as a node's listener hands them on, whatever the spelling and the order of the case, and a Host
// leads where a custom domain name of the file does.
func TestARequestArrivesAsOnANode(t *testing.T) {
	d, err := Load("t.yaml", []byte(`
Resources:
  Api:
    Type: AWS::ApiGateway::RestApi
    Properties:
      Body:
        openapi: 3.0.1
        info: {title: a, version: "1"}
        paths:
          /a:
            get:
              responses: {"200": {description: ok}}
              x-amazon-apigateway-integration:
                type: mock
                requestTemplates: {application/json: '{"statusCode": 200}'}
                responses:
                  default:
                    statusCode: "200"
                    responseTemplates: {text/plain: "#foreach($n in $input.params().header.keySet())$n=$input.params().header.get($n) #end$context.path"}
  D: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref Api, StageName: prod}}
  Name: {Type: AWS::ApiGateway::DomainName, Properties: {DomainName: events.example.com, RegionalCertificateArn: "arn:aws:acm:us-east-1:000000000000:certificate/c", EndpointConfiguration: {Types: [REGIONAL]}}}
  Map: {Type: AWS::ApiGateway::BasePathMapping, DependsOn: D, Properties: {DomainName: !Ref Name, BasePath: v1, RestApiId: !Ref Api, Stage: prod}}
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(target, want string, header ...gateway.Field) {
		t.Helper()
		out, err := d.Run(t.Context(), Request{Method: "GET", Target: target, Header: header}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.Body, want) || !strings.HasSuffix(out.Body, target) {
			t.Errorf("%s: %d %s, want %s", target, out.Status, out.Body, want)
		}
	}
	f("/prod/a", "X-A=1 X-B=3 X-Amzn", gateway.Field{Name: "x-b", Value: "2"}, gateway.Field{Name: "x-a", Value: "1"}, gateway.Field{Name: "X-b", Value: "3"})
	f("/v1/a", "Host=events.example.com ", gateway.Field{Name: "host", Value: "events.example.com"})
}
