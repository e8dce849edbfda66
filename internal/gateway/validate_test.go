package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

const orderModel = `{"type":"object","required":["id","items"],"additionalProperties":false,"properties":{
	"id":{"type":"string","pattern":"^[A-Z]{2}-[0-9]{4,}$"},"channel":{"enum":["web","app","store"]},
	"items":{"type":"array","items":{"$ref":"https://apigateway.amazonaws.com/restapis/abcde12345/models/Item"}}}}`

const itemModel = `{"type":"object","required":["sku","quantity"],"properties":{"sku":{"type":"string"},"quantity":{"type":"integer","minimum":1},
	"parts":{"type":"array","items":{"$ref":"https://apigateway.amazonaws.com/restapis/abcde12345/models/Item"}}}}`

// validated is an API whose method POST /orders/{region} is validated.
func validated(change func(m *restapi.Method, d *restapi.Definition)) *restapi.API {
	m := putRecord(map[string]string{"application/json": `{"Data":"$util.base64Encode($input.body)"}`, "text/plain": `{}`})
	m.ValidatorID = "valid1"
	m.RequestParameters = map[string]bool{
		"method.request.querystring.source": true, "method.request.header.x-tenant": true, "method.request.path.region": true,
		"method.request.path.none": true, "method.request.querystring.debug": false}
	m.RequestModels = map[string]string{"application/json": "Order"}
	a := define("abcde12345", map[string]*restapi.Method{"POST /orders/{region}": m})
	a.Validators = map[string]*restapi.Validator{"valid1": {ID: "valid1", Name: "all", Body: true, Parameters: true}}
	a.Models = map[string]*restapi.Model{"Order": {Name: "Order", Schema: orderModel}, "Item": {Name: "Item", Schema: itemModel}}
	delete(m.RequestParameters, "method.request.path.none")
	if change != nil {
		change(m, &a.Definition)
	}
	deploy(a, "dep002", "prod")
	return a
}

func order(contentType, body string, headers ...Field) *Request {
	r := post("/prod/orders/eu?source=web", contentType, body)
	r.Header = append(append(r.Header, Field{"x-tenant", "acme"}), headers...)
	return r
}

const goodOrder = `{"id":"EU-2041","channel":"web","items":[{"sku":"desk","quantity":1,"parts":[{"sku":"leg","quantity":4}]}]}`

// The refusals of a validator, with their headers and log lines.
func TestValidationAnswers(t *testing.T) {
	info := &restapi.MethodSetting{LoggingLevel: restapi.LogInfo}
	f := func(name string, change func(*restapi.Method, *restapi.Definition), r *Request) {
		t.Helper()
		actions := &fakeActions{}
		a := validated(change)
		a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": info}
		s := serving(t, actions, a)
		resp := s.do(r)
		if called := actions.last() != ""; called != (resp.Status == 200) {
			t.Errorf("%s: %d, and the backend was called: %v", name, resp.Status, called)
		}
		golden(t, "validation/"+name+".txt", fmt.Appendf(dump(resp), "\n%s", s.log.text()))
	}
	f("good", nil, order("application/json", goodOrder))
	f("no-parameters", func(m *restapi.Method, _ *restapi.Definition) { m.RequestParameters["method.request.path.none"] = true },
		post("/prod/orders/eu?source=%20", "application/json", "{}")) // parameters come before the payload
	f("bad-body", nil, order("application/json; charset=utf-8", `{"id":"eu","items":[{"sku":1}],"x":1}`))
	f("no-body", nil, order("", ""))
	f("not-json", nil, order("application/json", `{"id":`))
	f("bad-model", func(_ *restapi.Method, d *restapi.Definition) { delete(d.Models, "Item") }, order("application/json", goodOrder))
	f("no-validator", func(m *restapi.Method, d *restapi.Definition) { d.Validators = nil }, order("application/json", goodOrder))
}

// A validator looks at what it is told to, by the model of the payload's media type.
func TestWhatIsValidated(t *testing.T) {
	f := func(name string, change func(*restapi.Method, *restapi.Definition), r *Request, want int) {
		t.Helper()
		s := serving(t, &fakeActions{}, validated(change))
		if resp := s.do(r); resp.Status != want {
			t.Errorf("%s: %d %s", name, resp.Status, resp.Body)
		}
	}
	only := func(body, parameters bool) func(*restapi.Method, *restapi.Definition) {
		return func(_ *restapi.Method, d *restapi.Definition) {
			d.Validators["valid1"].Body, d.Validators["valid1"].Parameters = body, parameters
		}
	}
	bare := func(body string) *Request { return post("/prod/orders/eu", "application/json", body) }
	f("neither", only(false, false), bare("x"), 200)
	f("parameters only", only(false, true), order("application/json", "x"), 200)
	f("parameters only, missing", only(false, true), bare(goodOrder), 400)
	f("body only", only(true, false), bare(goodOrder), 200)
	f("body only, bad", only(true, false), bare("{}"), 400)
	f("another type", nil, order("text/plain", "hello"), 200)
	f("type in another case", nil, order("Application/JSON", "{}"), 400)
	f("no type", nil, order("", goodOrder), 200)
	f("default model", func(m *restapi.Method, _ *restapi.Definition) {
		m.RequestModels = map[string]string{"$default": "Item"}
	},
		order("text/plain", `{"sku":"a"}`), 400)
	f("compressed", nil, order("application/json", zipped(goodOrder), Field{"Content-Encoding", "gzip"}), 200)
	f("compressed, bad", nil, order("application/json", zipped(`{}`), Field{"Content-Encoding", "gzip"}), 400)
	f("header in another case", nil, func() *Request {
		r := order("application/json", goodOrder)
		r.Header[1].Name = "X-Tenant"
		return r
	}(), 200)
	f("before the media type", nil, order("application/xml", goodOrder), 415)
	f("no validator named", func(m *restapi.Method, _ *restapi.Definition) { m.ValidatorID = "" }, bare("x"), 200)
}

// What keeps a validator from its work is told when the API is published.
func TestValidationWarnings(t *testing.T) {
	f := func(change func(*restapi.Method, *restapi.Definition), want string) {
		t.Helper()
		s := serving(t, &fakeActions{}, validated(nil))
		s.compiled = nil
		var all strings.Builder
		for _, w := range s.Publish([]*restapi.API{validated(change)}, "") {
			fmt.Fprintln(&all, w)
		}
		if !strings.Contains(all.String(), want) {
			t.Errorf("got  %swant %s", all.String(), want)
		}
	}
	f(func(_ *restapi.Method, d *restapi.Definition) { d.Models["Item"].Schema = `{"pattern":"(?=a)"}` },
		"POST /orders/{region}: requestModels.application/json: ")
	f(func(_ *restapi.Method, d *restapi.Definition) { delete(d.Models, "Item") }, "requestModels.application/json: there is no model Item")
	f(func(_ *restapi.Method, d *restapi.Definition) { d.Validators = nil }, "requestValidatorId: there is no such request validator: valid1")
}

// Validators and models are frozen with a deployment.
func TestValidatorsAreDeployed(t *testing.T) {
	a := validated(nil)
	s := serving(t, &fakeActions{}, a)
	a.Validators["valid1"].Parameters = false
	a.Models["Order"].Schema = `{}`
	s.Publish([]*restapi.API{a}, a.ID)
	if resp := s.do(post("/prod/orders/eu", "application/json", "1")); resp.Status != 400 {
		t.Errorf("before a deployment: %d", resp.Status)
	}
	deploy(a, "dep003", "prod")
	s.Publish([]*restapi.API{a}, a.ID)
	if resp := s.do(post("/prod/orders/eu", "application/json", "1")); resp.Status != 200 {
		t.Errorf("after a deployment: %d %s", resp.Status, resp.Body)
	}
}

// withValidator is the collector of the figures, whose events are validated.
func withValidator(t testing.TB) *restapi.API {
	a := collector(t)
	m := a.Resources["/v1/{stream-name}"].Methods["POST"]
	m.ValidatorID = "valid1"
	m.RequestParameters = map[string]bool{"method.request.path.stream-name": true, "method.request.header.User-Agent": true}
	m.RequestModels = map[string]string{"application/json": "Event"}
	a.Validators = map[string]*restapi.Validator{"valid1": {ID: "valid1", Body: true, Parameters: true}}
	a.Models = map[string]*restapi.Model{"Event": {Name: "Event", Schema: `{"type":"object","required":["event","id","ts"],"additionalProperties":false,"properties":{
		"event":{"enum":["page_view","click"]},"id":{"type":"integer","minimum":1},"ts":{"type":"integer","minimum":1500000000000},"consent":{"type":"boolean"},
		"user":{"type":"object","required":["id"],"properties":{"id":{"type":"string","pattern":"^u-[0-9]+$"},"plan":{"enum":["free","pro"]}}},
		"page":{"type":"object","properties":{"url":{"type":"string","maxLength":2000},"title":{"type":"string"}}},
		"client":{"type":"object","properties":{"ua":{"type":"string"},"lang":{"type":"string"},"width":{"type":"integer"},"height":{"type":"integer"}}}}}`}}
	deploy(a, "dep002", "prod")
	return a
}

// A validator costs no memory.
func TestValidatedEventsAllocateLittle(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools forget")
	}
	run := hotPathOf(t, withValidator(t), "application/json", jsonBody)
	run()
	if got := testing.AllocsPerRun(500, run); got > 2 {
		t.Errorf("%v allocations an event, want at most 2", got)
	}
}

func BenchmarkPostValidatedJSON(b *testing.B) {
	run := hotPathOf(b, withValidator(b), "application/json", jsonBody)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

// Whatever is sent to a validated method, it is either judged or answered, and nothing reaches the backend that the
// model refuses.
func FuzzValidatedBody(f *testing.F) {
	a := validated(nil)
	actions := &fakeActions{}
	s := serving(f, actions, a)
	s.Log = deaf{}
	f.Add("application/json", goodOrder)
	f.Add("application/json", `{"id":"EU-2041","items":[],"items":[{"sku":1}]}`)
	f.Add("", `{"id":"EU-\u0032041","items":[]}`)
	f.Add("text/plain", "x")
	f.Add("application/json", "{\"id\":\"\xff\"}")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		actions.bodies = nil
		resp := s.do(order(contentType, body))
		switch resp.Status {
		case 200:
			if mt := mediaType(contentType); (mt == "" || strings.EqualFold(mt, typeJSON)) && !strings.Contains(body, "id") && !strings.Contains(body, `\u00`) {
				t.Errorf("%q was taken", body)
			}
		case 400, 415, 500, 431:
			if actions.last() != "" {
				t.Errorf("%d, and the backend was called", resp.Status)
			}
		default:
			t.Errorf("status %d", resp.Status)
		}
		if resp.Status == 400 && !bytes.Equal(resp.Body, []byte(`{"message": "Invalid request body"}`)) {
			t.Errorf("body %s", resp.Body)
		}
	})
}
