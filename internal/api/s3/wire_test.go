package s3

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/awswire"
	"millrace/internal/ids"
	"millrace/internal/object/dir"
	"millrace/internal/store"
)

var testAccount = ids.NewAccount("us-east-1", "000000000000")

// ticking is a clock that moves on by a second with each look, so that golden files hold times that tell versions apart.
func ticking() func() time.Time {
	now := time.Date(2026, 11, 24, 1, 30, 0, 0, time.UTC)
	return func() time.Time { now = now.Add(time.Second); return now }
}

// realStore is a folder with its index in memory.
func realStore(t testing.TB, now func() time.Time, low func() bool) *dir.Store {
	t.Helper()
	db, err := store.Open("meta", store.Options{Profile: store.Meta, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := dir.Open(dir.Options{Root: t.TempDir(), DB: db, Prefix: []byte("o/"), Now: now, IDs: ids.Seeded(1), Low: low})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// service serves a real store; change may set options.
func service(t testing.TB, change func(*Options)) *Service {
	t.Helper()
	now := ticking()
	o := Options{Account: testAccount, IDs: ids.Seeded(7), Now: now, Hosts: []string{"objects.test"}}
	if change != nil {
		change(&o)
	}
	if o.Store == nil {
		o.Store = realStore(t, now, nil)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whole requests and whole answers, in text files that a reader who knows S3 can check. "low" and "space" move the disk
// below its mark and back. Rewrite them with -rewrite, and read the difference.
func TestWire(t *testing.T) {
	datadriven.Walk(t, "testdata/wire", func(t *testing.T, path string) {
		low := false
		now := ticking()
		s := service(t, func(o *Options) {
			o.Now, o.Store = now, realStore(t, now, func() bool { return low })
		})
		vars := map[string]string{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "low", "space":
				low = d.Cmd == "low"
				return ""
			case "http":
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			input := d.Input
			for name, value := range vars {
				input = strings.ReplaceAll(input, "{"+name+"}", value)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, request(d, input))
			if _, rest, ok := strings.Cut(w.Body.String(), "</Key><UploadId>"); ok { // of what began an upload
				vars["upload"], _, _ = strings.Cut(rest, "<")
			}
			if _, rest, ok := strings.Cut(w.Body.String(), "<NextContinuationToken>"); ok {
				vars["token"], _, _ = strings.Cut(rest, "<")
			}
			return answerText(w.Result())
		})
	})
}

// request reads "METHOD PATH", header lines, and after a line "." the body, whose "\r" and "\n" are escaped.
func request(d *datadriven.TestData, input string) *http.Request {
	head, body, hasBody := strings.Cut(input, "\n.\n")
	sc := bufio.NewScanner(strings.NewReader(head))
	sc.Scan()
	method, target, _ := strings.Cut(sc.Text(), " ")
	body = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(body)
	r := httptest.NewRequest(method, "http://localhost:4566"+target, strings.NewReader(body))
	if !hasBody {
		r.ContentLength = 0
	}
	for sc.Scan() {
		name, value, _ := strings.Cut(sc.Text(), ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Content-Length":
			r.ContentLength, _ = strconv.ParseInt(value, 10, 64)
		default:
			r.Header.Add(name, value)
		}
	}
	return r
}

// answerText shows status, headers and body; an element a line.
func answerText(r *http.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", r.StatusCode)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		switch name {
		case "X-Amz-Id-2", "X-Amz-Request-Id": // on each answer, see TestIDs
		default:
			if len(r.Header[name]) > 0 {
				fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
			}
		}
	}
	body, _ := io.ReadAll(r.Body)
	text := string(body)
	for _, name := range []string{"RequestId", "HostId"} {
		if before, rest, ok := strings.Cut(text, "<"+name+">"); ok {
			_, after, _ := strings.Cut(rest, "</"+name+">")
			text = before + after
		}
	}
	if len(text) > 0 {
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(text, "><", ">\n<"), "\n\n", "\n") + "\n")
	}
	return b.String()
}

// Each answer has the ids that a user quotes, and an error repeats them.
func TestIDs(t *testing.T) {
	s := service(t, nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/none?list-type=2", nil))
	id, host := w.Header().Get("X-Amz-Request-Id"), w.Header().Get("X-Amz-Id-2")
	if len(id) != 16 || len(host) < 40 || !bytes.Contains(w.Body.Bytes(), []byte("<RequestId>"+id+"</RequestId><HostId>"+host+"</HostId></Error>")) {
		t.Errorf("%q, %q, %s", id, host, w.Body)
	}
}

// The list of what is served names every operation of the model once, and none that the model does not have.
func TestSupport(t *testing.T) {
	all := Support()
	if !slices.IsSortedFunc(all, func(a, b Supported) int { return strings.Compare(a.Operation, b.Operation) }) {
		t.Error("not in order")
	}
	n := 0
	for _, op := range all {
		if op.Served {
			n++
		}
	}
	if n != len(served) {
		t.Errorf("%d of the model are served, the table has %d", n, len(served))
	}
}

var _ awswire.Lookup = oneKey

// oneKey knows one access key.
func oneKey(id string) (string, bool) { return "right", id == "AKIATEST" }
