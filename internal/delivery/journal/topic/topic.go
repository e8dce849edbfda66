// Package topic keeps the delivery journal on a compacted Kafka topic that the
// nodes of a group share.
//
//	partition = slot      record key = row, manifest or final      value = as the format of journal; empty: removed
//
//	           ┌ writer: one transactional producer; concurrent changes go into one transaction
//	Journal ───┼ owner: a consumer group over the topic shares the partitions among the nodes
//	           └ follower: reads all of the topic, committed transactions only, into memory
//
// The topic is the truth. The group's committed offsets are only the fence, and the
// group's lag a figure for people.
//
// # A write
//
//	captured: member id, generation ── then ── is the slot ours, claimed as that member?
//	produce all records ── then ── TxnOffsetCommit(member, generation) ── then ── EndTxn(commit)
//
// The broker refuses the offset commit of a member that is not of the group's
// present generation; the transaction is aborted then. So what a node writes that
// was taken for dead, and is not, does not happen.
//
// # Taking over a slot
//
// The new owner writes a claim into the partition, in a transaction of the same form,
// and waits until its follower has read the claim. All that an earlier owner could
// commit was produced before its offset commit, that was accepted before the new
// owner's generation was made, and that was before the claim: so it lies before the
// claim, and a reader of committed transactions comes to the claim only when the fate
// of all before it is decided. (Stable offsets and the end of the partition would do
// as well, but the end can't be waited for: aborted records and markers at the end are
// never read, and compaction may leave nothing before it.)
//
// A client's group session can end and begin anew without the client telling of it;
// therefore a slot is claimed under a member id, and lost with it.
//
// # Unknown outcomes
//
// When the answer of EndTxn(commit) is lost, the slots of the transaction can't be
// read or written until a new producer of the same transactional id has been
// initialized, which decides the old one's transaction, and the slots are claimed
// again. A new process of the same node does the same.
package topic

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/kafka"
)

// DefaultPartitions is how many slots a new journal has: enough for sixteen nodes of three each and more; many more
// would cost the brokers, and the delivery streams' shards are spread over them anyway.
const DefaultPartitions = 48

// Bounds, each with its reason.
const (
	// sessionTimeout is after how long a node that says nothing is taken for dead. Brokers refuse less than 6 s.
	sessionTimeout = 8 * time.Second
	heartbeatEvery = 2 * time.Second
	// rebalanceTimeout bounds how long the others wait for a node that gives slots up.
	rebalanceTimeout = 30 * time.Second
	// transactionTimeout is after how long the brokers abort the transaction of a node that died within it: until then
	// nobody reads on in the partitions that it had written.
	transactionTimeout = 10 * time.Second
	// stepTimeout bounds a transaction from our side, so that we give up before the brokers do.
	stepTimeout = 8 * time.Second
	// batchChanges bounds the changes of a transaction, and with them its time.
	batchChanges = 256
	// fenceTimeout bounds how long a write waits for a rebalance to end in which its slot stays ours.
	fenceTimeout = 15 * time.Second
	// pause is the wait before something is tried again that a rebalance or a broker held up.
	pause = 100 * time.Millisecond
	// watchEvery is how often it is checked that the group session is still the one that the slots were claimed in.
	watchEvery = time.Second
	// fetchBytes bounds what the follower holds of answers.
	fetchBytes = 4 << 20
	// maxAway is how old the knowledge of a slot may be when the slot is claimed: well below the time for which the topic keeps
	// the records that remove others (24 h). A node that was cut off for longer would go on with what has long been removed.
	maxAway = 12 * time.Hour
	// recordBytes bounds a record: a manifest holds a delimiter and a key of at most 1 KiB each.
	recordBytes = 1 << 20
)

// Options make a [Journal]. Fields without a default are required.
type Options struct {
	Settings   *kafka.Settings
	NodeID     string // unique in the cluster, and the same after a restart
	Partitions int    // of the topic, when it is made; default DefaultPartitions
	Now        func() time.Time
	Log        *slog.Logger
	// Failpoint is called at steps that crash tests stop at; nil outside of them.
	Failpoint func(step string)

	// For tests: the group's session, options of its client, and an error in place of the answer of a commit.
	session    time.Duration
	groupOpts  []kgo.Opt
	loseAnswer func() error
}

// Journal is a [journal.Journal] on a topic.
type Journal struct {
	opts  Options
	topic string
	group string
	slots int

	state  *state
	writer *writer
	owner  *owner

	ctx      context.Context
	cancel   context.CancelFunc
	follower *kgo.Client
	running  sync.WaitGroup
	closed   atomic.Bool
}

// Open makes the topic unless it exists, and begins to follow it.
func Open(ctx context.Context, opts Options) (*Journal, error) {
	const op = "journal.Open"
	if opts.Settings == nil || opts.NodeID == "" {
		return nil, fault.New(fault.Internal, op, "", "Settings and NodeID are required")
	}
	opts.Partitions = cmp.Or(opts.Partitions, DefaultPartitions)
	opts.session = cmp.Or(opts.session, sessionTimeout)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Failpoint == nil {
		opts.Failpoint = func(string) {}
	}
	j := &Journal{opts: opts, topic: opts.Settings.JournalTopic(), group: opts.Settings.Prefix + ".delivery"}
	if err := j.ensureTopic(ctx); err != nil {
		return nil, err
	}
	j.state = newState(j.slots)
	j.ctx, j.cancel = context.WithCancel(context.Background())
	if err := j.follow(); err != nil {
		j.cancel()
		return nil, err
	}
	j.writer = newWriter(j)
	j.owner = newOwner(j)
	j.running.Go(j.writer.run)
	return j, nil
}

func (j *Journal) ensureTopic(ctx context.Context) error {
	client, err := j.opts.Settings.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	err = j.opts.Settings.Ensure(ctx, adm, kafka.Topic{Name: j.topic, Partitions: j.opts.Partitions, Configs: kafka.Compacted()})
	if err != nil {
		return err
	}
	for {
		topics, err := adm.ListTopics(ctx, j.topic)
		if err != nil {
			return kafka.Fault("journal.Open", j.topic, err)
		}
		if t := topics[j.topic]; t.Err == nil && len(t.Partitions) > 0 {
			j.slots = len(t.Partitions)
			return nil
		}
		if !sleep(ctx, pause) { // it was just made, and not all brokers know it
			return fault.New(fault.Unavailable, "journal.Open", j.topic, "the topic is not there yet: %w", ctx.Err())
		}
	}
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Slots implements [journal.Journal].
func (j *Journal) Slots() int { return j.slots }

// Join implements [journal.Journal]. Slots are gained some time after it returns.
func (j *Journal) Join(ctx context.Context, m journal.Member) error { return j.owner.join(ctx, m) }

// Leave implements [journal.Journal].
func (j *Journal) Leave(ctx context.Context) error { return j.owner.leave(ctx) }

// Close leaves the group and stops. Later calls fail as Unavailable.
func (j *Journal) Close(ctx context.Context) error {
	if j.closed.Swap(true) {
		return nil
	}
	err := j.owner.leave(ctx)
	j.cancel()
	j.running.Wait()
	j.follower.Close()
	return err
}

// Deliveries implements [journal.Journal].
func (j *Journal) Deliveries(context.Context) ([]string, error) {
	j.state.mu.RLock()
	defer j.state.mu.RUnlock()
	return slices.Sorted(maps.Keys(j.state.deliveries)), nil
}

// Load implements [journal.Journal].
func (j *Journal) Load(ctx context.Context, delivery string) ([]journal.Row, []*journal.Manifest, error) {
	slots := map[int]bool{}
	for i := range j.slots {
		slots[i] = true
	}
	if err := j.settled(ctx, slots); err != nil {
		return nil, nil, err
	}
	j.state.mu.RLock()
	defer j.state.mu.RUnlock()
	var rows []journal.Row
	for key := range j.state.deliveries[delivery] {
		if err := j.state.broken[journal.SlotOf(key, j.slots)]; err != nil {
			return nil, nil, err
		}
		rows = append(rows, j.state.rows[key].row)
	}
	slices.SortFunc(rows, func(a, b journal.Row) int {
		return cmp.Or(cmp.Compare(a.Shard.Stream, b.Shard.Stream), cmp.Compare(a.Shard.ID, b.Shard.ID), cmp.Compare(a.Shard.Shard, b.Shard.Shard))
	})
	var manifests []*journal.Manifest
	for i := range rows {
		manifests = append(manifests, j.state.planned(rows[i].Key)...)
	}
	return rows, manifests, nil
}

// LoadShard implements [journal.Journal].
func (j *Journal) LoadShard(ctx context.Context, key journal.Key) (row journal.Row, ok bool, manifests []*journal.Manifest, err error) {
	slot := journal.SlotOf(key, j.slots)
	if err := j.settled(ctx, map[int]bool{slot: true}); err != nil {
		return row, false, nil, err
	}
	j.state.mu.RLock()
	defer j.state.mu.RUnlock()
	if err := j.state.broken[slot]; err != nil {
		return row, false, nil, err
	}
	have, ok := j.state.rows[key]
	if !ok || have.gone {
		return journal.Row{Key: key}, false, nil, nil
	}
	return have.row, true, j.state.planned(key), nil
}

// settled waits until the outcome of every transaction of ours is known that wrote one of the slots.
func (j *Journal) settled(ctx context.Context, slots map[int]bool) error {
	for {
		wait := j.owner.uncertain(slots)
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "journal.Load", j.topic, "it is not known yet how the last transaction ended: %w", ctx.Err())
		case <-j.ctx.Done():
			return fault.New(fault.Unavailable, "journal.Load", j.topic, "closed")
		}
	}
}

// Finals implements [journal.Journal].
func (j *Journal) Finals(context.Context) ([]journal.Final, error) {
	j.state.mu.RLock()
	defer j.state.mu.RUnlock()
	all := j.state.sortedFinals()
	return all[max(0, len(all)-journal.MaxFinals):], nil
}

// Final implements [journal.Journal].
func (j *Journal) Final(ctx context.Context, delivery string) (f journal.Final, ok bool, err error) {
	slot := journal.Home(delivery, j.slots)
	if err := j.settled(ctx, map[int]bool{slot: true}); err != nil {
		return f, false, err
	}
	j.state.mu.RLock()
	defer j.state.mu.RUnlock()
	if err := j.state.broken[slot]; err != nil {
		return f, false, err
	}
	have, ok := j.state.finals[delivery]
	return have.final, ok && !have.gone, nil
}

// Write implements [journal.Journal].
func (j *Journal) Write(ctx context.Context, change *journal.Change) error {
	slot, err := change.Slot(j.slots)
	if err != nil {
		return err
	}
	return j.writer.write(ctx, slot, change)
}

func (j *Journal) notOurs(slot int) error {
	return fault.New(fault.PreconditionFailed, "journal.Write", fmt.Sprintf("%s/%d", j.topic, slot), "the slot is another process's")
}

var _ journal.Journal = (*Journal)(nil)
