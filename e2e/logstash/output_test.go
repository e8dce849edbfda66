package logstash

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

// field is one field of an event; events keep their order, as the plugin's do.
type field struct {
	name  string
	value any // a string, a number, nil, []any, event
}

type event []field

// MarshalJSON writes an event as the plugin's JSON library does: compact, letters outside ASCII and "<" as they are.
func (e event) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range e {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshal(f.name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(f.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// inspect is what Ruby's to_s makes of a field's value: the text itself, nothing of nil, and Ruby's own notation
// of hashes and lists.
func inspect(v any, outermost bool) string {
	switch v := v.(type) {
	case nil:
		if outermost {
			return ""
		}
		return "nil"
	case string:
		if outermost {
			return v
		}
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = inspect(v[i], false)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case event:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = inspect(f.name, false) + "=>" + inspect(f.value, false)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// escape is Ruby's CGI.escape: all but letters, digits and - . _ ~ as %XX, a blank as +.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == ' ':
			b.WriteByte('+')
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// output is the plugin, as its options set it.
type output struct {
	path     string // of url
	format   string
	message  string // the text that format "message" has made of an event
	compress bool   // http_compression
}

func (o output) contentType() string {
	return map[string]string{"json": "application/json", "json_batch": "application/json",
		"form": "application/x-www-form-urlencoded", "message": "text/plain"}[o.format]
}

// body is the payload of one request: of one event, or of a batch.
func (o output) body(t *testing.T, events ...event) []byte {
	t.Helper()
	var body []byte
	var err error
	switch o.format {
	case "json":
		body, err = marshal(events[0])
	case "json_batch":
		body, err = marshal(events)
	case "form":
		pairs := make([]string, len(events[0]))
		for i, f := range events[0] {
			pairs[i] = escape(f.name) + "=" + escape(inspect(f.value, true))
		}
		body = []byte(strings.Join(pairs, "&"))
	case "message":
		body = []byte(o.message)
	}
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// answer is what the plugin looks at.
type answer struct {
	status int
	header http.Header
	body   string
}

// retryable is the default of retryable_codes: after these the plugin sends the same again, and does not stop;
// what else is no 2xx, it logs and drops.
var retryable = []int{429, 500, 502, 503, 504}

func (a answer) again() bool { return slices.Contains(retryable, a.status) }

// connection is one of the plugin's pool. It is kept for many requests.
type connection struct {
	t    *testing.T
	host string
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, ingest string) *connection {
	t.Helper()
	host := strings.TrimPrefix(ingest, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &connection{t, host, conn, bufio.NewReader(conn)}
}

// send writes one request as the plugin's client does: no charset beside the content type, no Accept, a length.
func (c *connection) send(o output, body []byte) answer {
	c.t.Helper()
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	head := "POST " + o.path + " HTTP/1.1\r\nContent-Type: " + o.contentType() + "\r\n"
	if o.compress {
		head += "Content-Encoding: gzip\r\n"
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			c.t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			c.t.Fatal(err)
		}
		body = b.Bytes()
	}
	head += fmt.Sprintf("Connection: Keep-Alive\r\nContent-Length: %d\r\nHost: %s\r\nUser-Agent: Manticore 0.9.1\r\n"+
		"Accept-Encoding: gzip,deflate\r\n\r\n", len(body), c.host)
	if _, err := c.conn.Write(append([]byte(head), body...)); err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// repeat sends until the plugin would send no more.
func (c *connection) repeat(o output, body []byte) answer {
	c.t.Helper()
	const pause = 50 * time.Millisecond // the plugin's own is up to a minute
	for end := time.After(patience); ; {
		a := c.send(o, body)
		if !a.again() {
			return a
		}
		select {
		case <-end:
			c.t.Fatalf("still %d after %v: %s", a.status, patience, a.body)
		case <-time.After(pause):
		}
	}
}
