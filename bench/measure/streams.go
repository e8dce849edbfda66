package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"millrace/bench/load"
)

const (
	shards  = 4
	readers = 4 // connections of GetRecords: one for each shard
	// grace is how long records may still be under way when the load has ended.
	grace = 5 * time.Second
)

// measureStreams reads from streams that nothing else reads: by GetRecords what a run of PutRecords has put, and by
// SubscribeToShard at the tip while records are put at half of the rate that the last run reached.
func (o *options) measureStreams(ctx context.Context, r *results, round int) error {
	folder := dataFolder(o, fmt.Sprintf("streams-%d", round))
	s, addr, _, err := o.startMillrace(ctx, folder)
	if err != nil {
		return err
	}
	k := load.Kinesis{Addr: addr}
	for _, measure := range []func() error{
		func() error { return o.measureReads(ctx, r, s, k) },
		func() error { return o.measureSubscriptions(ctx, r, s, k, "subscribe putrecords", few, records) },
		func() error { return o.measureSubscriptions(ctx, r, s, k, "subscribe putrecord", 64, 1) },
	} {
		if err := measure(); err != nil {
			return err
		}
	}
	_, peak := s.rss()
	r.peak[round] = max(r.peak[round], peak)
	s.stop(syscall.SIGTERM)
	return os.RemoveAll(folder)
}

func (o *options) measureReads(ctx context.Context, r *results, s *server, k load.Kinesis) error {
	const name = "reads"
	if err := k.CreateStream(ctx, name, shards); err != nil {
		return err
	}
	fill := o.plan(k.Addr, few, putRecordsOf(k.Addr, name, load.JSON))
	fill.Records = records
	if _, err := once(ctx, "millrace: records to be read", fill); err != nil {
		return err
	}
	for _, m := range []struct {
		key string
		as  load.Encoding
	}{{"getrecords", load.JSON}, {"getrecords cbor", load.CBOR}} {
		plan, err := o.readPlan(ctx, k, name, m.as)
		if err != nil {
			return err
		}
		report, err := r.watched(m.key, s, func() (*load.Report, error) { return once(ctx, "millrace: "+m.key, plan) })
		if err != nil {
			return err
		}
		r.add(m.key, report)
	}
	return nil
}

// readPlan reads all shards of a stream by GetRecords, from their beginnings to their tips, and again.
func (o *options) readPlan(ctx context.Context, k load.Kinesis, name string, as load.Encoding) (load.Plan, error) {
	first, err := k.Iterators(ctx, name)
	if err != nil {
		return load.Plan{}, err
	}
	reads := load.NewReads(k.Addr, as, first, readers)
	plan := o.plan(k.Addr, readers, reads.Request)
	plan.Answer = reads.Answer
	return plan, nil
}

// measureSubscriptions follows each shard of a stream while records are put at half of the last run's rate.
func (o *options) measureSubscriptions(ctx context.Context, r *results, s *server, k load.Kinesis, key string, connections, count int) error {
	put := "putrecord"
	if count > 1 {
		put = "putrecords"
	}
	name := "tip-" + put
	if err := k.CreateStream(ctx, name, shards); err != nil {
		return err
	}
	arn, err := k.RegisterConsumer(ctx, name, "bench")
	if err != nil {
		return err
	}
	stamps := load.NewStamps(k.Addr, name, connections, count)
	plan := o.plan(k.Addr, connections, nil)
	plan.Due, plan.Records, plan.Rate = stamps.Due, count, r.last(put)/2

	plan.Begin = time.Now()
	from := plan.Begin.Add(plan.Warmup)
	followers, err := follow(ctx, k, name, arn, stamps, from, from.Add(plan.Duration))
	if err != nil {
		return err
	}
	report, err := r.watched(key, s, func() (*load.Report, error) { return once(ctx, "millrace: "+put+" at half rate, followed", plan) })
	if err == nil {
		err = caughtUp(stamps, report.OK()*uint64(count))
	}
	if err = followers.end(err); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	r.add(key+" put", report)
	r.follow(key, &followers.underWay)
	say("%-34s %d shards: %d records, under way p50 %v, p99 %v", "millrace: SubscribeToShard", shards, followers.underWay.Count(),
		followers.underWay.Quantile(.5).Round(10*time.Microsecond), followers.underWay.Quantile(.99).Round(10*time.Microsecond))
	return nil
}

// followers are subscriptions to all shards of a stream.
type followers struct {
	all     []*load.Subscription
	running sync.WaitGroup

	mu       sync.Mutex
	underWay load.Histogram
	err      error
}

func follow(ctx context.Context, k load.Kinesis, stream, arn string, stamps *load.Stamps, from, until time.Time) (*followers, error) {
	ids, err := k.Shards(ctx, stream)
	if err != nil {
		return nil, err
	}
	f := &followers{}
	for _, id := range ids {
		sub, err := load.Subscribe(ctx, k.Addr, arn, id)
		if err != nil {
			return nil, f.end(err)
		}
		f.all = append(f.all, sub)
		f.running.Go(func() {
			underWay, err := sub.Follow(stamps, from, until)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.underWay.Merge(underWay)
			if err != nil {
				f.err = err
			}
		})
	}
	return f, nil
}

// caughtUp waits for what has been put.
func caughtUp(stamps *load.Stamps, records uint64) error {
	for deadline := time.Now().Add(grace); stamps.Arrived() < records; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d records have arrived %v after the load", stamps.Arrived(), records, grace)
		}
	}
	return nil
}

// end ends the subscriptions, and gives the first error of all.
func (f *followers) end(err error) error {
	for _, sub := range f.all {
		_ = sub.Close() // Follow tells what went wrong before
	}
	f.running.Wait()
	if err == nil {
		err = f.err
	}
	return err
}
