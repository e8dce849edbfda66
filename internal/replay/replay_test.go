package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store with conditional puts.
type memory struct {
	mu      sync.Mutex
	objects map[string]object.Object
	count   int
	fail    func() error // of puts; nil: none fails
}

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

func (m *memory) Put(_ context.Context, bucket, key string, r io.Reader, _ int64, opts object.PutOptions) (object.Info, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return object.Info{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(); err != nil {
			return object.Info{}, err
		}
	}
	have, ok := m.objects[key]
	if opts.IfNoneMatch == "*" && ok || opts.IfMatch != "" && opts.IfMatch != have.ETag {
		return object.Info{}, fault.New(fault.PreconditionFailed, "memory.Put", key, "differs")
	}
	m.count++
	info := object.Info{Bucket: bucket, Key: key, Size: int64(len(data)), ETag: fmt.Sprint(m.count), Modified: time.Now(), Attributes: opts.Attributes}
	m.objects[key] = object.Object{Info: info, Body: body{bytes.NewReader(data)}}
	return info, nil
}

func (m *memory) Get(_ context.Context, _, key string) (*object.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "memory.Get", key, "is not there")
	}
	data := make([]byte, o.Size)
	if _, err := o.Body.ReadAt(data, 0); err != nil && err != io.EOF {
		return nil, err
	}
	o.Body = body{bytes.NewReader(data)}
	return &o, nil
}

func (m *memory) Head(ctx context.Context, bucket, key string) (object.Info, error) {
	o, err := m.Get(ctx, bucket, key)
	if err != nil {
		return object.Info{}, err
	}
	return o.Info, nil
}

func (m *memory) List(_ context.Context, _ string, opts object.ListOptions) (object.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.objects {
		if strings.HasPrefix(key, opts.Prefix) && key > opts.After {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var page object.Page
	for _, key := range keys {
		if len(page.Objects) == 3 { // pages are small, so that there are several
			page.Truncated, page.Next = true, page.Objects[2].Key
			break
		}
		page.Objects = append(page.Objects, m.objects[key].Info)
	}
	return page, nil
}

func (m *memory) put(t *testing.T, key, text string) {
	t.Helper()
	if _, err := m.Put(t.Context(), "events", key, strings.NewReader(text), int64(len(text)), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func backend(t *testing.T, shards int) stream.Backend {
	t.Helper()
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := local.Open(local.Options{DB: db, IDs: ids.New(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s", Shards: shards}); err != nil {
		t.Fatal(err)
	}
	return b
}

// all gives the records of the stream, shard by shard, parents before children.
func all(t *testing.T, b stream.Backend) []string {
	t.Helper()
	st, _ := b.Stream("s")
	var out []string
	for i := range st.Shards {
		ref := stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: st.Shards[i].Index}
		batch := new(stream.Batch)
		for at := st.Shards[i].First; ; at = batch.Next {
			if err := b.Read(t.Context(), stream.ReadRequest{Shard: ref, From: at, MaxRecords: 1000, MaxBytes: 1 << 20}, batch); err != nil {
				t.Fatal(err)
			}
			if len(batch.Records) == 0 {
				break
			}
			for _, r := range batch.Records {
				out = append(out, string(r.Data))
			}
		}
	}
	return out
}

var lines = Split{Kind: Delimited, Delimiter: []byte("\n")}

func run(t *testing.T, o Options) (Progress, error) {
	t.Helper()
	if o.Bucket == "" {
		o.Bucket = "events"
	}
	o.Into = "s"
	o.Now = time.Now
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r.Run(t.Context())
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// What lies in objects is in the stream once, in the order of keys, however often the replay is run.
func TestReplayIsIdempotent(t *testing.T) {
	m, b := &memory{objects: map[string]object.Object{}}, backend(t, 1)
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	fmt.Fprint(zw, "c1\nc2\n")
	zw.Close()
	m.put(t, "in/a", "a1\na2\n\na3")
	m.put(t, "in/c.gz", zipped.String())
	m.put(t, "in/b", "b1\n")
	m.put(t, "in/"+strings.Repeat("d", 950), "d1\n")
	m.put(t, "out/x", "x1\n")
	m.put(t, "in/p.parquet", "PAR1...")
	o := Options{Store: m, Stream: b, Prefix: "in/", Split: lines}
	dry := o
	dry.DryRun = true
	p, err := run(t, dry)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a dry run", fmt.Sprint(p.Objects, p.Before, p.Failed, p.Records), "4 0 1 7")
	equal(t, "records after it", len(all(t, b)), 0)
	var problems []string
	o.Report = func(p Progress) {
		if p.Problem != "" {
			problems = append(problems, p.Object+": "+p.Problem)
		}
	}
	p, err = run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the first run", fmt.Sprint(p.Objects, p.Before, p.Failed, p.Records, p.Found, p.Bytes), "4 0 1 7 0 14")
	const want = "a1 a2 a3 b1 c1 c2 d1"
	equal(t, "records", strings.Join(all(t, b), " "), want)
	if len(problems) != 1 || !strings.Contains(problems[0], "Parquet") {
		t.Errorf("problems %q", problems)
	}
	p, err = run(t, o)
	equal(t, "the second run", fmt.Sprint(p.Objects, p.Before, p.Failed, p.Records, err), "0 4 1 0 <nil>")
	equal(t, "records", strings.Join(all(t, b), " "), want)

	m.put(t, "in/e", "e1\n")
	o.Prefix = "" // a range that overlaps, and what is replayed knows it
	p, err = run(t, o)
	equal(t, "a wider run", fmt.Sprint(p.Objects, p.Before, p.Records, err), "2 4 2 <nil>")
	equal(t, "records", strings.Join(all(t, b), " "), want+" e1 x1")

	m.put(t, "in/a", "another")
	p, err = run(t, o)
	equal(t, "one that was replaced", fmt.Sprint(p.Objects, p.Before, p.Failed, err), "0 5 2 <nil>")
	o.Name, o.Prefix = "again", "in/b"
	p, err = run(t, o)
	equal(t, "another name", fmt.Sprint(p.Objects, p.Records, err), "1 1 <nil>")
}

func TestReplayWithinATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, b := &memory{objects: map[string]object.Object{}}, backend(t, 1)
		for i := range 5 {
			m.put(t, fmt.Sprint("k", i), fmt.Sprintf("%d\n", i))
			time.Sleep(time.Hour)
		}
		began := time.Now().Add(-5 * time.Hour)
		p, err := run(t, Options{Store: m, Stream: b, Split: lines, From: began.Add(time.Hour), To: began.Add(3 * time.Hour)})
		equal(t, "run", fmt.Sprint(p.Objects, err), "2 <nil>")
		equal(t, "records", strings.Join(all(t, b), " "), "1 2")
	})
}

func TestSplits(t *testing.T) {
	f := func(s Split, text, want string) {
		t.Helper()
		var got []string
		err := s.records(strings.NewReader(text), func(data []byte) error { got = append(got, string(data)); return nil })
		if err != nil {
			got = append(got, "!")
		}
		equal(t, fmt.Sprintf("%v of %q", s, text), strings.Join(got, "|"), want)
	}
	f(lines, "a\nb\n\nc", "a|b|c")
	f(Split{Kind: Delimited, Delimiter: []byte("\n"), Keep: true}, "a\nb\n\nc", "a\n|b\n|c")
	f(Split{Kind: Delimited, Delimiter: []byte("\r\n")}, "a\nb\r\nc\r\n", "a\nb|c")
	f(Split{Kind: Delimited, Delimiter: []byte("||")}, "a|b||c", "a|b|c")
	f(Split{Kind: Values}, `{"a": 1}{"b": [2]} 3 "x"`, `{"a": 1}|{"b": [2]}|3|"x"`)
	f(Split{Kind: Values}, `{"a": 1}{"b"`, `{"a": 1}|!`)
	line := func(s string) string {
		return `{"rawData":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `","errorCode":"x"}` + "\n"
	}
	f(Split{Kind: Errors}, line("one\n")+line("two"), "one\n|two")
	f(Split{Kind: Errors}, line("one")+"{}\n", "one|!")
	f(Split{Kind: Errors}, "{\"rawData\":\"?\"}\n", "!")
	long := strings.Repeat("x", maxRecord+2)
	f(lines, long, "!")
	f(Split{Kind: Values}, `"`+long+`"`, "!")
}

// rough is a stream whose appends fail before or after they took effect.
type rough struct {
	stream.Backend
	rng *rand.Rand
}

func (r *rough) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	lost := fault.New(fault.Unavailable, "rough", name, "lost")
	switch r.rng.IntN(6) {
	case 0:
		return lost
	case 1:
		if err := r.Backend.Append(ctx, name, entries, results); err != nil {
			return err
		}
		return lost
	case 2:
		n := r.rng.IntN(len(entries) + 1)
		if n > 0 {
			if err := r.Backend.Append(ctx, name, entries[:n], results[:n]); err != nil {
				return err
			}
		}
		for i := n; i < len(entries); i++ {
			results[i].Err = fault.New(fault.Throttled, "rough", name, "slower")
		}
		return nil
	}
	return r.Backend.Append(ctx, name, entries, results)
}

// Killed at any step, and with a stream that loses answers and is resharded in between, a replay that is run until it
// succeeds has put every record once, and those of an object in order.
func TestReplayIsKilledAtAnyStep(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			m, b := &memory{objects: map[string]object.Object{}}, backend(t, 2)
			var want []string
			for i := range 4 {
				var text strings.Builder
				for j := range batchRecords*2 + 7*i {
					record := fmt.Sprintf("%d-%06d", i, j)
					want = append(want, record)
					text.WriteString(record + "\n")
				}
				m.put(t, fmt.Sprint("in/", i), text.String())
			}
			m.put(t, "in/none", "")
			type killed struct{}
			attempt := func(steps int) (dead bool, p Progress, err error) {
				defer func() {
					if v := recover(); v != nil {
						if _, ok := v.(killed); !ok {
							panic(v)
						}
						dead = true
					}
				}()
				p, err = run(t, Options{Store: m, Stream: &rough{b, rng}, Prefix: "in/", Split: lines, Failpoint: func(string) {
					if steps--; steps == 0 {
						panic(killed{})
					}
				}})
				return false, p, err
			}
			kills := 0
			for {
				dead, _, err := attempt(1 + rng.IntN(12))
				if err != nil {
					t.Fatal(err)
				}
				if !dead {
					break
				}
				if kills++; kills == 3 {
					if _, err := b.Reshard(t.Context(), "s", stream.Reshard{Count: 3}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if kills == 0 {
				t.Error("it was never killed")
			}
			got := all(t, b)
			perObject := map[byte]string{}
			for _, r := range got {
				if r <= perObject[r[0]] {
					t.Fatalf("%s comes after %s", r, perObject[r[0]])
				}
				perObject[r[0]] = r
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("seed %d: %d records, want %d", seed, len(got), len(want))
			}
		})
	}
}

// Two runs of one replay at a time: the one that finds the other at work stops, and nothing is put twice.
func TestTwoRunsAtOnce(t *testing.T) { synctest.Test(t, twoRunsAtOnce) }

func twoRunsAtOnce(t *testing.T) {
	m, b := &memory{objects: map[string]object.Object{}}, backend(t, 1)
	m.put(t, "in/a", strings.Repeat("x\n", 3*batchRecords))
	o := Options{Store: m, Stream: b, Prefix: "in/", Split: lines}
	var second error
	done, steps := make(chan struct{}), 0
	o.Failpoint = func(name string) {
		switch steps++; {
		case name == "replay-intent" && steps < 3:
			go func() {
				defer close(done)
				inner := o
				inner.Failpoint = nil
				_, second = run(t, inner)
			}()
		case name == "replay-sent":
			time.Sleep(callTime) // each append takes as long as it may
		}
	}
	_, err := run(t, o)
	<-done
	if err != nil || !fault.Is(second, fault.InUse) {
		t.Errorf("the first ended with %v, the second with %v", err, second)
	}
	equal(t, "records", len(all(t, b)), 3*batchRecords)
	// A run that another has overtaken all the same can't go on either.
	m.put(t, "in/b", strings.Repeat("y\n", 3*batchRecords))
	overtaken := false
	o.Failpoint = func(name string) {
		if name == "replay-sent" && !overtaken {
			overtaken = true
			inner := o
			inner.Failpoint, inner.Alone = nil, true
			if _, err := run(t, inner); err != nil {
				t.Error(err)
			}
		}
	}
	_, err = run(t, o)
	equal(t, "the overtaken", fault.Is(err, fault.InUse), true)
	equal(t, "records", len(all(t, b)), 6*batchRecords)
}

func TestReplayRefuses(t *testing.T) {
	m, b := &memory{objects: map[string]object.Object{}}, backend(t, 1)
	f := func(kind fault.Kind, edit func(*Options)) {
		t.Helper()
		o := Options{Store: m, Stream: b, Bucket: "events", Into: "s", Split: lines, Now: time.Now}
		edit(&o)
		if _, err := New(o); !fault.Is(err, kind) {
			t.Errorf("got %v", err)
		}
	}
	f(fault.NotFound, func(o *Options) { o.Into = "nobody" })
	f(fault.Invalid, func(o *Options) { o.Bucket = "X" })
	f(fault.Invalid, func(o *Options) { o.Split = Split{Kind: Delimited} })
	f(fault.Invalid, func(o *Options) { o.Split = Split{Kind: "words"} })
	f(fault.Invalid, func(o *Options) { o.Split = Split{Kind: Values, Keep: true} })
	f(fault.Invalid, func(o *Options) { o.From, o.To = time.Now(), time.Now().Add(-time.Hour) })
	m.put(t, "a", "x\n")
	m.fail = func() error { return errors.New("the disk is full") }
	if _, err := run(t, Options{Store: m, Stream: b, Split: lines}); err == nil || len(all(t, b)) != 0 {
		t.Errorf("without a marker %d records were put; %v", len(all(t, b)), err)
	}
}

// Whatever an object holds, splitting it ends, and what it gives was in the object.
func FuzzSplit(f *testing.F) {
	f.Add("lines", "a\nb\n", false)
	f.Add("json", `{"a": 1} [2]`, false)
	f.Add("errors", `{"rawData":"YQ=="}`+"\n", false)
	f.Add("||", "a||b|c", true)
	f.Fuzz(func(t *testing.T, kind, text string, keep bool) {
		s := Split{Kind: Delimited, Delimiter: []byte(kind), Keep: keep}
		switch kind {
		case "json":
			s = Split{Kind: Values}
		case "errors":
			s = Split{Kind: Errors}
		}
		if s.check() != nil {
			return
		}
		total := 0
		_ = s.records(strings.NewReader(text), func(data []byte) error {
			if total += len(data); s.Kind != Errors && !strings.Contains(text, string(data)) {
				t.Errorf("%q is not in %q", data, text)
			}
			return nil
		})
		if total > len(text) {
			t.Errorf("%d bytes of %d", total, len(text))
		}
	})
}
