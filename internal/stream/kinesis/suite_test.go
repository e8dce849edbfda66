package kinesis

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	api "millrace/internal/api/kinesis"
	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
	"millrace/internal/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.UnixMilli(1_790_000_000_000)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func openLocal(t testing.TB, now func() time.Time) *local.Backend {
	t.Helper()
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := local.Open(local.Options{DB: db, IDs: ids.Seeded(1), Now: now, TrimEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// node is a Kinesis API in this process.
type node struct {
	*httptest.Server
	streams *local.Backend
	// before, if not nil, sees each request first and may answer it.
	before func(w http.ResponseWriter, r *http.Request) (answered bool)
}

func startNode(t testing.TB, c *clock) *node {
	t.Helper()
	n := &node{streams: openLocal(t, c.Now)}
	service, err := api.New(api.Options{Backend: n.streams, Account: ids.Account{Partition: "aws", ID: "000000000000", Region: "us-east-1"}, IDs: ids.Seeded(2),
		Now: c.Now, TokenKey: bytes.Repeat([]byte("k"), 32)})
	if err != nil {
		t.Fatal(err)
	}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.before != nil && n.before(w, r) {
			return
		}
		if r.Header.Get("X-Amz-Target") == "Kinesis_20131202.CreateStream" {
			c.Advance(time.Millisecond) // no two streams are of one millisecond
		}
		w.Header().Set("Date", c.Now().UTC().Format(http.TimeFormat))
		service.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		n.Close()
		_ = n.streams.Close(context.Background())
	})
	return n
}

// connect opens a backend on a node, without the pace that the service asks for.
func connect(t testing.TB, url string, c *clock, change func(*Options)) *Backend {
	t.Helper()
	o := Options{
		Region: "us-east-1", Endpoint: url, AccessKeyID: "AKIATEST", SecretAccessKey: "secret", Now: c.Now,
		ReadsPerSecond: -1, PollInterval: 5 * time.Millisecond, RefreshInterval: 50 * time.Millisecond, FollowInterval: 5 * time.Millisecond,
		Unpaced: true,
	}
	if change != nil {
		change(&o)
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestSuite(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) *streamtest.Subject {
		c := newClock()
		n := startNode(t, c)
		hidden := func(o *Options) { o.Hidden = openLocal(t, c.Now) }
		b := connect(t, n.URL, c, hidden)
		s := &streamtest.Subject{Backend: b, Advance: c.Advance}
		s.Reopen = func() stream.Backend {
			if err := b.Close(context.Background()); err != nil {
				t.Error(err)
			}
			b = connect(t, n.URL, c, hidden)
			return b
		}
		return s
	})
}
