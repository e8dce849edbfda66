package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

// Templates put the trace id between quotes, as the service's own examples do: what is no trace id doesn't get there.
func TestATraceHeaderCantBreakOutOfATemplate(t *testing.T) {
	a := define("abcde12345", map[string]*restapi.Method{"POST /v1": putRecord(map[string]string{
		"$default": `{"PartitionKey":"$input.params('X-Amzn-Trace-Id')","StreamName":"own"}`})})
	s := serving(t, &fakeActions{}, a)
	f := func(sent string, kept bool) {
		t.Helper()
		r := post("/prod/v1", "", "{}")
		r.Header = append(r.Header, Field{"X-Amzn-Trace-Id", sent})
		resp := s.do(r)
		var got struct{ PartitionKey, StreamName string }
		if err := json.Unmarshal([]byte(s.actions.last()), &got); err != nil || strings.Count(s.actions.last(), "StreamName") != 1 {
			t.Errorf("%q: %v: %s", sent, err, s.actions.last())
		}
		if (got.PartitionKey == sent) != kept || !kept && !strings.HasPrefix(got.PartitionKey, "Root=1-") {
			t.Errorf("%q: the partition key is %q", sent, got.PartitionKey)
		}
		if !strings.HasPrefix(resp.Header.Get("X-Amzn-Trace-Id"), "Root=") || !kept && sent != "" && strings.Contains(resp.Header.Get("X-Amzn-Trace-Id"), sent) {
			t.Errorf("%q: %v", sent, resp.Header)
		}
	}
	f("Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1", true)
	f("Self=1-67891233-12456789abcdef012345678; Root=1-67891233-abcdef012345678912345678;CalledFrom=app,x", true)
	f("Root=1-67891233-abcdef012345678912345678;Lineage=1:a87bd80c:0|68fd508a:5", true)
	f("mine", true)
	f(`x","StreamName":"other`, false)
	f(`Root=1-67891233-abcdef012345678912345678;x="`, false)
	f(`x\`, false)
	f("Root=caf\xe9", false)
	f("Root=é", false)
	f("Root=a\tb", false)
	f("", false)
}

// Templates read text: bytes of a path or a header that are none are mended, as those of a query and of a payload are.
func TestWhatTemplatesSeeIsText(t *testing.T) {
	a := define("abcde12345", map[string]*restapi.Method{"POST /v1/{id}": putRecord(map[string]string{
		"$default": `{"id":"$input.params('id')","who":"$input.params('X-Who')","path":"$context.path","agent":"$context.identity.userAgent"}`})})
	s := serving(t, &fakeActions{}, a)
	r := post("/prod/v1/a\xffb", "", "{}")
	r.Header = Header{{"X-Who", "Jos\xe9"}, {"User-Agent", "\xfe"}}
	s.do(r)
	if want := `{"id":"a�b","who":"Jos�","path":"/prod/v1/a�b","agent":"�"}`; s.actions.last() != want {
		t.Errorf("%q, want %q", s.actions.last(), want)
	}
}

// A proxy passes on what came, byte for byte.
func TestAProxyKeepsBytesOfHeaders(t *testing.T) {
	backend := &fakeSender{answer: "said"}
	m := putRecord(nil)
	m.Integration.Type, m.Integration.URI = restapi.HTTPProxy, "http://backend/{id}"
	m.Integration.RequestParameters = map[string]string{"integration.request.path.id": "method.request.path.id"}
	s := servingWith(t, Options{Sender: backend}, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"POST /v1/{id}": m}))
	r := post("/prod/v1/a\xffb", "", "{}")
	r.Header = Header{{"X-Who", "Jos\xe9"}}
	s.do(r)
	if backend.header.Get("X-Who") != "Jos\xe9" || backend.target != "http://backend/a%FFb" {
		t.Errorf("%+v", backend)
	}
}
