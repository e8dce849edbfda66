package mirror

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// rough is a destination in a world where things go wrong: calls fail before or after they took effect, entries fail one
// by one, and when the mirror is dead nothing it does has an effect any more.
type rough struct {
	stream.Backend
	caps stream.Capabilities
	dead atomic.Bool

	mu    sync.Mutex
	rng   *rand.Rand
	fails int // of 100 calls
	cut   func(entries []stream.Entry) (take int, dies bool)
}

func (r *rough) Capabilities() stream.Capabilities { return r.caps }

func (r *rough) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	lost := fault.New(fault.Unavailable, "rough", name, "lost")
	if r.dead.Load() {
		return lost
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut != nil {
		if n, dies := r.cut(entries); dies {
			r.dead.Store(true)
			if n > 0 {
				if err := r.Backend.Append(ctx, name, entries[:n], results[:n]); err != nil {
					return err
				}
			}
			return lost
		}
	}
	if r.rng == nil || r.rng.IntN(100) >= r.fails {
		return r.Backend.Append(ctx, name, entries, results)
	}
	switch r.rng.IntN(4) {
	case 0:
		return fault.New(fault.Throttled, "rough", name, "not now")
	case 1:
		return lost
	case 2:
		if err := r.Backend.Append(ctx, name, entries, results); err != nil {
			return err
		}
		return lost
	}
	return r.some(ctx, name, entries, results)
}

// some writes some of the entries, and tells of some of them that they are not written, or that it does not know.
func (r *rough) some(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	stopped := -1
	for i := range entries {
		fate := r.rng.IntN(10)
		if r.caps.OrderedFailures && stopped >= 0 {
			fate = stopped // nothing behind one that was not written
		}
		if fate >= 2 && fate != 9 {
			if err := r.Backend.Append(ctx, name, entries[i:i+1], results[i:i+1]); err != nil {
				return err
			}
		}
		switch fate {
		case 0:
			results[i] = stream.Result{Err: fault.New(fault.Throttled, "rough", name, "not now")}
			stopped = 0
		case 1:
			results[i] = stream.Result{Err: fault.New(fault.Internal, "rough", name, "not written")}
			stopped = 1
		case 2:
			results[i] = stream.Result{Err: fault.New(fault.Unavailable, "rough", name, "lost, but written")}
		case 9:
			results[i] = stream.Result{Err: fault.New(fault.Unavailable, "rough", name, "lost")}
			stopped = 9
		}
	}
	return nil
}

func TestFailuresOfTheDestination(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failures(t, ordered) }) // pauses between tries cost no time
		})
	}
}

func failures(t *testing.T, ordered bool) {
	from, inner := open(t, &clock{}), open(t, &clock{})
	resharded(t, from, "orders")
	to := &rough{Backend: inner, rng: rand.New(rand.NewPCG(1, 2)), fails: 30, caps: stream.Capabilities{OrderedCalls: ordered, OrderedFailures: ordered}}
	m, err := run(t, filepath.Join(t.TempDir(), "state"), Options{From: from, To: to, RecordsPerSecond: 500, Settle: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, from, "orders", inner, "orders")
	r := m.Report()
	t.Logf("%+v", r.Run)
	if r.Run.Records != 9000 || r.Run.Copied+r.Run.Found != 9000 || r.Run.Found == 0 || r.Run.Reordered != 0 {
		t.Errorf("counts: %+v", r.Run)
	}
}

// A destination that stays away ends the mirror, with an error that says so; the rate is kept.
func TestOutageAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, inner := open(t, &clock{}), open(t, &clock{})
		create(t, from, stream.CreateStream{Name: "s"})
		write(t, from, "s", 0, 3000)
		file := filepath.Join(t.TempDir(), "state")
		away := &rough{Backend: inner, caps: inner.Capabilities()}
		away.dead.Store(true)
		began := time.Now()
		_, err := run(t, file, Options{From: from, To: away, Note: func(string) {}})
		if took := time.Since(began); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "given up after 5m") || took > 6*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
		began = time.Now()
		if _, err := run(t, file, Options{From: from, To: inner, RecordsPerSecond: 100}); err != nil {
			t.Fatal(err)
		}
		// What was on its way when the first run gave up comes at once, the rest as the rate says.
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("1000 records at 100 a second took %v", took)
		}
		wantSame(t, from, "s", inner, "s")
	})
}

// The mirror dies at every step, at several times, and is started again until it comes to its end.
func TestCrashAtEveryStep(t *testing.T) {
	steps := []string{"mirror-state-written", "mirror-state-renamed", "mirror-read", "mirror-intent", "mirror-sent", "mirror-appended", "append"}
	for _, step := range steps {
		for _, ordered := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s,ordered=%t", step, ordered), func(t *testing.T) { crashAt(t, step, ordered) })
		}
	}
}

func crashAt(t *testing.T, step string, ordered bool) {
	from, inner := open(t, &clock{}), open(t, &clock{})
	create(t, from, stream.CreateStream{Name: "s", Shards: 2})
	write(t, from, "s", 0, 400)
	reshard(t, from, "s", stream.Reshard{Count: 3})
	write(t, from, "s", 400, 600)
	file := filepath.Join(t.TempDir(), "state")
	crashes := 0
	for nth := 1; ; nth++ {
		if nth > 200 {
			t.Fatal("it does not come to its end")
		}
		to := &rough{Backend: inner, caps: stream.Capabilities{OrderedCalls: ordered, OrderedFailures: ordered}}
		left := atomic.Int64{}
		left.Store(int64(1 + nth%5))
		ctx, kill := context.WithCancel(t.Context())
		die := func(name string) bool {
			if name == step && left.Add(-1) == 0 {
				to.dead.Store(true)
				kill()
			}
			return to.dead.Load()
		}
		to.cut = func(entries []stream.Entry) (int, bool) { return len(entries) * (nth % 4) / 3, die("append") }
		o := Options{From: from, To: to, State: state(t, file), Failpoint: func(name string) {
			if die(name) {
				runtime.Goexit() // no goroutine of a mirror that is dead comes further
			}
		}}
		m := New(o)
		m.most = 40
		if mirrored(ctx, m) == nil && !to.dead.Load() {
			verified(t.Context(), t, m)
			r := m.Report()
			t.Logf("%d crashes, then %+v of %+v", crashes, r.Run, r.Streams[0].Counts)
			if c := r.Streams[0].Counts; c.Records != 600 || c.Copied+c.Found != 600 || c.Reordered != 0 || r.Problem() != "" {
				t.Errorf("counts: %+v, %s", c, r.Problem())
			}
			nth = 1 << 20
		}
		kill()
		if err := o.State.Close(); err != nil {
			t.Fatal(err)
		}
		if nth == 1<<20 {
			break
		}
		crashes++
	}
	if crashes == 0 {
		t.Error("it never crashed")
	}
	wantSame(t, from, "s", inner, "s")
}

// mirrored runs a mirror in goroutines that may all end at any time.
func mirrored(ctx context.Context, m *Mirror) error {
	err := errors.New("died")
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		e := m.Prepare(ctx)
		if e == nil {
			e = m.Run(ctx)
		}
		err = e
	}()
	wg.Wait()
	return err
}

// When the destination has lost what would tell, a person decides.
func TestDoubt(t *testing.T) {
	f := func(doubt Doubt, copied, found int64, refused bool) {
		t.Helper()
		c := &clock{}
		from, inner := open(t, &clock{}), open(t, c)
		create(t, from, stream.CreateStream{Name: "s", Retention: 48 * time.Hour})
		create(t, inner, stream.CreateStream{Name: "s", Retention: 24 * time.Hour})
		write(t, from, "s", 0, 100)
		file := filepath.Join(t.TempDir(), "state")
		to := &rough{Backend: inner, caps: inner.Capabilities()}
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		to.cut = func([]stream.Entry) (int, bool) { kill(); return 60, true }
		if _, err := runCtx(ctx, t, file, Options{From: from, To: to}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		c.ahead = 25 * time.Hour
		o := Options{From: from, To: inner, Doubt: doubt, State: state(t, file)}
		m := New(o)
		err := m.Prepare(t.Context())
		if err == nil {
			err = m.Run(t.Context())
		}
		if e := o.State.Close(); e != nil {
			t.Fatal(e)
		}
		if refused {
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "--doubt") {
				t.Errorf("%s: %v", doubt, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if r := m.Report(); r.Run.Copied != copied || r.Run.Found != found || r.Run.Assumed != 100 {
			t.Errorf("%s: %+v", doubt, r.Run)
		}
	}
	f("", 0, 0, true)
	f(DoubtStop, 0, 0, true)
	f(DoubtAgain, 100, 0, false)
	f(DoubtSkip, 0, 100, false)
}

func TestWaves(t *testing.T) {
	l := load{}
	for _, key := range strings.Split("aababcca", "") {
		l.entries = append(l.entries, stream.Entry{PartitionKey: key})
	}
	if got := l.waves(); !slices.Equal(got, []int{0, 1, 0, 2, 1, 0, 1, 3}) {
		t.Errorf("waves %v", got)
	}
}

// An entry that comes behind a later one of its key is told of: nothing can be done about it.
func TestReorderingIsCounted(t *testing.T) {
	l := &load{}
	l.fill([]stream.Record{
		{PartitionKey: []byte("k"), Data: []byte("1")}, {PartitionKey: []byte("k"), Data: []byte("2")}, {PartitionKey: []byte("j"), Data: []byte("3")},
	}, stream.HashKeyRange{})
	var digests []digest
	for i := range l.entries {
		digests = append(digests, digestOf(l.entries[i].PartitionKey, l.entries[i].Data))
	}
	p := &pipeline{}
	p.settle(l, digests, map[digest]int{digests[1]: 1, digests[2]: 1})
	if !slices.Equal(l.there, []bool{false, true, true}) || l.counts.Found != 2 || l.counts.Reordered != 1 || l.counts.Moved != 3 {
		t.Errorf("%v %+v", l.there, l.counts)
	}
}

func TestDigestsDiffer(t *testing.T) {
	if digestOf("ab", []byte("c")) == digestOf("a", []byte("bc")) {
		t.Error("key and data run into each other")
	}
}
