package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// Metadata of every object that delivery writes (x-amz-meta-…): which manifest it fulfils, and with how many records.
const (
	metaManifest = "millrace-manifest"
	metaRecords  = "millrace-records"
)

// task is a manifest on its way to its object. One goroutine at a time works on it: the worker that planned it, then
// putters.
type task struct {
	shard    *shard
	manifest *journal.Manifest
	kept     kept
	failures int
	// mayExist is set when an earlier attempt, of this process or another, may have stored the object.
	mayExist bool
	// Guarded by shard.mu:
	stored   bool
	result   counted
	reloaded *journal.Manifest // what the journal holds, when it may differ from manifest
}

func newTask(s *shard, m *journal.Manifest) *task {
	return &task{shard: s, manifest: m, kept: kept{budget: &s.d.engine.budget, full: true}}
}

// counted is what became of a manifest's records.
type counted struct {
	delivered int64
	expired   int64
	discarded int64
	bytes     int64
	object    bool
}

func (c counted) counts() journal.Counts {
	counts := journal.Counts{Delivered: c.delivered, DeliveredBytes: c.bytes, Expired: c.expired,
		Discarded: c.discarded}
	if c.object {
		counts.Objects = 1
	}
	return counts
}

func planned(m *journal.Manifest) counted {
	return counted{delivered: m.Records, expired: m.Expired, bytes: m.Bytes, object: m.Records > 0}
}

// run takes the task as far as it goes: puts the object, unless it is there already, and commits.
func (t *task) run(ctx context.Context) error {
	if err := t.shard.refresh(ctx, t); err != nil {
		return err
	}
	if t.isStored() {
		return t.shard.settle(ctx, t, t.result)
	}
	if commitBeforePut {
		if err := t.shard.settle(ctx, t, planned(t.manifest)); err != nil {
			return err
		}
		_, err := t.put(ctx)
		return err
	}
	result, err := t.store(ctx)
	if err != nil {
		return t.resolve(ctx, err)
	}
	t.kept.drop()
	return t.shard.settle(ctx, t, result)
}

// resolve changes the plan when the same plan can't succeed; it returns the error that makes the putter try again.
func (t *task) resolve(ctx context.Context, err error) error {
	var sink sinkError
	var conflict *conflictError
	var replanErr error
	switch {
	case errors.As(err, &sink):
		return err
	case errors.As(err, &conflict) && conflict.neverPut:
		replanErr = t.rename(ctx)
	case errors.Is(err, errDiffers), fault.Is(err, fault.NotFound):
		replanErr = t.amend(ctx)
	}
	if replanErr != nil {
		return fmt.Errorf("%w; planning anew: %w", err, replanErr)
	}
	return err
}

// rename plans another key for the same records. It is safe only when nobody has ever tried to put this manifest, and
// refused for a good reason otherwise: an object that was put and then replaced by somebody would be put twice. The
// ordinal stays, so that the order of keys and manifests does; the random part of the UUID changes.
func (t *task) rename(ctx context.Context) error {
	m := *t.manifest
	m.ID = objectkey.ID(m.Ordinal).UUID(t.shard.d.engine.opts.IDs)
	at := strings.LastIndex(m.ObjectKey, t.manifest.ID)
	m.ObjectKey = m.ObjectKey[:at] + m.ID + m.ObjectKey[at+len(m.ID):]
	return t.shard.replan(ctx, t, &m)
}

func (t *task) isStored() bool {
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	return t.stored
}

// store makes sure that the object is in the bucket.
func (t *task) store(ctx context.Context) (counted, error) {
	if t.manifest.Records == 0 {
		return planned(t.manifest), nil
	}
	if t.mayExist {
		t.shard.d.engine.opts.Failpoint("recover-head")
		result, found, err := t.head(ctx)
		if err != nil || found {
			return result, err
		}
	}
	return t.put(ctx)
}

// head looks for the object. found tells that it is there and ours.
func (t *task) head(ctx context.Context) (result counted, found bool, err error) {
	m := t.manifest
	info, err := t.shard.d.engine.opts.Sink.Head(ctx, m.Bucket, m.ObjectKey)
	switch {
	case fault.Is(err, fault.NotFound) && !missingBucket(err):
		return counted{}, false, nil
	case err != nil:
		return counted{}, false, sinkError{err}
	case info.Metadata[metaManifest] != m.ID:
		return counted{}, false, &conflictError{bucket: m.Bucket, key: m.ObjectKey, manifest: m.ID}
	}
	result = planned(m)
	if n, err := strconv.ParseInt(info.Metadata[metaRecords], 10, 64); err == nil && n != m.Records {
		// It was stored before some of its records expired and the plan was amended.
		result.expired -= n - result.delivered
		result.delivered = n
	}
	return result, true, nil
}

// put encodes the records into the object. That the key exists is success when the object is ours.
func (t *task) put(ctx context.Context) (counted, error) {
	e, m := t.shard.d.engine, t.manifest
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := newStall(cancel)
	defer stall.stop()
	enc := e.newEncoder(ctx, m, &t.kept)
	defer enc.close()

	e.opts.Failpoint("put-before")
	_, err := e.opts.Sink.Put(ctx, m.Bucket, m.ObjectKey, stall.watch(enc), size(m), putOptions(m))
	if err == nil {
		e.opts.Failpoint("put-after")
		return planned(m), nil
	}
	if enc.err != nil && enc.err != io.EOF && ctx.Err() == nil {
		return counted{}, enc.err // the body, and not the store, ended the put
	}
	first := !t.mayExist
	if !fault.Is(err, fault.PreconditionFailed) {
		// A store that keeps its contract has stored nothing; one across a network may have.
		t.mayExist = t.mayExist || !missingBucket(err)
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return counted{}, sinkError{err}
	}
	result, found, err := t.head(ctx)
	var conflict *conflictError
	if errors.As(err, &conflict) {
		conflict.neverPut = first
	}
	if err == nil && !found {
		err = sinkError{fault.New(fault.Unavailable, "delivery.put", m.ObjectKey, "the key existed, and now it does not")}
	}
	return result, err
}

func putOptions(m *journal.Manifest) object.PutOptions {
	opts := object.PutOptions{Conditions: object.Conditions{IfNoneMatch: "*"}}
	opts.ContentType = "application/octet-stream"
	if m.Compression == journal.Gzip {
		opts.ContentEncoding = "gzip"
	}
	opts.Metadata = map[string]string{metaManifest: m.ID, metaRecords: strconv.FormatInt(m.Records, 10)}
	return opts
}

// amend finds out which planned records are still there and stores the plan anew under the same id and key: an object
// that an earlier attempt stored is found by its metadata, with the number of records that it holds.
func (t *task) amend(ctx context.Context) error {
	e := t.shard.d.engine
	t.kept.drop()
	m := *t.manifest
	total := m.Records + m.Expired
	m.Records, m.Bytes = 0, 0
	var batch stream.Batch
	for at := m.First; !m.Last.Before(at); at = batch.Next {
		err := e.opts.Source.Read(ctx, stream.ReadRequest{Shard: m.Key.Shard, From: at, MaxRecords: readBatchRecords,
			MaxBytes: readBatchBytes, Held: true}, &batch)
		if fault.Is(err, fault.NotFound) && t.shard.gone() {
			break
		}
		if err != nil {
			return err
		}
		if len(batch.Records) == 0 {
			break
		}
		for i := range batch.Records {
			if r := &batch.Records[i]; !m.Last.Before(r.Sequence) {
				if m.Records == 0 {
					m.First = r.Sequence
				}
				m.Records++
				m.Bytes += int64(len(r.Data))
			}
		}
	}
	m.Expired = total - m.Records
	e.opts.Log.Error("planned records expired before they were delivered", "deliveryStream", m.Delivery,
		"shard", m.Key.Shard.String(), "records", m.Expired-t.manifest.Expired)
	return t.shard.replan(ctx, t, &m)
}

// sinkError is an error of the bucket's store: it slows down all that goes to the bucket.
type sinkError struct{ err error }

func (e sinkError) Error() string { return e.err.Error() }
func (e sinkError) Unwrap() error { return e.err }

// missingBucket tells the NotFound of a bucket from others.
func missingBucket(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.NotFound && strings.HasPrefix(f.Resource, object.MissingBucket)
}

// conflictError: the planned key holds an object that is not ours.
type conflictError struct {
	bucket, key, manifest string
	// neverPut is set when this was the first attempt ever to put the manifest.
	neverPut bool
}

func (c *conflictError) Error() string {
	return "object " + c.bucket + "/" + c.key + " exists and was not written for manifest " + c.manifest +
		"; move it away, and delivery goes on"
}

// stall cancels a put that makes no progress.
type stall struct {
	timer *time.Timer
}

var errStalled = fault.New(fault.Unavailable, "delivery.put", "", "the store made no progress for %v", stallTimeout)

func newStall(cancel context.CancelCauseFunc) *stall {
	return &stall{timer: time.AfterFunc(stallTimeout, func() { cancel(errStalled) })}
}

func (s *stall) stop() { s.timer.Stop() }

func (s *stall) watch(enc *encoder) *watched { return &watched{enc, s} }

// watched is a body whose every read counts as progress.
type watched struct {
	*encoder
	stall *stall
}

func (w *watched) Read(p []byte) (int, error) {
	w.stall.timer.Reset(stallTimeout)
	return w.encoder.Read(p)
}

// outcome tells what became of a task that nobody works on any more: an object that is there was delivered, the
// records of any other plan are discarded.
func (t *task) outcome(ctx context.Context) counted {
	if t.isStored() {
		return t.result
	}
	if t.manifest.Records > 0 {
		if result, found, err := t.head(ctx); err == nil && found {
			return result
		}
	}
	return counted{expired: t.manifest.Expired, discarded: t.manifest.Records}
}
