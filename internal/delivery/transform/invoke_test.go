package transform

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/ids"
)

// event is what a function gets.
type event struct {
	InvocationID string
	Records      []struct{ RecordID, Data string }
}

// function is a host of one that answers with what handle returns; a status other than 0 is sent.
func function(handle func(n int, e event) (status int, answer string)) http.Handler {
	var mu sync.Mutex
	calls := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "no event", http.StatusBadRequest)
			return
		}
		mu.Lock()
		calls++
		n := calls
		mu.Unlock()
		status, answer := handle(n, e)
		if status != 0 {
			w.WriteHeader(status)
		}
		_, _ = io.WriteString(w, answer)
	})
}

// echo answers Ok with the data in capitals.
func echo(_ int, e event) (int, string) {
	type record struct {
		RecordID string `json:"recordId"`
		Result   string `json:"result"`
		Data     []byte `json:"data"`
	}
	var answer struct {
		Records []record `json:"records"`
	}
	for _, r := range e.Records {
		data, err := base64.StdEncoding.DecodeString(r.Data)
		if err != nil {
			return http.StatusBadRequest, ""
		}
		answer.Records = append(answer.Records, record{r.RecordID, "Ok", []byte(strings.ToUpper(string(data)))})
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return http.StatusInternalServerError, ""
	}
	return 0, string(text)
}

// pipes is a network in memory, so that time in a bubble goes on while hosts are waited for.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p <- there
	return here, nil
}

// inBubble runs f in a bubble with a client and a host of functions.
func inBubble(t *testing.T, h http.Handler, f func(t *testing.T, c *Client, call *Call)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := make(pipes)
		server := &http.Server{Handler: h}
		served := make(chan error, 1)
		go func() { served <- server.Serve(network) }()
		c := New(Options{IDs: ids.Seeded(1), Now: time.Now})
		c.transport.(*http.Transport).DialContext = network.dial
		call := testCall(DirectPut)
		call.Endpoint = endpoint(t, "http://functions.test/f")
		f(t, c, call)
		c.Close()
		server.Close()
		<-served
		if len(c.functions) != 0 || !c.memory.TryAcquire(maxBytes) {
			t.Error("calls count as under way")
		}
	})
}

func endpoint(t *testing.T, url string) *Endpoint {
	t.Helper()
	e, err := NewEndpoint(url, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestInvoke(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server := httptest.NewServer(function(echo))
	defer server.Close()
	c := New(Options{IDs: ids.Seeded(1), Now: func() time.Time { return testTime }})
	defer c.Close()
	call := testCall(DirectPut)
	call.Endpoint = endpoint(t, server.URL)
	results := make([]Result, 2)
	for range 3 { // the call's memory is used again
		if err := c.Invoke(t.Context(), call, results); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"HELLO", ""} {
			if r := results[i]; r.Outcome != Ok || string(r.Data) != want || r.Attempts != 1 || !r.Ended.Equal(testTime) {
				t.Errorf("%+v", r)
			}
		}
	}
}

// Records that are too many bytes for one event go in several, and one that no event holds fails by itself.
func TestLargeRecords(t *testing.T) {
	var events []int
	server := httptest.NewServer(function(func(n int, e event) (int, string) { events = append(events, len(e.Records)); return echo(n, e) }))
	defer server.Close()
	c := New(Options{IDs: ids.Seeded(1), Now: func() time.Time { return testTime }})
	defer c.Close()
	call := testCall(DirectPut)
	call.Endpoint = endpoint(t, server.URL)
	call.Records = nil
	for i, size := range []int{2 << 20, 2 << 20, 1, 3 << 20, MaxRequest, 7} {
		call.Records = append(call.Records, Record{Data: []byte(strings.Repeat(string(rune('a'+i)), size)), Sequence: sequence(uint64(i))})
	}
	results := make([]Result, len(call.Records))
	if err := c.Invoke(t.Context(), call, results); err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if i == 4 {
			if r.Outcome != Failed || r.ErrorCode != CodeRequestTooLarge || r.Attempts != 0 || r.Ended.IsZero() {
				t.Errorf("%d: %+v", i, r)
			}
		} else if r.Outcome != Ok || string(r.Data) != strings.ToUpper(string(call.Records[i].Data)) {
			t.Errorf("%d: %d %s, %d bytes", i, r.Outcome, r.ErrorCode, len(r.Data))
		}
	}
	if fmt.Sprint(events) != "[3 1 1]" {
		t.Errorf("events of %v records", events)
	}
}

// What is no answer of the function is asked for again, with the same records, after longer and longer waits.
func TestFailuresAreRetried(t *testing.T) {
	f := func(status int, answer, code, message string, attempts int) {
		t.Helper()
		var seen []event
		h := function(func(_ int, e event) (int, string) { seen = append(seen, e); return status, answer })
		inBubble(t, h, func(t *testing.T, c *Client, call *Call) {
			begun := time.Now()
			results := make([]Result, 2)
			if err := c.Invoke(t.Context(), call, results); err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Outcome != Failed || r.ErrorCode != code || !strings.Contains(r.ErrorMessage, message) || r.Attempts != attempts || !r.Ended.Equal(time.Now()) {
					t.Errorf("%d %.40s: %+v", status, answer, r)
				}
			}
			if took := time.Since(begun); attempts == 1 && took > 0 || attempts == 4 && (took < 5950*time.Millisecond || took > 8050*time.Millisecond) {
				t.Errorf("it took %v", took) // 1 + 2 + 4 seconds, and 15 % of them
			}
		})
		if len(seen) != attempts {
			t.Errorf("%d calls, want %d", len(seen), attempts)
		}
		for _, e := range seen[1:] {
			if e.InvocationID == seen[0].InvocationID || fmt.Sprint(e.Records) != fmt.Sprint(seen[0].Records) {
				t.Errorf("%+v after %+v", e, seen[0])
			}
		}
	}
	f(429, "", CodeInvokeLimitExceeded, "concurrent execution limit", 4)
	f(500, "", CodeInternalServerError, "status 500", 4)
	f(502, "", CodeServiceUnavailable, "status 502", 4)
	f(503, "", CodeServiceUnavailable, "status 503", 4)
	f(403, "", CodeInvokeAccessDenied, "Access was denied", 4)
	f(404, "", CodeResourceNotFound, "does not exist", 4)
	f(301, "", CodeInvocationFailure, "status 301", 4)
	f(201, `{"records":[]}`, CodeInvocationFailure, "status 201", 4)
	f(413, "", CodeRequestTooLarge, "6291456 bytes", 1)
	f(0, `{"errorMessage":"boom","errorType":"Error"}`, CodeFunctionError, "returned an error result", 4)
	f(0, `Task timed out after 3.00 seconds`, CodeJSONProcessing, "error parsing", 4)
	f(0, `{"records":[`+strings.Repeat(" ", MaxAnswer)+`]}`, CodeFunctionError, "returned an error result", 4)
	f(0, `{"records":[]}`, CodeMissingRecordID, "One or more record Ids", 1)
	f(0, `null`, CodeMissingRecordID, "One or more record Ids", 1)
}

// A function that recovers is heard, and how often it was asked is told.
func TestLaterAttemptsCount(t *testing.T) {
	h := function(func(n int, e event) (int, string) {
		if n < 3 {
			return 503, ""
		}
		return echo(n, e)
	})
	inBubble(t, h, func(t *testing.T, c *Client, call *Call) {
		results := make([]Result, 2)
		var told []string
		var took time.Duration
		call.Attempted = func(a Attempt) {
			told = append(told, strconv.Itoa(a.Number)+a.Code)
			took += a.Took
		}
		began := time.Now()
		if err := c.Invoke(t.Context(), call, results); err != nil || results[0].Outcome != Ok || results[0].Attempts != 3 {
			t.Errorf("%+v %v", results[0], err)
		}
		if want := []string{"1" + CodeServiceUnavailable, "2" + CodeServiceUnavailable, "3"}; !slices.Equal(told, want) {
			t.Errorf("told of %v, want %v", told, want)
		}
		if took >= time.Since(began) {
			t.Errorf("attempts took %v, pauses among them", took)
		}
	})
}

// NumberOfRetries is what the service's users give it: 0, and numbers that make no sense.
func TestNumbersOfRetries(t *testing.T) {
	f := func(retries, attempts int) {
		t.Helper()
		h := function(func(int, event) (int, string) { return 503, "" })
		inBubble(t, h, func(t *testing.T, c *Client, call *Call) {
			call.Retries = retries
			results := make([]Result, 2)
			if err := c.Invoke(t.Context(), call, results); err != nil || results[0].Attempts != attempts {
				t.Errorf("%d retries: %+v %v", retries, results[0], err)
			}
		})
	}
	f(0, 1)
	f(-5, 1)
	f(1, 2)
	f(1<<31-1, MaxRetries+1)
}

// A function has five minutes, answer included.
func TestSlowFunctionsTimeOut(t *testing.T) {
	for _, begins := range []bool{false, true} {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if begins {
				_, _ = io.WriteString(w, `{"records":`)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		inBubble(t, h, func(t *testing.T, c *Client, call *Call) {
			call.Retries = 1
			begun := time.Now()
			results := make([]Result, 2)
			if err := c.Invoke(t.Context(), call, results); err != nil {
				t.Fatal(err)
			}
			if r := results[1]; r.ErrorCode != CodeFunctionTimedOut || r.Attempts != 2 {
				t.Errorf("%+v", r)
			}
			if took := time.Since(begun); took < 2*CallTime || took > 2*CallTime+2*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

var errStop = errors.New("the node stops")

// The end of the context is the only error, wherever the call is: at the function, between attempts, waiting for its turn.
func TestContextEnds(t *testing.T) {
	f := func(name string, h http.Handler, after time.Duration, fill bool) {
		t.Helper()
		inBubble(t, h, func(t *testing.T, c *Client, call *Call) {
			if fill {
				leave, err := c.enter(t.Context(), "elsewhere", maxBytes/2)
				if err != nil {
					t.Fatal(err)
				}
				defer leave()
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer time.AfterFunc(after, func() { cancel(errStop) }).Stop()
			begun := time.Now()
			if err := c.Invoke(ctx, call, make([]Result, 2)); !errors.Is(err, errStop) || time.Since(begun) != after {
				t.Errorf("%s: %v after %v", name, err, time.Since(begun))
			}
		})
	}
	hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() })
	fails := function(func(int, event) (int, string) { return 503, "" })
	f("at the function", hangs, time.Minute, false)
	f("between attempts", fails, 1500*time.Millisecond, false)
	f("waiting for memory", fails, time.Second, true)
}

// A function that hangs keeps its own turns, not those of others.
func TestFunctionsWaitForTheirOwnTurn(t *testing.T) {
	hang := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			_, _ = io.Copy(io.Discard, r.Body)
			<-hang
			w.WriteHeader(503)
			return
		}
		function(echo).ServeHTTP(w, r)
	})
	inBubble(t, h, func(t *testing.T, c *Client, call *Call) {
		hang = make(chan struct{}) // of this bubble
		var waiting sync.WaitGroup
		for range maxPerFunction + 1 {
			waiting.Go(func() {
				one := testCall(DirectPut)
				one.Endpoint, one.Retries = endpoint(t, "http://functions.test/hangs"), 0
				if err := c.Invoke(t.Context(), one, make([]Result, 2)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		results := make([]Result, 2)
		if err := c.Invoke(t.Context(), call, results); err != nil || results[0].Outcome != Ok {
			t.Errorf("%+v %v", results[0], err)
		}
		close(hang)
		waiting.Wait()
	})
}

func TestHostsThatAreNotThere(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := New(Options{IDs: ids.Seeded(1), Now: time.Now})
	defer c.Close()
	f := func(url, code, message string) {
		t.Helper()
		call := testCall(DirectPut)
		call.Endpoint, call.Retries = endpoint(t, url), 0
		results := make([]Result, 2)
		if err := c.Invoke(t.Context(), call, results); err != nil {
			t.Fatal(err)
		}
		if r := results[0]; r.ErrorCode != code || !strings.Contains(r.ErrorMessage, message) || strings.Contains(r.ErrorMessage, "secret") {
			t.Errorf("%+v", r)
		}
	}
	dead := httptest.NewServer(nil)
	dead.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"records"`)
	}))
	defer cut.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer silent.Close()
	f(strings.Replace(dead.URL, "//", "//me:secret@", 1)+"/?code=secret", CodeServiceUnavailable, "connection refused")
	f(cut.URL, CodeNoResponse, "before its answer was whole")
	f(silent.URL, CodeNoResponse, "before its answer was whole")
	f(strings.Replace(silent.URL, "http:", "https:", 1), CodeServiceUnavailable, "can't be reached")
}

// Credentials and the configured header are sent, and shown nowhere.
func TestSecretsAreSentAndNotShown(t *testing.T) {
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		_, _ = io.WriteString(w, `{}`)
	}))
	defer server.Close()
	e, err := NewEndpoint(strings.Replace(server.URL, "//", "//me:secret@", 1)+"/f?code=secret", "x-functions-key", "secret")
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{IDs: ids.Seeded(1), Now: time.Now})
	defer c.Close()
	call := testCall(DirectPut)
	call.Endpoint, call.Retries = e, 0
	results := make([]Result, 2)
	if err := c.Invoke(t.Context(), call, results); err != nil || results[0].ErrorCode != CodeFunctionError {
		t.Errorf("%+v %v", results, err)
	}
	if header.Get("Authorization") != "Basic bWU6c2VjcmV0" || header.Get("X-Functions-Key") != "secret" {
		t.Errorf("%v", header)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("call", "function", e)
	fmt.Fprintf(&log, "%v %+v %#v %s", e, e, e, e)
	if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), server.URL+"/f") {
		t.Error(log.String())
	}
	for _, wrong := range []string{"ftp://me:secret@h/", "://secret", "http://", "functions"} {
		if _, err := NewEndpoint(wrong, "", ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
