package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
	"millrace/internal/stream/seal"
	"millrace/internal/stream/streamtest"
)

const key = "alias/aws/kinesis"

func secret(bool) ([]byte, error) { return bytes.Repeat([]byte("s"), seal.SecretBytes), nil }

func open(t testing.TB, fs vfs.FS, now func() time.Time) *local.Backend {
	t.Helper()
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	b, err := local.Open(local.Options{DB: db, IDs: ids.Seeded(1), Now: now, TrimEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// always encrypts every stream from its creation.
type always struct{ *seal.Backend }

func (a always) CreateStream(ctx context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	if _, err := a.Backend.CreateStream(ctx, spec); err != nil {
		return nil, err
	}
	return a.UpdateStream(ctx, spec.Name, func(set *stream.Settings) error { set.EncryptionKey = key; return nil })
}

// TestSuite: a backend whose streams are all encrypted is a backend like any other.
func TestSuite(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) *streamtest.Subject {
		now := time.UnixMilli(1_790_000_000_000)
		clock, fs := func() time.Time { return now }, vfs.NewMem()
		below := open(t, fs, clock)
		wrap := func() stream.Backend { return always{seal.Of(below, seal.Options{Secret: secret})} }
		return &streamtest.Subject{
			Backend: wrap(),
			Advance: func(d time.Duration) { now = now.Add(d) },
			Reopen: func() stream.Backend {
				if err := below.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				below = open(t, fs, clock)
				return wrap()
			},
		}
	})
}

type world struct {
	t     testing.TB
	below *local.Backend
	def   *stream.Stream
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, below: open(t, vfs.NewMem(), time.Now)}
	t.Cleanup(func() { _ = w.below.Close(context.Background()) })
	def, err := w.below.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	w.def = def
	return w
}

func (w *world) encrypt(b stream.Backend, key string) {
	w.t.Helper()
	if _, err := b.UpdateStream(w.t.Context(), "s", func(set *stream.Settings) error { set.EncryptionKey = key; return nil }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(b stream.Backend, texts ...string) {
	w.t.Helper()
	var entries []stream.Entry
	for _, text := range texts {
		entries = append(entries, stream.Entry{PartitionKey: "k", Data: []byte(text)})
	}
	results := make([]stream.Result, len(entries))
	if err := b.Append(w.t.Context(), "s", entries, results); err != nil {
		w.t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			w.t.Fatal(r.Err)
		}
		if string(entries[i].Data) != texts[i] || entries[i].Sealed {
			w.t.Errorf("the caller's entry %d was changed", i)
		}
	}
}

func (w *world) read(b stream.Backend, from stream.SequenceNumber) (stream.Batch, error) {
	var batch stream.Batch
	err := b.Read(w.t.Context(), stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: w.def.ID}, From: from, MaxRecords: 100, MaxBytes: 1 << 20}, &batch)
	return batch, err
}

func texts(batch stream.Batch) string {
	var all []string
	for _, r := range batch.Records {
		all = append(all, fmt.Sprintf("%s:%v", r.Data, r.Sealed))
	}
	return fmt.Sprint(all)
}

// TestKeysComeAndGo: what was written under one key, another, or none, is readable whatever the stream has now, and by
// another process; and below nothing of it can be read.
func TestKeysComeAndGo(t *testing.T) {
	w := newWorld(t)
	b := seal.Of(w.below, seal.Options{Secret: secret})
	w.put(b, "plain")
	w.encrypt(b, key)
	w.put(b, "first", "second", "")
	w.encrypt(b, "alias/other")
	w.put(b, "third")
	w.encrypt(b, "")
	w.put(b, "plain again")

	const want = "[plain:false first:true second:true :true third:true plain again:false]"
	for _, reader := range []stream.Backend{b, seal.Of(w.below, seal.Options{Secret: secret})} {
		batch, err := w.read(reader, stream.SequenceNumber{})
		if err != nil || texts(batch) != want {
			t.Errorf("%v, %v; want %v", texts(batch), err, want)
		}
	}
	batch, err := w.read(w.below, stream.SequenceNumber{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second", "third"} {
		for _, r := range batch.Records {
			if bytes.Contains(r.Data, []byte(text)) {
				t.Errorf("%q lies open in the log", text)
			}
		}
	}
	if n := len(batch.Records[1].Data); n != len("first")+seal.Overhead {
		t.Errorf("a sealed record of 5 bytes has %d", n)
	}
}

// TestNoTwoAlike: equal records differ when they are sealed.
func TestNoTwoAlike(t *testing.T) {
	w := newWorld(t)
	b := seal.Of(w.below, seal.Options{Secret: secret})
	w.encrypt(b, key)
	seen := map[string]bool{}
	for range 3 {
		w.put(b, "same", "same")
		w.put(seal.Of(w.below, seal.Options{Secret: secret}), "same")
	}
	batch, err := w.read(w.below, stream.SequenceNumber{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range batch.Records {
		seen[string(r.Data)] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d of 9 records differ", len(seen))
	}
}

// TestTamperedRecords: data that was changed, or moved to another partition key, is not read; what lies before it is.
func TestTamperedRecords(t *testing.T) {
	for name, tamper := range map[string]func(e *stream.Entry){
		"data":          func(e *stream.Entry) { e.Data[len(e.Data)-1] ^= 1 },
		"partition key": func(e *stream.Entry) { e.PartitionKey = "other" },
		"cut":           func(e *stream.Entry) { e.Data = e.Data[:seal.Overhead-1] },
		"empty":         func(e *stream.Entry) { e.Data = nil },
		"version":       func(e *stream.Entry) { e.Data[0] = 9 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := seal.Of(w.below, seal.Options{Secret: secret})
			w.encrypt(b, key)
			w.put(b, "good")
			batch, err := w.read(w.below, stream.SequenceNumber{})
			if err != nil {
				t.Fatal(err)
			}
			e := stream.Entry{PartitionKey: "k", Data: bytes.Clone(batch.Records[0].Data), Sealed: true}
			tamper(&e)
			if err := w.below.Append(t.Context(), "s", []stream.Entry{e}, make([]stream.Result, 1)); err != nil {
				t.Fatal(err)
			}
			batch, err = w.read(b, stream.SequenceNumber{})
			if err != nil || texts(batch) != "[good:true]" || batch.MillisBehind == 0 {
				t.Fatalf("%v, %v, %d ms behind", texts(batch), err, batch.MillisBehind)
			}
			if batch, err = w.read(b, batch.Next); !fault.Is(err, fault.Corrupt) {
				t.Errorf("the tampered record: %v, %v", texts(batch), err)
			}
		})
	}
}

// TestSecretMissing: encryption can't begin without a secret; a stream that has it already takes nothing until it is back,
// and says so.
func TestSecretMissing(t *testing.T) {
	w := newWorld(t)
	missing := errors.New("no file")
	var err error
	b := seal.Of(w.below, seal.Options{Secret: func(first bool) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return secret(first)
	}})
	err = missing
	if _, err := b.UpdateStream(t.Context(), "s", func(set *stream.Settings) error { set.EncryptionKey = key; return nil }); !fault.Is(err, fault.Denied) || !errors.Is(err, missing) {
		t.Errorf("start without a secret: %v", err)
	}
	if err := b.Healthy(t.Context()); err != nil {
		t.Errorf("health of what is not encrypted: %v", err)
	}
	w.encrypt(w.below, key)
	results := make([]stream.Result, 1)
	if err := b.Append(t.Context(), "s", []stream.Entry{{PartitionKey: "k"}}, results); !fault.Is(err, fault.Unavailable) {
		t.Errorf("append without a secret: %v", err)
	}
	if err := b.Healthy(t.Context()); !fault.Is(err, fault.Unavailable) || !errors.Is(err, missing) {
		t.Errorf("health: %v", err)
	}
	err = nil
	w.put(b, "x")
	other := seal.Of(w.below, seal.Options{Secret: func(bool) ([]byte, error) { return make([]byte, seal.SecretBytes), nil }})
	if _, err := w.read(other, stream.SequenceNumber{}); !fault.Is(err, fault.Corrupt) {
		t.Errorf("read with another secret: %v", err)
	}
}

// FuzzOpen: whatever lies in the log marked as sealed, reading it never panics and never shows it as a record.
func FuzzOpen(f *testing.F) {
	w := newWorld(f)
	b := seal.Of(w.below, seal.Options{Secret: secret})
	w.encrypt(b, key)
	w.put(b, "some text")
	batch, err := w.read(w.below, stream.SequenceNumber{})
	if err != nil {
		f.Fatal(err)
	}
	good := bytes.Clone(batch.Records[0].Data)
	f.Add(good[:len(good)-1])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		results := make([]stream.Result, 1)
		if err := w.below.Append(t.Context(), "s", []stream.Entry{{PartitionKey: "k", Data: data, Sealed: true}}, results); err != nil {
			return // larger than a record may be
		}
		var batch stream.Batch
		err := b.Read(t.Context(), stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: w.def.ID}, From: results[0].Sequence, MaxRecords: 1, MaxBytes: 1}, &batch)
		if err == nil {
			t.Errorf("%x was read as %q", data, batch.Records[0].Data)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for name, key := range map[string]string{"plain": "", "sealed": key} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			s := seal.Of(w.below, seal.Options{Secret: secret})
			w.encrypt(s, key)
			entries, results := make([]stream.Entry, 500), make([]stream.Result, 500)
			for i := range entries {
				entries[i] = stream.Entry{PartitionKey: "k", Data: make([]byte, 300)}
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Append(b.Context(), "s", entries, results); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
