// Package format compresses objects: the CompressionFormat of a delivery stream, each as a stream that is made while it is
// written.
//
//	GZIP            one gzip stream
//	ZIP             an archive with one deflated entry, its sizes in a data descriptor behind it
//	Snappy          82 'SNAPPY' 00 | version 1 | minimum version 1 | { length | raw block of ≤ 32 KiB } …
//	HADOOP_SNAPPY   { uncompressed length | compressed length | raw block of ≤ 64 KiB } …
//
// Numbers of the last two are int32, big-endian: snappy-java's stream and Hadoop's, neither is Snappy's framing format.
//
// The bytes that come out depend on the bytes that went in, and on nothing else: not on how they were cut into writes, nor on
// the time. So whoever encodes the records of a manifest again gets the object again, in the same build.
//
// A [Pool] keeps what writers need, so that in steady state nothing is allocated.
package format

import (
	"io"
	"sync"

	"millrace/internal/fault"
)

// Kind is a CompressionFormat as the API spells it: "HADOOP_SNAPPY".
type Kind string

// The kinds.
const (
	Uncompressed Kind = "UNCOMPRESSED"
	Gzip         Kind = "GZIP"
	Zip          Kind = "ZIP"
	Snappy       Kind = "Snappy"
	HadoopSnappy Kind = "HADOOP_SNAPPY"
)

// kinds has what is known of each: the order of pools, and the names that objects bear. The documentation says .hsnappy, the
// service delivers .snappy.
var kinds = map[Kind]struct {
	encoding, extension string
	index               int
}{
	Uncompressed: {"", "", 0},
	Gzip:         {"gzip", ".gz", 1},
	Zip:          {"zip", ".zip", 2},
	Snappy:       {"snappy-java", ".snappy", 3},
	HadoopSnappy: {"hadoop-snappy", ".snappy", 4},
}

// Parse gives the kind of that name; none is Uncompressed. Another name is Invalid.
func Parse(name string) (Kind, error) {
	if name == "" {
		return Uncompressed, nil
	}
	if _, ok := kinds[Kind(name)]; !ok {
		return "", fault.New(fault.Invalid, "format.Parse", "", "compression format %q is none of UNCOMPRESSED, GZIP, ZIP, Snappy, HADOOP_SNAPPY", name)
	}
	return Kind(name), nil
}

// ContentEncoding is the header of an object that is so compressed; empty: none.
func (k Kind) ContentEncoding() string { return kinds[k].encoding }

// Extension is what a key ends in, unless the delivery stream has a FileExtension; empty: nothing.
func (k Kind) Extension() string { return kinds[k].extension }

// Levels of GZIP and ZIP.
const (
	MinLevel = 1 // fastest
	MaxLevel = 9
)

// Options say what to make.
type Options struct {
	Kind  Kind
	Level int    // of GZIP and ZIP; Snappy has no levels
	Entry string // of ZIP: the name of the entry, a UUID: "5a1d1d9e-…"
}

// Writer compresses what is written. Nothing needs to have reached the underlying writer before Close. After an error of
// the underlying writer every call gives it.
type Writer interface {
	io.Writer
	// Close ends the stream. The underlying writer stays open.
	Close() error
	// Release gives the writer back to its pool, closed or not. It must not be used afterwards.
	Release()
}

// Pool keeps writers that were released, by kind and level. Its zero value is empty. It is safe for concurrent use.
type Pool struct {
	plain, snappy, hadoop sync.Pool
	gzip, zip             [MaxLevel + 1]sync.Pool
}

// New gives a writer to w.
func (p *Pool) New(o Options, w io.Writer) (Writer, error) {
	if _, ok := kinds[o.Kind]; !ok {
		return nil, fault.New(fault.Invalid, "format.New", "", "compression format %q is unknown", o.Kind)
	}
	if deflated := o.Kind == Gzip || o.Kind == Zip; deflated && (o.Level < MinLevel || o.Level > MaxLevel) {
		return nil, fault.New(fault.Invalid, "format.New", "", "level %d of %s is not from %d to %d", o.Level, o.Kind, MinLevel, MaxLevel)
	}
	switch o.Kind {
	case Gzip:
		return p.newGzip(o.Level, w)
	case Zip:
		if o.Entry == "" || len(o.Entry) > maxEntry {
			return nil, fault.New(fault.Invalid, "format.New", "", "the entry of a ZIP has a name of 1 to %d bytes", maxEntry)
		}
		return p.newZip(o.Level, o.Entry, w)
	case Snappy:
		return newSnappy(&p.snappy, javaStream, w), nil
	case HadoopSnappy:
		return newSnappy(&p.hadoop, hadoopStream, w), nil
	default:
		return p.newPlain(w), nil
	}
}

// plain passes everything on.
type plain struct {
	pool *sync.Pool
	w    io.Writer
}

func (p *Pool) newPlain(w io.Writer) *plain {
	z, ok := p.plain.Get().(*plain)
	if !ok {
		z = &plain{pool: &p.plain}
	}
	z.w = w
	return z
}

func (z *plain) Write(p []byte) (int, error) { return z.w.Write(p) }
func (z *plain) Close() error                { return nil }

func (z *plain) Release() {
	z.w = nil
	z.pool.Put(z)
}
