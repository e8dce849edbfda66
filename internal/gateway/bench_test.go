package gateway

import (
	"context"
	"testing"

	"millrace/internal/restapi"
)

// The bodies of the design's figures: 300 B of JSON, a form of 9 fields in 180 B.
const (
	jsonBody = `{"event":"page_view","id":12345,"user":{"id":"u-83921","plan":"pro"},` +
		`"page":{"url":"https://shop.example.com/products/4711?ref=mail","title":"Walnut desk, 160 cm"},` +
		`"client":{"ua":"Mozilla/5.0 (X11; Linux x86_64)","lang":"de-DE","width":1440,"height":900},` +
		`"ts":1732400000123,"consent":true}`
	formBody = "event=install&id=12345&app=com.example.shop&media_source=newsletter&campaign=spring+sale" +
		"&country=DE&device=Pixel%209&os=Android%2016&url=https%3A%2F%2Fshop.example.com%2Fdesk"
)

type quickActions struct{}

func (quickActions) Action(string, string) (Action, bool) {
	return func(_ context.Context, c *Call) {
		c.Status, c.Out = 200, append(c.Out, putRecordAnswer...)
	}, true
}

func hotPath(t testing.TB, contentType, body string) func() {
	return hotPathOf(t, collector(t), contentType, body)
}

func hotPathOf(t testing.TB, a *restapi.API, contentType, body string) func() {
	s := serving(t, &fakeActions{}, a)
	s.Actions = quickActions{}
	s.compiled = nil
	s.Publish(nil, "")
	s.Publish([]*restapi.API{a}, a.ID)
	r := post("/prod/v1/class-stream", contentType, body)
	r.Header = append(r.Header, Field{"User-Agent", "curl/8.5.0"}, Field{"Accept", "*/*"})
	resp := &Response{}
	ctx := context.Background()
	return func() {
		resp.Reset()
		s.Serve(ctx, r, resp)
		if resp.Status != 200 {
			t.Fatalf("%d %s", resp.Status, resp.Body)
		}
	}
}

// The path of an event stays below its bound of allocations.
func TestEventsAllocateLittle(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools forget")
	}
	f := func(contentType, body string, most float64) {
		t.Helper()
		run := hotPath(t, contentType, body)
		run()
		if got := testing.AllocsPerRun(500, run); got > most {
			t.Errorf("%s: %v allocations an event, want at most %v", contentType, got, most)
		}
	}
	f("application/json", jsonBody, 2)
	f("application/x-www-form-urlencoded", formBody, 2)
}

func BenchmarkPostJSON(b *testing.B) { benchmarkPost(b, "application/json", jsonBody) }

func BenchmarkPostForm(b *testing.B) {
	benchmarkPost(b, "application/x-www-form-urlencoded", formBody)
}

func benchmarkPost(b *testing.B, contentType, body string) {
	run := hotPath(b, contentType, body)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
