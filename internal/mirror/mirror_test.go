package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock can be moved.
type clock struct{ ahead time.Duration }

func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

func open(t *testing.T, c *clock) stream.Backend {
	t.Helper()
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := local.Open(local.Options{DB: db, IDs: ids.New(), Now: c.now})
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

func create(t *testing.T, b stream.Backend, spec stream.CreateStream) {
	t.Helper()
	if _, err := b.CreateStream(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

func reshard(t *testing.T, b stream.Backend, name string, change stream.Reshard) {
	t.Helper()
	if _, err := b.Reshard(t.Context(), name, change); err != nil {
		t.Fatal(err)
	}
}

// write appends records of some keys: data tells key and count, so that order shows. Every third is the same as others.
func write(t *testing.T, b stream.Backend, name string, from, to int) {
	t.Helper()
	for at := from; at < to; at += 100 {
		var entries []stream.Entry
		for i := at; i < min(at+100, to); i++ {
			key := fmt.Sprintf("key-%d", i%17)
			data := fmt.Sprintf("%s/%06d", key, i)
			if i%3 == 0 {
				data = key + "/again"
			}
			entries = append(entries, stream.Entry{PartitionKey: key, Data: []byte(data)})
		}
		results := make([]stream.Result, len(entries))
		if err := b.Append(t.Context(), name, entries, results); err != nil {
			t.Fatal(err)
		}
	}
}

// read gives the data of each key in order, parents before children.
func read(t *testing.T, b stream.Backend, name string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	s, ok := b.Stream(name)
	if !ok {
		t.Fatalf("there is no stream %s", name)
	}
	for _, sh := range s.Shards {
		ref := stream.ShardRef{Stream: name, ID: s.ID, Shard: sh.Index}
		tip, err := b.Tip(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		w := walk{from: b, ref: ref, limit: limit{tip, true}}
		err = w.run(t.Context(), func(r *stream.Record) bool {
			all[string(r.PartitionKey)] = append(all[string(r.PartitionKey)], string(r.Data))
			return false
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func wantSame(t *testing.T, from stream.Backend, src string, to stream.Backend, dst string) {
	t.Helper()
	want, got := read(t, from, src), read(t, to, dst)
	for key := range want {
		if !slices.Equal(want[key], got[key]) {
			t.Errorf("%s: the source has %d records, the destination %d, or in another order", key, len(want[key]), len(got[key]))
		}
	}
	if len(want) != len(got) {
		t.Errorf("the source has %d keys, the destination %d", len(want), len(got))
	}
}

func state(t *testing.T, file string) *State {
	t.Helper()
	s, err := OpenState(file, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run mirrors once, and closes the state.
func run(t *testing.T, file string, o Options) (*Mirror, error) {
	t.Helper()
	return runCtx(t.Context(), t, file, o)
}

func runCtx(ctx context.Context, t *testing.T, file string, o Options) (*Mirror, error) {
	t.Helper()
	o.State = state(t, file)
	defer func() {
		if err := o.State.Close(); err != nil {
			t.Error(err)
		}
	}()
	if o.Note == nil {
		o.Note = func(text string) { t.Log(text) }
	}
	m := New(o)
	if err := m.Prepare(ctx); err != nil {
		return m, err
	}
	err := m.Run(ctx)
	r := m.Report()
	if p := r.Problem(); p != "" {
		t.Error(p)
	}
	if err == nil {
		verified(ctx, t, m)
	}
	return m, err
}

func verified(ctx context.Context, t *testing.T, m *Mirror) {
	t.Helper()
	all, err := m.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if len(v.Problems) > 0 {
			t.Errorf("%s to %s: %v", v.From, v.To, v.Problems)
		}
	}
}

// resharded makes a stream whose shards were split and merged between records.
func resharded(t *testing.T, b stream.Backend, name string) {
	t.Helper()
	create(t, b, stream.CreateStream{
		Name: name, Shards: 2, Retention: 48 * time.Hour, MaxRecordBytes: 2 << 20,
		Tags: map[string]string{"team": "web", "aws:cloudformation:stack-name": "x"},
	})
	write(t, b, name, 0, 5000)
	reshard(t, b, name, stream.Reshard{Count: 4})
	write(t, b, name, 5000, 7000)
	reshard(t, b, name, stream.Reshard{Count: 3})
	write(t, b, name, 7000, 9000)
}

func TestCopiesAllInOrder(t *testing.T) {
	from, to := open(t, &clock{}), open(t, &clock{})
	resharded(t, from, "orders")
	create(t, from, stream.CreateStream{Name: "empty", Mode: stream.OnDemand})
	create(t, from, stream.CreateStream{Name: "~hidden"})
	file := filepath.Join(t.TempDir(), "state")
	m, err := run(t, file, Options{From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, from, "orders", to, "orders")
	got, _ := to.Stream("orders")
	if got.OpenShards() != 3 || got.Retention != 48*time.Hour || got.MaxRecordBytes != 2<<20 || !maps.Equal(got.Tags, map[string]string{"team": "web"}) {
		t.Errorf("the destination's stream: %+v", got)
	}
	if got, ok := to.Stream("empty"); !ok || got.Mode != stream.OnDemand {
		t.Errorf("the empty stream: %+v", got)
	}
	if _, ok := to.Stream("~hidden"); ok {
		t.Error("a hidden stream was copied")
	}
	r := m.Report()
	if r.Run.Records != 9000 || r.Run.Copied != 9000 || r.Run.Found != 0 {
		t.Errorf("counts: %+v", r.Run)
	}
	if p := m.Progress(); p.Done != p.Shards || p.Left != 0 || p.Run.Records != 9000 {
		t.Errorf("progress: %+v", p)
	}

	// Again: only what is new.
	write(t, from, "orders", 9000, 9500)
	reshard(t, from, "orders", stream.Reshard{Count: 2})
	write(t, from, "orders", 9500, 9600)
	reshard(t, to, "orders", stream.Reshard{Count: 5})
	if m, err = run(t, file, Options{From: from, To: to}); err != nil {
		t.Fatal(err)
	}
	wantSame(t, from, "orders", to, "orders")
	if r := m.Report(); r.Run.Records != 600 || r.Streams[1].Records != 9600 {
		t.Errorf("counts of the second run: %+v", r)
	}
}

func TestRenamesAndAppendsToWhatExists(t *testing.T) {
	b := open(t, &clock{})
	create(t, b, stream.CreateStream{Name: "a", Shards: 2})
	write(t, b, "a", 0, 100)
	create(t, b, stream.CreateStream{Name: "b"})
	write(t, b, "b", 0, 10)
	m, err := run(t, filepath.Join(t.TempDir(), "state"), Options{From: b, To: b, Pairs: []Pair{{"a", "b"}, {"a", "c"}}})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, b, "a", b, "c")
	if r := m.Report(); r.Run.Records != 200 {
		t.Errorf("counts: %+v", r.Run)
	}
}

func TestStarts(t *testing.T) {
	c := &clock{}
	from := open(t, c)
	create(t, from, stream.CreateStream{Name: "s", Shards: 2})
	write(t, from, "s", 0, 100)
	reshard(t, from, "s", stream.Reshard{Count: 3})
	c.ahead = time.Hour
	at := c.now()
	write(t, from, "s", 100, 130)
	f := func(start Start, want int64) {
		t.Helper()
		to, file := open(t, &clock{}), filepath.Join(t.TempDir(), "state")
		m, err := run(t, file, Options{From: from, To: to, Start: start})
		if err != nil {
			t.Fatal(err)
		}
		if r := m.Report(); r.Run.Records != want {
			t.Errorf("from %v: %+v; want %d records", start, r.Run, want)
		}
		tip, _ := from.Stream("s")
		_ = tip
	}
	f(Start{}, 130)
	f(Start{At: at}, 30)
	f(Start{Latest: true}, 0)

	// What comes after the latest record is copied by the next run.
	to, file := open(t, &clock{}), filepath.Join(t.TempDir(), "state")
	if _, err := run(t, file, Options{From: from, To: to, Start: Start{Latest: true}}); err != nil {
		t.Fatal(err)
	}
	write(t, from, "s", 130, 150)
	m, err := run(t, file, Options{From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Report(); r.Run.Records != 20 {
		t.Errorf("after the latest: %+v", r.Run)
	}
}

func TestFollowsUntilStopped(t *testing.T) {
	from, to := open(t, &clock{}), open(t, &clock{})
	create(t, from, stream.CreateStream{Name: "s", Shards: 2})
	write(t, from, "s", 0, 100)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	file := filepath.Join(t.TempDir(), "state")
	st := state(t, file)
	m := New(Options{From: from, To: to, State: st, Follow: true})
	if err := m.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	await := func(n int64) {
		t.Helper()
		for began := time.Now(); m.Progress().Run.Records < n; time.Sleep(time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%+v; want %d records", m.Progress(), n)
			}
		}
	}
	await(100)
	write(t, from, "s", 100, 200)
	await(200)
	reshard(t, from, "s", stream.Reshard{Count: 5})
	write(t, from, "s", 200, 300)
	await(300)
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	verified(t.Context(), t, m)
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	wantSame(t, from, "s", to, "s")

	write(t, from, "s", 300, 350)
	if _, err := run(t, file, Options{From: from, To: to}); err != nil {
		t.Fatal(err)
	}
	wantSame(t, from, "s", to, "s")
}

func TestRefuses(t *testing.T) {
	from, to := open(t, &clock{}), open(t, &clock{})
	f := func(o Options, kind fault.Kind, text string) {
		t.Helper()
		o.From, o.To = from, to
		_, err := run(t, filepath.Join(t.TempDir(), "state"), o)
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v; want kind %v, %q", o.Pairs, err, kind, text)
		}
	}
	f(Options{}, fault.NotFound, "no streams")
	create(t, from, stream.CreateStream{Name: "a"})
	create(t, from, stream.CreateStream{Name: "b"})
	f(Options{Pairs: []Pair{{"x", "x"}}}, fault.NotFound, "it has a, b")
	f(Options{Pairs: []Pair{{"a", "c"}, {"b", "c"}}}, fault.Invalid, "both a and b")
	f(Options{Pairs: []Pair{{"~a", "c"}}}, fault.Invalid, "hidden")
	big := stream.Entry{PartitionKey: "k", Data: make([]byte, 100)}
	if err := from.Append(t.Context(), "a", []stream.Entry{big}, make([]stream.Result, 1)); err != nil {
		t.Fatal(err)
	}
	create(t, to, stream.CreateStream{Name: "small", MaxRecordBytes: 99})
	f(Options{Pairs: []Pair{{"a", "small"}}}, fault.Invalid, "has 100 bytes; the destination takes 99")
}

func TestRefusesAnotherIncarnation(t *testing.T) {
	from, to := open(t, &clock{}), open(t, &clock{})
	create(t, from, stream.CreateStream{Name: "a"})
	file := filepath.Join(t.TempDir(), "state")
	if _, err := run(t, file, Options{From: from, To: to}); err != nil {
		t.Fatal(err)
	}
	for _, side := range []struct {
		name string
		b    stream.Backend
	}{{"destination", to}, {"source", from}} {
		if err := side.b.DeleteStream(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		create(t, side.b, stream.CreateStream{Name: "a"})
		if _, err := run(t, file, Options{From: from, To: to}); !fault.Is(err, fault.InUse) || !strings.Contains(err.Error(), "the "+side.name+"'s stream") {
			t.Errorf("another %s: %v", side.name, err)
		}
	}
}

// What retention takes before it is read is counted, and the counts add up.
func TestGoneRecordsAreCounted(t *testing.T) {
	c := &clock{}
	from, to := open(t, c), open(t, &clock{})
	create(t, from, stream.CreateStream{Name: "s"})
	write(t, from, "s", 0, 100)
	file := filepath.Join(t.TempDir(), "state")
	if _, err := run(t, file, Options{From: from, To: to}); err != nil {
		t.Fatal(err)
	}
	write(t, from, "s", 100, 150)
	c.ahead = 25 * time.Hour
	write(t, from, "s", 150, 170)
	o := Options{From: from, To: to, State: state(t, file)}
	m := New(o)
	if err := errors.Join(m.Prepare(t.Context()), m.Run(t.Context()), o.State.Close()); err != nil {
		t.Fatal(err)
	}
	r := m.Report()
	if r.Run.Records != 20 || r.Run.Gone != 50 || r.Problem() != "" {
		t.Errorf("%+v %s", r.Run, r.Problem())
	}
	all, err := m.Verify(t.Context())
	if err != nil || len(all[0].Problems) == 0 || !strings.Contains(all[0].Problems[0], "100 records") {
		t.Errorf("verified %+v, %v", all, err)
	}
}

func TestVerifyFindsDifferences(t *testing.T) {
	from, to := open(t, &clock{}), open(t, &clock{})
	create(t, from, stream.CreateStream{Name: "s"})
	write(t, from, "s", 0, 1000)
	st := state(t, filepath.Join(t.TempDir(), "state"))
	m := New(Options{From: from, To: to, State: st})
	if err := errors.Join(m.Prepare(t.Context()), m.Run(t.Context()), st.Close()); err != nil {
		t.Fatal(err)
	}
	verified(t.Context(), t, m)
	f := func(what, want string) {
		t.Helper()
		all, err := m.Verify(t.Context())
		if err != nil || !strings.Contains(strings.Join(all[0].Problems, "; "), want) {
			t.Errorf("%s: %+v, %v", what, all, err)
		}
	}
	write(t, to, "s", 0, 1)
	f("one more at the destination", "the destination 1001")

	// The same records in another order.
	swapped := open(t, &clock{})
	create(t, swapped, stream.CreateStream{Name: "s"})
	write(t, swapped, "s", 500, 1000)
	write(t, swapped, "s", 0, 500)
	def, _ := swapped.Stream("s")
	m.opts.To = swapped
	m.streams[0].toID = def.ID
	m.streams[0].doc.Places = places{0: stream.SequenceNumber{}}
	f("another order", "same order")
}

func TestVerifyBoundsItsKeys(t *testing.T) {
	a := account{keys: map[uint64]*chain{}}
	for i := range 3 * verifyKeys {
		a.take(&stream.Record{PartitionKey: fmt.Appendf(nil, "%d", i)}, 0, nil)
	}
	if n := len(a.keys); n > verifyKeys || n < verifyKeys/8 || a.Records != 3*verifyKeys || a.mask == 0 {
		t.Errorf("%d keys of %d are kept, mask %x", n, a.Records, a.mask)
	}
	for key := range a.keys {
		if key&a.mask != 0 {
			t.Fatalf("key %x does not belong to the share of mask %x", key, a.mask)
		}
	}
}

func TestPacerKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer{rate: 1000}
		began := time.Now()
		for range 20 {
			if err := p.take(t.Context(), p.portion(2000)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 9500*time.Millisecond { // the first at once, each worth half a second
			t.Errorf("20 portions of half a second took %v", took)
		}
		time.Sleep(time.Hour)
		began = time.Now()
		for range 3 {
			if err := p.take(t.Context(), 1000); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("after idle time: %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.take(ctx, 1); err == nil {
			t.Error("an end of the context was not seen")
		}
		none := pacer{}
		if none.portion(7) != 7 || none.take(t.Context(), 1<<30) != nil {
			t.Error("no rate is no bound")
		}
	})
}

func TestStateIsChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	s := state(t, file)
	if _, err := OpenState(file, "a", "b"); !fault.Is(err, fault.InUse) {
		t.Errorf("a second process: %v", err)
	}
	s.SetNote("x", []byte("y"))
	nothing := func(string) {}
	if err := errors.Join(s.save(nothing), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s = state(t, file); string(s.Note("x")) != "y" || s.Resumes() {
		t.Errorf("read back: %+v", s.doc)
	}
	text, _ := encodeState(&s.doc)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(file, "a", "c"); !fault.Is(err, fault.Invalid) {
		t.Errorf("other endpoints: %v", err)
	}
	f := func(what string, text []byte, kind fault.Kind) {
		t.Helper()
		if _, err := decodeState(text); !fault.Is(err, kind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f("nothing", nil, fault.Corrupt)
	f("another file", []byte("hello\n"), fault.Corrupt)
	f("cut off", text[:len(text)-1], fault.Corrupt)
	f("a later version", []byte(strings.Replace(string(text), " 1 ", " 2 ", 1)), fault.Unsupported)
	f("no shards", mustEncode(t, &stateDoc{Streams: map[string]*streamDoc{"a=b": {}}}), fault.Corrupt)
	for i := range text {
		changed := slices.Clone(text)
		changed[i] ^= 1
		if doc, err := decodeState(changed); err == nil {
			t.Errorf("byte %d changed: %+v", i, doc)
		}
	}
}

func mustEncode(t *testing.T, doc *stateDoc) []byte {
	t.Helper()
	text, err := encodeState(doc)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
