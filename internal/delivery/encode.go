package delivery

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"millrace/internal/delivery/errorline"
	"millrace/internal/delivery/format"
	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// encodeChunk is how much an encoder makes before it lets the store drain it.
const encodeChunk = 256 << 10

// againBytes is how much is read again at a time. Finding the place costs as much as reading a tenth of it.
const againBytes = 512 << 10

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
	mayRead    bool         // what is not kept can be read again: there is one lane
	processing *processing  // of what is read again
	scratch    scratch
	next       stream.SequenceNumber // where to read on, after what is kept

	shape shape
	out   pieces

	records int64
	outputs int64
	bytes   int64
	ended   bool
	err     error
}

// shape makes an object's bytes of outputs, and writes them to the encoder's out.
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
	format  format.Pool
	stage   sync.Pool // *[stagePartBytes]byte
	pieces  sync.Pool // *[pieceBytes]byte
	batches sync.Pool // *stream.Batch
}

// newEncoder makes the encoder of a part; without a shape, of that which its format has.
func (d *delivery) newEncoder(ctx context.Context, m *journal.Manifest, p *journal.Part, k *kept, s shape) (*encoder, error) {
	e := d.engine
	enc := &encoder{e: e, ctx: ctx, m: m, p: p, next: p.First, mayRead: p.Lane.IsZero(), out: pieces{pool: &e.pools.pieces}}
	var err error
	if enc.processing, err = d.processing(m); err != nil {
		return nil, err
	}
	if k != nil && k.outputs > 0 {
		enc.kept, enc.left = keptReader{k: k}, true
		enc.records, enc.outputs, enc.bytes, enc.next = k.records, k.outputs, k.bytes, k.next
		if framed(p.Format) {
			enc.frames = &frameReader{from: &enc.kept}
		}
	}
	if enc.shape = s; s == nil {
		enc.shape, err = enc.newShape()
	}
	if err != nil {
		enc.close()
		return nil, err
	}
	return enc, nil
}

func (enc *encoder) newShape() (shape, error) {
	switch enc.p.Format {
	case journal.Text:
		return enc.e.newTextShape(enc.p, &enc.out)
	case journal.Errors:
		return &errorShape{enc: enc, processing: enc.processing}, nil
	}
	return nil, fault.New(fault.Corrupt, "delivery.encode", "manifest "+enc.p.ID, "no encoder makes %q", enc.p.Format)
}

// close gives back what the encoder borrowed. The store must be done with it.
func (enc *encoder) close() {
	if enc.shape != nil {
		enc.shape.release()
		enc.shape = nil
	}
	enc.out.drop()
}

// pieceBytes is the unit of memory of what encoders have made and the store has not taken.
const pieceBytes = 64 << 10

// pieces is a queue of bytes in memory from a pool. A Parquet file's row group comes all at once: its memory is given back as
// the store takes it.
type pieces struct {
	pool  *sync.Pool
	queue []*[pieceBytes]byte
	from  int // read, of the first piece
	to    int // written, of the last
	size  int
}

// Write adds bytes. It never fails.
func (o *pieces) Write(p []byte) (int, error) {
	given := len(p)
	o.size += given
	for len(p) > 0 {
		if len(o.queue) == 0 || o.to == pieceBytes {
			piece, ok := o.pool.Get().(*[pieceBytes]byte)
			if !ok {
				piece = new([pieceBytes]byte)
			}
			o.queue, o.to = append(o.queue, piece), 0
		}
		n := copy(o.queue[len(o.queue)-1][o.to:], p)
		o.to += n
		p = p[n:]
	}
	return given, nil
}

// take moves bytes to p, as many as there are.
func (o *pieces) take(p []byte) (taken int) {
	for taken < len(p) && o.size > 0 {
		end := pieceBytes
		if len(o.queue) == 1 {
			end = o.to
		}
		n := copy(p[taken:], o.queue[0][o.from:end])
		taken, o.size = taken+n, o.size-n
		if o.from += n; o.from < end {
			break
		}
		o.pool.Put(o.queue[0])
		o.queue[0] = nil
		o.queue, o.from = o.queue[1:], 0
		if len(o.queue) == 0 {
			o.queue = nil
		}
	}
	return taken
}

func (o *pieces) drop() {
	for _, piece := range o.queue {
		o.pool.Put(piece)
	}
	o.queue, o.from, o.to, o.size = nil, 0, 0, 0
}

// Read implements io.Reader. It ends in io.EOF only when exactly the planned outputs have been given.
func (enc *encoder) Read(p []byte) (int, error) {
	for enc.out.size == 0 {
		if enc.err != nil {
			return 0, enc.err
		}
		enc.err = enc.fill()
	}
	return enc.out.take(p), nil
}

// fill encodes about a chunk. It holds one of the engine's encoder tokens meanwhile, and none while the store is slow.
func (enc *encoder) fill() error {
	select {
	case enc.e.encoders <- struct{}{}:
	case <-enc.ctx.Done():
		return enc.ctx.Err()
	}
	defer func() { <-enc.e.encoders }()
	for given := 0; given < encodeChunk && enc.out.size < encodeChunk; {
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
	o, err := enc.frames.next()
	switch {
	case err == io.EOF:
		return 0, nil
	case err != nil:
		return 0, err
	}
	return frameHead + len(o.data), enc.shape.output(o)
}

func (enc *encoder) again() (n int, err error) {
	if !enc.mayRead {
		return 0, fault.New(fault.Internal, "delivery.encode", "manifest "+enc.p.ID, "the outputs of a lane are not at hand")
	}
	batch, ok := enc.e.pools.batches.Get().(*stream.Batch)
	if !ok {
		batch = new(stream.Batch)
	}
	defer enc.e.pools.batches.Put(batch)
	err = enc.e.opts.Source.Read(enc.ctx, stream.ReadRequest{Shard: enc.m.Key.Shard, From: enc.next,
		MaxRecords: int(min(max(enc.p.Records-enc.records, 1), readBatchRecords)), MaxBytes: againBytes, Held: true}, batch)
	if err != nil {
		return 0, fmt.Errorf("read again: %w", err)
	}
	if len(batch.Records) == 0 && batch.MillisBehind > 0 && enc.next.Before(batch.Next) {
		enc.next = batch.Next // a stretch that holds nothing
		return 1, nil
	}
	if len(batch.Records) == 0 || batch.Skipped > 0 || !batch.Resumed.IsZero() {
		return 0, errDiffers
	}
	for i := range batch.Records {
		r := &batch.Records[i]
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
	enc.next = batch.Next
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
	writer    format.Writer
	delimiter []byte
}

func (e *Engine) newTextShape(p *journal.Part, w io.Writer) (*textShape, error) {
	writer, err := e.pools.format.New(format.Options{Kind: format.Kind(p.Compression), Level: p.Level, Entry: p.ID}, w)
	if err != nil {
		return nil, err
	}
	return &textShape{writer, p.Delimiter}, nil
}

func (s *textShape) text(p []byte) error {
	_, err := s.writer.Write(p)
	return err
}

func (s *textShape) output(o *output) error {
	if err := s.text(o.data); err != nil || len(s.delimiter) == 0 {
		return err
	}
	return s.text(s.delimiter)
}

func (s *textShape) end() error { return s.writer.Close() }

func (s *textShape) release() { s.writer.Release() }

// errorShape is a line of JSON for each output, in the service's form. It is the same whenever it is made: where an output
// does not say when its step ended, the time of the plan stands.
type errorShape struct {
	enc        *encoder
	processing *processing
	line       []byte
}

func (s *errorShape) text([]byte) error { return errNoText }

func (s *errorShape) output(o *output) error {
	f := errorline.Failure{Raw: o.data, Attempts: 1, Arrival: time.UnixMilli(o.arrival), Ended: s.enc.m.Planned}
	if o.failure != nil {
		f.Code, f.Message, f.Attempts = o.failure.Code, o.failure.Message, o.failure.Attempts
		f.Ended = time.UnixMilli(o.failure.at(s.enc.m.Planned))
	}
	if d := s.enc.p.Failure; d != nil {
		f.Code, f.Message, f.Attempts, f.Ended = d.Code, d.Message, d.Attempts, d.Ended
	}
	place := errorline.Place{SequenceNumber: o.sequence.String(), Subsequence: int64(o.sub)}
	line := s.line[:0]
	switch s.enc.p.Lane.Error {
	case processingFailed:
		line = errorline.AppendLambda(line, &f, s.processing.recipe.Function)
	case conversionFailed:
		line = errorline.AppendConversion(line, &f, place, s.processing.recipe.Table)
	case httpFailed:
		line = errorline.AppendHTTP(line, &f, place)
	default:
		line = errorline.AppendPartitioning(line, &f)
	}
	s.line = line
	_, err := s.enc.out.Write(line)
	return err
}

func (s *errorShape) end() error { return nil }

func (s *errorShape) release() {}
