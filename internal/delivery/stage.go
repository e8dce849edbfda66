package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"regexp"
	"slices"
	"sync"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/object"
)

// stage makes objects durable before their plan, as open multipart uploads, when what they hold can't be made again. Who
// finds the plan completes them. Uploads that no plan came of are aborted here, or, after a crash, by sweepUploads.
func (s *shard) stage(ctx context.Context, g *gathering, tasks []*task) error {
	if !g.unrepeatable {
		return nil
	}
	tokens := s.d.engine.stagers
	var wait sync.WaitGroup
	var mu sync.Mutex
	var first error
	for _, t := range tasks {
		parts := len(t.parts)
		failed := make([]*journal.Part, parts)
		note := func(err error) (failed bool) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			return first != nil
		}
		for i := range parts {
			if note(nil) {
				break
			}
			select {
			case tokens <- struct{}{}:
			case <-ctx.Done():
				note(ctx.Err())
				continue
			}
			wait.Go(func() {
				defer func() { <-tokens }()
				extra, err := t.stagePart(ctx, i)
				failed[i] = extra
				note(err)
			})
		}
		wait.Wait()
		for _, p := range failed {
			if p != nil {
				t.manifest.Parts = append(t.manifest.Parts, *p)
				t.parts = append(t.parts, partState{kept: kept{budget: &s.d.engine.budget, full: true}})
			}
		}
	}
	if first != nil {
		s.unstage(ctx, tasks)
		if sink := (sinkError{}); errors.As(first, &sink) || ctx.Err() != nil {
			return stagingError{first}
		}
		return first
	}
	for _, t := range tasks {
		for i := range t.parts {
			if t.manifest.Parts[i].Upload != nil {
				t.parts[i].kept.drop() // the upload has it
			}
		}
	}
	return nil
}

// stagingError: the bucket did not take what was to be staged. It is all at hand still, and is staged again later; it need
// not be made again, which would mean to call a function for the same records as long as the bucket is out.
type stagingError struct{ err error }

func (e stagingError) Error() string { return e.err.Error() }
func (e stagingError) Unwrap() error { return e.err }

// unstage removes what was staged of tasks that were not planned, even when ctx has ended, within unstageTimeout.
func (s *shard) unstage(ctx context.Context, tasks []*task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unstageTimeout)
	defer cancel()
	for _, t := range tasks {
		s.d.engine.unstage(ctx, t.manifest)
	}
}

// unstage removes what is staged of a manifest that is none, or is no more.
func (e *Engine) unstage(ctx context.Context, m *journal.Manifest) {
	for i := range m.Parts {
		p := &m.Parts[i]
		if ctx.Err() != nil && (p.Staged != "" || p.Upload != nil) {
			e.opts.Log.Warn("what was staged and is not needed stays until a later sweep", "deliveryStream", m.Delivery, "bucket", p.Bucket)
			return
		}
		if p.Staged != "" {
			e.deleteStaged(ctx, p.Bucket, p.Staged)
		}
		if p.Upload != nil {
			e.abort(ctx, object.UploadRef{Bucket: p.Bucket, Key: p.ObjectKey, ID: p.Upload.ID})
		}
	}
}

func (e *Engine) abort(ctx context.Context, upload object.UploadRef) {
	if err := e.opts.Sink.AbortUpload(ctx, upload); err != nil && !fault.Is(err, fault.NotFound) {
		e.opts.Log.Warn("an upload that is not needed stays until a later sweep", "bucket", upload.Bucket, "key", upload.Key, "error", err)
	}
}

// stagePart uploads what a part holds. What does not fit its schema becomes a further part.
func (t *task) stagePart(ctx context.Context, part int) (failed *journal.Part, err error) {
	d, p, k := t.shard.d, &t.manifest.Parts[part], &t.parts[part].kept
	if p.Format == journal.HTTP {
		return nil, t.stageFrames(ctx, part)
	}
	if p.Format != journal.Parquet {
		enc, err := d.newEncoder(ctx, t.manifest, p, k, nil)
		if err != nil {
			return nil, err
		}
		defer enc.close()
		p.Upload, err = t.upload(ctx, p, enc)
		return nil, err
	}
	rest := &kept{budget: &d.engine.budget, spools: &d.engine.spools}
	defer rest.drop()
	shape := &parquetShape{engine: d.engine, failed: rest}
	enc, err := t.newShaped(ctx, part, shape)
	if err != nil {
		return nil, err
	}
	defer enc.close()
	if p.Upload, err = t.upload(ctx, p, enc); err != nil && !errors.Is(err, errNothing) {
		return nil, err
	}
	if rest.outputs > 0 {
		d.unconverted(shape.first)
		q := failedPart(p, conversionFailed)
		q.Records, q.Outputs, q.Bytes, q.FailedID, q.FailedKey = rest.records, rest.outputs, rest.bytes, "", ""
		lines, err := d.newEncoder(ctx, t.manifest, &q, rest, nil)
		if err != nil {
			return nil, err
		}
		defer lines.close()
		if q.Upload, err = t.upload(ctx, &q, lines); err != nil {
			return nil, err
		}
		failed = &q
	}
	p.Records, p.Outputs, p.Bytes, p.FailedID, p.FailedKey = shape.good, shape.kept, shape.bytes, "", ""
	return failed, nil
}

// upload stages what an encoder makes.
func (t *task) upload(ctx context.Context, p *journal.Part, enc *encoder) (staged *journal.Upload, err error) {
	e := t.shard.d.engine
	upload, err := e.opts.Sink.CreateUpload(ctx, p.Bucket, p.ObjectKey, object.UploadOptions{Attributes: attributes(t.manifest, p)})
	if err != nil {
		return nil, sinkError{err}
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unstageTimeout)
			defer cancel()
			e.abort(ctx, upload.UploadRef)
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := newStall(cancel)
	defer stall.stop()
	e.opts.Failpoint("stage")
	buffer := e.pools.stage.Get().(*[stagePartBytes]byte)
	defer e.pools.stage.Put(buffer)
	staged = &journal.Upload{ID: upload.ID}
	for number := 1; ; number++ {
		n, readErr := io.ReadFull(enc, buffer[:])
		if readErr != nil && readErr != io.ErrUnexpectedEOF && readErr != io.EOF {
			return nil, readErr
		}
		if n > 0 || number == 1 {
			stall.timer.Reset(stallTimeout)
			done, err := e.opts.Sink.PutPart(ctx, upload.UploadRef, number, bytes.NewReader(buffer[:n]), int64(n), object.PartOptions{})
			if err != nil {
				if cause := context.Cause(ctx); cause != nil {
					err = cause
				}
				return nil, sinkError{err}
			}
			staged.Parts = append(staged.Parts, journal.UploadPart{Number: number, Size: done.Size, ETag: done.ETag})
		}
		if readErr != nil {
			return staged, nil
		}
	}
}

// complete makes the object of a part that is staged.
func (t *task) complete(ctx context.Context, part int) (counted, error) {
	e, p := t.shard.d.engine, &t.manifest.Parts[part]
	parts := make([]object.Part, 0, len(p.Upload.Parts))
	for _, u := range p.Upload.Parts {
		parts = append(parts, object.Part{Number: u.Number, Size: u.Size, ETag: u.ETag})
	}
	e.opts.Failpoint("put-before")
	_, err := e.opts.Sink.CompleteUpload(ctx, object.UploadRef{Bucket: p.Bucket, Key: p.ObjectKey, ID: p.Upload.ID}, parts,
		object.CompleteOptions{Conditions: object.Conditions{IfNoneMatch: "*"}})
	if err == nil {
		e.opts.Failpoint("put-after")
		return planned(p), nil
	}
	gone := fault.Is(err, fault.NotFound) && !missingBucket(err)
	if !gone && !fault.Is(err, fault.PreconditionFailed) {
		return counted{}, sinkError{err}
	}
	// It was completed before, by whomever, or the key is another's.
	result, found, headErr := t.head(ctx, p)
	switch {
	case headErr != nil:
		return counted{}, headErr
	case found:
		return result, nil
	}
	return counted{}, fault.New(fault.Unavailable, "delivery.complete", p.Bucket+"/"+p.ObjectKey,
		"the staged upload %s is gone (does a rule of the bucket abort uploads?), and its object is not there, or was taken away; "+
			"when an object is at that key with the metadata %s: %s, delivery goes on", p.Upload.ID, metaManifest, p.ID)
}

// sweepUploads aborts uploads of a delivery stream that no plan came of.
func (d *delivery) sweepUploads(ctx context.Context) error {
	e := d.engine
	dest := d.destination()
	if dest.processing == nil || dest.function == nil && !dest.processing.partitions() && dest.maxOutputs == 0 {
		return nil
	}
	_, manifests, err := e.opts.Journal.Load(ctx, d.id)
	if err != nil {
		return err
	}
	var known []string
	for _, m := range manifests {
		for i := range m.Parts {
			if u := m.Parts[i].Upload; u != nil {
				known = append(known, u.ID)
			}
			known = append(known, m.Parts[i].Staged)
		}
	}
	uploads, err := e.opts.Sink.Uploads(ctx, dest.bucket, "")
	if err != nil {
		return sinkError{err}
	}
	for _, u := range uploads {
		if e.opts.Now().Sub(u.Initiated) > uploadAge && d.marked(u.Key) && !slices.Contains(known, u.ID) {
			e.abort(ctx, u.UploadRef)
		}
	}
	return d.sweepStaged(ctx, dest.bucket, known)
}

// mark makes the UUID of a staged part tell whose it is: its last 24 bits are made of the others and of the delivery stream's
// id. By that an upload is known as ours that no plan names, in a bucket that others use, whatever they are called.
func (d *delivery) mark(uuid string) string {
	const marked = 6 // letters
	uuid = uuid[:len(uuid)-marked]
	sum := sha256.Sum256([]byte(d.id + uuid))
	return uuid + hex.EncodeToString(sum[:marked/2])
}

// marked reports whether a key is that of a staged part of ours.
func (d *delivery) marked(key string) bool {
	found := suffixRule.FindStringSubmatch(key)
	return found != nil && found[1] == d.mark(found[1])
}

// suffixRule finds the UUID in an object's key, before its extension.
var suffixRule = regexp.MustCompile(`-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})[^/]*$`)

// stagedPrefix is where objects lie that are staged for endpoints. Readers of tables pass over keys that begin with a dot.
const stagedPrefix = ".millrace/staged/"

// stageFrames stores what a part holds for an endpoint, which has no upload to complete.
func (t *task) stageFrames(ctx context.Context, part int) error {
	d, p := t.shard.d, &t.manifest.Parts[part]
	shape := &frameShape{}
	enc, err := d.newEncoder(ctx, t.manifest, p, &t.parts[part].kept, shape)
	if err != nil {
		return err
	}
	defer enc.close()
	shape.enc = enc
	key := stagedPrefix + d.id + "/" + p.ID
	if _, err := d.engine.opts.Sink.Put(ctx, p.Bucket, key, enc, -1, object.PutOptions{}); err != nil {
		return sinkError{err}
	}
	d.engine.opts.Failpoint("stage")
	p.Staged = key
	return nil
}

// frameShape is outputs as frames: see kept.
type frameShape struct{ enc *encoder }

func (s *frameShape) text([]byte) error { return errNoText }

func (s *frameShape) output(o *output) error {
	var head [maxFrameHead]byte
	if _, err := s.enc.out.Write(o.appendHead(head[:0])); err != nil {
		return err
	}
	_, err := s.enc.out.Write(o.data)
	return err
}

func (s *frameShape) end() error { return nil }

func (s *frameShape) release() {}

// bringStaged brings back what stageFrames stored, unless it is at hand.
func (t *task) bringStaged(ctx context.Context, part int) error {
	e, p, st := t.shard.d.engine, &t.manifest.Parts[part], &t.parts[part]
	if p.Staged == "" || !st.kept.full {
		return nil
	}
	staged, err := e.opts.Sink.Get(ctx, p.Bucket, p.Staged)
	if err != nil {
		return sinkError{err}
	}
	defer staged.Body.Close()
	st.kept.drop()
	st.kept = kept{budget: &e.budget, spools: &e.spools}
	r := frameReader{from: staged.Body}
	for {
		o, err := r.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			st.kept.drop()
			return err
		}
		if err := st.kept.frame(o); err != nil {
			st.kept.drop()
			return err
		}
	}
}

func (e *Engine) deleteStaged(ctx context.Context, bucket, key string) {
	if err := e.opts.Sink.Delete(ctx, bucket, key); err != nil {
		e.opts.Log.Warn("a staged object that is not needed any more stays until a later sweep", "bucket", bucket, "key", key, "error", err)
	}
}

// sweepStaged deletes staged objects that no plan needs.
func (d *delivery) sweepStaged(ctx context.Context, bucket string, known []string) error {
	e := d.engine
	for opts := (object.ListOptions{Prefix: stagedPrefix + d.id + "/", Max: 1000}); ; {
		page, err := e.opts.Sink.List(ctx, bucket, opts)
		if err != nil {
			return sinkError{err}
		}
		for i := range page.Objects {
			if o := &page.Objects[i]; e.opts.Now().Sub(o.Modified) > uploadAge && !slices.Contains(known, o.Key) {
				e.deleteStaged(ctx, bucket, o.Key)
			}
		}
		if !page.Truncated {
			return nil
		}
		opts.After = page.Next
	}
}
