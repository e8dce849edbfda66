package bucket

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

// slot is one that this process owns. Its committer is the one goroutine that puts its object.
type slot struct {
	j     *Journal
	index int

	stopping chan struct{} // closed when the slot is given back or the journal closes
	stop     sync.Once
	ended    chan struct{} // closed when the committer has ended
	wake     chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed at the next change of what mu guards
	current *state        // as it is stored
	queue   []*write
	// left: a caller was told that the outcome of a write under way is not known. Reads wait until it is.
	left    bool
	lost    bool // another process has the slot
	suspect bool // a look at the listing does not fit: see whether the slot is still ours
	closed  bool
	trouble error // why the last try of a put failed
}

// write is a change on its way.
type write struct {
	change    *journal.Change
	rows      []item[journal.Row]
	manifests []item[*journal.Manifest]
	final     *item[journal.Final]
	bytes     int // of its items

	taken bool       // by the committer; guarded by slot.mu
	done  chan error // gets the answer
	err   error      // the answer, when the change is refused
}

// newWrite seals what a change writes.
func newWrite(change *journal.Change) (*write, error) {
	w := &write{change: change, done: make(chan error, 1)}
	add := func(sealed []byte, err error) ([]byte, error) {
		if err != nil {
			return nil, fault.New(fault.Internal, "journal.Write", "", "%w", err)
		}
		w.bytes += itemBytes + len(sealed)
		return sealed, nil
	}
	for i := range change.Rows {
		sealed, err := add(journal.EncodeRow(&change.Rows[i]))
		if err != nil {
			return nil, err
		}
		w.rows = append(w.rows, item[journal.Row]{change.Rows[i], sealed})
	}
	for _, m := range change.Plan {
		sealed, err := add(journal.EncodeManifest(m))
		if err != nil {
			return nil, err
		}
		own := *m
		w.manifests = append(w.manifests, item[*journal.Manifest]{&own, sealed})
	}
	if change.Final != nil {
		sealed, err := add(journal.EncodeFinal(change.Final))
		if err != nil {
			return nil, err
		}
		w.final = &item[journal.Final]{*change.Final, sealed}
	}
	return w, nil
}

// apply makes the change in a state that is being made, or says why not, with nothing changed.
func (w *write) apply(s *state, oldest *journal.Final) error {
	err := w.change.Compare(
		func(k journal.Key) (journal.Row, error) { return s.rows[k].value, nil },
		func(delivery string) (bool, error) { _, ok := s.finals[delivery]; return ok, nil })
	if err != nil {
		return err
	}
	if grown := s.bytes + w.bytes - w.replaced(s); grown > maxSlotBytes-headAt-headRoom && grown > s.bytes {
		return fault.New(fault.LimitExceeded, "journal.Write", "", "slot %d would have %d bytes; at most %d are kept in one object: "+
			"there are too many delivery streams and shards for this journal", s.head.Slot, grown, maxSlotBytes)
	}
	for _, r := range w.rows {
		s.setRow(r)
	}
	for i := range w.change.Drop {
		s.dropRow(w.change.Drop[i].Key)
	}
	for _, m := range w.manifests {
		s.setManifest(m)
	}
	for _, m := range w.change.Remove {
		s.dropManifest(m)
	}
	if w.final != nil {
		s.setFinal(*w.final)
		s.forget(oldest)
	}
	return nil
}

// headRoom is left for the head of a slot.
const headRoom = 4 << 10

// replaced is about what a change frees: the bytes of the rows that it writes again or drops.
func (w *write) replaced(s *state) (n int) {
	for i := range w.change.Rows {
		n += len(s.rows[w.change.Rows[i].Key].sealed)
	}
	for i := range w.change.Drop {
		n += len(s.rows[w.change.Drop[i].Key].sealed)
	}
	for _, m := range w.change.Remove {
		for _, have := range s.manifests[m.Key] {
			if have.value.Ordinal == m.Ordinal {
				n += len(have.sealed)
			}
		}
	}
	return n
}

// forget drops final counts that are older than the [journal.MaxFinals] newest of all slots, as far as those are known.
func (s *state) forget(oldest *journal.Final) {
	for id, f := range s.finals {
		if oldest != nil && older(&f.value, oldest) {
			s.dropFinal(id)
		}
	}
	for len(s.finals) > journal.MaxFinals {
		var first *journal.Final
		for _, f := range s.finals {
			if first == nil || older(&f.value, first) {
				first = &f.value
			}
		}
		s.dropFinal(first.ID)
	}
}

func older(a, b *journal.Final) bool {
	c := a.Deleted.Compare(b.Deleted)
	return c < 0 || c == 0 && a.ID < b.ID
}

// begin starts the committer of a slot that was claimed.
func (j *Journal) begin(s *state) *slot {
	o := &slot{j: j, index: s.head.Slot, current: s, stopping: make(chan struct{}), ended: make(chan struct{}),
		wake: make(chan struct{}, 1), changed: make(chan struct{})}
	j.own.Go(o.run)
	return o
}

// end stops the committer and waits for it. A put that is under way is let go on.
func (o *slot) end() {
	o.stop.Do(func() { close(o.stopping) })
	<-o.ended
}

func (o *slot) change(fn func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fn()
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *slot) kick() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// write hands a change to the committer and waits for its answer.
func (o *slot) write(ctx context.Context, w *write) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	o.mu.Lock()
	if o.lost || o.closed {
		o.mu.Unlock()
		return errNotOwned(o.index)
	}
	o.queue = append(o.queue, w) // bounded by the callers: a shard has one write at a time
	o.mu.Unlock()
	o.kick()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	return o.leave(ctx, w)
}

// leave takes a write back, or, when that is too late, notes that nobody will hear of its outcome.
func (o *slot) leave(ctx context.Context, w *write) error {
	const op = "journal.Write"
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	default:
	}
	cause := o.trouble
	if cause == nil {
		cause = ctx.Err()
	}
	if w.taken {
		o.left = true
		return fault.New(fault.Unavailable, op, "", "slot %d: whether the change was made is not known: %w", o.index, cause)
	}
	for i, q := range o.queue {
		if q == w {
			o.queue = append(o.queue[:i:i], o.queue[i+1:]...)
			break
		}
	}
	return fault.New(fault.Unavailable, op, "", "slot %d: writes before this one have not ended: %w", o.index, cause)
}

// read gives the state that is stored. It waits while there is a write whose caller was told that nobody knows.
func (o *slot) read(ctx context.Context) (*state, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for {
		o.mu.Lock()
		left, current, changed, trouble := o.left, o.current, o.changed, o.trouble
		o.mu.Unlock()
		if !left {
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if trouble == nil {
				trouble = ctx.Err()
			}
			return nil, fault.New(fault.Unavailable, "journal.Load", "", "slot %d: whether a change was made is not known yet: %w", o.index, trouble)
		}
	}
}

// run commits groups until the slot is given back or lost.
func (o *slot) run() {
	defer close(o.ended)
	for {
		select {
		case <-o.wake:
		case <-o.stopping:
			o.refuse()
			return
		}
		if o.isSuspect() {
			o.check()
		}
		for {
			group := o.take()
			if len(group) == 0 {
				break
			}
			o.commit(group)
		}
		if o.isLost() {
			o.refuse()
			o.j.member.kick()
			return
		}
	}
}

// refuse ends what waits, and refuses what comes.
func (o *slot) refuse() {
	var queue []*write
	o.change(func() { queue, o.queue, o.closed, o.left = o.queue, nil, true, false })
	for _, w := range queue {
		w.done <- errNotOwned(o.index)
	}
}

func (o *slot) isLost() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}

// take gives what waits, as far as it fits into one put; nothing once the slot is lost or given back.
func (o *slot) take() []*write {
	select {
	case <-o.stopping:
		return nil
	default:
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost {
		return nil
	}
	n := min(len(o.queue), maxGroup)
	group := o.queue[:n:n]
	o.queue = o.queue[n:]
	for _, w := range group {
		w.taken = true
	}
	return group
}

// commit makes a group of changes in one put, and answers their callers. A change that is refused because of an earlier
// one of the group is answered when that has happened.
func (o *slot) commit(group []*write) {
	next := o.current.next(o.j.opts.IDs.String(ids.LowerAlnum, putLetters))
	oldest := o.j.oldestFinal(group)
	applied := 0
	for _, w := range group {
		if w.err = w.apply(next, oldest); w.err == nil {
			applied++
		}
	}
	var outcome error
	if applied > 0 {
		outcome = o.put(next)
	}
	for _, w := range group {
		if outcome != nil {
			w.err = outcome
		}
	}
	// A caller who leaves takes mu, and looks whether its answer is there.
	o.change(func() {
		for _, w := range group {
			w.done <- w.err
		}
		o.left = false
	})
}

// put makes a state the stored one. It tries until it is known whether that has happened: the same put again and again,
// which can take effect once only. It gives up when the slot is given back, whose new owner then decides.
func (o *slot) put(next *state) error {
	text := next.encode()
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		etag, err := o.j.put(o.j.ctx, o.index, text, o.current.etag)
		if err == nil {
			next.etag = etag
			o.change(func() { o.current, o.trouble = next, nil })
			return nil
		}
		o.change(func() { o.trouble = err })
		known, result := o.findOut(next)
		if known {
			return result
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-o.stopping:
			timer.Stop()
			return fault.New(fault.Unavailable, "journal.Write", "", "slot %d: whether the change was made is not known: %w", o.index, err)
		}
		timer.Stop()
	}
}

// findOut looks what has become of a put that failed.
func (o *slot) findOut(next *state) (known bool, result error) {
	have, err := o.j.get(o.j.ctx, o.index)
	if err != nil {
		o.change(func() { o.trouble = err })
		return false, nil
	}
	what := fateOf(&o.current.head, &next.head, &have.head)
	if what == notYet {
		same := *o.current
		same.etag = have.etag // it is another one when somebody has put the same bytes by hand
		o.change(func() { o.current = &same })
		return false, nil
	}
	if have.head.Owner != o.j.owner || what != happened {
		o.lose(have)
	} else {
		next.etag = have.etag
		o.change(func() { o.current, o.trouble = next, nil })
	}
	switch what {
	case happened:
		return true, nil
	case never:
		return true, errNotOwned(o.index)
	}
	return true, fault.New(fault.Unavailable, "journal.Write", "", "slot %d is another process's since; whether the change was made before is not known", o.index)
}

// lose notes that another process owns the slot.
func (o *slot) lose(have *state) {
	o.j.views.learn(have)
	o.j.opts.Log.Warn("another process has taken over a slot of the journal", "slot", o.index, "owner", have.head.Owner)
	o.change(func() { o.lost, o.current, o.trouble = true, have, nil })
	o.kick()
}

// suspected has the committer look whether the slot is still ours.
func (o *slot) suspected() {
	o.mu.Lock()
	o.suspect = true
	o.mu.Unlock()
	o.kick()
}

func (o *slot) isSuspect() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.suspect
	o.suspect = false
	return was
}

func (o *slot) check() {
	have, err := o.j.get(o.j.ctx, o.index)
	if err == nil && (have.head.Owner != o.j.owner || have.head.Sequence != o.current.head.Sequence) {
		o.lose(have)
	}
}

func (j *Journal) slotKey(i int) string { return j.slotPrefix() + slotName(i) }

func (j *Journal) slotPrefix() string { return j.opts.Prefix + "journal/slots/" }

// put replaces the object of a slot, if it still is the one with an ETag.
func (j *Journal) put(ctx context.Context, i int, text []byte, etag string) (newETag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	info, err := j.opts.Store.Put(ctx, j.opts.Bucket, j.slotKey(i), bytes.NewReader(text), int64(len(text)),
		object.PutOptions{Conditions: object.Conditions{IfMatch: etag}})
	if err != nil {
		return "", j.worded(i, err)
	}
	return info.ETag, nil
}

// get reads a slot.
func (j *Journal) get(ctx context.Context, i int) (*state, error) {
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	o, err := j.opts.Store.Get(ctx, j.opts.Bucket, j.slotKey(i))
	if err != nil {
		return nil, j.worded(i, err)
	}
	defer o.Body.Close()
	if o.Size > maxSlotBytes {
		return nil, fault.New(fault.Corrupt, "journal.Load", j.slotKey(i), "the object has %d bytes, more than any slot", o.Size)
	}
	text := make([]byte, o.Size)
	if _, err := io.ReadFull(o.Body, text); err != nil {
		return nil, fault.New(fault.Unavailable, "journal.Load", j.slotKey(i), "%w", err)
	}
	s, err := decode(text, j.slotKey(i))
	if err == nil && s.head.Slot != i {
		err = fault.New(fault.Corrupt, "journal.Load", j.slotKey(i), "the object is that of slot %d", s.head.Slot)
	}
	if err != nil {
		return nil, err
	}
	s.etag = o.ETag
	return s, nil
}

// worded says of a slot that is not there what that means.
func (j *Journal) worded(i int, err error) error {
	if !isMissing(err) {
		return err
	}
	return fault.New(fault.Corrupt, "journal.Load", j.slotKey(i), "the object of a slot is gone: restore it from an earlier version of it or a backup; "+
		"what it held is not delivered before: %w", err)
}
