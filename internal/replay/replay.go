// Package replay puts what lies in objects back into a stream: each record once,
// through crashes and interrupts, and however often it is run.
//
//	objects of a prefix, in key order          markers of the replay, in key order
//	   a ── not marked ── records ── batch ── intent ── append ── marker ── …
//	   b ── marked done ── left out
//
// Each object that is replayed has a marker, an object of its own in the same bucket
// (.millrace/replay/ID/KEY): how many of its records are in the stream, and, while a
// batch is on its way, an [intent]. Markers are written with conditional puts, so that
// two runs at once can't both go on. The replay's id is made of what is read and where
// it goes, and not of the range of time: ranges that overlap replay nothing twice.
//
// Once: a batch that was cut off is looked for in the stream from the place that its
// intent noted. Its records are known for sure, because every replayed record has a
// partition key of its own: replay-ID-OBJECT-NUMBER. All records of an object have one
// hash key, so that they stay in their order.
package replay

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// Store is where objects and markers are; every object.Store is one.
type Store interface {
	Put(ctx context.Context, bucket, key string, body io.Reader, size int64, opts object.PutOptions) (object.Info, error)
	Get(ctx context.Context, bucket, key string) (*object.Object, error)
	Head(ctx context.Context, bucket, key string) (object.Info, error)
	List(ctx context.Context, bucket string, opts object.ListOptions) (object.Page, error)
}

// Stream is where records go; every stream.Backend is one.
type Stream interface {
	Stream(name string) (*stream.Stream, bool)
	Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error
	Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error
	Tip(ctx context.Context, shard stream.ShardRef) (stream.SequenceNumber, error)
}

// Bounds, each with its reason.
const (
	// batchRecords and batchBytes are what is in flight: enough that the marker's put costs little, and few enough to be
	// found again quickly.
	batchRecords = 2000
	batchBytes   = 4 << 20
	// maxRecord bounds a record, and what is in memory of an object: streams take 10 MiB at most.
	maxRecord = 10 << 20
	// outage is how long the stream may fail without a break before the run stops, to be resumed.
	outage = 5 * time.Minute
	// firstPause doubles up to maxPause between tries.
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
	// callTime ends the wait for one append; its outcome is unknown then.
	callTime = time.Minute
	// listPage is how many keys one listing gives.
	listPage = 1000
	// maxMarker bounds a marker that is read.
	maxMarker = 64 << 10
)

// Place is the prefix of all that this package writes.
const Place = ".millrace/replay/"

// Options of a replay.
type Options struct {
	Store  Store
	Stream Stream
	Bucket string
	Prefix string
	// From and To bound when objects were stored; zero: no bound.
	From, To time.Time
	Into     string // the stream
	// Wanted tells of an object, by its key and, when it asks for them, by its attributes, whether it is replayed. Nil: all are.
	Wanted func(key string, head func() (object.Info, error)) (bool, error)
	Split  Split
	// Name sets this replay apart from others of the same objects into the same stream.
	Name   string
	DryRun bool
	// Settle is how long an append may still arrive that was given up.
	Settle time.Duration
	// Alone says that no other process can run a replay of the same store and stream; within one process the caller sees to it.
	Alone bool
	Now   func() time.Time
	// Report is told of every object when it is done, and of every batch. It is quick.
	Report    func(Progress)
	Failpoint func(name string)
}

// Progress is what a run has done.
type Progress struct {
	Object string `json:"object,omitempty"` // that was just finished, or would be replayed
	// ObjectRecords are those of that object which this run has put, or would.
	ObjectRecords int64  `json:"objectRecords,omitempty"`
	Problem       string `json:"problem,omitempty"` // why the object is not replayed

	Objects int64 `json:"objects"` // replayed
	Before  int64 `json:"before"`  // that an earlier run had replayed
	Failed  int64 `json:"failed"`  // that can't be replayed
	Records int64 `json:"records"` // put into the stream by this run
	Found   int64 `json:"found"`   // of a batch that was cut off: they were there
	Bytes   int64 `json:"bytes"`   // of records
}

// Replay is one run.
type Replay struct {
	opts Options
	id   string
	done Progress
}

// New makes a run.
func New(o Options) (*Replay, error) {
	const op = "replay.New"
	if !object.ValidBucketName(o.Bucket) {
		return nil, fault.New(fault.Invalid, op, o.Bucket, "%q is no name of a bucket", o.Bucket)
	}
	if err := o.Split.check(); err != nil {
		return nil, err
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		return nil, fault.New(fault.Invalid, op, o.Bucket, "the range of time is empty")
	}
	if o.Report == nil {
		o.Report = func(Progress) {}
	}
	if o.Failpoint == nil {
		o.Failpoint = func(string) {}
	}
	st, ok := o.Stream.Stream(o.Into)
	if !ok {
		return nil, fault.New(fault.NotFound, op, o.Into, "there is no stream %s", o.Into)
	}
	// The incarnation of the stream belongs to it: one that was deleted and made again has nothing of it.
	sum := sha256.Sum256([]byte(strings.Join([]string{o.Into, st.ID, o.Split.String(), o.Name}, "\x00")))
	return &Replay{opts: o, id: hex.EncodeToString(sum[:8])}, nil
}

// ID names the replay; it is the same for the same stream, way of splitting and name.
func (r *Replay) ID() string { return r.id }

// Run replays what is there and not marked yet. It ends early when ctx does; the next run goes on. It gives what was
// done in either case. That objects can't be replayed is no error: they are counted.
func (r *Replay) Run(ctx context.Context) (Progress, error) {
	source := r.listing(r.opts.Prefix)
	markers := r.listing(Place + r.id + "/" + r.opts.Prefix[:min(len(r.opts.Prefix), maxShownKey)])
	for {
		info, ok, err := source.next(ctx)
		if err != nil || !ok {
			return r.done, err
		}
		if strings.HasPrefix(info.Key, ownPrefix) {
			source.skipTo(ownEnd)
			continue
		}
		if !r.inTime(&info) {
			continue
		}
		marked, err := r.marked(ctx, info.Key, markers)
		if err != nil {
			return r.done, err
		}
		if err := r.visit(ctx, &info, marked); err != nil {
			return r.done, err
		}
	}
}

func (r *Replay) inTime(info *object.Info) bool {
	return (r.opts.From.IsZero() || !info.Modified.Before(r.opts.From)) && (r.opts.To.IsZero() || info.Modified.Before(r.opts.To))
}

// visit replays one object.
func (r *Replay) visit(ctx context.Context, info *object.Info, marked bool) error {
	if r.opts.Wanted != nil && !marked {
		wanted, err := r.opts.Wanted(info.Key, func() (object.Info, error) { return r.opts.Store.Head(ctx, r.opts.Bucket, info.Key) })
		if err != nil || !wanted {
			return err
		}
	}
	w := &work{r: r, key: info.Key}
	before := r.done.Records + r.done.Found
	err := w.run(ctx, marked)
	report := r.done
	report.Object = info.Key
	var bad *objectError
	switch {
	case errors.As(err, &bad):
		r.done.Failed++
		report.Failed, report.Problem = r.done.Failed, bad.Error()
	case err != nil:
		return err
	case w.before:
		r.done.Before++
		return nil
	default:
		r.done.Objects++
		report.Objects, report.ObjectRecords = r.done.Objects, r.done.Records+r.done.Found-before
	}
	r.opts.Report(report)
	return nil
}

// objectError is a problem of one object, which does not keep others from being replayed.
type objectError struct{ err error }

func (e *objectError) Error() string { return e.err.Error() }
func (e *objectError) Unwrap() error { return e.err }

// What lies between ownPrefix and ownEnd is the node's own: staged uploads and markers.
const (
	ownPrefix = ".millrace/"
	ownEnd    = ".millrace0" // "0" comes after "/"
)

// maxShownKey is how long a key may be that its marker's key shows; a longer one is known by its digest.
const maxShownKey = 900

// markerKey gives the key of an object's marker. Markers of keys that are shown are in the order of their objects.
func (r *Replay) markerKey(key string) string {
	if len(key) > maxShownKey {
		sum := sha256.Sum256([]byte(key))
		return Place + r.id + "-long/" + hex.EncodeToString(sum[:])
	}
	return Place + r.id + "/" + key
}

// marked reports whether an object has a marker.
func (r *Replay) marked(ctx context.Context, key string, markers *listing) (bool, error) {
	if len(key) <= maxShownKey {
		return markers.find(ctx, r.markerKey(key))
	}
	_, err := r.opts.Store.Head(ctx, r.opts.Bucket, r.markerKey(key))
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// marker says how far an object is replayed.
type marker struct {
	ETag    string  `json:"etag"` // of the object
	Records int64   `json:"records"`
	Done    bool    `json:"done,omitempty"`
	Intent  *intent `json:"intent,omitempty"`
}

// intent says what was on its way, and from where on it would be found.
type intent struct {
	Records int                   `json:"records"`
	Shard   uint32                `json:"shard"` // that took the hash key
	Place   stream.SequenceNumber `json:"place"` // its tip
}

// listing goes through the keys of a prefix.
type listing struct {
	r      *Replay
	prefix string
	page   []object.Info
	after  string
	ended  bool
	peeked *object.Info
}

func (r *Replay) listing(prefix string) *listing { return &listing{r: r, prefix: prefix} }

func (l *listing) next(ctx context.Context) (info object.Info, ok bool, err error) {
	if l.peeked != nil {
		info, l.peeked = *l.peeked, nil
		return info, true, nil
	}
	for len(l.page) == 0 {
		if l.ended {
			return info, false, nil
		}
		page, err := l.r.opts.Store.List(ctx, l.r.opts.Bucket, object.ListOptions{Prefix: l.prefix, After: l.after, Max: listPage})
		if err != nil {
			return info, false, err
		}
		l.page, l.after, l.ended = page.Objects, page.Next, !page.Truncated
	}
	info, l.page = l.page[0], l.page[1:]
	return info, true, nil
}

// skipTo leaves out all keys before one that is behind what was given so far.
func (l *listing) skipTo(key string) {
	l.page, l.after, l.ended = nil, key, false
}

// find goes on to a key and tells whether it is there. Keys are asked for in order.
func (l *listing) find(ctx context.Context, key string) (bool, error) {
	for {
		info, ok, err := l.next(ctx)
		if err != nil || !ok {
			return false, err
		}
		if info.Key >= key {
			l.peeked = &info
			return info.Key == key, nil
		}
	}
}

// decodeLine reads a line of an error object.
func decodeLine(line []byte) ([]byte, error) {
	var doc struct {
		RawData *string `json:"rawData"`
	}
	err := json.Unmarshal(line, &doc)
	if err == nil && doc.RawData == nil {
		err = errors.New("it has no rawData")
	}
	var data []byte
	if err == nil {
		data, err = base64.StdEncoding.DecodeString(*doc.RawData)
	}
	if err != nil {
		return nil, &objectError{fmt.Errorf("a line is none of an error object: %w", err)}
	}
	return data, nil
}
