package replay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"millrace/internal/delivery/format"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// work is the replay of one object.
type work struct {
	r      *Replay
	key    string
	before bool // an earlier run has done it

	mark   marker
	etag   string // of the stored marker; empty: there is none
	digest string // of the key, in partition keys
	hash   stream.HashKey
	number int64 // of the next record that is read

	entries []stream.Entry
	results []stream.Result
	there   []bool
	bytes   int
}

// errChanged: the object is not the one whose records were replayed.
var errChanged = errors.New("it has been replaced since it was replayed; give the replay a name to replay it once more")

// run replays what is left of the object.
func (w *work) run(ctx context.Context, marked bool) error {
	if marked {
		if err := w.load(ctx); err != nil {
			return err
		}
	}
	if w.mark.Intent != nil && !w.r.opts.Alone && !w.r.opts.DryRun {
		if err := w.await(ctx); err != nil {
			return err
		}
	}
	if w.mark.Done {
		w.before = true
		info, err := w.r.opts.Store.Head(ctx, w.r.opts.Bucket, w.key)
		if err == nil && info.ETag != w.mark.ETag {
			return &objectError{errChanged}
		}
		return nil // it may be gone since it was listed
	}
	o, err := w.r.opts.Store.Get(ctx, w.r.opts.Bucket, w.key)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return &objectError{err}
		}
		return err
	}
	defer o.Body.Close()
	if w.mark.ETag == "" {
		w.mark.ETag = o.ETag
	}
	if w.mark.ETag != o.ETag {
		return &objectError{errChanged}
	}
	sum := sha256.Sum256([]byte(w.key))
	w.digest, w.hash = hex.EncodeToString(sum[:8]), stream.HashPartitionKey(w.key)
	if w.r.opts.DryRun {
		return w.count(o)
	}
	return w.replay(ctx, o)
}

// lease is how long a batch that another run has begun is left to it. A run that lives writes the marker more often: an
// append ends within callTime, and each try is preceded by a put.
const lease = callTime + maxPause + 15*time.Second

// await makes sure that nobody is at work on the batch whose intent was found. No clocks are compared: it waits, and looks
// whether the marker is still the same.
func (w *work) await(ctx context.Context) error {
	before := w.etag
	if err := pause(ctx, lease+w.r.opts.Settle); err != nil {
		return err
	}
	w.mark = marker{}
	if err := w.load(ctx); err != nil {
		return err
	}
	if w.etag != before {
		return fault.New(fault.InUse, "replay.Run", w.key, "another run of the same replay is at work; this one stops")
	}
	return nil
}

func (w *work) text(o *object.Object) (io.Reader, error) {
	text, err := format.NewReader(o.Body, o.ContentEncoding, w.key)
	return text, bad(err)
}

// bad says which errors are the object's own.
func bad(err error) error {
	var own *objectError
	if err == nil || errors.As(err, &own) {
		return err
	}
	switch fault.KindOf(err) {
	case fault.Corrupt, fault.Unsupported:
		return &objectError{err}
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, errTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &objectError{err}
	}
	return err
}

// passed marks errors that come from what is done with a record, not from the object.
type passed struct{ err error }

func (p passed) Error() string { return p.err.Error() }

// each gives the records behind those that are replayed.
func (w *work) each(o *object.Object, visit func(data []byte) error) error {
	text, err := w.text(o)
	if err != nil {
		return err
	}
	err = w.r.opts.Split.records(text, func(data []byte) error {
		if w.number++; w.number <= w.mark.Records {
			return nil
		}
		if err := visit(data); err != nil {
			return passed{err}
		}
		return nil
	})
	var own passed
	if errors.As(err, &own) {
		return own.err
	}
	return bad(err)
}

// count tells what would be replayed.
func (w *work) count(o *object.Object) error {
	return w.each(o, func(data []byte) error {
		w.r.done.Records++
		w.r.done.Bytes += int64(len(data))
		return nil
	})
}

func (w *work) replay(ctx context.Context, o *object.Object) error {
	pending := w.mark.Intent
	err := w.each(o, func(data []byte) error {
		w.add(data)
		full := len(w.entries) >= batchRecords || w.bytes >= batchBytes
		if pending != nil {
			full = len(w.entries) == pending.Records
		}
		if !full {
			return nil
		}
		err := w.flush(ctx, pending, false)
		pending = nil
		return err
	})
	if err != nil {
		return err
	}
	if pending != nil {
		return fault.New(fault.Corrupt, "replay.Run", w.key, "the marker names %d records on their way, and the object has %d left", pending.Records, len(w.entries))
	}
	return w.flush(ctx, nil, true)
}

// add puts a record into the batch.
func (w *work) add(data []byte) {
	key := "replay-" + w.r.id + "-" + w.digest + "-" + strconv.FormatInt(w.number, 10)
	w.entries = append(w.entries, stream.Entry{PartitionKey: key, ExplicitHashKey: &w.hash, Data: bytes.Clone(data)})
	w.results = append(w.results, stream.Result{})
	w.there = append(w.there, false)
	w.bytes += len(data)
}

// flush brings the batch into the stream. That it is there the next intent says in the marker, or, after the last, flush.
func (w *work) flush(ctx context.Context, pending *intent, last bool) error {
	if len(w.entries) > 0 {
		if err := w.send(ctx, pending); err != nil {
			return err
		}
	}
	w.mark.Records += int64(len(w.entries))
	w.mark.Intent = nil
	w.r.done.Bytes += int64(w.bytes)
	clear(w.entries)
	w.entries, w.results, w.there, w.bytes = w.entries[:0], w.results[:0], w.there[:0], 0
	if !last {
		w.r.opts.Report(w.r.done)
		return nil
	}
	w.mark.Done = true
	return w.save(ctx)
}

// send appends the batch until all of it is there.
func (w *work) send(ctx context.Context, pending *intent) error {
	at := pending
	if at == nil {
		place, shard, err := w.place(ctx)
		if err != nil {
			return err
		}
		at = &intent{Records: len(w.entries), Shard: shard, Place: place}
		w.mark.Intent = at
		if err := w.save(ctx); err != nil {
			return err
		}
	} else if err := w.reconcile(ctx, at); err != nil {
		return err
	}
	w.r.opts.Failpoint("replay-intent")
	var since time.Time
	before := len(w.entries) + 1
	for wait := firstPause; ; wait = min(2*wait, maxPause) {
		left, doubt, err := w.append(ctx)
		w.r.opts.Failpoint("replay-sent")
		switch {
		case left == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !passing(err):
			return err
		case since.IsZero() || left < before:
			since, wait = w.r.opts.Now(), firstPause
		case w.r.opts.Now().Sub(since) > outage:
			return fault.New(fault.KindOf(err), "replay.Run", w.r.opts.Into, "given up after %v; the same replay goes on from here: %w", outage, err)
		}
		before = left
		if err := pause(ctx, wait); err != nil {
			return err
		}
		if doubt {
			if err := w.reconcile(ctx, at); err != nil {
				return err
			}
		}
		if err := w.save(ctx); err != nil { // who waits sees that this run lives: see lease
			return err
		}
	}
}

// append tries once. doubt: some of what is left may have been written all the same.
func (w *work) append(ctx context.Context) (left int, doubt bool, err error) {
	var entries []stream.Entry
	var at []int
	for i := range w.entries {
		if !w.there[i] {
			entries, at = append(entries, w.entries[i]), append(at, i)
		}
	}
	if len(entries) == 0 {
		return 0, false, nil
	}
	// A call under way is not cut by an interrupt: then what has become of it would have to be found out.
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	results := w.results[:len(entries)]
	clear(results)
	if err := w.r.opts.Stream.Append(call, w.r.opts.Into, entries, results); err != nil {
		return len(entries), unsure(err), err
	}
	for n, i := range at {
		if e := results[n].Err; e != nil {
			left++
			doubt = doubt || unsure(e)
			if err == nil || !passing(e) {
				err = e
			}
			continue
		}
		w.there[i] = true
		w.r.done.Records++
	}
	return left, doubt, err
}

func unsure(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Internal)
}

// passing reports whether the same call may succeed later.
func passing(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Throttled, fault.LimitExceeded, fault.InUse, fault.Internal:
		return true
	}
	return false
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// place gives the shard that takes the object's records now, and where it ends.
func (w *work) place(ctx context.Context) (stream.SequenceNumber, uint32, error) {
	st, err := w.described()
	if err != nil {
		return stream.SequenceNumber{}, 0, err
	}
	for i := range st.Shards {
		if sh := &st.Shards[i]; sh.Open() && sh.Range.Contains(w.hash) {
			tip, err := w.r.opts.Stream.Tip(ctx, stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index})
			return tip, sh.Index, err
		}
	}
	return stream.SequenceNumber{}, 0, fault.New(fault.Unavailable, "replay.Run", w.r.opts.Into, "no open shard takes the hash key %s", w.hash)
}

func (w *work) described() (*stream.Stream, error) {
	st, ok := w.r.opts.Stream.Stream(w.r.opts.Into)
	if !ok {
		return nil, fault.New(fault.NotFound, "replay.Run", w.r.opts.Into, "the stream has been deleted")
	}
	return st, nil
}

// reconcile finds out which records of the batch are in the stream: in the shard of the intent from its place on, and in
// shards that came later, all of which that take the hash key.
func (w *work) reconcile(ctx context.Context, at *intent) error {
	if err := pause(ctx, w.r.opts.Settle); err != nil {
		return err
	}
	st, err := w.described()
	if err != nil {
		return err
	}
	missing := map[string]int{}
	for i := range w.entries {
		if !w.there[i] {
			missing[w.entries[i].PartitionKey] = i
		}
	}
	noted := false
	for i := range st.Shards {
		sh := &st.Shards[i]
		if sh.Index < at.Shard || !sh.Range.Contains(w.hash) {
			continue
		}
		from := sh.First
		if sh.Index == at.Shard {
			from, noted = at.Place, true
		}
		gone, err := w.search(ctx, stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index}, from, missing)
		if err != nil {
			return err
		}
		if gone && len(missing) > 0 {
			noted = false
			break
		}
	}
	if !noted && len(missing) > 0 {
		return fault.New(fault.Unavailable, "replay.Run", w.key, "%d records were on their way when the replay was cut off, and the stream has "+
			"meanwhile removed records by retention: whether they arrived can't be told. Delete the marker s3://%s/%s to replay all "+
			"records of the object once more", len(missing), w.r.opts.Bucket, w.r.markerKey(w.key))
	}
	return nil
}

// search reads a shard up to its tip of now, and takes what it finds out of missing. gone: records were removed that it
// should have seen.
func (w *work) search(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber, missing map[string]int) (gone bool, err error) {
	tip, err := w.r.opts.Stream.Tip(ctx, ref)
	if err != nil {
		return false, err
	}
	batch := new(stream.Batch)
	for at := from; at.Before(tip) && len(missing) > 0; at = batch.Next {
		if err := w.r.opts.Stream.Read(ctx, stream.ReadRequest{Shard: ref, From: at, MaxRecords: batchRecords, MaxBytes: batchBytes}, batch); err != nil {
			return gone, err
		}
		gone = gone || batch.Skipped > 0 || !batch.Resumed.IsZero()
		for i := range batch.Records {
			key := batch.Records[i].PartitionKey
			if n, ok := missing[string(key)]; ok {
				w.there[n] = true
				w.r.done.Found++
				delete(missing, string(key))
			}
		}
		if batch.End || len(batch.Records) == 0 && batch.MillisBehind == 0 {
			break
		}
	}
	return gone, nil
}

// load reads the marker.
func (w *work) load(ctx context.Context) error {
	key := w.r.markerKey(w.key)
	o, err := w.r.opts.Store.Get(ctx, w.r.opts.Bucket, key)
	if err != nil {
		return err
	}
	defer o.Body.Close()
	text, err := io.ReadAll(io.LimitReader(o.Body, maxMarker))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &w.mark); err != nil || w.mark.ETag == "" {
		return fault.New(fault.Corrupt, "replay.Run", key, "the object is no marker of a replay: %.80q", strings.TrimSpace(string(text)))
	}
	w.etag = o.ETag
	return nil
}

// save writes the marker. Who finds that another has written it stops.
func (w *work) save(ctx context.Context) error {
	text, err := json.Marshal(&w.mark)
	if err != nil {
		return fault.New(fault.Internal, "replay.Run", w.key, "%w", err)
	}
	conditions := object.Conditions{IfNoneMatch: "*"}
	if w.etag != "" {
		conditions = object.Conditions{IfMatch: w.etag}
	}
	key := w.r.markerKey(w.key)
	info, err := w.r.opts.Store.Put(ctx, w.r.opts.Bucket, key, bytes.NewReader(text), int64(len(text)),
		object.PutOptions{Attributes: object.Attributes{ContentType: "application/json"}, Conditions: conditions})
	if fault.Is(err, fault.PreconditionFailed) {
		return fault.New(fault.InUse, "replay.Run", key, "another run of the same replay has gone on meanwhile; this one stops: %w", err)
	}
	if err != nil {
		return err
	}
	w.etag = info.ETag
	w.r.opts.Failpoint("replay-marked")
	return nil
}
