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
//
//	what is kept ──┐
//	               ├── outputs ── shape ── out ── Read
//	read again ────┘
type encoder struct {
	e   *Engine
	ctx context.Context
	m   *journal.Manifest
	p   *journal.Part

	kept       keptReader
	frames     *frameReader // nil: what is kept is text
	left       bool         // something kept is left
	processing *processing  // of what is read again
	scratch    scratch
	next       stream.SequenceNumber // where to read on, after what is kept
	batch      *stream.Batch

	shape shape
	out   []byte
	read  int // of out

	records int64
	outputs int64
	bytes   int64
	ended   bool
	err     error
}

// shape makes an object's bytes of outputs, and appends them to the encoder's out.
type shape interface {
	// text takes outputs with their delimiters. Only the shape of a text is given it.
	text(p []byte) error
	output(o *output) error
	end() error
	// release gives back what was borrowed.
	release()
}

// pools of what encoders need; each is given back by encoder.close.
type encoderPools struct {
	gzip    [10]sync.Pool // by level, *gzip.Writer
	chunks  sync.Pool     // *[]byte
	batches sync.Pool     // *stream.Batch
}

func (d *delivery) newEncoder(ctx context.Context, m *journal.Manifest, p *journal.Part, k *kept) (*encoder, error) {
	e := d.engine
	enc := &encoder{e: e, ctx: ctx, m: m, p: p, next: p.First}
	var err error
	if enc.processing, err = d.processing(m); err != nil {
		return nil, err
	}
	if k != nil && k.outputs > 0 {
		enc.kept, enc.left = keptReader{k: k}, true
		enc.records, enc.outputs, enc.bytes, enc.next = k.records, k.outputs, k.bytes, k.next
		if framed(p.Format) {
			enc.frames = &frameReader{from: enc.kept}
		}
	}
	if chunk, ok := e.pools.chunks.Get().(*[]byte); ok {
		enc.out = (*chunk)[:0]
	} else {
		enc.out = make([]byte, 0, encodeChunk+spoolReadBytes)
	}
	if enc.shape, err = enc.newShape(); err != nil {
		enc.close()
		return nil, err
	}
	return enc, nil
}

func (enc *encoder) newShape() (shape, error) {
	switch enc.p.Format {
	case journal.Text:
		return newTextShape(enc), nil
	case journal.Errors:
		return &errorShape{enc}, nil
	}
	return nil, fault.New(fault.Corrupt, "delivery.encode", "manifest "+enc.p.ID, "no encoder makes %q", enc.p.Format)
}

// close gives back what the encoder borrowed. The store must be done with it.
func (enc *encoder) close() {
	if enc.shape != nil {
		enc.shape.release()
		enc.shape = nil
	}
	if enc.batch != nil {
		enc.e.pools.batches.Put(enc.batch)
		enc.batch = nil
	}
	if enc.out != nil && cap(enc.out) <= 4*encodeChunk {
		out := enc.out[:0]
		enc.e.pools.chunks.Put(&out)
	}
	enc.out = nil
}

// encoderOutput is the encoder as its compressor sees it.
type encoderOutput encoder

func (o *encoderOutput) Write(p []byte) (int, error) {
	o.out = append(o.out, p...)
	return len(p), nil
}

// Read implements io.Reader. It ends in io.EOF only when exactly the planned outputs have been given.
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

// more encodes some of what is kept, or a batch that is read again.
func (enc *encoder) more() (int, error) {
	if enc.left {
		n, err := enc.moreKept()
		if n > 0 || err != nil {
			return n, err
		}
		enc.left = false
	}
	if enc.outputs >= enc.p.Outputs {
		enc.ended = true
		return 0, nil
	}
	return enc.again()
}

func (enc *encoder) moreKept() (int, error) {
	if enc.frames == nil {
		text, err := enc.kept.next()
		if len(text) == 0 || err != nil {
			return 0, err
		}
		return len(text), enc.shape.text(text)
	}
	var o output
	switch err := enc.frames.next(&o); {
	case err == io.EOF:
		return 0, nil
	case err != nil:
		return 0, err
	}
	return frameHead + len(o.data), enc.shape.output(&o)
}

func (enc *encoder) again() (n int, err error) {
	if !enc.p.Lane.IsZero() {
		return 0, fault.New(fault.Internal, "delivery.encode", "manifest "+enc.p.ID, "the outputs of a lane are not at hand")
	}
	if enc.batch == nil {
		if b, ok := enc.e.pools.batches.Get().(*stream.Batch); ok {
			enc.batch = b
		} else {
			enc.batch = new(stream.Batch)
		}
	}
	err = enc.e.opts.Source.Read(enc.ctx, stream.ReadRequest{Shard: enc.m.Key.Shard, From: enc.next,
		MaxRecords: int(min(max(enc.p.Records-enc.records, 1), readBatchRecords)), MaxBytes: encodeChunk, Held: true}, enc.batch)
	if err != nil {
		return 0, fmt.Errorf("read again: %w", err)
	}
	if len(enc.batch.Records) == 0 || enc.batch.Skipped > 0 || !enc.batch.Resumed.IsZero() {
		return 0, errDiffers
	}
	for i := range enc.batch.Records {
		r := &enc.batch.Records[i]
		if enc.p.Last.Before(r.Sequence) {
			return 0, errDiffers
		}
		err := enc.processing.each(r, &enc.scratch, func(key []byte, o *output) error {
			if len(key) > 0 {
				return nil // an error's lane, which has a part of its own
			}
			if o.first {
				enc.records++
			}
			enc.outputs++
			enc.bytes += int64(len(o.data))
			n += len(o.data) + len(enc.p.Delimiter)
			return enc.shape.output(o)
		})
		if err != nil {
			return 0, err
		}
	}
	enc.next = enc.batch.Next
	return n, nil
}

// end closes the shape and checks that the object holds what was planned.
func (enc *encoder) end() error {
	if enc.records != enc.p.Records || enc.outputs != enc.p.Outputs || enc.bytes != enc.p.Bytes {
		return errDiffers
	}
	if err := enc.shape.end(); err != nil {
		return err
	}
	return io.EOF
}

// size is the object's, when it is known beforehand, else -1.
func size(p *journal.Part) int64 {
	if p.Format != journal.Text || p.Compression != journal.Uncompressed {
		return -1
	}
	return p.Bytes + p.Outputs*int64(len(p.Delimiter))
}

// textShape is outputs, each followed by the delimiter, compressed.
type textShape struct {
	enc *encoder
	gz  *gzip.Writer // nil: uncompressed
}

func newTextShape(enc *encoder) *textShape {
	s := &textShape{enc: enc}
	if enc.p.Compression == journal.Gzip {
		s.gz = enc.e.gzipWriter(enc.p.Level, (*encoderOutput)(enc))
	}
	return s
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

func (s *textShape) text(p []byte) error {
	if s.gz == nil {
		s.enc.out = append(s.enc.out, p...)
		return nil
	}
	_, err := s.gz.Write(p)
	return err
}

func (s *textShape) output(o *output) error {
	if err := s.text(o.data); err != nil || len(s.enc.p.Delimiter) == 0 {
		return err
	}
	return s.text(s.enc.p.Delimiter)
}

func (s *textShape) end() error {
	if s.gz == nil {
		return nil
	}
	return s.gz.Close()
}

func (s *textShape) release() {
	if s.gz != nil {
		s.enc.e.pools.gzip[s.enc.p.Level].Put(s.gz)
		s.gz = nil
	}
}

// errorShape is a JSON line for each output.
type errorShape struct{ enc *encoder }

func (s *errorShape) text([]byte) error { return errDiffers }

func (s *errorShape) output(o *output) error { return nil }

func (s *errorShape) end() error { return nil }

func (s *errorShape) release() {}
