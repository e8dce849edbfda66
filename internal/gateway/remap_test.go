package gateway

import (
	"slices"
	"testing"

	"millrace/internal/restapi"
)

// The headers that a mapped response may not bear under their own names, with each kind of integration.
func TestRemappedHeaders(t *testing.T) {
	mocked := mock(`{"statusCode":200}`, map[string]string{"application/json": "ok"})
	called := putRecord(map[string]string{"$default": "{}"})
	f := func(name, wantMock, wantAWS string) {
		t.Helper()
		for want, m := range map[string]*restapi.Method{wantMock + " of MOCK": mocked, wantAWS + " of AWS": called} {
			m.Integration.Responses["200"].ResponseParameters = map[string]string{"method.response.header." + name: "'v'"}
			resp := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"POST /v1": m})).do(post("/prod/v1", "", "{}"))
			got := ""
			for _, h := range resp.Header {
				if h.Value == "v" {
					got += h.Name
				}
			}
			if kind := " of " + m.Integration.Type; got+kind != want {
				t.Errorf("%s: %q, want %q", name, got+kind, want)
			}
		}
	}
	const r = "x-amzn-Remapped-"
	f("X-Own", "X-Own", "X-Own")
	f("x-own", "x-own", "x-own")
	f("Access-Control-Allow-Origin", "Access-Control-Allow-Origin", "Access-Control-Allow-Origin")
	f("Location", "Location", "Location")
	f("Cache-Control", "Cache-Control", "Cache-Control")
	f("Content-Type", "Content-Type", "Content-Type")
	f("Content-Encoding", "Content-Encoding", "Content-Encoding")
	f("Connection", r+"Connection", r+"Connection")
	f("Content-Length", r+"Content-Length", r+"Content-Length")
	f("content-length", r+"content-length", r+"content-length")
	f("Date", r+"Date", r+"Date")
	f("Server", r+"Server", r+"Server")
	f("Transfer-Encoding", "", "")
	for _, name := range remapped[remappedAlways:] {
		f(name, name, r+name)
	}
	f("x-amzn-RequestId", "", "") // the gateway's own
	f("x-amz-apigw-id", "", "")
}

// Headers stand in the order of their names, overrides behind them with all their values, then what the gateway adds.
func TestResponseHeadersHaveAnOrder(t *testing.T) {
	m := mock(`{"statusCode":200}`, map[string]string{"application/json": `#set($context.responseOverride.header.B = ["2", "3"])` +
		`#set($context.responseOverride.header.content-type = "text/x")#set($context.responseOverride.header.Transfer-Encoding = "chunked")`})
	m.Integration.Responses["200"].ResponseParameters = map[string]string{
		"method.response.header.C": "'c'", "method.response.header.b": "'1'", "method.response.header.A": "'a'",
		"method.response.header.Date": "'today'", "method.response.header.Empty": "''"}
	resp := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"POST /v1": m})).do(post("/prod/v1", "", "{}"))
	want := Header{{"A", "a"}, {"C", "c"}, {"x-amzn-Remapped-Date", "today"}, {"B", "2"}, {"B", "3"}, {"content-type", "text/x"}}
	if got := resp.Header[:min(len(want), len(resp.Header))]; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
