package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// Writing a range of a stream again, below another prefix, as a delivery stream would deliver it.
//
//	shard ── round: until a lane is full ── checkpoint with the round's end ── objects ── next round
//
// Where a round ends, and the keys of its objects, follow from the records alone. So a round that was cut off is made
// again as it was: objects that are there are found, as delivery finds its own.

// RewriteOptions say what is written again. All but DryRun, Report and Failpoint are required.
type RewriteOptions struct {
	Stream   string // the delivery stream's source, or its own name if it takes records by Direct PUT
	Delivery string
	// From and To bound when the records arrived. To lies in the past, so that the range is the same whenever it is read.
	From, To time.Time
	Prefix   string // goes before the delivery stream's own prefixes
	// At gives the first record of a shard that arrived at or after a time.
	At     func(ctx context.Context, shard stream.ShardRef, t time.Time) (stream.SequenceNumber, error)
	DryRun bool
	Report func(RewriteProgress)
}

// RewriteProgress is what a run has done.
type RewriteProgress struct {
	Shard  string `json:"shard,omitempty"`  // that is being read
	Shards int    `json:"shards"`           // done, those of earlier runs too
	Of     int    `json:"of"`               // all that there are
	Object string `json:"object,omitempty"` // the last one

	Objects      int64 `json:"objects"` // that are there now; a dry run counts those that there would be
	ErrorObjects int64 `json:"errorObjects"`
	Records      int64 `json:"records"` // read by this run
	Dropped      int64 `json:"dropped"` // of them, by a processor
	DeadLettered int64 `json:"deadLettered"`
	Expired      int64 `json:"expired"` // of the range, before they were read
	Bytes        int64 `json:"bytes"`   // of outputs
}

// rewriting is one run.
type rewriting struct {
	RewriteOptions
	d    *delivery
	id   string
	dest *destination
	done RewriteProgress
}

// Rewrite writes what is not written yet. It ends early when ctx does; the next run goes on.
func (e *Engine) Rewrite(ctx context.Context, o RewriteOptions) (RewriteProgress, error) {
	w, err := e.newRewriting(&o)
	if err != nil {
		return RewriteProgress{}, err
	}
	defer w.d.cancel()
	st, ok := e.opts.Source.Stream(w.d.source)
	if !ok {
		return w.done, fault.New(fault.NotFound, "delivery.Rewrite", o.Stream, "there is no stream %s", o.Stream)
	}
	w.done.Of = len(st.Shards)
	for i := range st.Shards {
		ref := stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: st.Shards[i].Index}
		if err := w.shard(ctx, ref, st.Shards[i].Created); err != nil {
			return w.done, err
		}
		w.done.Shards++
	}
	w.done.Shard = ""
	w.Report(w.done)
	return w.done, nil
}

func (e *Engine) newRewriting(o *RewriteOptions) (*rewriting, error) {
	const op = "delivery.Rewrite"
	have, err := e.find(op, o.Delivery)
	if err != nil {
		return nil, err
	}
	def := have.definition.Load()
	refuse := func(format string, args ...any) error {
		return fault.New(fault.Invalid, op, o.Delivery, format, args...)
	}
	switch {
	case def.backupOf != nil:
		return nil, e.notFound(op, o.Delivery)
	case o.Stream != def.SourceStream() && (def.Type != DirectPut || o.Stream != def.Name):
		return nil, refuse("delivery stream %s does not read %s", o.Delivery, o.Stream)
	case def.HTTPEndpoint != nil:
		return nil, fault.New(fault.Unsupported, op, o.Delivery, "%s delivers to an HTTP endpoint, which has no prefixes", o.Delivery)
	case def.Lambda() != "":
		return nil, fault.New(fault.Unsupported, op, o.Delivery, "%s transforms records by a function, which may answer differently when it is asked again", o.Delivery)
	case !strings.HasSuffix(o.Prefix, "/") || strings.HasPrefix(o.Prefix, "/") || strings.Contains(o.Prefix, "!{"):
		return nil, refuse("the prefix %q is no folder such as again/", o.Prefix)
	case strings.HasPrefix(o.Prefix, ".millrace/"):
		return nil, refuse("objects below .millrace/ are the node's own")
	case o.From.IsZero() || o.To.IsZero() || !o.From.Before(o.To):
		return nil, refuse("both ends of the range of time are needed, the earlier first")
	case o.To.After(e.opts.Now()):
		return nil, refuse("the end of the range of time has not come yet: it would hold something else when it is read again")
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{"rewrite", def.ID, o.Prefix, o.From.UTC().Format(time.RFC3339Nano), o.To.UTC().Format(time.RFC3339Nano)}, "\x00")))
	w := &rewriting{RewriteOptions: *o, id: hex.EncodeToString(sum[:8])}
	if w.Report == nil {
		w.Report = func(RewriteProgress) {}
	}
	below := def.clone()
	below.Destination.Prefix = new(o.Prefix + text(def.Destination.Prefix))
	if t := text(def.Destination.ErrorOutputPrefix); t != "" {
		below.Destination.ErrorOutputPrefix = new(o.Prefix + t)
	}
	if w.d, err = e.newDelivery(below); err != nil {
		return nil, err
	}
	w.dest = w.d.destination()
	return w, nil
}

// rewritten is how far a shard is.
type rewritten struct {
	Version int64                 `json:"definition"` // of the delivery stream: another one would cut rounds elsewhere
	Next    stream.SequenceNumber `json:"next"`
	// Through is the last record of the round that begins at Next, once it is known.
	Through *stream.SequenceNumber `json:"through,omitempty"`
	Done    bool                   `json:"done,omitempty"`
	// What the rounds before have become, which a later run adds to its own.
	Objects      int64 `json:"objects"`
	ErrorObjects int64 `json:"errorObjects"`

	etag string
}

func (w *rewriting) stateKey(ref stream.ShardRef) string {
	return ".millrace/replay/" + w.id + "/" + ref.ID + "/" + stream.ShardID(ref.Shard)
}

// maxRewritten bounds a state that is read.
const maxRewritten = 4 << 10

func (w *rewriting) load(ctx context.Context, ref stream.ShardRef) (s rewritten, found bool, err error) {
	o, err := w.d.engine.opts.Sink.Get(ctx, w.dest.bucket, w.stateKey(ref))
	if fault.Is(err, fault.NotFound) && !missingBucket(err) {
		return rewritten{Version: w.dest.number}, false, nil
	}
	if err != nil {
		return s, false, err
	}
	defer o.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(o.Body, maxRewritten))
	if err == nil {
		err = json.Unmarshal(doc, &s)
	}
	if err != nil {
		return s, false, fault.New(fault.Corrupt, "delivery.Rewrite", w.stateKey(ref), "the object is no state of a replay: %w", err)
	}
	if s.Version != w.dest.number {
		return s, false, fault.New(fault.PreconditionFailed, "delivery.Rewrite", w.Delivery, "%s was changed since this replay was begun (version %d, now %d): "+
			"give it another prefix to write all with the definition of now", w.Delivery, s.Version, w.dest.number)
	}
	s.etag = o.ETag
	return s, true, nil
}

func (w *rewriting) save(ctx context.Context, ref stream.ShardRef, s *rewritten) error {
	if w.DryRun {
		return nil
	}
	doc, err := json.Marshal(s)
	if err != nil {
		return fault.New(fault.Internal, "delivery.Rewrite", "", "%w", err)
	}
	conditions := object.Conditions{IfNoneMatch: "*"}
	if s.etag != "" {
		conditions = object.Conditions{IfMatch: s.etag}
	}
	info, err := w.d.engine.opts.Sink.Put(ctx, w.dest.bucket, w.stateKey(ref), bytes.NewReader(doc), int64(len(doc)),
		object.PutOptions{Attributes: object.Attributes{ContentType: "application/json"}, Conditions: conditions})
	if fault.Is(err, fault.PreconditionFailed) {
		return fault.New(fault.InUse, "delivery.Rewrite", w.Delivery, "another run of the same replay is at work; this one stops: %w", err)
	}
	s.etag = info.ETag
	return err
}

// shard writes what is left of a shard.
func (w *rewriting) shard(ctx context.Context, ref stream.ShardRef, created int64) error {
	s, found, err := w.load(ctx, ref)
	if err != nil {
		return err
	}
	w.done.Objects, w.done.ErrorObjects = w.done.Objects+s.Objects, w.done.ErrorObjects+s.ErrorObjects
	w.done.Shard = stream.ShardID(ref.Shard)
	if s.Done {
		return nil
	}
	if !found {
		if s.Next, err = w.At(ctx, ref, w.From); err != nil {
			return err
		}
	}
	row := w.d.firstRow(ref, &stream.Shard{Created: created}, s.Next)
	sh := newShard(w.d, row)
	defer sh.stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		before := w.done
		ended, err := w.round(ctx, sh, &s)
		if err != nil {
			return err
		}
		s.Objects += w.done.Objects - before.Objects
		s.ErrorObjects += w.done.ErrorObjects - before.ErrorObjects
		s.Through, s.Done = nil, ended
		if err := w.save(ctx, ref, &s); err != nil {
			return err
		}
		w.d.engine.opts.Failpoint("rewrite-saved")
		w.Report(w.done)
		if ended {
			return nil
		}
	}
}

// round writes the objects of the records from a place on, until a lane is full.
func (w *rewriting) round(ctx context.Context, sh *shard, s *rewritten) (ended bool, err error) {
	g := newGathering(s.Next, w.dest)
	defer g.close()
	if ended, err = w.gather(ctx, sh, g, s.Through != nil); err != nil {
		return false, err
	}
	var through stream.SequenceNumber
	for _, l := range g.lanes {
		if through.Before(l.last) {
			through = l.last
		}
	}
	if s.Through != nil && *s.Through != through {
		return false, fault.New(fault.Unavailable, "delivery.Rewrite", w.Delivery, "a round of %s that was cut off ended with %s, and now it ends with %s: "+
			"its records have changed", sh.ref, s.Through, through)
	}
	if s.Through == nil && len(g.lanes) > 0 {
		s.Through = &through
		if err := w.save(ctx, sh.ref, s); err != nil {
			return false, err
		}
	}
	w.d.engine.opts.Failpoint("rewrite-planned")
	if err := w.store(ctx, sh, g); err != nil {
		return false, err
	}
	w.done.Records += g.records + g.dropped
	w.done.Dropped += g.dropped
	w.done.Expired += g.expired
	s.Next = g.next
	return ended, nil
}

// gather reads a round. again: it was begun before, so that all of its records must be there.
func (w *rewriting) gather(ctx context.Context, sh *shard, g *gathering, again bool) (ended bool, err error) {
	e := w.d.engine
	batch, err := e.batches.take(ctx)
	if err != nil {
		return false, err
	}
	defer e.batches.give(batch)
	var sc scratch
	from, to := w.From.UnixMilli(), w.To.UnixMilli()
	for {
		err := e.opts.Source.Read(ctx, stream.ReadRequest{Shard: sh.ref, From: g.next, MaxRecords: readBatchRecords, MaxBytes: readBatchBytes}, batch)
		if err != nil {
			return false, err
		}
		if gap := batch.Skipped > 0 || !batch.Resumed.IsZero(); gap {
			if again {
				return false, fault.New(fault.Unavailable, "delivery.Rewrite", w.Delivery, "records of a round of %s that was cut off have expired since: "+
					"its objects can't be completed; give it another prefix", sh.ref)
			}
			g.expired += batch.Skipped
		}
		if len(batch.Records) == 0 {
			return batch.End || batch.MillisBehind == 0, nil
		}
		for i := range batch.Records {
			r := &batch.Records[i]
			if r.Arrival >= to {
				return true, nil
			}
			if r.Arrival < from {
				g.next = r.Sequence.Next()
				continue
			}
			if err := w.add(g, r, &sc); err != nil {
				return false, err
			}
			if full := w.isFull(g); full {
				return false, nil
			}
		}
		g.next = batch.Next
	}
}

// roundSizes is how many full objects a round has in memory and spool at most.
const roundSizes = 4

func (w *rewriting) isFull(g *gathering) bool {
	for _, l := range g.lanes {
		if g.isFull(l) {
			return true
		}
	}
	return g.bytes >= roundSizes*g.dest.size || len(g.lanes) >= maxParts/2 // one record may open several more
}

// add puts the outputs of a record into their lanes.
func (w *rewriting) add(g *gathering, r *stream.Record, sc *scratch) error {
	outputs := 0
	err := g.dest.processing.each(r, sc, func(key []byte, o *output) error {
		outputs++
		l := g.byKey[string(key)]
		if l == nil {
			k := kept{budget: &w.d.engine.budget, spools: &w.d.engine.spools, full: w.DryRun}
			l = g.open(string(key), laneOf(string(key)), stream.SequenceNumber{}, k)
		}
		var err error
		if framed(g.dest.formatOf(l.name)) {
			err = l.kept.frame(o)
		} else {
			err = l.kept.text(o, g.dest.delimiter)
		}
		g.count(l, o)
		return err
	})
	if outputs == 0 {
		g.dropped++
	}
	g.next = r.Sequence.Next()
	return err
}

// store puts the objects of a round, as far as they are not there.
func (w *rewriting) store(ctx context.Context, sh *shard, g *gathering) error {
	if w.DryRun {
		for _, l := range g.lanes {
			w.count(planned(&journal.Part{Format: g.dest.formatOf(l.name), Records: l.records, Outputs: l.outputs, Bytes: l.bytes}))
		}
		return nil
	}
	for at := 0; at < len(g.lanes); at += maxParts {
		t := w.task(sh, g, g.lanes[at:min(at+maxParts, len(g.lanes))])
		err := t.storeAll(ctx)
		t.dropKept()
		if err != nil {
			return err
		}
		for i := range t.parts {
			w.count(t.parts[i].result)
			w.done.Object = t.manifest.Parts[i].ObjectKey
		}
	}
	return nil
}

func (w *rewriting) count(c counted) {
	w.done.Objects += c.objects
	w.done.ErrorObjects += c.errorObjects
	w.done.DeadLettered += c.deadLettered
	w.done.Bytes += c.bytes
}

// task makes the plan of lanes. All that is random in it follows from the replay and the first record of the lane.
func (w *rewriting) task(sh *shard, g *gathering, lanes []*lane) *task {
	m := &journal.Manifest{Key: sh.row.Key, Delivery: w.d.name + "/replay-" + w.id, Version: w.dest.version, Next: g.next, Through: g.next,
		Planned: w.d.engine.opts.Now().UTC()}
	if w.dest.processing != nil {
		m.Recipe = w.dest.processing.text
	}
	for _, l := range lanes {
		stamp := time.UnixMilli(l.oldest).UTC()
		var number [stream.BinaryLen]byte
		l.first.PutBinary(&number)
		h := sha256.New()
		for _, part := range [][]byte{[]byte(w.id), []byte(sh.ref.ID), number[:], []byte(l.name.ID())} {
			_, _ = h.Write(part) // a hash takes all
		}
		seed := h.Sum(nil)
		id := objectkey.After(0, stamp) | objectkey.ID(binary.BigEndian.Uint16(seed[8:])&0xfff)
		random := ids.Seeded(binary.BigEndian.Uint64(seed))
		m.Parts = append(m.Parts, w.dest.part(l, func() string { return id.UUID(random) }, stamp, random))
	}
	m.Ordinal = 1
	t := foundTask(sh, m)
	for i, l := range lanes {
		t.parts[i].kept, l.kept = l.kept, kept{budget: l.kept.budget, full: true}
	}
	return t
}

// Redrive is what the error objects of a delivery stream are, and where their records go.
type Redrive struct {
	Bucket, Prefix string
	Into           string // the stream behind it
}

// ErrorTypes lists the kinds of error objects.
func ErrorTypes() []string { return errorTypes[:] }

// Redrive tells where the error objects of a delivery stream lie.
func (e *Engine) Redrive(name string) (Redrive, error) {
	const op = "delivery.Redrive"
	d, err := e.find(op, name)
	if err != nil {
		return Redrive{}, err
	}
	def := d.definition.Load()
	if def.backupOf != nil {
		return Redrive{}, e.notFound(op, name)
	}
	if def.Type != DirectPut && def.Type != KinesisStreamAsSource {
		return Redrive{}, fault.New(fault.Unsupported, op, name, "records of a Kafka topic are put back by its producers; %s does not write to it", name)
	}
	prefix := text(def.Destination.ErrorOutputPrefix)
	if prefix == "" {
		prefix = text(def.Destination.Prefix)
	}
	prefix, _, _ = strings.Cut(prefix, "!{")
	return Redrive{Bucket: d.destination().bucket, Prefix: prefix, Into: def.SourceStream()}, nil
}

// IsErrorObject tells whether an object is one of the delivery stream's error objects, of a type or, without one, of any.
func (e *Engine) IsErrorObject(name, errorType, key string, head func() (object.Info, error)) (bool, error) {
	if _, err := e.find("delivery.Redrive", name); err != nil || !suffixRule.MatchString(key) {
		return false, err
	}
	info, err := head()
	if fault.Is(err, fault.NotFound) && !missingBucket(err) {
		return false, nil
	}
	if err != nil || info.Metadata[metaManifest] == "" {
		return false, err
	}
	is := info.Metadata[metaError]
	switch of := info.Metadata[metaName]; {
	case of == name:
		return is != "" && (errorType == "" || is == errorType), nil
	case of != "":
		return false, nil // another one's, or what a replay has written below another prefix
	}
	for _, t := range errorTypes { // of a version that did not say
		if strings.Contains(key, t) {
			return errorType == "" || errorType == t, nil
		}
	}
	return false, nil
}
