package format

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"millrace/internal/fault"
)

const entry = "5a1d1d9e-8d0c-4b4e-9d5e-0123456789ab"

// all has every way to compress: the algorithms of levels differ below, from and above 7.
func all() []Options {
	options := []Options{{Kind: Uncompressed}, {Kind: Snappy}, {Kind: HadoopSnappy}}
	for _, level := range []int{MinLevel, 6, MaxLevel} {
		options = append(options, Options{Kind: Gzip, Level: level}, Options{Kind: Zip, Level: level, Entry: entry})
	}
	return options
}

func (o Options) String() string { return fmt.Sprintf("%s-%d", o.Kind, o.Level) }

// sample is n bytes of records, with stretches that do not compress.
func sample(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, `{"id":%d,"type":"view","path":"/shop/%d"}`+"\n", i, random.IntN(1000))
		if i%2000 == 0 {
			for range 40_000 {
				b = append(b, byte(random.Uint32()))
			}
		}
	}
	return b[:n]
}

func compress(t testing.TB, p *Pool, o Options, chunks ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := p.New(o, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Release()
	for _, c := range chunks {
		if n, err := w.Write(c); n != len(c) || err != nil {
			t.Fatalf("Write of %d bytes: %d, %v", len(c), n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func decompress(t testing.TB, o Options, b []byte) []byte {
	t.Helper()
	var out []byte
	var err error
	switch o.Kind {
	case Gzip:
		var r *gzip.Reader
		if r, err = gzip.NewReader(bytes.NewReader(b)); err == nil {
			out, err = io.ReadAll(r)
		}
	case Zip:
		out, err = unzip(b)
	case Snappy:
		out, err = readJavaStream(b)
	case HadoopSnappy:
		out, err = readHadoopStream(b)
	default:
		out = b
	}
	if err != nil {
		t.Fatalf("%s: %v", o, err)
	}
	return out
}

func unzip(b []byte) ([]byte, error) {
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	if len(r.File) != 1 || r.File[0].Name != entry || r.File[0].Method != zip.Deflate {
		return nil, fmt.Errorf("entries %+v", r.File)
	}
	f, err := r.File[0].Open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// readJavaStream reads a stream as SnappyInputStream's documentation describes it.
func readJavaStream(b []byte) (out []byte, err error) {
	if len(b) < 16 || string(b[:8]) != "\x82SNAPPY\x00" || binary.BigEndian.Uint32(b[8:]) != 1 || binary.BigEndian.Uint32(b[12:]) != 1 {
		return nil, fmt.Errorf("header % x", b[:min(16, len(b))])
	}
	for b = b[16:]; len(b) > 0; {
		n := int(binary.BigEndian.Uint32(b))
		block, err := readSnappy(b[4 : 4+n])
		if err != nil || len(block) > 32<<10 {
			return nil, fmt.Errorf("block of %d bytes: %w", len(block), err)
		}
		out, b = append(out, block...), b[4+n:]
	}
	return out, nil
}

// readHadoopStream reads what Hadoop's BlockDecompressorStream reads: a block may be compressed in several pieces.
func readHadoopStream(b []byte) (out []byte, err error) {
	for len(b) > 0 {
		left := int(binary.BigEndian.Uint32(b))
		if left == 0 || left > 256<<10 {
			return nil, fmt.Errorf("a block of %d bytes", left)
		}
		for b = b[4:]; left > 0; {
			n := int(binary.BigEndian.Uint32(b))
			piece, err := readSnappy(b[4 : 4+n])
			if err != nil {
				return nil, err
			}
			out, b, left = append(out, piece...), b[4+n:], left-len(piece)
		}
	}
	return out, nil
}

// readSnappy decodes a raw block, from format_description.txt of Snappy.
func readSnappy(b []byte) ([]byte, error) {
	length, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, errors.New("no length")
	}
	var out []byte
	for b = b[n:]; len(b) > 0; {
		tag := b[0]
		size, offset := int(tag>>2), 0
		b = b[1:]
		switch tag & 3 {
		case 0:
			if extra := size - 59; extra > 0 {
				size = 0
				for i := range extra {
					size |= int(b[i]) << (8 * i)
				}
				b = b[extra:]
			}
			size++
			out, b = append(out, b[:size]...), b[size:]
			continue
		case 1:
			size, offset, b = size&7+4, int(tag>>5)<<8|int(b[0]), b[1:]
		case 2:
			size, offset, b = size+1, int(binary.LittleEndian.Uint16(b)), b[2:]
		case 3:
			size, offset, b = size+1, int(binary.LittleEndian.Uint32(b)), b[4:]
		}
		if offset == 0 || offset > len(out) {
			return nil, fmt.Errorf("offset %d at %d", offset, len(out))
		}
		for range size {
			out = append(out, out[len(out)-offset])
		}
	}
	if uint64(len(out)) != length {
		return nil, fmt.Errorf("%d bytes, not %d", len(out), length)
	}
	return out, nil
}

func TestWhatGoesInComesOut(t *testing.T) {
	var p Pool
	for _, o := range all() {
		for _, n := range []int{0, 1, 100, 32<<10 - 1, 32 << 10, 32<<10 + 1, 64 << 10, 300_000} {
			in := sample(n)
			if out := decompress(t, o, compress(t, &p, o, in)); !bytes.Equal(in, out) {
				t.Errorf("%s: %d bytes came out as %d others", o, len(in), len(out))
			}
		}
	}
}

// The object of a manifest is the same whoever makes it, in whatever pieces, with a new writer or a used one.
func TestOutputDependsOnTheBytesOnly(t *testing.T) {
	in := sample(400_000)
	random := rand.New(rand.NewPCG(3, 4))
	for _, o := range all() {
		var p Pool
		want := compress(t, new(Pool), o, in)
		for _, most := range []int{300, 20_000, 300_000} {
			var chunks [][]byte
			for rest := in; len(rest) > 0; {
				n := random.IntN(min(most, len(rest)) + 1)
				chunks, rest = append(chunks, rest[:n]), rest[n:]
			}
			if !bytes.Equal(compress(t, &p, o, chunks...), want) {
				t.Errorf("%s: writes of up to %d bytes give another object", o, most)
			}
			abandoned, err := p.New(o, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			abandoned.Write(in[:100_000])
			abandoned.Release()
		}
	}
}

func TestNamesOfObjects(t *testing.T) {
	for kind, want := range map[Kind][2]string{
		Uncompressed: {"", ""}, Gzip: {"gzip", ".gz"}, Zip: {"zip", ".zip"}, Snappy: {"snappy-java", ".snappy"},
		HadoopSnappy: {"hadoop-snappy", ".snappy"},
	} {
		if got, err := Parse(string(kind)); err != nil || got != kind {
			t.Errorf("Parse(%q): %q, %v", kind, got, err)
		}
		if got := [2]string{kind.ContentEncoding(), kind.Extension()}; got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
	if got, err := Parse(""); got != Uncompressed || err != nil {
		t.Errorf("the default is %q, %v", got, err)
	}
	if _, err := Parse("SNAPPY"); !fault.Is(err, fault.Invalid) {
		t.Errorf("SNAPPY, which the service refuses: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	var p Pool
	for _, o := range []Options{{}, {Kind: "LZ4"}, {Kind: Gzip}, {Kind: Gzip, Level: 10}, {Kind: Zip, Level: 1}, {Kind: Zip, Entry: entry}} {
		if _, err := p.New(o, io.Discard); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// failing takes so many bytes.
type failing struct{ left int }

var errFull = errors.New("no space")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestErrorsOfTheWriterStay(t *testing.T) {
	in := sample(500_000)
	for _, o := range all() {
		var p Pool
		w, err := p.New(o, &failing{left: 1000})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(in)
		if o.Kind != Uncompressed {
			for range 2 {
				err = w.Close()
				if !errors.Is(err, errFull) {
					break
				}
			}
		}
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v", o, err)
		}
		w.Release()
		if out := decompress(t, o, compress(t, &p, o, in)); !bytes.Equal(in, out) {
			t.Errorf("%s: a writer is spoiled by an error", o)
		}
	}
}

// Steady state: what a pool has is enough. A collection may empty it, and the race detector does so at random.
func TestNothingIsAllocated(t *testing.T) {
	in := sample(200_000)
	for _, o := range []Options{{Kind: Uncompressed}, {Kind: Gzip, Level: 1}, {Kind: Zip, Level: 1, Entry: entry}, {Kind: Snappy}, {Kind: HadoopSnappy}} {
		var p Pool
		allocs := testing.AllocsPerRun(20, func() {
			w, err := p.New(o, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(in)
			w.Close()
			w.Release()
		})
		if allocs > 2 && !raceDetector {
			t.Errorf("%s: %.0f allocations", o, allocs)
		}
	}
}

func BenchmarkFormats(b *testing.B) {
	var records []byte
	for i := 0; len(records) < 4<<20; i++ {
		records = fmt.Appendf(records, `{"event_id":"%08x-%04x","event_type":"%s","user_id":%d,"ts":"2026-07-%02dT%02d:%02d:00Z","price":%d.%02d,"city":"%s"}`+"\n",
			uint32(i*2654435761), i%65536, []string{"view", "click", "purchase"}[i%3], 1_000_000+i*31%50_000, 1+i%28, i%24, i%60, i%900, i%100,
			[]string{"Berlin", "Lisboa", "Oslo"}[i%3])
	}
	for _, o := range []Options{{Kind: Uncompressed}, {Kind: Gzip, Level: 1}, {Kind: Gzip, Level: 6}, {Kind: Zip, Level: 1, Entry: entry}, {Kind: Snappy}, {Kind: HadoopSnappy}} {
		b.Run(o.String(), func(b *testing.B) {
			var p Pool
			b.SetBytes(int64(len(records)))
			b.ReportAllocs()
			var size counter
			for b.Loop() {
				size = 0
				w, err := p.New(o, &size)
				if err != nil {
					b.Fatal(err)
				}
				for rest := records; len(rest) > 0; {
					n := min(300, len(rest))
					w.Write(rest[:n])
					rest = rest[n:]
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				w.Release()
			}
			b.ReportMetric(float64(len(records))/float64(size), "ratio")
		})
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
