package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/delivery/format"
	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// Metadata of every object that delivery writes (x-amz-meta-…): which plan it fulfils, how many records it holds, and
// which stretch of which shard.
const (
	metaManifest = "millrace-manifest"
	metaRecords  = "millrace-records"
	metaShard    = "millrace-shard"
	metaFirst    = "millrace-first"
	metaLast     = "millrace-last"
	metaName     = "millrace-delivery-stream"
	metaSource   = "millrace-stream"
	metaError    = "millrace-error" // error-output-type
)

// task is a manifest on its way to its objects. One goroutine at a time works on it: the worker that planned it, then
// putters.
type task struct {
	shard    *shard
	manifest *journal.Manifest
	parts    []partState // of the manifest's
	lastID   uint64      // the newest id in it
	failures int
	// mu is held while parts become done, and while what lanes keep is gathered again: several parts may be put at a time. What is at
	// hand of a part is its putter's.
	mu lock
	// Guarded by shard.mu:
	stored   bool
	result   counted
	reloaded *journal.Manifest // what the journal holds, when it may differ from manifest
}

// partState is how far a part is.
type partState struct {
	kept kept
	// mayExist is set when an earlier attempt, of this process or another, may have stored the object.
	mayExist       bool
	failedMayExist bool // the same of the error object
	http           httpState
	done           bool
	result         counted
}

func newTask(s *shard, m *journal.Manifest) *task {
	t := &task{shard: s, manifest: m, parts: make([]partState, len(m.Parts)), mu: newLock()}
	for i := range t.parts {
		t.parts[i].kept = kept{budget: &s.d.engine.budget, full: true}
	}
	return t
}

// found makes a task of a manifest that another process, or an earlier life of this one, may have worked on.
func foundTask(s *shard, m *journal.Manifest) *task {
	t := newTask(s, m)
	for i := range t.parts {
		t.parts[i].mayExist, t.parts[i].failedMayExist = true, true
	}
	return t
}

// place names where the task's objects go: what fails there fails for all that go there. endpoint tells that it is one.
func (t *task) place() (place string, endpoint bool) {
	for i := range t.manifest.Parts {
		p := &t.manifest.Parts[i]
		if p.Format == journal.HTTP && p.Failure == nil {
			return "endpoint of " + t.manifest.Delivery, true
		}
	}
	if len(t.manifest.Parts) == 0 {
		return "", false
	}
	return "bucket " + t.manifest.Parts[0].Bucket, false
}

func (t *task) dropKept() {
	for i := range t.parts {
		t.parts[i].kept.drop()
	}
}

// yield gives memory back that others may need, while the task waits for another try.
func (t *task) yield() {
	for i := range t.parts {
		t.parts[i].kept.yield()
	}
}

// counted is what became of records.
type counted struct {
	delivered    int64
	deadLettered int64
	dropped      int64
	expired      int64
	discarded    int64
	outputs      int64 // delivered
	bytes        int64 // delivered
	objects      int64
	errorObjects int64
}

func (c counted) plus(d counted) counted {
	return counted{c.delivered + d.delivered, c.deadLettered + d.deadLettered, c.dropped + d.dropped, c.expired + d.expired,
		c.discarded + d.discarded, c.outputs + d.outputs, c.bytes + d.bytes, c.objects + d.objects, c.errorObjects + d.errorObjects}
}

func (c counted) counts() journal.Counts {
	return journal.Counts{Delivered: c.delivered, DeadLettered: c.deadLettered, Dropped: c.dropped, Expired: c.expired,
		Discarded: c.discarded, DeliveredBytes: c.bytes, Outputs: c.outputs, Objects: c.objects, ErrorObjects: c.errorObjects}
}

// planned is what a part counts for when its object holds all that was planned.
func planned(p *journal.Part) counted {
	switch {
	case p.Outputs == 0:
		return counted{}
	case p.Format == journal.Errors:
		return counted{deadLettered: p.Records, errorObjects: 1}
	}
	return counted{delivered: p.Records, outputs: p.Outputs, bytes: p.Bytes, objects: 1}
}

// run takes the task as far as it goes: puts the objects, unless they are there already, and commits.
func (t *task) run(ctx context.Context) error {
	if err := t.shard.refresh(ctx, t); err != nil {
		return err
	}
	if t.isStored() {
		return t.shard.settle(ctx, t, t.result)
	}
	if commitBeforePut {
		return t.runFaulty(ctx)
	}
	if err := t.storeAll(ctx); err != nil {
		return t.resolve(ctx, err)
	}
	t.dropKept()
	result := counted{expired: t.manifest.Expired, dropped: t.manifest.Dropped}
	for i := range t.parts {
		result = result.plus(t.parts[i].result)
	}
	return t.shard.settle(ctx, t, result)
}

func (t *task) runFaulty(ctx context.Context) error {
	result := counted{expired: t.manifest.Expired, dropped: t.manifest.Dropped}
	for i := range t.manifest.Parts {
		result = result.plus(planned(&t.manifest.Parts[i]))
	}
	if err := t.shard.settle(ctx, t, result); err != nil {
		return err
	}
	return t.storeAll(ctx)
}

// posts reports whether the task's outputs go to an endpoint.
func (t *task) posts() bool {
	return len(t.manifest.Parts) > 0 && t.manifest.Parts[0].Format == journal.HTTP
}

// storeAll makes sure that every part's object is in its bucket. Parts are put in any order, several at a time; after an error
// no further one is begun.
func (t *task) storeAll(ctx context.Context) error {
	var left []int
	for i := range t.parts {
		if !t.parts[i].done {
			left = append(left, i)
		}
	}
	if len(left) == 1 || t.posts() { // requests go one after the other, so that an endpoint has them in order
		for _, part := range left {
			if err := t.storePart(ctx, part); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var first error // of the first part that had one; guarded by t.mu
	work := func() {
		for {
			n := int(next.Add(1)) - 1
			if n >= len(left) {
				return
			}
			if err := t.storePart(ctx, left[n]); err != nil {
				next.Add(int64(len(left)))
				t.mu.Lock()
				if first == nil {
					first = err
				}
				t.mu.Unlock()
				return
			}
		}
	}
	var helpers sync.WaitGroup
	for range min(len(left), partsAtOnce) - 1 {
		if !t.help(&helpers, work) {
			break
		}
	}
	work()
	helpers.Wait()
	return first
}

// help does work in another goroutine, when the node has a part slot left.
func (t *task) help(all *sync.WaitGroup, work func()) bool {
	tokens := t.shard.d.engine.parts
	select {
	case tokens <- struct{}{}:
	default:
		return false
	}
	all.Go(func() {
		defer func() { <-tokens }()
		work()
	})
	return true
}

func (t *task) storePart(ctx context.Context, part int) error {
	result, err := t.store(ctx, part)
	if err != nil {
		return partError{part, err}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st := &t.parts[part]
	st.done, st.result = true, result
	st.kept.drop()
	return nil
}

// partError tells which part an error is of.
type partError struct {
	part int
	err  error
}

func (e partError) Error() string { return e.err.Error() }
func (e partError) Unwrap() error { return e.err }

// resolve changes the plan when the same plan can't succeed; it returns the error that makes the putter try again.
func (t *task) resolve(ctx context.Context, err error) error {
	var sink sinkError
	var conflict *conflictError
	var part partError
	var refused *refusedError
	var retry *retryError
	var spool spoolError
	var replanErr error
	switch {
	case errors.As(err, &spool):
		t.dropKept()
		return err
	case errors.As(err, &sink), errors.As(err, &retry), !errors.As(err, &part):
		return err
	case errors.As(err, &refused):
		replanErr = t.refuse(ctx, part.part, refused)
	case errors.As(err, &conflict) && conflict.neverPut:
		replanErr = t.rename(ctx, part.part, conflict.key)
	case errors.Is(err, errDiffers), fault.Is(err, fault.NotFound):
		replanErr = t.amend(ctx)
	}
	if replanErr != nil {
		return fmt.Errorf("%w; planning anew: %w", err, replanErr)
	}
	return err
}

// edit gives a copy of the manifest that may be changed.
func (t *task) edit() *journal.Manifest {
	m := *t.manifest
	m.Parts = append([]journal.Part(nil), m.Parts...)
	return &m
}

// rename plans another key for the same records. It is safe only when nobody has ever tried to put this part, and
// refused for a good reason otherwise: an object that was put and then replaced by somebody would be put twice. The
// ordinal stays, so that the order of keys and manifests does; the random part of the UUID changes. The key is the part's
// own, or that of its error object.
func (t *task) rename(ctx context.Context, part int, taken string) error {
	m := t.edit()
	p := &m.Parts[part]
	name, key := &p.ID, &p.ObjectKey
	if taken == p.FailedKey {
		name, key = &p.FailedID, &p.FailedKey
	}
	old := *name
	id, err := objectkey.ParseID(old)
	if err != nil {
		return err
	}
	*name = id.UUID(t.shard.d.engine.opts.IDs)
	at := strings.LastIndex(*key, old)
	*key = (*key)[:at] + *name + (*key)[at+len(old):]
	return t.shard.replan(ctx, t, m)
}

func (t *task) isStored() bool {
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	return t.stored
}

// store makes sure that a part's object is in the bucket.
func (t *task) store(ctx context.Context, part int) (counted, error) {
	p, st := &t.manifest.Parts[part], &t.parts[part]
	if p.Outputs == 0 {
		return t.storedBefore(ctx, part)
	}
	switch {
	case p.Upload != nil:
		return t.complete(ctx, part)
	case p.Format == journal.Parquet:
		return t.convert(ctx, part)
	case p.Format == journal.HTTP && p.Failure == nil:
		return t.post(ctx, part)
	case p.Format == journal.HTTP:
		if err := t.bringStaged(ctx, part); err != nil {
			return counted{}, err
		}
		q := failedPart(p, httpFailed)
		return t.putOrFind(ctx, target{&q, &st.failedMayExist}, &st.kept, true)
	}
	if st.mayExist {
		t.shard.d.engine.opts.Failpoint("recover-head")
		result, found, err := t.head(ctx, p)
		if err != nil || found {
			return result, err
		}
	}
	return t.put(ctx, part)
}

// storedBefore tells what became of a part of which nothing is left: an object that an earlier attempt stored, before its records
// expired, has delivered them.
func (t *task) storedBefore(ctx context.Context, part int) (counted, error) {
	p := &t.manifest.Parts[part]
	if !t.parts[part].mayExist || p.Upload != nil || p.Format == journal.HTTP {
		return counted{}, nil
	}
	result, found, err := t.head(ctx, p)
	var conflict *conflictError
	switch {
	case errors.As(err, &conflict):
		return counted{}, nil // and is another's
	case err != nil || !found:
		return counted{}, err
	case p.Format == journal.Errors:
		result.errorObjects = 1
	default:
		result.objects = 1
	}
	return result, nil
}

// head looks for a part's object. found tells that it is there and ours.
func (t *task) head(ctx context.Context, p *journal.Part) (result counted, found bool, err error) {
	info, err := t.shard.d.engine.opts.Sink.Head(ctx, p.Bucket, p.ObjectKey)
	switch {
	case fault.Is(err, fault.NotFound) && !missingBucket(err):
		return counted{}, false, nil
	case err != nil:
		return counted{}, false, sinkError{err}
	case info.Metadata[metaManifest] != p.ID:
		return counted{}, false, &conflictError{bucket: p.Bucket, key: p.ObjectKey, manifest: p.ID}
	}
	result = planned(p)
	if n, err := strconv.ParseInt(info.Metadata[metaRecords], 10, 64); err == nil && n != p.Records {
		// It was stored before some of its records expired and the plan was amended.
		more := n - p.Records
		result.expired -= more
		if p.Format == journal.Errors {
			result.deadLettered += more
		} else {
			result.delivered += more
		}
	}
	return result, true, nil
}

// target is an object that is to be put.
type target struct {
	*journal.Part
	mayExist *bool // an earlier attempt, of this process or another, may have stored it
}

// put encodes the outputs of a part into its object.
func (t *task) put(ctx context.Context, part int) (counted, error) {
	if err := t.gatherAgain(ctx, part); err != nil {
		return counted{}, err
	}
	p, st := &t.manifest.Parts[part], &t.parts[part]
	enc, err := t.shard.d.newEncoder(ctx, t.manifest, p, &st.kept, nil)
	if err != nil {
		return counted{}, err
	}
	defer enc.close()
	result, _, err := t.putEncoded(ctx, target{p, &st.mayExist}, enc)
	return result, err
}

// putOrFind puts an object of what is kept, and of what can be read again, unless it is there.
func (t *task) putOrFind(ctx context.Context, to target, k *kept, mayRead bool) (counted, error) {
	if *to.mayExist {
		if result, found, err := t.head(ctx, to.Part); err != nil || found {
			return result, err
		}
	}
	enc, err := t.shard.d.newEncoder(ctx, t.manifest, to.Part, k, nil)
	if err != nil {
		return counted{}, err
	}
	defer enc.close()
	enc.mayRead = mayRead
	result, _, err := t.putEncoded(ctx, to, enc)
	return result, err
}

// putEncoded puts what an encoder makes. That the key exists is success when the object is ours: found.
func (t *task) putEncoded(ctx context.Context, to target, enc *encoder) (result counted, found bool, err error) {
	e := t.shard.d.engine
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := newStall(cancel)
	defer stall.stop()
	enc.ctx = ctx

	e.opts.Failpoint("put-before")
	_, err = e.opts.Sink.Put(ctx, to.Bucket, to.ObjectKey, stall.watch(enc), size(to.Part), object.PutOptions{
		Attributes: attributes(t.manifest, to.Part), Conditions: object.Conditions{IfNoneMatch: "*"}})
	if err == nil {
		e.opts.Failpoint("put-after")
		return planned(to.Part), false, nil
	}
	if enc.err != nil && enc.err != io.EOF && ctx.Err() == nil {
		return counted{}, false, enc.err // the body, and not the store, ended the put
	}
	first := !*to.mayExist
	if !fault.Is(err, fault.PreconditionFailed) {
		// A store that keeps its contract has stored nothing; one across a network may have.
		*to.mayExist = *to.mayExist || !missingBucket(err)
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return counted{}, false, sinkError{err}
	}
	result, found, err = t.head(ctx, to.Part)
	var conflict *conflictError
	if errors.As(err, &conflict) {
		conflict.neverPut = first
	}
	if err == nil && !found {
		err = sinkError{fault.New(fault.Unavailable, "delivery.put", to.ObjectKey, "the key existed, and now it does not")}
	}
	return result, found, err
}

// attributes are what an object says of itself.
func attributes(m *journal.Manifest, p *journal.Part) object.Attributes {
	a := object.Attributes{ContentType: "application/octet-stream"}
	a.ContentEncoding = format.Kind(p.Compression).ContentEncoding()
	a.Metadata = map[string]string{metaManifest: p.ID, metaRecords: strconv.FormatInt(p.Records, 10),
		metaShard: stream.ShardID(m.Key.Shard.Shard), metaFirst: p.First.String(), metaLast: p.Last.String(),
		metaName: m.Delivery}
	describe(a.Metadata, m, p)
	return a
}

// gatherAgain brings the outputs of a part that is to be put, when they lie in a lane and are not at hand: reading and
// processing the range once for it, and for as many of the other parts as there is room for. The rest has its turn later. The
// only lane of a shard needs it not: it is read as it is encoded.
func (t *task) gatherAgain(ctx context.Context, part int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.manifest.Parts[part].Lane.IsZero() || !t.parts[part].kept.full {
		return nil
	}
	wanted := make([]bool, len(t.parts)) // nobody else uses what these keep: who needs it waits for mu
	for i := range t.parts {
		if st := &t.parts[i]; !st.done && st.kept.full && !t.manifest.Parts[i].Lane.IsZero() {
			wanted[i] = true
			st.kept.drop()
			st.kept = kept{budget: st.kept.budget, spools: &t.shard.d.engine.spools}
		}
	}
	err := t.survey(ctx, func(i int, o *output) error {
		p, k := &t.manifest.Parts[i], &t.parts[i].kept
		if !wanted[i] || k.full || k.outputs == p.Outputs {
			return nil
		}
		err := k.keep(p, o)
		switch {
		case err == nil:
			return nil
		case i != part:
			k.drop()
			return nil
		}
		t.makeRoom(wanted, part)
		k.full = false
		return k.keep(p, o)
	})
	for i := range t.parts {
		if k := &t.parts[i].kept; wanted[i] && err == nil && !k.full && k.outputs != t.manifest.Parts[i].Outputs {
			err = errDiffers
		}
	}
	if err == nil {
		return nil
	}
	for i := range t.parts {
		if wanted[i] {
			t.parts[i].kept.drop()
		}
	}
	return err
}

// makeRoom drops what was gathered for all parts but one. It can be gathered again.
func (t *task) makeRoom(gathered []bool, part int) {
	for i := range t.parts {
		if gathered[i] && i != part {
			t.parts[i].kept.drop()
		}
	}
}

// survey reads the range of the parts that are not stored yet, and processes it again; visit is told of every output that
// belongs to one of the parts.
func (t *task) survey(ctx context.Context, visit func(part int, o *output) error) error {
	processing, err := t.shard.d.processing(t.manifest)
	if err != nil {
		return err
	}
	byKey := map[string]int{}
	var from, to stream.SequenceNumber
	for i := range t.manifest.Parts {
		p := &t.manifest.Parts[i]
		if t.parts[i].done || p.Outputs == 0 {
			continue
		}
		if len(byKey) == 0 || p.First.Before(from) {
			from = p.First
		}
		if to.Before(p.Last) {
			to = p.Last
		}
		byKey[string(appendLaneKey(nil, p.Lane))] = i
	}
	if len(byKey) == 0 {
		return nil
	}
	var s scratch
	return t.shard.each(ctx, from, to, func(r *stream.Record) error {
		return processing.each(r, &s, func(key []byte, o *output) error {
			i, ok := byKey[string(key)]
			if !ok {
				return nil
			}
			if p := &t.manifest.Parts[i]; o.sequence.Before(p.First) || p.Last.Before(o.sequence) {
				return nil
			}
			return visit(i, o)
		})
	})
}

// each reads the records of the shard that are still there, from a place to another.
func (s *shard) each(ctx context.Context, from, to stream.SequenceNumber, visit func(r *stream.Record) error) error {
	batch, err := s.d.engine.batches.take(ctx)
	if err != nil {
		return err
	}
	defer s.d.engine.batches.give(batch)
	return s.eachIn(ctx, batch, from, to, visit)
}

// eachIn is each with a batch of the caller's.
func (s *shard) eachIn(ctx context.Context, batch *stream.Batch, from, to stream.SequenceNumber, visit func(r *stream.Record) error) error {
	e := s.d.engine
	for at := from; !to.Before(at); at = batch.Next {
		err := e.opts.Source.Read(ctx, stream.ReadRequest{Shard: s.ref, From: at, MaxRecords: readBatchRecords,
			MaxBytes: readBatchBytes, Held: true}, batch)
		if fault.Is(err, fault.NotFound) && s.gone() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read again: %w", err)
		}
		if len(batch.Records) == 0 && (batch.MillisBehind == 0 || !at.Before(batch.Next)) {
			return nil
		}
		for i := range batch.Records {
			if r := &batch.Records[i]; !to.Before(r.Sequence) {
				if err := visit(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// amend finds out which planned records are still there and stores the plan anew under the same id and key: an object
// that an earlier attempt stored is found by its metadata, with the number of records that it holds.
func (t *task) amend(ctx context.Context) error {
	e := t.shard.d.engine
	t.dropKept()
	m := t.edit()
	before := m.Records()
	for i := range m.Parts {
		if p := &m.Parts[i]; !t.parts[i].done {
			p.Records, p.Outputs, p.Bytes = 0, 0, 0
		}
	}
	err := t.survey(ctx, func(i int, o *output) error {
		p := &m.Parts[i]
		if p.Outputs == 0 {
			p.First = o.sequence
		}
		p.Outputs++
		p.Bytes += int64(len(o.data))
		if o.first {
			p.Records++
		}
		return nil
	})
	if err != nil {
		return err
	}
	gone := before - m.Records()
	m.Expired += gone
	e.opts.Log.Error("planned records expired before they were delivered", "deliveryStream", m.Delivery,
		"shard", m.Key.Shard.String(), "records", gone)
	return t.shard.replan(ctx, t, m)
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
	// neverPut is set when this was the first attempt ever to put the part.
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
// records of any other part are discarded.
func (t *task) outcome(ctx context.Context) counted {
	if t.isStored() {
		return t.result
	}
	result := counted{expired: t.manifest.Expired, dropped: t.manifest.Dropped}
	for i := range t.manifest.Parts {
		p := &t.manifest.Parts[i]
		part := counted{discarded: p.Records}
		if t.parts[i].done {
			part = t.parts[i].result
		} else if q := p; p.Outputs > 0 && (p.Format != journal.HTTP || p.Failure != nil) {
			if p.Format == journal.HTTP {
				failed := failedPart(p, httpFailed)
				q = &failed
			}
			if there, found, err := t.head(ctx, q); err == nil && found {
				part = there
			}
		}
		result = result.plus(part)
	}
	return result
}
