package delivery

import (
	"cmp"
	"context"
	"errors"
	"io"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/parquet"
)

// parquetShape is outputs as rows of a Parquet file. Those that do not fit the schema are kept aside; which these are is
// the same whenever it is found out.
type parquetShape struct {
	engine *Engine
	writer *parquet.Writer // nil: none is open
	kept   int64           // outputs in the file
	failed *kept           // outputs that are not, each with its failure
	first  *failure
	good   int64 // source records whose first output is in the file
	bytes  int64
}

func (s *parquetShape) text([]byte) error { return errNoText }

func (s *parquetShape) output(o *output) error {
	f := s.writer.Write(o.data)
	if err := s.writer.Err(); err != nil {
		return err
	}
	if f == nil {
		s.kept++
		s.bytes += int64(len(o.data))
		if o.first {
			s.good++
		}
		return nil
	}
	failed := *o
	failed.failure = &failure{Code: f.Code, Message: f.Message, Attempts: 1}
	s.first = cmp.Or(s.first, failed.failure)
	return s.failed.frame(&failed)
}

// end closes the file, unless nothing is in it: then there is to be no object.
func (s *parquetShape) end() error {
	if s.kept == 0 {
		return errNothing
	}
	return s.writer.Close()
}

// open makes the writer, when the node may have another.
func (s *parquetShape) open(ctx context.Context, c *parquet.Converter, w io.Writer) error {
	select {
	case s.engine.writers <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.engine.opts.Allow(writerMemory)
	s.writer = c.NewWriter(w)
	return nil
}

func (s *parquetShape) release() {
	if s.writer != nil {
		s.writer = nil
		s.engine.opts.Allow(-writerMemory)
		<-s.engine.writers
	}
}

// errNothing ends the body of an object that would hold nothing.
var errNothing = errors.New("delivery: no record of the object fits its schema")

// convert makes sure that a part's Parquet file is in the bucket, and an error object with what does not fit.
func (t *task) convert(ctx context.Context, part int) (counted, error) {
	e, p, st := t.shard.d.engine, &t.manifest.Parts[part], &t.parts[part]
	failed := &kept{budget: &e.budget, spools: &e.spools}
	defer failed.drop()
	shape := &parquetShape{engine: e, failed: failed}
	there := false
	if st.mayExist {
		e.opts.Failpoint("recover-head")
		_, found, err := t.head(ctx, p)
		if err != nil {
			return counted{}, err
		}
		there = found
	}
	if err := t.gatherAgain(ctx, part); err != nil {
		return counted{}, err
	}
	if !there {
		found, err := t.putShaped(ctx, part, shape)
		if err != nil {
			return counted{}, err
		}
		there = found
	}
	if there {
		// What the object does not hold is found out by making it once more.
		failed.drop()
		*failed = kept{budget: &e.budget, spools: &e.spools}
		*shape = parquetShape{engine: e, failed: failed}
		if err := t.rehearse(ctx, part, shape); err != nil {
			return counted{}, err
		}
	}
	result := counted{delivered: shape.good, outputs: shape.kept, bytes: shape.bytes}
	if shape.kept > 0 {
		result.objects = 1
	}
	if failed.outputs == 0 {
		return result, nil
	}
	t.shard.d.unconverted(shape.first)
	q := failedPart(p, conversionFailed)
	q.Records, q.Outputs, q.Bytes = failed.records, failed.outputs, failed.bytes
	lines, err := t.putOrFind(ctx, target{&q, &st.failedMayExist}, failed, false)
	return result.plus(lines), err
}

// putShaped puts the file. found tells that it was there already, so that the shape has not seen all.
func (t *task) putShaped(ctx context.Context, part int, shape *parquetShape) (found bool, err error) {
	enc, err := t.newShaped(ctx, part, shape)
	if err != nil {
		return false, err
	}
	defer enc.close()
	p, st := &t.manifest.Parts[part], &t.parts[part]
	_, found, err = t.putEncoded(ctx, target{p, &st.mayExist}, enc)
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return found, err
}

func (t *task) newShaped(ctx context.Context, part int, shape *parquetShape) (*encoder, error) {
	processing, err := t.shard.d.processing(t.manifest)
	if err != nil {
		return nil, err
	}
	enc, err := t.shard.d.newEncoder(ctx, t.manifest, &t.manifest.Parts[part], &t.parts[part].kept, shape)
	if err != nil {
		return nil, err
	}
	if err := shape.open(ctx, processing.converter, &enc.out); err != nil {
		enc.close()
		return nil, err
	}
	return enc, nil
}

// failedPart is the error object for what a part can't hold.
func failedPart(p *journal.Part, errorType string) journal.Part {
	q := *p
	q.ID, q.ObjectKey, q.Format, q.Lane = p.FailedID, p.FailedKey, journal.Errors, journal.Lane{Error: errorType}
	q.Compression, q.Level, q.Delimiter = uncompressed, 0, nil
	return q
}

func (t *task) rehearse(ctx context.Context, part int, shape *parquetShape) error {
	enc, err := t.newShaped(ctx, part, shape)
	if err != nil {
		return err
	}
	defer enc.close()
	if _, err := io.Copy(io.Discard, enc); err != nil && !errors.Is(err, errNothing) {
		return err
	}
	return nil
}
