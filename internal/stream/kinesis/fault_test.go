package kinesis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// double answers PutRecords by a script and leaves all else to the node.
type double struct {
	mu     sync.Mutex
	puts   [][]string // the data of each PutRecords that came, decoded
	script func(n int, data []string, w http.ResponseWriter) (answered bool)
}

type putBody struct {
	Records []struct{ Data []byte }
}

func (d *double) before(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("X-Amz-Target") != "Kinesis_20131202.PutRecords" {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in putBody
	if err := json.Unmarshal(body, &in); err != nil {
		panic(err)
	}
	var data []string
	for _, rec := range in.Records {
		data = append(data, string(rec.Data))
	}
	d.mu.Lock()
	d.puts = append(d.puts, data)
	n := len(d.puts)
	d.mu.Unlock()
	return d.script != nil && d.script(n, data, w)
}

func (d *double) sent() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.puts)
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	conn.Close()
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"__type":%q,"message":%q}`, code, message)
}

// answer answers a PutRecords: an entry whose code is not empty fails.
func answer(w http.ResponseWriter, codes []string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	var entries []string
	failed := 0
	for i, code := range codes {
		if code != "" {
			failed++
			entries = append(entries, fmt.Sprintf(`{"ErrorCode":%q,"ErrorMessage":"said the double"}`, code))
			continue
		}
		number := stream.NewSequenceNumber(1_790_000_000, 0, uint64(time.Now().UnixNano())+uint64(i))
		entries = append(entries, fmt.Sprintf(`{"SequenceNumber":%q,"ShardId":"shardId-000000000000"}`, number))
	}
	fmt.Fprintf(w, `{"FailedRecordCount":%d,"Records":[%s]}`, failed, strings.Join(entries, ","))
}

// world is a backend on a node behind a double, with a stream "s" of one shard.
func world(t *testing.T, script func(n int, data []string, w http.ResponseWriter) bool, change func(*Options)) (*Backend, *double) {
	t.Helper()
	c := newClock()
	n := startNode(t, c)
	d := &double{script: script}
	n.before = d.before
	b := connect(t, n.URL, c, change)
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	return b, d
}

func entries(data ...string) []stream.Entry {
	var out []stream.Entry
	for _, d := range data {
		out = append(out, stream.Entry{PartitionKey: "k", Data: []byte(d)})
	}
	return out
}

func appendTo(ctx context.Context, b *Backend, data ...string) ([]stream.Result, error) {
	results := make([]stream.Result, len(data))
	return results, b.Append(ctx, "s", entries(data...), results)
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("error %v; want kind %v", err, kind)
	}
}

// Whatever becomes of the answer, a put whose outcome is unknown is not sent again: not by us, the SDK, or net/http.
func TestUnknownOutcomeIsSentOnce(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"the connection is lost": hangUp,
		"internal failure":       func(w http.ResponseWriter) { refuse(w, 500, "InternalFailure", "") },
		"unavailable":            func(w http.ResponseWriter) { refuse(w, 503, "ServiceUnavailable", "") },
		"no answer":              nil,
		"half an answer":         func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100"); fmt.Fprint(w, `{"Reco`) },
		"no JSON":                func(w http.ResponseWriter) { fmt.Fprint(w, `<html>`) },
		"too few records":        func(w http.ResponseWriter) { fmt.Fprint(w, `{"FailedRecordCount":0,"Records":[]}`) },
		"a redirect":             func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(307) },
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			b, d := world(t, func(n int, _ []string, w http.ResponseWriter) bool {
				switch {
				case n == 2 && answer != nil:
					answer(w)
				case n == 2:
					<-release
				}
				return n == 2
			}, func(o *Options) { o.PutTimeout = 300 * time.Millisecond })
			if _, err := appendTo(t.Context(), b, "first"); err != nil { // so that the second goes over a used connection
				t.Fatal(err)
			}
			_, err := appendTo(t.Context(), b, "second")
			wantKind(t, err, fault.Unavailable)
			if sent := d.sent(); len(sent) != 2 {
				t.Errorf("sent: %v", sent)
			}
		})
	}
}

// A caller is answered at its deadline, though its put is still in flight.
func TestDeadlineOfTheCaller(t *testing.T) {
	release := make(chan struct{})
	b, d := world(t, func(n int, _ []string, _ http.ResponseWriter) bool { <-release; return false }, nil)
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := appendTo(ctx, b, "x")
	wantKind(t, err, fault.Unavailable)
	if !strings.Contains(err.Error(), "unknown") || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if waited := time.Since(began); waited > 5*time.Second {
		t.Errorf("it took %v", waited)
	}
	if sent := d.sent(); len(sent) != 1 {
		t.Errorf("sent: %v", sent)
	}
}

// A server that closes idle connections may cost a put, when a byte of it had left, but none arrives twice.
func TestIdleConnectionsThatWereClosed(t *testing.T) {
	c := newClock()
	n := startNode(t, c)
	d := &double{}
	n.before = d.before
	b := connect(t, n.URL, c, nil)
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	answered := map[string]bool{}
	for i := range 50 {
		_, err := appendTo(t.Context(), b, strconv.Itoa(i))
		if answered[strconv.Itoa(i)] = err == nil; err != nil {
			wantKind(t, err, fault.Unavailable)
		}
		n.CloseClientConnections()
	}
	arrived := map[string]int{}
	for _, data := range d.sent() {
		arrived[data[0]]++
	}
	for data, ok := range answered {
		if arrived[data] > 1 || ok && arrived[data] != 1 {
			t.Errorf("%s arrived %d times", data, arrived[data])
		}
	}
}

// A request of which nothing was written is told from one whose outcome is unknown.
func TestNothingWasSent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // takes the request and answers nothing
		conn, err := listener.Accept()
		if err == nil {
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	transport := newTransport()
	defer transport.close()
	post := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String(), strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := post(); err == nil || errors.Is(err, errNotSent) {
		t.Errorf("sent and not answered: %v", err)
	}
	listener.Close()
	if err := post(); !errors.Is(err, errNotSent) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestFailedEntriesAreSentAgain(t *testing.T) {
	b, d := world(t, func(n int, data []string, w http.ResponseWriter) bool {
		switch n {
		case 1:
			answer(w, []string{"", "", "InternalFailure", "InternalFailure"})
		case 2:
			answer(w, []string{"", "InternalFailure"})
		}
		return n <= 2
	}, nil)
	results, err := appendTo(t.Context(), b, "a", "b", "c", "d")
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Sequence.IsZero() {
			t.Errorf("entry %d: %+v", i, r)
		}
	}
	if got := fmt.Sprint(d.sent()); got != "[[a b c d] [c d] [d]]" {
		t.Errorf("sent: %v", got)
	}
}

// An entry that would land behind a later one of its call is not sent again.
func TestOvertakenEntriesFail(t *testing.T) {
	b, d := world(t, func(n int, data []string, w http.ResponseWriter) bool {
		answer(w, []string{"InternalFailure", "", "InternalFailure"}[:len(data)])
		return true
	}, nil)
	results, err := appendTo(t.Context(), b, "a", "b", "c")
	if err != nil || results[1].Err != nil {
		t.Fatal(results, err)
	}
	wantKind(t, results[0].Err, fault.Unavailable)
	wantKind(t, results[2].Err, fault.Unavailable)
	if sent := d.sent(); len(sent) != maxTries || len(sent[1]) != 1 || sent[1][0] != "c" {
		t.Errorf("sent: %v", sent)
	}
}

func TestRetriesEndAtTheDeadline(t *testing.T) {
	b, d := world(t, func(n int, data []string, w http.ResponseWriter) bool {
		answer(w, []string{"InternalFailure"})
		return true
	}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), firstPause/2)
	defer cancel()
	results, err := appendTo(ctx, b, "a")
	if err == nil {
		err = results[0].Err
	}
	wantKind(t, err, fault.Unavailable)
	if sent := d.sent(); len(sent) > 1 {
		t.Errorf("sent: %v", sent)
	}
}

// Throttling is the caller's to know, at once.
func TestThrottlingIsPassedOn(t *testing.T) {
	const code = "ProvisionedThroughputExceededException"
	b, d := world(t, func(n int, data []string, w http.ResponseWriter) bool {
		if n == 1 {
			refuse(w, 400, code, "Rate exceeded for stream s under account 000000000000.")
		} else {
			answer(w, []string{"", code})
		}
		return true
	}, nil)
	_, err := appendTo(t.Context(), b, "a", "b")
	wantKind(t, err, fault.Throttled)
	results, err := appendTo(t.Context(), b, "a", "b")
	if err != nil || results[0].Err != nil {
		t.Fatal(results, err)
	}
	wantKind(t, results[1].Err, fault.Throttled)
	if sent := d.sent(); len(sent) != 2 {
		t.Errorf("sent: %v", sent)
	}
}

// Calls that come while one is in flight share the next; what is wrong with one is its caller's alone.
func TestGathering(t *testing.T) {
	const callers = 40
	arrived, release := make(chan struct{}), make(chan struct{})
	b, d := world(t, func(n int, data []string, w http.ResponseWriter) bool {
		if n == 1 {
			close(arrived)
			<-release
		}
		if slices.Contains(data, "bad") {
			refuse(w, 400, "ValidationException", "bad")
			return true
		}
		return false
	}, func(o *Options) { o.PutsInFlight = 1 })
	var wg sync.WaitGroup
	var failed atomic.Int64
	wg.Go(func() {
		if _, err := appendTo(t.Context(), b, "first"); err != nil {
			t.Error(err)
		}
	})
	<-arrived
	for i := range callers {
		data := strconv.Itoa(i)
		if i == 13 {
			data = "bad"
		}
		wg.Go(func() {
			_, err := appendTo(t.Context(), b, data)
			if data == "bad" {
				wantKind(t, err, fault.Invalid)
				failed.Add(1)
			} else if err != nil {
				t.Errorf("%s: %v", data, err)
			}
		})
	}
	g := b.gatherer("s")
	for { // until all wait
		g.mu.Lock()
		n := len(g.queue)
		g.mu.Unlock()
		if n == callers {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	sent := d.sent()
	if len(sent[1]) != callers {
		t.Errorf("gathered %d of %d", len(sent[1]), callers)
	}
	counts := map[string]int{}
	for _, data := range sent {
		if slices.Contains(data, "bad") {
			continue // nothing of these was written
		}
		for _, s := range data {
			counts[s]++
		}
	}
	if len(counts) != callers || failed.Load() != 1 {
		t.Errorf("written: %v", counts)
	}
	for s, n := range counts {
		if n != 1 {
			t.Errorf("%s was written %d times", s, n)
		}
	}
}

// While calls are in flight the next leaves after Linger, and no more than PutsInFlight do.
func TestPutsInFlightAreBounded(t *testing.T) {
	const bound = 3
	release, reached := make(chan struct{}), make(chan struct{})
	var flying, most atomic.Int64
	b, _ := world(t, func(n int, data []string, w http.ResponseWriter) bool {
		now := flying.Add(1)
		defer flying.Add(-1)
		if most.Store(max(most.Load(), now)); now == bound {
			close(reached)
		}
		<-release
		return false
	}, func(o *Options) { o.PutsInFlight, o.Linger = bound, time.Millisecond })
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if i >= 10 {
				<-reached
			}
			if i > 0 {
				time.Sleep(time.Duration(i%10) * 3 * time.Millisecond) // at different times: what comes at once leaves at once
			}
			if _, err := appendTo(t.Context(), b, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	<-reached
	close(release)
	wg.Wait()
	if most.Load() > bound {
		t.Errorf("%d in flight", most.Load())
	}
}

// A call that is larger than one PutRecords takes is cut, and keeps its order.
func TestLargeCalls(t *testing.T) {
	b, d := world(t, nil, func(o *Options) { o.MaxPutBytes = 64 << 10 })
	var data []string
	for i := range 1200 {
		data = append(data, fmt.Sprintf("%04d", i)+strings.Repeat("x", i%200))
	}
	data = append(data, strings.Repeat("y", 100<<10)) // larger than MaxPutBytes: alone
	results, err := appendTo(t.Context(), b, data...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || i > 0 && !results[i-1].Sequence.Before(r.Sequence) {
			t.Fatalf("entry %d: %+v", i, r)
		}
	}
	for _, one := range d.sent() {
		size := 0
		for _, s := range one {
			size += len(s) + 1
		}
		if len(one) > maxPutRecords || size > 64<<10 && len(one) > 1 {
			t.Errorf("a PutRecords of %d records, %d bytes", len(one), size)
		}
	}
}

func TestMemoryOfPutsIsBounded(t *testing.T) {
	release := make(chan struct{})
	b, _ := world(t, func(int, []string, http.ResponseWriter) bool { <-release; return false }, func(o *Options) { o.PutMemory = 4 << 10 })
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = appendTo(t.Context(), b, strings.Repeat("x", 3<<10)) })
	for b.memory.TryAcquire(4 << 10) { // until the first holds some
		b.memory.Release(4 << 10)
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := appendTo(ctx, b, strings.Repeat("x", 3<<10))
	wantKind(t, err, fault.Unavailable)
	close(release)
	wg.Wait()
	if _, err := appendTo(t.Context(), b, strings.Repeat("x", 30<<10)); err != nil { // one larger than all memory goes alone
		t.Error(err)
	}
}

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(5, 2)
		began := time.Now()
		for range 12 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("12 calls of which 2 at once took %v", d)
		}
		if p.try() {
			t.Error("a call more at once")
		}
		time.Sleep(time.Second)
		if got := fmt.Sprint(p.try(), p.try(), p.try()); got != "true true false" {
			t.Errorf("after a pause two at once, not %s", got)
		}
	})
}
