package topic

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/kafka"
)

// writer owns the producer. Its one goroutine takes all changes that wait and makes a transaction of them.
type writer struct {
	j      *Journal
	client *kgo.Client // nil: to be opened
	number uint64      // of the next change

	mu    sync.Mutex
	queue []*request
	woken chan struct{}
}

// request is a change, or a claim of a slot.
type request struct {
	ctx    context.Context
	slot   int
	change *journal.Change // nil: a claim
	items  []item
	recs   []*kgo.Record
	tried  time.Time // when it was first refused by a rebalance
	done   chan error

	member string // claims: as whom
	offset int64  // claims: of the record
}

func newWriter(j *Journal) *writer {
	// Numbers of changes need only differ from those of the change before in the partition.
	return &writer{j: j, number: uint64(j.opts.Now().UnixNano()), woken: make(chan struct{}, 1)}
}

// write returns when the change's fate is known. ctx gives up waiting for its turn, not a transaction under way, which
// stepTimeout bounds.
func (w *writer) write(ctx context.Context, slot int, change *journal.Change) error {
	if !w.j.owner.writable(slot) {
		return w.j.notOurs(slot)
	}
	r := &request{ctx: ctx, slot: slot, change: change, done: make(chan error, 1)}
	w.put(r)
	return w.await(ctx, r)
}

func (w *writer) put(requests ...*request) {
	w.mu.Lock()
	w.queue = append(w.queue, requests...)
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

func (w *writer) await(ctx context.Context, r *request) error {
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
	case <-w.j.ctx.Done():
	}
	w.mu.Lock()
	i := slices.Index(w.queue, r)
	if i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	w.mu.Unlock()
	if i >= 0 {
		return fault.New(fault.Unavailable, "journal.Write", w.j.topic, "given up before its turn: %w", context.Cause(ctx))
	}
	return <-r.done
}

// claim writes a claim into each slot, and gives those that are there.
func (w *writer) claim(ctx context.Context, slots []int) ([]*request, error) {
	var all []*request
	for _, slot := range slots {
		all = append(all, &request{ctx: ctx, slot: slot, done: make(chan error, 1)})
	}
	w.put(all...)
	var first error
	for _, r := range all {
		if err := w.await(ctx, r); err != nil && first == nil {
			first = err
		}
	}
	return all, first
}

func (w *writer) take() []*request {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), batchChanges)
	batch := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	return batch
}

func (w *writer) run() {
	for w.j.ctx.Err() == nil {
		if batch := w.take(); len(batch) > 0 {
			w.commit(batch)
			continue
		}
		select {
		case <-w.woken:
		case <-w.j.ctx.Done():
		}
	}
	for batch := w.take(); len(batch) > 0; batch = w.take() {
		answer(batch, fault.New(fault.Unavailable, "journal.Write", w.j.topic, "closed"))
	}
	w.recycle()
}

func answer(batch []*request, err error) {
	for _, r := range batch {
		r.done <- err
	}
}

// recycle closes the producer. The next one is initialized anew, which ends whatever transaction is open.
func (w *writer) recycle() {
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

// outcome of a transaction.
type outcome struct {
	err     error // nil: committed
	unknown bool  // it may have been committed
	fenced  bool  // refused: the group has gone on
}

// commit makes a transaction of the requests that may be written.
func (w *writer) commit(batch []*request) {
	// Who we are is captured before it is looked at what we own: see the package's comment.
	member, generation := w.j.owner.session()
	batch = w.admit(batch, member)
	if len(batch) == 0 {
		return
	}
	w.j.opts.Failpoint("journal-admitted")
	o := w.transact(batch, member, generation)
	switch {
	case o.err == nil:
		w.apply(batch)
		answer(batch, nil)
	case o.unknown:
		w.j.opts.Log.Warn("it is not known whether a transaction of the delivery journal was committed; finding out", "error", o.err)
		var slots []int
		for _, r := range batch {
			slots = append(slots, r.slot)
		}
		w.j.owner.doubt(slots)
		answer(batch, unavailable(w.j.topic, o.err))
		w.recycle()
		w.findOut(slots)
	case o.fenced:
		w.refused(batch, member, o.err)
	default:
		answer(batch, unavailable(w.j.topic, o.err))
	}
}

// unavailable keeps the kinds that can't be mistaken for a verdict on the rows.
func unavailable(topic string, err error) error {
	err = kafka.Fault("journal.Write", topic, err)
	if fault.Is(err, fault.PreconditionFailed) {
		return fault.New(fault.Unavailable, "journal.Write", topic, "%w", err)
	}
	return err
}

// admit answers the requests that can't be written, and makes the records of the others.
func (w *writer) admit(batch []*request, member string) []*request {
	view := overlay{state: w.j.state, rows: map[journal.Key]journal.Row{}, finals: map[string]bool{}}
	return slices.DeleteFunc(batch, func(r *request) bool {
		err := w.prepare(r, member, &view)
		if err != nil {
			r.done <- err
		}
		return err != nil
	})
}

func (w *writer) prepare(r *request, member string, view *overlay) (err error) {
	if !w.j.owner.may(r.slot, member, r.change == nil) {
		return w.j.notOurs(r.slot)
	}
	r.member = member
	if r.change == nil {
		r.items = []item{{kind: claimKind}}
	} else {
		if err := r.change.Compare(view.row, view.final); err != nil {
			return err
		}
		view.add(r.change)
		r.items = items(r.change)
		if r.change.Final != nil {
			r.items = append(w.oldFinals(r.slot), r.items...)
		}
	}
	w.number++
	if r.recs, err = records(w.j.topic, r.slot, w.number, r.items); err == nil && r.change == nil {
		r.recs[0].Value = []byte(w.j.opts.NodeID + " " + w.j.opts.Now().UTC().Format(time.RFC3339Nano))
	}
	return err
}

// oldFinals removes those of the slot's final counts that are no longer among the newest.
func (w *writer) oldFinals(slot int) (all []item) {
	w.j.state.mu.RLock()
	defer w.j.state.mu.RUnlock()
	finals := w.j.state.sortedFinals()
	for _, f := range finals[:max(0, len(finals)-journal.MaxFinals+1)] {
		if journal.Home(f.ID, w.j.slots) == slot {
			all = append(all, item{kind: finalKind, delivery: f.ID})
		}
	}
	return all
}

// overlay is the state as the changes before in the same transaction will leave it.
type overlay struct {
	state  *state
	rows   map[journal.Key]journal.Row
	finals map[string]bool
}

func (o *overlay) row(k journal.Key) (journal.Row, error) {
	if row, ok := o.rows[k]; ok {
		return row, nil
	}
	o.state.mu.RLock()
	defer o.state.mu.RUnlock()
	return o.state.rows[k].row, nil
}

func (o *overlay) final(delivery string) (bool, error) {
	if o.finals[delivery] {
		return true, nil
	}
	o.state.mu.RLock()
	defer o.state.mu.RUnlock()
	have, ok := o.state.finals[delivery]
	return ok && !have.gone, nil
}

func (o *overlay) add(c *journal.Change) {
	for i := range c.Drop {
		o.rows[c.Drop[i].Key] = journal.Row{Key: c.Drop[i].Key}
	}
	for i := range c.Rows {
		o.rows[c.Rows[i].Key] = c.Rows[i]
	}
	if c.Final != nil {
		o.finals[c.Final.ID] = true
	}
}

// apply takes over what was committed.
func (w *writer) apply(batch []*request) {
	s := w.j.state
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range batch {
		for i := range r.items {
			r.items[i].offset = r.recs[i].Offset
		}
		r.offset = r.recs[len(r.recs)-1].Offset
		s.apply(r.items, s.position[r.slot] > r.offset)
	}
}

// refused deals with requests whose transaction the group has refused. While a rebalance goes on in which a slot stays
// ours, its changes are tried again.
func (w *writer) refused(batch []*request, member string, err error) {
	if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.FencedInstanceID) {
		w.j.owner.dead(member)
	}
	var again []*request
	for _, r := range batch {
		if r.tried.IsZero() {
			r.tried = time.Now()
		}
		switch {
		case r.change == nil:
			r.done <- w.j.notOurs(r.slot)
		case !w.j.owner.writable(r.slot):
			r.done <- w.j.notOurs(r.slot)
		case r.ctx.Err() != nil || time.Since(r.tried) > fenceTimeout:
			r.done <- unavailable(w.j.topic, err)
		default:
			again = append(again, r)
		}
	}
	if len(again) > 0 {
		w.put(again...)
		sleep(w.j.ctx, pause)
	}
}

// findOut decides an unknown outcome: a new producer of the same id ends the transaction of the old one, one way or the
// other, and a claim behind it is read when that is known.
func (w *writer) findOut(slots []int) {
	slices.Sort(slots)
	for slots = slices.Compact(slots); len(slots) > 0 && w.j.ctx.Err() == nil; {
		member, generation := w.j.owner.session()
		var claims []*request
		slots = slices.DeleteFunc(slots, func(slot int) bool {
			r := &request{slot: slot, done: make(chan error, 1)}
			// A slot that is not ours any more is its next owner's to find out about.
			if !w.j.owner.may(slot, member, false) || w.prepareClaim(r, member) != nil {
				w.j.owner.sure(slot)
				return true
			}
			claims = append(claims, r)
			return false
		})
		if len(claims) == 0 {
			return
		}
		o := w.transact(claims, member, generation)
		switch {
		case o.err == nil:
			w.apply(claims)
			if w.waitFor(claims) {
				for _, slot := range slots {
					w.j.owner.sure(slot)
				}
				return
			}
		case o.unknown:
			w.recycle()
		case errors.Is(o.err, kerr.UnknownMemberID):
			w.j.owner.dead(member)
		}
		sleep(w.j.ctx, pause)
	}
}

// prepareClaim is prepare for a slot that is claimed already.
func (w *writer) prepareClaim(r *request, member string) (err error) {
	r.member = member
	r.items = []item{{kind: claimKind}}
	w.number++
	if r.recs, err = records(w.j.topic, r.slot, w.number, r.items); err == nil {
		r.recs[0].Value = []byte(w.j.opts.NodeID + " " + w.j.opts.Now().UTC().Format(time.RFC3339Nano))
	}
	return err
}

func (w *writer) waitFor(claims []*request) bool {
	ctx, cancel := context.WithTimeout(w.j.ctx, 2*transactionTimeout)
	defer cancel()
	for _, r := range claims {
		if err := w.j.state.wait(ctx, r.slot, r.offset); err != nil {
			w.j.opts.Log.Warn("the delivery journal could not be read up to its end yet", "error", err)
			return false
		}
	}
	return true
}

// transact writes the records of all requests in one transaction, fenced by the group's session.
func (w *writer) transact(batch []*request, member string, generation int32) outcome {
	ctx, cancel := context.WithTimeout(w.j.ctx, stepTimeout)
	defer cancel()
	err := w.begin(ctx)
	if err == nil {
		err = w.produce(ctx, batch)
	}
	if err != nil {
		w.recycle() // it may be that nothing was added that an abort would end
		return outcome{err: err}
	}
	if err := w.fence(ctx, batch, member, generation); err != nil {
		if abortErr := w.client.EndTransaction(ctx, kgo.TryAbort); abortErr != nil {
			w.recycle()
		}
		return outcome{err: err, fenced: isFence(err)}
	}
	err = kafka.Commit(ctx, w.client, w.j.topic, partitionsOf(batch)...)
	if lose := w.j.opts.loseAnswer; err == nil && lose != nil {
		err = lose()
	}
	return outcome{err: err, unknown: err != nil}
}

func partitionsOf(batch []*request) (all []int32) {
	for _, r := range batch {
		all = append(all, int32(r.slot))
	}
	return all
}

func isFence(err error) bool {
	for _, refusal := range []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.FencedInstanceID,
		kerr.StaleMemberEpoch, kerr.FencedMemberEpoch} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

func (w *writer) begin(ctx context.Context) error {
	if w.client == nil {
		client, err := w.j.opts.Settings.Client(
			kgo.TransactionalID(w.transactionalID()), kgo.TransactionTimeout(transactionTimeout),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(stepTimeout),
			kgo.ProducerBatchMaxBytes(recordBytes), kgo.ProducerBatchCompression(kgo.NoCompression()),
			// Transactions of version 1: an offset commit of our own can't be made part of those of version 2 without
			// knowing whether the client is in one.
			kgo.MaxVersions(kversion.V3_8_0()),
		)
		if err != nil {
			return err
		}
		w.client = client
	}
	if _, _, err := w.client.ProducerID(ctx); err != nil {
		return err
	}
	return w.client.BeginTransaction()
}

func (w *writer) transactionalID() string { return w.j.topic + "." + w.j.opts.NodeID }

func (w *writer) produce(ctx context.Context, batch []*request) error {
	var all []*kgo.Record
	for _, r := range batch {
		all = append(all, r.recs...)
	}
	return w.client.ProduceSync(ctx, all...).FirstErr()
}

// fence commits the offsets of all slots within the transaction: what the broker refuses when the group has gone on.
func (w *writer) fence(ctx context.Context, batch []*request, member string, generation int32) error {
	if unfenced {
		return nil
	}
	id, epoch, err := w.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = w.transactionalID(), id, epoch, w.j.group
	err = persist(ctx, func() error {
		answer, err := add.RequestWith(ctx, w.client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(answer.ErrorCode)
	})
	if err != nil {
		return err
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch = w.transactionalID(), id, epoch
	commit.Group, commit.MemberID, commit.Generation = w.j.group, member, generation
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = w.j.topic
	ends := map[int]int64{}
	for _, r := range batch {
		ends[r.slot] = max(ends[r.slot], r.recs[len(r.recs)-1].Offset+1)
	}
	for slot, end := range ends {
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = int32(slot), end, -1, kmsg.StringPtr("")
		topic.Partitions = append(topic.Partitions, p)
	}
	commit.Topics = append(commit.Topics, topic)
	return persist(ctx, func() error {
		answer, err := commit.RequestWith(ctx, w.client)
		if err != nil {
			return err
		}
		return offsetCommitError(answer)
	})
}

func offsetCommitError(answer *kmsg.TxnOffsetCommitResponse) error {
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// persist tries again while the broker says that it helps.
func persist(ctx context.Context, try func() error) error {
	for {
		err := try()
		var broker *kerr.Error
		if !errors.As(err, &broker) || !broker.Retriable || isFence(err) || !sleep(ctx, pause/5) {
			return err
		}
	}
}
