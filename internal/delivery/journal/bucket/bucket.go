// Package bucket is the journal that nodes share in an object store, with nothing
// else between them: conditional puts decide who writes.
//
//	PREFIX/journal/layout      how many slots there are; written once, after the slots
//	PREFIX/journal/slots/07    all of a slot: who owns it, rows, manifests, finals (format.go)
//
//	Write ──┐
//	Write ──┴─ one group ── next state of the slot ── put, If-Match on the last one ── answers
//
// Each slot is one object, and each write replaces it whole, on the condition that it
// still is the object that the writer knows. That is the fence: whoever takes a slot
// over writes himself into the object first, and from that moment on every put of the
// one before fails, whatever any clock says. Every put has a number and an id, so that
// no two states have one ETag, and so that a put whose answer was lost is found, or
// found missing: it is made again, as it was, until that is known (slot.go).
//
// # Who owns what
//
// Nodes that live (package peers) share the slots by rendezvous hashing, each about as
// many (share). A node gives back what is no longer its, after [journal.Member.Lost]
// has returned; it claims what is, once nobody owns it or the owner is dead or has
// been started anew (member.go). Views of who lives may differ for a while: two nodes
// may then take a slot from one another, and neither does harm.
//
// # What it costs
//
// A put for every group of writes, one under way for each slot: a delivery stream writes
// twice for each object that it delivers. Beside that each node lists the slots once
// for every look of package peers (28,800 a day, 0.15 dollars); and, while somebody
// reads what other nodes own (the ledger, children whose parents are elsewhere), lists
// again and gets what has changed, at most every [viewAge].
//
// # Bounds
//
// A slot has at most [maxSlotBytes]. This node holds all slots in memory, as they were
// last read, about twice that for each: a row with its manifests has some 4 KiB,
// and the newest objects and hours of its index ([journal.RowLanded]) 10 KiB more.
package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/peers"
)

// Bounds, each with its reason.
const (
	// Slots is how many a new journal has: more than nodes that share one object store.
	Slots = 16
	// maxSlotBytes bounds the object of a slot: what package object/s3 puts in one piece. At 14 KiB a row that is 580
	// rows a slot.
	maxSlotBytes = 8 << 20
	// maxGroup bounds the changes of one put.
	maxGroup = 512
	// callTime is how long a Write or a read waits for the store before its caller is told that it does not answer.
	callTime = 10 * time.Second
	// putTime bounds one try of a put, or of the get that finds out about it.
	putTime = 15 * time.Second
	// viewAge is how old what is read of others' slots may be.
	viewAge = 2 * time.Second
	// parallel bounds the requests under way when several slots are read, claimed or given back.
	parallel = 4
	// openTime bounds how long Open tries to reach the store.
	openTime = 30 * time.Second
	// retryMin and retryMax bound the wait between two tries of a put whose outcome is not known; it doubles.
	retryMin = 50 * time.Millisecond
	retryMax = 2 * time.Second
)

// Options of a journal. All are required.
type Options struct {
	Store  object.Store
	Bucket string
	Prefix string // "" or "name/"
	Peers  *peers.Peers
	Node   string
	IDs    *ids.Source
	Log    *slog.Logger
}

// Journal is a [journal.Journal] in an object store. It is safe for concurrent use.
type Journal struct {
	opts  Options
	slots int
	owner string // who this process is, in the slots that it owns

	ctx    context.Context
	cancel context.CancelFunc
	own    sync.WaitGroup // the manager and the committers

	member member
	views  views

	mu    sync.Mutex
	owned []*slot // by slot; nil: not ours
}

// Open finds the journal, or makes an empty one. It owns nothing until Join.
func Open(ctx context.Context, opts Options) (*Journal, error) {
	j := &Journal{opts: opts, owner: ownerName(opts.Node, opts.Peers.Incarnation())}
	ctx, done := context.WithTimeout(ctx, openTime)
	defer done()
	if err := j.load(ctx); err != nil {
		return nil, err
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.owned = make([]*slot, j.slots)
	j.views.init(j.slots)
	j.member.init()
	return j, nil
}

// layout is what all nodes must agree on.
type layout struct {
	Format int `json:"format"`
	Slots  int `json:"slots"`
}

const layoutFormat = 1

func (j *Journal) layoutKey() string { return j.opts.Prefix + "journal/layout" }

// load reads the layout. A journal without one is new: its slots are made first, so that a slot that is missing later
// is known to be lost.
func (j *Journal) load(ctx context.Context) error {
	const op = "journal.Open"
	text, err := j.readLayout(ctx)
	if isMissing(err) {
		if err := j.create(ctx); err != nil {
			return err
		}
		text, err = j.readLayout(ctx)
	}
	if err != nil {
		return err
	}
	var l layout
	if err := json.Unmarshal(text, &l); err != nil || l.Slots < 1 || l.Slots > 1<<10 {
		return fault.New(fault.Corrupt, op, j.layoutKey(), "the object is no layout: %.80q", text)
	}
	if l.Format != layoutFormat {
		return fault.New(fault.Unsupported, op, j.layoutKey(), "format %d is unknown to this program, which reads %d; start the program that wrote it", l.Format, layoutFormat)
	}
	j.slots = l.Slots
	return nil
}

func (j *Journal) readLayout(ctx context.Context) ([]byte, error) {
	o, err := j.opts.Store.Get(ctx, j.opts.Bucket, j.layoutKey())
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	text, err := io.ReadAll(io.LimitReader(o.Body, 1<<10))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "journal.Open", j.layoutKey(), "%w", err)
	}
	return text, nil
}

func (j *Journal) create(ctx context.Context) error {
	err := each(Slots, func(i int) error {
		empty := newState(i, j.opts.IDs.String(ids.LowerAlnum, putLetters))
		return j.putNew(ctx, j.slotKey(i), empty.encode())
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(layout{layoutFormat, Slots})
	if err != nil {
		return fault.New(fault.Internal, "journal.Open", "", "%w", err)
	}
	return j.putNew(ctx, j.layoutKey(), text)
}

// putNew puts what is not there. That it is there is as good.
func (j *Journal) putNew(ctx context.Context, key string, text []byte) error {
	_, err := j.opts.Store.Put(ctx, j.opts.Bucket, key, bytes.NewReader(text), int64(len(text)),
		object.PutOptions{Conditions: object.Conditions{IfNoneMatch: "*"}})
	if fault.Is(err, fault.PreconditionFailed) {
		return nil
	}
	return err
}

func isMissing(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.NotFound && strings.HasPrefix(f.Resource, object.MissingKey)
}

// each calls fn for 0 to n-1, a few at a time, and gives the first error.
func each(n int, fn func(i int) error) error {
	var wait sync.WaitGroup
	errs := make([]error, n)
	tokens := make(chan struct{}, parallel)
	for i := range n {
		tokens <- struct{}{}
		wait.Go(func() {
			defer func() { <-tokens }()
			errs[i] = fn(i)
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Slots implements [journal.Journal].
func (j *Journal) Slots() int { return j.slots }

// slot gives a slot of ours, else nil.
func (j *Journal) slot(i int) *slot {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.owned[i]
}

func errNotOwned(slot int) error {
	return fault.New(fault.PreconditionFailed, "journal.Write", "", "slot %d is not this process's", slot)
}

// Write implements [journal.Journal].
func (j *Journal) Write(ctx context.Context, change *journal.Change) error {
	const op = "journal.Write"
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, op, "", "%w", err)
	}
	i, err := change.Slot(j.slots)
	if err != nil {
		return err
	}
	w, err := newWrite(change)
	if err != nil {
		return err
	}
	s := j.slot(i)
	if s == nil {
		return errNotOwned(i)
	}
	return s.write(ctx, w)
}

var _ journal.Journal = (*Journal)(nil)
