// Package load makes HTTP load and measures how long the answers take.
//
// It is lean on purpose: it shares the machine with what it measures. A connection
// is one goroutine that writes a prepared request and reads just enough of the
// answer to know its status and where it ends.
//
// Closed loop: each connection sends its next request when the last one has been
// answered; this finds the highest rate. Open loop: requests have due times at a
// fixed rate, and latency counts from the due time, so that a stall of the server
// is seen by all requests that it delays, not by one a connection.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Plan says what load to make.
type Plan struct {
	Addr        string // host:port, plain HTTP/1.1
	Connections int
	Begin       time.Time     // of Warmup; zero: at once
	Duration    time.Duration // measured time, after Warmup
	Warmup      time.Duration
	Rate        float64 // requests a second over all connections; 0: closed loop
	// Request gives the bytes of a connection's next request; the connection owns them until it asks for the
	// next. n counts the connection's requests.
	Request func(connection, n int) []byte
	// Due stands in the place of Request for those who put into the request when it was to be sent.
	Due func(connection, n int, due time.Time) []byte
	// Answer is given the body of each success, until the next, and counts the records in it; an error ends the
	// connection. nil: bodies are passed over.
	Answer func(connection int, body []byte) (records int, err error)
	// Records is how many records one request carries, for the report.
	Records int
}

// Report is what came of it.
type Report struct {
	Requests uint64 // answered in the measured time
	Elapsed  time.Duration
	Status   map[int]uint64
	Errors   uint64 // connections that broke
	LastErr  error
	Latency  Histogram
	Records  int    // that one request carries
	Read     uint64 // records that came back, as Plan.Answer counts them
}

// Rate is answered requests a second.
func (r *Report) Rate() float64 {
	if r.Elapsed == 0 {
		return 0
	}
	return float64(r.Requests) / r.Elapsed.Seconds()
}

// RecordRate is records a second: those that came back, else those that the answered requests carried.
func (r *Report) RecordRate() float64 {
	if r.Read > 0 {
		return float64(r.Read) / r.Elapsed.Seconds()
	}
	return r.Rate() * float64(r.Records)
}

// OK counts answers with a status of 2xx.
func (r *Report) OK() uint64 {
	var n uint64
	for status, c := range r.Status {
		if status/100 == 2 {
			n += c
		}
	}
	return n
}

// String prints the report in a few lines.
func (r *Report) String() string {
	s := fmt.Sprintf("%d requests in %.1f s: %.0f requests/s", r.Requests, r.Elapsed.Seconds(), r.Rate())
	if r.Records > 1 || r.Read > 0 {
		s += fmt.Sprintf(", %.0f records/s", r.RecordRate())
	}
	s += fmt.Sprintf("\nlatency p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\nstatus",
		short(r.Latency.Quantile(.5)), short(r.Latency.Quantile(.9)), short(r.Latency.Quantile(.99)),
		short(r.Latency.Quantile(.999)), short(r.Latency.Max()))
	for status := 100; status < 600; status++ {
		if c := r.Status[status]; c > 0 {
			s += fmt.Sprintf(" %d: %d", status, c)
		}
	}
	if r.Errors > 0 {
		s += fmt.Sprintf("\n%d connections broke, last: %v", r.Errors, r.LastErr)
	}
	return s
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0fms", float64(d)/1e6)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%dus", d.Microseconds())
	}
}

// Run makes the load until its time is over or ctx ends. It fails only when no connection can be made.
func Run(ctx context.Context, p Plan) (*Report, error) {
	if p.Connections < 1 || p.Duration <= 0 || p.Request == nil && p.Due == nil {
		return nil, errors.New("load: a plan needs connections, a duration and requests")
	}
	begin := p.Begin
	if begin.IsZero() {
		begin = time.Now()
	}
	measured := begin.Add(p.Warmup)
	end := measured.Add(p.Duration)
	workers := make([]*worker, p.Connections)
	var wg sync.WaitGroup
	for i := range workers {
		w := &worker{plan: &p, index: i, status: map[int]uint64{}, measured: measured, end: end}
		if p.Rate > 0 {
			w.interval = time.Duration(float64(p.Connections) / p.Rate * 1e9)
			w.due = begin.Add(w.interval * time.Duration(i) / time.Duration(p.Connections))
		}
		workers[i] = w
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
	r := &Report{Status: map[int]uint64{}, Records: p.Records, Elapsed: time.Since(measured)}
	if r.Elapsed > p.Duration {
		r.Elapsed = p.Duration
	}
	for _, w := range workers {
		r.Latency.Merge(&w.latency)
		r.Errors += w.errors
		r.Read += w.read
		if w.err != nil {
			r.LastErr = w.err
		}
		for status, c := range w.status {
			r.Status[status] += c
			r.Requests += c
		}
	}
	if r.Requests == 0 && r.LastErr != nil {
		return r, fmt.Errorf("load on %s: %w", p.Addr, r.LastErr)
	}
	return r, nil
}

type worker struct {
	plan          *Plan
	index         int
	measured, end time.Time
	interval      time.Duration
	due           time.Time

	latency Histogram
	status  map[int]uint64
	read    uint64
	body    []byte
	errors  uint64
	err     error
}

// reconnectPause keeps a server that refuses connections from being hammered.
const reconnectPause = 50 * time.Millisecond

func (w *worker) run(ctx context.Context) {
	for n := 0; time.Now().Before(w.end) && ctx.Err() == nil; {
		sent, err := w.connection(ctx, n)
		n += sent
		if err != nil {
			w.errors++
			w.err = err
			time.Sleep(reconnectPause)
		}
	}
}

// connection sends requests over one connection until it breaks or the time is over.
func (w *worker) connection(ctx context.Context, n int) (sent int, err error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", w.plan.Addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	// An answer later than this is no answer: the run must end.
	if err := conn.SetDeadline(w.end.Add(30 * time.Second)); err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(conn, 16<<10)
	for {
		start := time.Now()
		if w.interval > 0 {
			if wait := w.due.Sub(start); wait > 0 {
				time.Sleep(wait)
			}
			start = w.due
			w.due = w.due.Add(w.interval)
		}
		if !start.Before(w.end) || ctx.Err() != nil {
			return sent, nil
		}
		if _, err := conn.Write(w.request(n+sent, start)); err != nil {
			return sent, err
		}
		sent++
		h, records, err := w.answer(in)
		if err != nil {
			return sent, err
		}
		if !start.Before(w.measured) {
			now := time.Now()
			if now.Before(w.end) || w.interval > 0 {
				w.latency.Record(now.Sub(start))
				w.status[h.status]++
				w.read += uint64(records)
			}
		}
		if !h.keep {
			return sent, nil
		}
	}
}

func (w *worker) request(n int, due time.Time) []byte {
	if w.plan.Due != nil {
		return w.plan.Due(w.index, n, due)
	}
	return w.plan.Request(w.index, n)
}

// answer reads one answer, and what the plan wants to know of it.
func (w *worker) answer(in *bufio.Reader) (h head, records int, err error) {
	if h, err = readHead(in); err != nil {
		return h, 0, err
	}
	if w.plan.Answer == nil || h.status/100 != 2 {
		return h, 0, h.discard(in)
	}
	if w.body, err = h.body(in, w.body[:0], maxAnswer); err != nil {
		return h, 0, err
	}
	records, err = w.plan.Answer(w.index, w.body)
	return h, records, err
}

// maxAnswer bounds an answer whose body is wanted: 10 MB of records in base64, and room.
const maxAnswer = 32 << 20

// head is what an answer says of itself.
type head struct {
	status  int
	keep    bool // the connection goes on
	length  int64
	chunked bool
}

// readHead reads an answer up to its body.
func readHead(in *bufio.Reader) (h head, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, fmt.Errorf("answer begins with %.40q", line)
	}
	h.keep = line[7] == '1'
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("status %q", line[9:12])
	}
	for {
		line, err = in.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == 14 && bytes.EqualFold(name, []byte("Content-Length")):
			if h.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return h, err
			}
		case len(name) == 17 && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.chunked = true
		case len(name) == 10 && bytes.EqualFold(name, []byte("Connection")):
			h.keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
}

// discard passes over the body.
func (h *head) discard(in *bufio.Reader) error {
	if !h.chunked {
		_, err := in.Discard(int(h.length))
		return err
	}
	return chunks(in, func(size int) error {
		_, err := in.Discard(size)
		return err
	})
}

// body appends the body to dst; of more than limit bytes it is ErrTooLong.
func (h *head) body(in *bufio.Reader, dst []byte, limit int) ([]byte, error) {
	take := func(size int) error {
		if size > limit-len(dst) {
			return ErrTooLong
		}
		at := len(dst)
		dst = slices.Grow(dst, size)[:at+size]
		_, err := io.ReadFull(in, dst[at:])
		return err
	}
	if h.chunked {
		err := chunks(in, take)
		return dst, err
	}
	err := take(int(h.length))
	return dst, err
}

// chunks lets take read each chunk of a body.
func chunks(in *bufio.Reader, take func(size int) error) error {
	for {
		size, err := chunk(in)
		if err != nil {
			return err
		}
		if err := take(size); err != nil {
			return err
		}
		if _, err := in.Discard(2); err != nil || size == 0 {
			return err
		}
	}
}

// chunk reads the line that begins a chunk.
func chunk(in *bufio.Reader) (size int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
	return int(n), err
}

// Answer is one whole answer, for callers that need the body.
type Answer struct {
	Status int
	Body   []byte
}

// ErrTooLong says that a body is larger than the caller allowed.
var ErrTooLong = errors.New("answer is too long")

// ReadBody reads an answer with its body, of at most limit bytes.
func ReadBody(in *bufio.Reader, limit int64) (Answer, error) {
	h, err := readHead(in)
	if err != nil {
		return Answer{}, err
	}
	body, err := h.body(in, nil, int(limit))
	return Answer{h.status, body}, err
}
