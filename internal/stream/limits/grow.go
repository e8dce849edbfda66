package limits

import (
	"cmp"
	"context"
	"slices"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// How on-demand streams grow. The service splits a shard evenly within 15 minutes once it is offered more than half of
// what a shard takes, which keeps room for double the highest rate so far; it does not look for the keys that make a
// shard hot. Splits follow the traffic where it is; scaling the whole stream to more shards of even width would close
// all others too, and undo earlier splits.
//
// Source: Kinesis Data Streams developer guide, on-demand mode, "Handling read and write throughput exceptions", and quotas.
const (
	growEvery = 15 * time.Minute
	// A shard is busy when it was offered as much on average through one minute, throttled records included: what comes
	// in a burst of seconds is what retries are for.
	busyFor     = time.Minute
	busyBytes   = 500_000 // a second
	busyRecords = writeRecords / 2
	// maxShards of an on-demand stream: 200 MiB and 200,000 records a second are the quota of most regions.
	maxShards = 200
	// A split that fails is tried again, after a pause that doubles: half a minute in all. The next turn sees it again.
	splitTries = 6
	splitPause = time.Second
)

// offered is what writers have sent to a shard, admitted or not.
type offered struct {
	since            time.Time // when the minute began that is being counted
	bytes, records   int64     // in it
	mostBytes, mostN int64     // of any minute since the last turn
}

func (o *offered) add(now time.Time, bytes int) {
	o.turn(now)
	o.bytes += int64(bytes)
	o.records++
}

// turn ends a minute that is over.
func (o *offered) turn(now time.Time) {
	if now.Sub(o.since) < busyFor {
		return
	}
	o.mostBytes, o.mostN = max(o.mostBytes, o.bytes), max(o.mostN, o.records)
	o.since, o.bytes, o.records = now, 0, 0
}

// busy tells how busy the shard has been in the busiest minute since the last turn: above 1 it needs another one beside it.
func (o *offered) busy(now time.Time) float64 {
	o.turn(now)
	seconds := busyFor.Seconds()
	busy := max(float64(o.mostBytes)/seconds/busyBytes, float64(o.mostN)/seconds/busyRecords)
	o.mostBytes, o.mostN = 0, 0
	return busy
}

// Grow splits busy shards of on-demand streams every 15 minutes until ctx ends. It never merges: the service does so
// when the peak of 30 days has passed, to save what shards cost there. Here they cost next to nothing, and nothing
// that is read anew is asked of consumers. What is known of traffic is this process's, and begins anew when it starts;
// the shards stay. Whoever wants fewer makes the stream provisioned and calls UpdateShardCount.
func (b *Backend) Grow(ctx context.Context) {
	t := time.NewTicker(growEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, def := range b.Streams() {
			if def.Mode == stream.OnDemand && !def.Hidden() && len(def.Shards) > 0 {
				b.grow(ctx, def)
			}
		}
	}
}

// grow splits the busy shards of a stream, the busiest first, as far as its bound allows.
func (b *Backend) grow(ctx context.Context, def *stream.Stream) {
	before := def.OpenShards()
	busy := b.busy(def)
	room := max(0, maxShards-before)
	if len(busy) > room {
		b.opts.Log.Warn("an on-demand stream has as many shards as it may have", "stream", def.Name, "shards", before, "busy", len(busy))
		busy = busy[:room]
	}
	splits := 0
	for _, sh := range busy {
		done, err := b.split(ctx, def, sh)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.opts.Log.Error("an on-demand stream can't grow", "stream", def.Name, "shard", stream.ShardID(sh.index), "error", err)
			break // the others would fail alike
		}
		if done {
			splits++
		}
	}
	if splits > 0 {
		b.opts.Log.Info("an on-demand stream has grown", "stream", def.Name, "from", before, "to", before+splits)
		s := b.of(def)
		s.throttled.Splits += int64(splits)
		s.mu.Unlock()
	}
}

// busy lists the open shards that are, the busiest first.
func (b *Backend) busy(def *stream.Stream) []*shard {
	type rated struct {
		*shard
		busy float64
	}
	var found []rated
	now := b.opts.Now()
	s := b.of(def)
	for _, sh := range s.open {
		if busy := sh.offered.busy(now); busy > 1 {
			found = append(found, rated{sh, busy})
		}
	}
	s.mu.Unlock()
	slices.SortStableFunc(found, func(x, y rated) int { return cmp.Compare(y.busy, x.busy) })
	shards := make([]*shard, len(found))
	for i := range found {
		shards[i] = found[i].shard
	}
	return shards
}

// split splits a shard in the middle; false when there is nothing to split any more: it has a single key, or another
// node was faster, or the stream has gone.
func (b *Backend) split(ctx context.Context, def *stream.Stream, sh *shard) (bool, error) {
	at, ok := sh.keys.Middle()
	if !ok {
		return false, nil
	}
	var err error
	for try, pause := 0, splitPause; try < splitTries; try++ {
		if try > 0 {
			if !sleep(ctx, pause) {
				return false, err
			}
			pause *= 2
		}
		if now, ok := b.Stream(def.Name); !ok || now.ID != def.ID {
			return false, nil
		}
		_, err = b.Reshard(ctx, def.Name, stream.Reshard{Split: &stream.SplitShard{Shard: sh.index, At: at}})
		if err == nil {
			return true, nil
		}
		switch fault.KindOf(err) {
		case fault.NotFound, fault.Invalid:
			return false, nil
		case fault.InUse, fault.Unavailable, fault.Throttled, fault.Internal:
		default:
			return false, err
		}
	}
	return false, err
}

// sleep waits; false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
