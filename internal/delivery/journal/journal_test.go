package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

var rewrite = flag.Bool("rewrite", false, "write the files of testdata anew")

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func openDB(t *testing.T, fs vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

var ctx = context.Background()

func row(delivery string, shard uint32, version uint64) Row {
	return Row{Key: Key{delivery, stream.ShardRef{Stream: "s", ID: "i", Shard: shard}}, Version: version, Writer: "w", Created: 1000,
		Start: stream.NewSequenceNumber(1000, shard, 0), Checkpoint: stream.NewSequenceNumber(1000, shard, version)}
}

func manifest(r Row, ordinal uint64) *Manifest {
	first := stream.NewSequenceNumber(1000, r.Shard.Shard, ordinal)
	return &Manifest{Ordinal: ordinal, Key: r.Key, Delivery: "name", Version: "1", Next: first.Next(), Through: first.Next(),
		Planned: time.Unix(1785936001, 0).UTC(), Parts: []Part{{ID: fmt.Sprint("m", ordinal), Bucket: "b", ObjectKey: "k",
			First: first, Last: first, Records: 1, Outputs: 1, Bytes: 3, Compression: Gzip, Level: 1,
			Delimiter: []byte("\n"), Stamp: time.UnixMilli(1785936000123).UTC()}}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteIsDurableAndAtomic(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db := openDB(t, fs)
	j := Open(db, []byte("j/"))
	r := row("d", 7, 1)
	must(t, j.Write(ctx, &Change{Rows: []Row{r}}))
	r.Version = 2
	m9, m10 := manifest(r, 9), manifest(r, 10)
	must(t, j.Write(ctx, &Change{Rows: []Row{r}, Plan: []*Manifest{m9, m10}}))
	r.Version, r.Counts.Delivered = 3, 1
	must(t, j.Write(ctx, &Change{Rows: []Row{r}, Remove: []*Manifest{m9}}))

	again := openDB(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	defer again.Close()
	must(t, db.Close())
	j = Open(again, []byte("j/"))
	rows, manifests, err := j.Load(ctx, "d")
	must(t, err)
	if !reflect.DeepEqual(rows, []Row{r}) || !reflect.DeepEqual(manifests, []*Manifest{m10}) {
		t.Errorf("rows %+v, manifests %+v", rows, manifests)
	}
	one, ok, manifests, err := j.LoadShard(ctx, r.Key)
	if err != nil || !ok || !reflect.DeepEqual(one, r) || len(manifests) != 1 {
		t.Errorf("shard %+v %v %v", one, manifests, err)
	}
}

func TestPrefixesDoNotSeeOneAnother(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	a, b := Open(db, []byte("a/")), Open(db, []byte("b/"))
	must(t, a.Write(ctx, &Change{Rows: []Row{row("d", 1, 1)}}))
	must(t, b.Write(ctx, &Change{Rows: []Row{row("d", 1, 1), row("e", 1, 1)}}))
	names, err := a.Deliveries(ctx)
	if err != nil || !reflect.DeepEqual(names, []string{"d"}) {
		t.Errorf("deliveries %q, %v", names, err)
	}
}

func TestFinalsAreBounded(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	j := Open(db, nil)
	for i := range MaxFinals + 5 {
		id := fmt.Sprintf("d%d", i)
		must(t, j.Write(ctx, &Change{Final: &Final{ID: id, Name: "n", Deleted: time.Unix(int64(i), 0), Accepted: int64(i)}}))
	}
	finals, err := j.Finals(ctx)
	if err != nil || len(finals) != MaxFinals || finals[0].Accepted != 5 || finals[MaxFinals-1].Accepted != MaxFinals+4 {
		t.Errorf("%d finals, first %+v, %v", len(finals), finals[0], err)
	}
}

// Slots are for ever: a row that is looked for in another slot than it was written to is lost.
func TestSlotsNeverChange(t *testing.T) {
	f := func(delivery string, shard uint32, slots, want int) {
		t.Helper()
		k := Key{Delivery: delivery, Shard: stream.ShardRef{Stream: "s", ID: "i", Shard: shard}}
		if got := SlotOf(k, slots); got != want {
			t.Errorf("%s %d of %d: slot %d, want %d", delivery, shard, slots, got, want)
		}
		sums := k.Sums(slots)
		if SlotOf(sums, slots) != want || !sums.IsSums() || k.IsSums() {
			t.Errorf("%s %d of %d: the sums %+v are in slot %d, want %d", delivery, shard, slots, sums, SlotOf(sums, slots), want)
		}
	}
	f("0123456789abcdef", 0, 48, 45)
	f("0123456789abcdef", 1, 48, 46)
	f("0123456789abcdef", 4294967295, 48, 12)
	f("dn2kbn6qonlrb7cf", 0, 48, 36)
	f("", 0, 7, 2)
	f("x", 9, 1, 0)
	if zero := (Key{Delivery: "d", Shard: stream.ShardRef{Stream: "s", Shard: 3}}).Sums(1); zero.Shard != (stream.ShardRef{}) {
		t.Errorf("of one slot the sums are %+v", zero) // as earlier versions have them
	}
}

// Every flipped bit is noticed, and an unknown version is named.
func TestDamageIsCorrupt(t *testing.T) {
	sealed, err := seal(manifestMagic, lanesVersion, manifest(row("d", 1, 1), 1))
	must(t, err)
	for bit := range len(sealed) * 8 {
		damaged := bytes.Clone(sealed)
		damaged[bit/8] ^= 1 << (bit % 8)
		if err := unseal(manifestMagic, damaged, new(Manifest), "here"); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("bit %d: got %v", bit, err)
		}
	}
	for n := range len(sealed) {
		if err := unseal(manifestMagic, sealed[:n], new(Manifest), "here"); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("cut to %d bytes: got %v", n, err)
		}
	}
	sealed[3] = 9
	err = unseal(manifestMagic, sealed, new(Manifest), "here")
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("format version 9 is unknown")) {
		t.Errorf("got %v", err)
	}
}

// What earlier versions of the format have written stays readable: testdata is never rewritten for a change, only added to.
func TestEarlierVersionsAreReadable(t *testing.T) {
	r := row("d", 3, 2)
	r.Counts = Counts{Delivered: 1, DeadLettered: 2, Dropped: 3, Expired: 4, Discarded: 5, DeliveredBytes: 6, Objects: 7}
	r.LastID, r.LastStamp, r.Parents = 77, time.UnixMilli(1785936000123).UTC(), []uint32{1, 2}
	final := Final{ID: "i", Name: "n", Deleted: time.Unix(9, 0).UTC(), Accepted: 15, Counts: r.Counts}
	ahead := r
	ahead.Ahead = []Ahead{{DroppedLane, r.Checkpoint.Next()}, {Lane{Keys: []string{"a"}}.ID(), r.Checkpoint.Next()}}
	lanes := manifest(r, 5)
	lanes.Dropped, lanes.Recipe, lanes.Through = 1, json.RawMessage(`{"a":1}`), lanes.Next.Next()
	lanes.Parts[0].Lane = Lane{Keys: []string{"x", ""}}
	lanes.Parts = append(lanes.Parts, Part{ID: "e", Bucket: "b", ObjectKey: "e", Lane: Lane{Error: "processing-failed"}, Compression: Uncompressed,
		Format: Errors, Upload: &Upload{ID: "u", Parts: []UploadPart{{Number: 1, Size: 2, ETag: "t", Checksum: "CRC32 AAAAAA=="}}}})
	check := func(file string, value any, decode func([]byte) (any, error), encode func() ([]byte, error)) {
		t.Helper()
		name := filepath.Join("testdata", file)
		if *rewrite && encode != nil {
			sealed, err := encode()
			must(t, err)
			must(t, os.WriteFile(name, sealed, 0o644))
		}
		sealed, err := os.ReadFile(name)
		must(t, err)
		got, err := decode(sealed)
		must(t, err)
		have, _ := json.Marshal(got)
		want, _ := json.Marshal(value)
		if !bytes.Equal(have, want) {
			t.Errorf("%s: got %s, want %s", file, have, want)
		}
	}
	asRow := func(b []byte) (any, error) { return DecodeRow(b, "test") }
	asManifest := func(b []byte) (any, error) { return DecodeManifest(b, "test") }
	check("row.v1", r, asRow, nil)
	check("row.v2", ahead, asRow, func() ([]byte, error) { return EncodeRow(&ahead) })
	check("manifest.v1", manifest(r, 5), asManifest, nil)
	check("manifest.v2", lanes, asManifest, func() ([]byte, error) { return EncodeManifest(lanes) })
	check("final.v1", final, func(b []byte) (any, error) { return DecodeFinal(b, "test") }, nil)
}

// A lane that is ahead of the checkpoint is remembered until the checkpoint has passed it, and with which recipe it was found.
func TestPass(t *testing.T) {
	at := func(n uint64) stream.SequenceNumber { return stream.NewSequenceNumber(1000, 0, n) }
	a, b := Lane{Keys: []string{"a"}}, Lane{Keys: []string{"b"}}
	r := row("d", 0, 1)
	recipe := json.RawMessage(`"first"`)
	pass := func(next, through uint64, dropped int64, lanes ...Lane) {
		m := &Manifest{Next: at(next), Through: at(through), Dropped: dropped, Recipe: recipe}
		for _, l := range lanes {
			m.Parts = append(m.Parts, Part{Lane: l})
		}
		r.Pass(m)
	}
	expect := func(checkpoint uint64, ahead ...Ahead) {
		t.Helper()
		if r.Checkpoint != at(checkpoint) || !reflect.DeepEqual(r.Ahead, ahead) || (string(r.AheadRecipe) == `"first"`) != (len(ahead) > 0) {
			t.Errorf("checkpoint %s, ahead %+v of %s", r.Checkpoint, r.Ahead, r.AheadRecipe)
		}
	}
	pass(3, 9, 0, a)
	expect(3, Ahead{a.ID(), at(9)})
	pass(3, 10, 1, a)
	expect(3, Ahead{DroppedLane, at(10)}, Ahead{a.ID(), at(10)})
	pass(10, 12, 0, b)
	expect(10, Ahead{b.ID(), at(12)})
	recipe = json.RawMessage(`"second"`)
	pass(11, 11, 0, a) // crosses what is ahead
	expect(11, Ahead{b.ID(), at(12)})
	pass(12, 12, 0, a, b)
	expect(12)
}

func FuzzUnseal(f *testing.F) {
	sealed, _ := seal(manifestMagic, lanesVersion, manifest(row("d", 1, 1), 1))
	f.Add(sealed)
	f.Add([]byte("MJM\x01\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Manifest
		if err := unseal(manifestMagic, b, &m, "fuzz"); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Errorf("got %v", err)
		}
	})
}
