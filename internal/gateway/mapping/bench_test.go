package mapping

import (
	"os"
	"path/filepath"
	"testing"
)

func template(t testing.TB, name string) *Template {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Compile(name, string(src))
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// The bodies of the design's figures: 300 B of JSON, a form of 9 fields in 180 B.
const (
	jsonBody = `{"event":"page_view","id":12345,"user":{"id":"u-83921","plan":"pro"},` +
		`"page":{"url":"https://shop.example.com/products/4711?ref=mail","title":"Walnut desk, 160 cm"},` +
		`"client":{"ua":"Mozilla/5.0 (X11; Linux x86_64)","lang":"de-DE","width":1440,"height":900},` +
		`"ts":1732400000123,"consent":true}`
	formBody = "event=install&id=12345&app=com.example.shop&media_source=newsletter&campaign=spring+sale" +
		"&country=DE&device=Pixel%209&os=Android%2016&url=https%3A%2F%2Fshop.example.com%2Fdesk"
)

func inputFor(body string) *Input {
	return &Input{
		Body: body,
		Path: Params{{"stream-name", "class-stream"}},
		Header: Params{{"Host", "127.0.0.1:8080"}, {"User-Agent", "curl/8.5.0"}, {"Accept", "*/*"},
			{"Content-Type", "application/json"}, {"X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793"}},
		Context: &Context{RequestID: "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"},
	}
}

func benchmarkRender(b *testing.B, name, body string) {
	tmpl, in := template(b, name), inputFor(body)
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		var err error
		if dst, err = tmpl.Render(dst[:0], in, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSONTemplate(b *testing.B) { benchmarkRender(b, "json.vtl", jsonBody) }
func BenchmarkFormTemplate(b *testing.B) { benchmarkRender(b, "form.vtl", formBody) }
