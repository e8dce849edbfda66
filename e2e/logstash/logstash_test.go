package logstash

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/e2e/node"
)

func TestMain(m *testing.M) { node.Main(m) }

const (
	events = "/prod/events"
	batch  = "/prod/events/batch"
)

// up starts a node with the example.
func up(t *testing.T, data string, args ...string) *node.Node {
	t.Helper()
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	root, err := node.Root()
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Binary: binary, Data: data, File: filepath.Join(root, "examples", "logstash.yaml"), Args: args})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// delivered stops the node, which delivers what is buffered, and gives the lines of all objects in the order of keys.
func delivered(t *testing.T, n *node.Node) []string {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(n.Data, "s3", "logstash-events"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if rel, _ := filepath.Rel(n.Data, name); !strings.Contains(rel, "dt=20") || !strings.HasSuffix(name, ".gz") {
			t.Errorf("an object is called %s", rel)
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		z, err := gzip.NewReader(file)
		if err != nil {
			return err
		}
		_, err = io.Copy(&all, z)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, ended := strings.CutSuffix(all.String(), "\n")
	if !ended {
		t.Errorf("the objects do not end in a line break: %.200q", all.String())
	}
	return strings.Split(text, "\n")
}

// An event as Logstash's http input with a json codec leaves it, with what templates and encoders stumble over.
var hostile = event{
	{"@timestamp", "2026-11-25T18:17:38.123Z"},
	{"@version", "1"},
	{"message", "GET /a?b=1&c=%2B+d \"quoted\" 'single' <tag> back\\slash\ttab\nline $x #if($y) 100% üñ東京 🚂"},
	{"host", event{{"name", "web-1"}}},
	{"tags", []any{"a", "b c"}},
	{"bytes", 512},
	{"ratio", 0.25},
	{"nothing", nil},
	{"empty", ""},
	{"a key & \"more\"=", "~*-._"},
}

// The encoder of these tests writes what JRuby 9.4 does of the same event: CGI.escape of each name and of each
// value's to_s, which is how the plugin makes a form.
func TestFormIsRubys(t *testing.T) {
	const ruby = "%40timestamp=2026-11-25T18%3A17%3A38.123Z&%40version=1&message=GET+%2Fa%3Fb%3D1%26c%3D%252B%2Bd+%22quoted%22+" +
		"%27single%27+%3Ctag%3E+back%5Cslash%09tab%0Aline+%24x+%23if%28%24y%29+100%25+%C3%BC%C3%B1%E6%9D%B1%E4%BA%AC+%F0%9F%9A%82" +
		"&host=%7B%22name%22%3D%3E%22web-1%22%7D&tags=%5B%22a%22%2C+%22b+c%22%5D&bytes=512&ratio=0.25&nothing=&empty=" +
		"&a+key+%26+%22more%22%3D=~%2A-._"
	if got := string(output{format: "form"}.body(t, hostile)); got != ruby {
		t.Errorf("got  %s\nwant %s", got, ruby)
	}
}

// asForm is what is left of an event in format "form": every value is a text.
func asForm(e event) event {
	out := make(event, len(e))
	for i, f := range e {
		out[i] = field{f.name, inspect(f.value, true)}
	}
	return out
}

// Every format, plain and compressed, on kept connections: what the plugin was given is what the objects hold.
func TestFormats(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"))
	c := dial(t, n.Ingest)
	var want []any
	wanted := func(e event) {
		text, err := marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, parsed(t, string(text)))
	}
	small := event{{"message", "second"}, {"host", "a text, as before ECS"}}
	mapped := event{{"text", "hi"}, {"from", event{{"host", "web-1"}}}, {"list", []any{event{{"user", "Ada"}}}}} // of a mapping
	for _, compress := range []bool{false, true} {
		for _, o := range []output{{path: events, format: "json"}, {path: events, format: "form"}} {
			o.compress = compress
			for _, e := range []event{hostile, small, mapped} {
				if a := c.send(o, o.body(t, e)); a.status != 200 || !strings.Contains(a.body, `"SequenceNumber"`) {
					t.Errorf("%+v: %d %s", o, a.status, a.body)
				}
				if o.format == "form" {
					e = asForm(e)
				}
				wanted(e)
			}
		}
		o := output{path: batch, format: "json_batch", compress: compress}
		if a := c.send(o, o.body(t, hostile, small, mapped)); a.status != 200 || strings.TrimSpace(a.body) != `{"failed": 0}` {
			t.Errorf("%+v: %d %s", o, a.status, a.body)
		}
		wanted(hostile)
		wanted(small)
		wanted(mapped)
		for _, text := range []string{`"web-1 says üñ 100% $x #end`, `{"made": "by sprintf"}`} {
			o := output{path: events, format: "message", message: text, compress: compress}
			if a := c.send(o, o.body(t)); a.status != 200 {
				t.Errorf("%+v: %d %s", o, a.status, a.body)
			}
			want = append(want, parsed(t, text))
		}
	}
	lines := delivered(t, n)
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d", len(lines), len(want))
	}
	for _, line := range lines {
		got := parsed(t, line)
		i := slices.IndexFunc(want, func(w any) bool { return reflect.DeepEqual(got, w) })
		if i < 0 {
			t.Errorf("nobody sent %s", line)
			continue
		}
		want = slices.Delete(want, i, i+1)
	}
	for _, w := range want {
		t.Errorf("not delivered: %v", w)
	}
}

// parsed reads a line as JSON, or gives it as it is.
func parsed(t *testing.T, line string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		return "text: " + line
	}
	return v
}

// The events of one host that came in one batch keep their order: they have one partition key.
func TestOrderWithinABatch(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"), "--parameter", "ShardCount=4")
	c := dial(t, n.Ingest)
	const size = 125 // pipeline.batch.size, as it is by default
	o := output{path: batch, format: "json_batch"}
	var all []event
	for i := range size {
		all = append(all, event{{"n", i}, {"host", event{{"name", "web-" + string(rune('a'+i%7))}}}})
	}
	if a := c.send(o, o.body(t, all...)); a.status != 200 {
		t.Fatal(a)
	}
	last, found := map[string]int{}, 0
	for _, line := range delivered(t, n) {
		var e struct {
			N    int
			Host struct{ Name string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[e.Host.Name]; ok && before >= e.N {
			t.Errorf("%s: %d comes after %d", e.Host.Name, e.N, before)
		}
		last[e.Host.Name] = e.N
		found++
	}
	if found != size {
		t.Errorf("%d events, want %d", found, size)
	}
}

// What can't succeed is told by codes that the plugin drops an event after; nothing of it is stored.
func TestDropped(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"), "--parameter", "ShardCount=1")
	c := dial(t, n.Ingest)
	jsonOut, batchOut := output{path: events, format: "json"}, output{path: batch, format: "json_batch"}
	many := func(count int) []byte {
		all := make([]event, count)
		for i := range all {
			all[i] = event{{"n", i}}
		}
		return batchOut.body(t, all...)
	}
	f := func(name string, o output, body []byte, status int) {
		t.Helper()
		a := c.send(o, body)
		if a.status != status || a.again() {
			t.Errorf("%s: %d %.300s, want %d", name, a.status, a.body, status)
		}
	}
	f("no array", batchOut, []byte(`{"a": 1}`), 400)
	f("an empty array", batchOut, []byte(`[]`), 400)
	f("more events than PutRecords takes", batchOut, many(501), 400)
	f("more than a loop goes through", batchOut, many(1001), 400)
	f("a record of more than 1 MiB", jsonOut, []byte(`{"a":"`+strings.Repeat("x", 1<<20)+`"}`), 400)
	f("a format that the path has no template for", output{path: batch, format: "form"}, []byte("a=1"), 415)
	// A template that can't read the body is 500, as on the service: the plugin would go on for ever. It sends no such body itself.
	if a := c.send(jsonOut, []byte(`{"a":`)); a.status != 500 {
		t.Errorf("no JSON: %d %s", a.status, a.body)
	}
	f("the most that PutRecords takes", batchOut, many(500), 200)
	if lines := delivered(t, n); len(lines) != 500 {
		t.Errorf("%d lines, want those of the last batch", len(lines))
	}
}

// A node that can't store answers 503, which the plugin repeats until it is stored: once, for nothing was.
func TestRepeatedAfterUnavailable(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	n := up(t, data)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	n = up(t, data, "--low-space", "1000000TiB")
	outs := []output{{path: events, format: "json"}, {path: events, format: "form"},
		{path: events, format: "message", message: "text"}, {path: batch, format: "json_batch"}}
	c := dial(t, n.Ingest)
	for _, o := range outs {
		if a := c.send(o, o.body(t, event{{"by", o.format}})); a.status != 503 || !a.again() {
			t.Errorf("%s: %d %s, want 503", o.format, a.status, a.body)
		}
	}
	n.Kill()
	n = up(t, data)
	c = dial(t, n.Ingest)
	for _, o := range outs {
		if a := c.repeat(o, o.body(t, event{{"by", o.format}})); a.status != 200 {
			t.Errorf("%s: %d %s, want 200", o.format, a.status, a.body)
		}
	}
	want := []string{`text`, `{"by":"form"}`, `{"by":"json"}`, `{"by":"json_batch"}`}
	if lines := delivered(t, n); !slices.Equal(slices.Sorted(slices.Values(lines)), want) {
		t.Errorf("the objects hold %q, want %q", lines, want)
	}
}

// With the service's limits: a throttled event is answered with 429 and stored once it is repeated. Of a batch that
// is stored in part the answer is 503, and the repetition stores that part again: at least once, not exactly once.
func TestRepeatedAfterThrottling(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"), "--aws-exact=limits", "--parameter", "ShardCount=1")
	c := dial(t, n.Ingest)
	one, two := output{path: events, format: "json"}, output{path: batch, format: "json_batch"}
	padding := strings.Repeat("x", 500_000) // two of it are within a second's worth of a shard, three are not
	sized := func(name string) event { return event{{"name", name}, {"padding", padding}} }

	const tries = 20 // more than enough to overtake 1 MiB a second
	singles, throttled := 0, false
	for ; !throttled && singles < tries; singles++ {
		a := c.send(one, one.body(t, sized("single")))
		if throttled = a.status == 429; throttled {
			a = c.repeat(one, one.body(t, sized("single")))
		}
		if a.status != 200 {
			t.Fatal(a)
		}
	}
	if !throttled {
		t.Fatalf("%d events of 500 KB were not throttled", tries)
	}

	// The shard has room for none by now, for one after about half a second, for two after a second. Its limit is by
	// the clock of another process: so the pauses of between and beyond alternate until both have been seen.
	body, batches, partly := two.body(t, sized("first"), sized("second")), 0, 0
	pauses := [...]time.Duration{650 * time.Millisecond, 1100 * time.Millisecond}
	for ; partly == 0 && batches < tries; batches++ {
		a := c.send(two, body)
		for i := 0; a.again() && i < tries; i++ {
			if a.status != 503 {
				t.Fatal(a)
			}
			if strings.TrimSpace(a.body) == `{"failed": 1}` {
				partly++
			}
			<-time.After(pauses[i%len(pauses)])
			a = c.send(two, body)
		}
		if a.status != 200 {
			t.Fatal(a)
		}
	}
	if partly == 0 {
		t.Fatal("no batch was stored in part")
	}
	count := map[string]int{}
	for _, line := range delivered(t, n) {
		e, _ := parsed(t, line).(map[string]any)
		name, _ := e["name"].(string)
		count[name]++
	}
	if count["single"] != singles {
		t.Errorf("%d single events, want %d: each once", count["single"], singles)
	}
	if count["first"]+count["second"] != 2*batches+partly {
		t.Errorf("%v of %d batches, of which %d answers said that one of two had failed", count, batches, partly)
	}
}
