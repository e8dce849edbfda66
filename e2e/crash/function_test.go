package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// outside is what delivery streams talk to that is no part of the node: a function and an HTTP endpoint. It lives as long as
// the test, while nodes come and go.
type outside struct {
	*httptest.Server
	moody moody
	hook  hook
	calm  atomic.Bool // nothing fails, so that all can be delivered
}

func newOutside(t testing.TB, seed uint64) *outside {
	o := &outside{}
	o.moody.seed, o.moody.calm = seed, &o.calm
	o.hook.rng, o.hook.calm, o.hook.taken = rand.New(rand.NewPCG(seed, 2)), &o.calm, map[string]*batch{}
	mux := http.NewServeMux()
	mux.Handle("POST /function", &o.moody)
	mux.Handle("POST /hook", &o.hook)
	mux.Handle("POST /moody-hook", &o.hook)
	o.Server = httptest.NewServer(mux) // at a free port of 127.0.0.1
	t.Cleanup(func() {
		o.calm.Store(true)
		o.CloseClientConnections()
		o.Close()
	})
	return o
}

// moody is a function that answers differently each time it is asked. What it says of a record follows from the number of
// the call, which it puts into its answer: so it can be told later whether it has said so.
type moody struct {
	seed  uint64
	calls atomic.Int64
	calm  *atomic.Bool
}

// hangMost is the longest time that the function hangs.
const hangMost = 4 * time.Second

// outcome is what a call says of a record: Ok with a mood, Dropped or ProcessingFailed.
func (m *moody) outcome(call, id, s int) (result, mood string) {
	rng := rand.New(rand.NewPCG(m.seed^uint64(call), uint64(id)<<2|uint64(s)))
	switch n := rng.IntN(10); {
	case n == 0 && id%3 == 0: // of the others nothing is dropped, so that what is lost can be told
		return "Dropped", ""
	case n == 1:
		return "ProcessingFailed", ""
	}
	return "Ok", fmt.Sprint("m", rng.IntN(3))
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var event struct {
		Records []struct {
			RecordID string `json:"recordId"`
			Data     []byte `json:"data"`
		} `json:"records"`
	}
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	call := int(m.calls.Add(1))
	rng := rand.New(rand.NewPCG(m.seed, uint64(call)))
	if n := rng.IntN(100); !m.calm.Load() && n < 8 {
		if n < 3 {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Duration(rng.Int64N(int64(hangMost)))):
			}
			panic(http.ErrAbortHandler)
		}
		http.Error(w, "not now", http.StatusInternalServerError)
		return
	}
	type answer struct {
		RecordID string `json:"recordId"`
		Result   string `json:"result"`
		Data     []byte `json:"data"`
		Metadata any    `json:"metadata,omitempty"`
	}
	answers := make([]answer, 0, len(event.Records))
	for _, record := range event.Records {
		id, s, ok := identify(record.Data)
		if !ok {
			http.Error(w, fmt.Sprintf("a record that nobody sent: %.100q", record.Data), http.StatusBadRequest)
			return
		}
		a := answer{RecordID: record.RecordID, Data: record.Data}
		var mood string
		if a.Result, mood = m.outcome(call, id, s); a.Result == "Ok" {
			a.Data = []byte(withMood(string(record.Data), mood, call))
			a.Metadata = map[string]any{"partitionKeys": map[string]string{"mood": mood}}
		}
		answers = append(answers, a)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"records": answers}) // a node that was killed does not read it
}

// withMood is what the function makes of a document; of what is broken nothing.
func withMood(text, mood string, call int) string {
	if at := strings.LastIndexByte(text, '}'); at >= 0 {
		return text[:at] + fmt.Sprintf(`,"mood":"%s","call":%d}`, mood, call) + text[at+1:]
	}
	return text
}

// hook is an HTTP endpoint that is out of order at times, for longer than delivery streams try. It keeps what it has said yes
// to, once for each request id; who asks again is told so at any time.
type hook struct {
	calm *atomic.Bool

	mu      sync.Mutex
	rng     *rand.Rand
	taken   map[string]*batch
	order   []*batch
	down    bool
	until   time.Time // when that changes
	refused int
	again   int // requests that were taken before
	odd     []string
}

// batch is a request that was taken.
type batch struct {
	path, id string
	records  [][]byte
}

// Times of the endpoint's.
const (
	hookUp   = 5 * time.Second
	hookDown = 7 * time.Second
)

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var request struct {
		RequestID string `json:"requestId"`
		Timestamp int64  `json:"timestamp"`
		Records   []struct {
			Data []byte `json:"data"`
		} `json:"records"`
	}
	if err := json.Unmarshal(body, &request); err != nil || request.RequestID == "" {
		http.Error(w, fmt.Sprint("no request: ", err), http.StatusBadRequest)
		return
	}
	b := &batch{path: r.URL.Path, id: request.RequestID}
	for i := range request.Records {
		b.records = append(b.records, request.Records[i].Data)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	have := h.taken[b.id]
	switch {
	case have != nil:
		h.again++
		if have.path != b.path || !same(have.records, b.records) {
			h.odd = append(h.odd, fmt.Sprintf("request %s to %s holds other records the second time: %d, and %d before", b.id, b.path, len(b.records), len(have.records)))
		}
	case h.isDown():
		h.refused++
		if h.rng.IntN(2) == 0 {
			panic(http.ErrAbortHandler)
		}
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	default:
		h.taken[b.id], h.order = b, append(h.order, b)
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"requestId":%q,"timestamp":%d}`, b.id, time.Now().UnixMilli())
}

// isDown tells whether it is out of order now. The caller holds mu.
func (h *hook) isDown() bool {
	if h.calm.Load() {
		return false
	}
	if now := time.Now(); now.After(h.until) {
		h.down = !h.down
		most := hookUp
		if h.down {
			most = hookDown
		}
		h.until = now.Add(time.Duration(h.rng.Int64N(int64(most))))
	}
	return h.down
}

func same(x, y [][]byte) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if string(x[i]) != string(y[i]) {
			return false
		}
	}
	return true
}

// hookBytes bounds a request of the endpoint's.
const hookBytes = 128 << 20

func readBody(r *http.Request) ([]byte, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		gz, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = gz
	}
	return io.ReadAll(io.LimitReader(body, hookBytes))
}
