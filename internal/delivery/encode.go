package delivery

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// encodeChunk is how much an encoder makes before it lets the store drain it.
const encodeChunk = 256 << 10

// errDiffers stops a put whose records are not the ones that were planned: some have expired since.
var errDiffers = fault.New(fault.Unavailable, "delivery.encode", "", "the source no longer gives the planned records")

// encoder is the body of a put: an io.Reader that makes the object's bytes as they are asked for, so that memory stays
// at one chunk and no goroutine or pipe stands between it and the store. It belongs to one put.
type encoder struct {
	e   *Engine
	ctx context.Context
	m   *journal.Manifest

	kept   *kept // what is in memory; nil or dropped: nothing
	offset int
	next   stream.SequenceNumber // where to read on, after what is kept
	batch  *stream.Batch

	gz      *gzip.Writer // nil: uncompressed
	out     []byte
	read    int // of out
	records int64
	bytes   int64
	ended   bool
	err     error
}

// pools of what encoders need; each is given back by encoder.close.
type encoderPools struct {
	gzip    [10]sync.Pool // by level, *gzip.Writer
	chunks  sync.Pool     // *[]byte
	batches sync.Pool     // *stream.Batch
}

func (e *Engine) newEncoder(ctx context.Context, m *journal.Manifest, k *kept) *encoder {
	enc := &encoder{e: e, ctx: ctx, m: m, kept: k, next: m.First}
	if k != nil && k.records > 0 {
		enc.records, enc.bytes, enc.next = k.records, k.bytes, k.next
	}
	if chunk, ok := e.pools.chunks.Get().(*[]byte); ok {
		enc.out = (*chunk)[:0]
	} else {
		enc.out = make([]byte, 0, encodeChunk+slabBytes)
	}
	if m.Compression == journal.Gzip {
		enc.gz = e.gzipWriter(m.Level, (*encoderOutput)(enc))
	}
	return enc
}

func (e *Engine) gzipWriter(level int, w io.Writer) *gzip.Writer {
	if gz, ok := e.pools.gzip[level].Get().(*gzip.Writer); ok {
		gz.Reset(w)
		return gz
	}
	gz, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		panic(err) // levels are checked when the engine is made and when a manifest is read
	}
	return gz
}

// close gives back what the encoder borrowed. The store must be done with it.
func (enc *encoder) close() {
	if enc.gz != nil {
		enc.e.pools.gzip[enc.m.Level].Put(enc.gz)
		enc.gz = nil
	}
	if enc.batch != nil {
		enc.e.pools.batches.Put(enc.batch)
		enc.batch = nil
	}
	if enc.out != nil {
		out := enc.out[:0]
		enc.e.pools.chunks.Put(&out)
		enc.out = nil
	}
}

// encoderOutput is the encoder as its compressor sees it.
type encoderOutput encoder

func (o *encoderOutput) Write(p []byte) (int, error) {
	o.out = append(o.out, p...)
	return len(p), nil
}

// Read implements io.Reader. It ends in io.EOF only when exactly the planned records have been given.
func (enc *encoder) Read(p []byte) (int, error) {
	for enc.read == len(enc.out) {
		if enc.err != nil {
			return 0, enc.err
		}
		enc.out, enc.read = enc.out[:0], 0
		enc.err = enc.fill()
	}
	n := copy(p, enc.out[enc.read:])
	enc.read += n
	return n, nil
}

// fill encodes about a chunk. It holds one of the engine's encoder tokens meanwhile, and none while the store is slow.
func (enc *encoder) fill() error {
	select {
	case enc.e.encoders <- struct{}{}:
	case <-enc.ctx.Done():
		return enc.ctx.Err()
	}
	defer func() { <-enc.e.encoders }()
	for given := 0; given < encodeChunk && len(enc.out) < encodeChunk; {
		if enc.ended {
			return enc.end()
		}
		n, err := enc.more()
		if err != nil {
			return err
		}
		given += n
	}
	return nil
}

// more encodes a slab that is kept, or a batch that is read again.
func (enc *encoder) more() (int, error) {
	if enc.kept != nil {
		if text := enc.kept.from(enc.offset); len(text) > 0 {
			enc.offset += len(text)
			return len(text), enc.write(text)
		}
	}
	if enc.records >= enc.m.Records {
		enc.ended = true
		return 0, nil
	}
	return enc.again()
}

func (enc *encoder) again() (n int, err error) {
	if enc.batch == nil {
		if b, ok := enc.e.pools.batches.Get().(*stream.Batch); ok {
			enc.batch = b
		} else {
			enc.batch = new(stream.Batch)
		}
	}
	left := enc.m.Records - enc.records
	err = enc.e.opts.Source.Read(enc.ctx, stream.ReadRequest{Shard: enc.m.Key.Shard, From: enc.next,
		MaxRecords: int(min(left, readBatchRecords)), MaxBytes: encodeChunk, Held: true}, enc.batch)
	if err != nil {
		return 0, fmt.Errorf("read again: %w", err)
	}
	if len(enc.batch.Records) == 0 || enc.batch.Skipped > 0 || !enc.batch.Resumed.IsZero() {
		return 0, errDiffers
	}
	for i := range enc.batch.Records {
		r := &enc.batch.Records[i]
		if enc.m.Last.Before(r.Sequence) {
			return 0, errDiffers
		}
		if err := enc.write(r.Data); err != nil {
			return 0, err
		}
		if len(enc.m.Delimiter) > 0 {
			if err := enc.write(enc.m.Delimiter); err != nil {
				return 0, err
			}
		}
		enc.records++
		enc.bytes += int64(len(r.Data))
		n += len(r.Data) + len(enc.m.Delimiter)
	}
	enc.next = enc.batch.Next
	return n, nil
}

func (enc *encoder) write(p []byte) error {
	if enc.gz == nil {
		enc.out = append(enc.out, p...)
		return nil
	}
	_, err := enc.gz.Write(p)
	return err
}

// end closes the compression and checks that the object holds what was planned.
func (enc *encoder) end() error {
	if enc.records != enc.m.Records || enc.bytes != enc.m.Bytes {
		return errDiffers
	}
	if enc.gz != nil {
		if err := enc.gz.Close(); err != nil {
			return err
		}
	}
	return io.EOF
}

// size is the object's, when it is known beforehand, else -1.
func size(m *journal.Manifest) int64 {
	if m.Compression == journal.Gzip {
		return -1
	}
	return m.Bytes + m.Records*int64(len(m.Delimiter))
}
