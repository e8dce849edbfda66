package httpcall

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"

	"millrace/internal/gateway"
	"millrace/internal/ids"
	"millrace/internal/outbound"
	"millrace/internal/restapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 11, 24, 8, 30, 15, 0, time.UTC)

// backend is a server of the bytes that a test gives it; it keeps the requests that it has seen.
type backend struct {
	listener net.Listener
	served   sync.WaitGroup
	arrived  chan struct{} // a request has been read

	mu     sync.Mutex
	answer string // as it goes over the wire; empty: it does not answer
	seen   []string
	conns  map[net.Conn]bool
	opened int
}

func newBackend(t testing.TB) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{listener: l, conns: map[net.Conn]bool{}, arrived: make(chan struct{}, 1024)}
	b.served.Go(b.accept)
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		for c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		b.served.Wait()
	})
	return b
}

func (b *backend) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.conns[c] = true
		b.opened++
		b.mu.Unlock()
		b.served.Go(func() { b.serve(c) })
	}
}

func (b *backend) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

func (b *backend) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var out strings.Builder
		fmt.Fprintf(&out, "%s %s\n", r.Method, r.RequestURI)
		fmt.Fprintf(&out, "Host: %s\n", strings.ReplaceAll(r.Host, b.address(), "backend"))
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			for _, v := range r.Header[name] {
				fmt.Fprintf(&out, "%s: %s\n", name, v)
			}
		}
		if len(body) > 0 {
			fmt.Fprintf(&out, "%q\n", body)
		}
		b.mu.Lock()
		b.seen = append(b.seen, out.String())
		answer := b.answer
		b.mu.Unlock()
		select {
		case b.arrived <- struct{}{}:
		default: // nobody counts them
		}
		if r.Method == http.MethodHead {
			head, _, _ := strings.Cut(answer, "\r\n\r\n")
			answer = head + "\r\n\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil || !strings.Contains(answer, "Content-Length") {
			if answer != "" {
				return
			}
		}
	}
}

func (b *backend) address() string { return b.listener.Addr().String() }

func (b *backend) says(answer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func (b *backend) requests() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.seen = nil }()
	return strings.Join(b.seen, "")
}

const plainAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"b\":[1]}"

type noActions struct{}

func (noActions) Action(string, string) (gateway.Action, bool) { return nil, false }

// logged keeps the error lines.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Log(line gateway.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line.Error {
		l.lines = append(l.lines, line.Text)
	}
}

// deployed is an API of one method, ready to be called.
type deployed struct {
	*gateway.Gateway
	log *logged
}

// deploy makes a gateway with one method, "POST:/a/{b}", of an integration.
func deploy(t testing.TB, sender gateway.Sender, method string, i *restapi.Integration, change func(*restapi.API)) deployed {
	t.Helper()
	verb, path, _ := strings.Cut(method, ":")
	m := &restapi.Method{HTTPMethod: verb, AuthorizationType: "NONE", Integration: i, Responses: map[string]*restapi.MethodResponse{}}
	for code := range i.Responses {
		i.Responses[code].StatusCode = code
		m.Responses[code] = &restapi.MethodResponse{StatusCode: code}
	}
	if i.PassthroughBehavior == "" {
		i.PassthroughBehavior = restapi.WhenNoMatch
	}
	d := restapi.Definition{RootResourceID: "root", Resources: map[string]*restapi.Resource{"root": {ID: "root", Path: "/"}}}
	at := d.Resources["root"]
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			break
		}
		full := strings.TrimSuffix(at.Path, "/") + "/" + part
		next := &restapi.Resource{ID: full, ParentID: at.ID, PathPart: part, Path: full}
		d.Resources[full] = next
		at = next
	}
	at.Methods = map[string]*restapi.Method{verb: m}
	a := &restapi.API{ID: "abcde12345", Name: "api", Created: testTime, Definition: d}
	a.Stages = map[string]*restapi.Stage{"prod": {Name: "prod", DeploymentID: "dep001", Created: testTime}}
	if change != nil {
		change(a)
	}
	a.Deployments = map[string]*restapi.Deployment{"dep001": {ID: "dep001", Created: testTime, Definition: a.Definition}}
	log := &logged{}
	g, err := gateway.New(gateway.Options{
		Actions: noActions{}, Sender: sender, IDs: ids.Seeded(1), Now: func() time.Time { return testTime }, Log: log,
		Account: ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range g.Publish([]*restapi.API{a}, a.ID) {
		log.lines = append(log.lines, "warning: "+w.Error())
	}
	return deployed{g, log}
}

// call makes a request of text: header lines, an empty line, the body.
func (d deployed) call(verb, path, rest string) *gateway.Response {
	head, body, _ := strings.Cut(rest, "\n\n")
	if strings.HasPrefix(rest, "\n") {
		head, body = "", rest[1:]
	}
	r := &gateway.Request{Method: verb, Host: "api.example.com", RemoteIP: "203.0.113.7", Port: "443", TLS: true, Received: testTime,
		Body: []byte(strings.TrimSuffix(body, "\n"))}
	r.RawPath, r.RawQuery, _ = strings.Cut("/prod"+path, "?")
	for line := range strings.Lines(head) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			r.Header = append(r.Header, gateway.Field{Name: name, Value: value})
		}
	}
	resp := &gateway.Response{}
	d.Serve(context.Background(), r, resp)
	return resp
}

// The files of testdata are pairs of what a backend sees and what a caller gets.
func TestPairs(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		b := newBackend(t)
		client := New(outbound.Options{})
		t.Cleanup(client.Close)
		var d deployed
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			here := strings.NewReplacer("http://backend", "http://"+b.address(), "BACKEND", b.address())
			switch td.Cmd {
			case "integration":
				var i struct {
					restapi.Integration
					Variables map[string]string
					Binary    []string
				}
				if err := json.Unmarshal([]byte(here.Replace(td.Input)), &i); err != nil {
					td.Fatalf(t, "%v", err)
				}
				d = deploy(t, client, td.CmdArgs[0].String(), &i.Integration, func(a *restapi.API) {
					a.Stages["prod"].Variables, a.BinaryMediaTypes = i.Variables, i.Binary
				})
				b.says(plainAnswer)
				return strings.Join(d.log.lines, "\n")
			case "backend":
				answer := strings.ReplaceAll(td.Input, "\n", "\r\n")
				head, body, _ := strings.Cut(answer, "\r\n\r\n")
				body = strings.NewReplacer(`\xff`, "\xff", `\x89`, "\x89").Replace(strings.TrimSuffix(body, "\r\n"))
				b.says(fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body))
				return ""
			case "call":
				verb, path, _ := strings.Cut(td.CmdArgs[0].String(), ":")
				resp := d.call(verb, path, td.Input)
				var out bytes.Buffer
				for line := range strings.Lines(b.requests()) {
					out.WriteString("> " + line)
				}
				fmt.Fprintf(&out, "< %d\n", resp.Status)
				for _, f := range resp.Header {
					fmt.Fprintf(&out, "< %s: %s\n", f.Name, f.Value)
				}
				fmt.Fprintf(&out, "< %q\n", resp.Body)
				for _, line := range d.log.lines {
					out.WriteString("log " + line + "\n")
				}
				d.log.lines = nil
				return strings.ReplaceAll(out.String(), b.address(), "backend")
			}
			td.Fatalf(t, "unknown command")
			return ""
		})
	})
}
