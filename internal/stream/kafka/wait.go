package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/stream"
)

// Wait returns when a record at or after from can be read, or the shard is closed. All who wait share one long poll a
// broker; who has appended here wakes them at once.
func (b *Backend) Wait(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber) error {
	const op = "kafka.Wait"
	_, sh, err := b.find(op, ref)
	if err != nil {
		return err
	}
	offset := sh.offset(from)
	sh.waiting.Add(1)
	defer sh.waiting.Add(-1)
	for {
		sh.mu.Lock()
		if sh.changed == nil {
			sh.changed = make(chan struct{})
		}
		changed := sh.changed
		sh.mu.Unlock()
		switch sh.state.Load() {
		case closed:
			return nil
		case gone:
			return notFound(op, ref.Stream)
		}
		if sh.tip.Load() > sh.over(offset) {
			return nil
		}
		b.tails.watch(sh)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.life.Done():
			return errClosed(op, ref.Stream)
		}
	}
}

// tails asks brokers whether shards that somebody waits for have grown.
type tails struct {
	b *Backend

	mu      sync.Mutex
	watched map[*shard]bool // true: by a poll that runs
	polls   map[int32]bool  // by broker: one runs
	finding bool            // leaders are being looked for
}

const (
	// pollWait is how long a broker holds an answer when nothing comes: who begins to wait meanwhile is in the next one.
	pollWait = 100 * time.Millisecond
	// pollBytes and pollShardBytes bound an answer. What comes is kept for the readers that are woken.
	pollBytes      = 4 << 20
	pollShardBytes = 256 << 10
	// pollShards bounds the shards of one poll.
	pollShards = 2000
	// pollPause is waited after a poll that failed.
	pollPause = 100 * time.Millisecond
)

func (t *tails) init(b *Backend) {
	t.b, t.watched, t.polls = b, map[*shard]bool{}, map[int32]bool{}
}

// watch has a shard polled for as long as somebody waits for it.
func (t *tails) watch(sh *shard) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.watched[sh]; known {
		return
	}
	t.watched[sh] = false
	leader := sh.leader.Load()
	if leader < 0 || sh.tip.Load() < 0 {
		if !t.finding {
			t.finding = true
			t.b.workers.Go(t.find)
		}
		return
	}
	t.start(leader)
}

// start runs the poll of a broker, unless it runs. The caller holds mu.
func (t *tails) start(broker int32) {
	if !t.polls[broker] {
		t.polls[broker] = true
		t.b.workers.Go(func() { t.poll(broker) })
	}
}

// find looks for the leaders and the ends of shards, and starts their polls.
func (t *tails) find() {
	for {
		t.mu.Lock()
		var lost []*shard
		for sh := range t.watched {
			if t.idle(sh) {
				continue
			}
			if sh.leader.Load() < 0 || sh.tip.Load() < 0 {
				lost = append(lost, sh)
			}
		}
		if len(lost) == 0 || t.b.life.Err() != nil {
			t.finding = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		failed := false
		for _, sh := range lost {
			ctx, cancel := t.b.bounded(t.b.life)
			leader, err := t.b.leader(ctx, sh)
			if err == nil && sh.tip.Load() < 0 {
				var tip int64
				if tip, err = t.b.listOffsetOnce(ctx, sh, latest, committed); err == nil {
					sh.advance(tip)
				} else {
					sh.leader.Store(-1)
				}
			}
			cancel()
			if err != nil {
				failed = true
				continue
			}
			t.mu.Lock()
			t.start(leader)
			t.mu.Unlock()
		}
		if failed {
			_ = pause(t.b.life, pollPause)
		}
	}
}

// idle forgets a shard that nobody waits for. The caller holds mu.
func (t *tails) idle(sh *shard) bool {
	if sh.waiting.Load() > 0 && sh.state.Load() < closed {
		return false
	}
	delete(t.watched, sh)
	return true
}

// poll asks one broker for as long as somebody waits for a shard that it leads.
func (t *tails) poll(broker int32) {
	for {
		var shards []*shard
		t.mu.Lock()
		for sh := range t.watched {
			if sh.leader.Load() == broker && sh.tip.Load() >= 0 && !t.idle(sh) && len(shards) < pollShards {
				shards = append(shards, sh)
			}
		}
		if len(shards) == 0 || t.b.life.Err() != nil {
			delete(t.polls, broker)
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		if !t.ask(broker, shards) {
			_ = pause(t.b.life, pollPause)
		}
	}
}

// ask polls once. ok is false when the broker had nothing to say to the point.
func (t *tails) ask(broker int32, shards []*shard) (ok bool) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = int32(pollWait/time.Millisecond), 1, pollBytes, 1
	asked := make(map[polled]question, len(shards))
	at := map[*topic]int{}
	for _, sh := range shards {
		i, known := at[sh.topic]
		if !known {
			i = len(req.Topics)
			at[sh.topic] = i
			req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: sh.topic.name, TopicID: sh.topic.id})
		}
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = sh.partition, sh.tip.Load(), pollShardBytes
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, part)
		// Brokers answer with ids, those of old with names.
		q := question{sh, part.FetchOffset}
		asked[polled{"", sh.topic.id, sh.partition}], asked[polled{sh.topic.name, topicID{}, sh.partition}] = q, q
	}
	ctx, cancel := t.b.bounded(t.b.life)
	defer cancel()
	answer, err := t.b.poller.Broker(int(broker)).Request(ctx, req)
	var resp *kmsg.FetchResponse
	if err == nil {
		resp = answer.(*kmsg.FetchResponse)
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		for _, sh := range shards {
			t.lost(sh)
		}
		return false
	}
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			if q, known := asked[polled{rt.Topic, topicID(rt.TopicID), rp.Partition}]; known && t.answered(q, rp) {
				ok = true
			}
		}
	}
	return ok
}

// polled names a partition in an answer, and question is what was asked about it.
type polled struct {
	name      string
	id        topicID
	partition int32
}

type question struct {
	shard *shard
	from  int64
}

// answered looks at what a broker says of a shard. What came with the answer is kept for the reader that it wakes.
func (t *tails) answered(q question, part *kmsg.FetchResponseTopicPartition) (ok bool) {
	switch err := kerr.ErrorForCode(part.ErrorCode); err {
	case nil:
	case kerr.OffsetOutOfRange:
		q.shard.tip.Store(-1) // the log has been cut, at either end
		t.lost(q.shard)
		return false
	default:
		t.lost(q.shard)
		return false
	}
	c := newCursor(q.shard, t.b.decompress, q.from, part)
	t.b.cursors.put(c)
	q.shard.advance(c.stable)
	return true
}

// lost has the leader of a shard looked for.
func (t *tails) lost(sh *shard) {
	sh.leader.Store(-1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.finding {
		t.finding = true
		t.b.workers.Go(t.find)
	}
}
