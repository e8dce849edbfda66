package sdk

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/e2e/node"
)

// A consumer is pushed every record once and in order, through a split and a merge, while it hangs up and subscribes again
// from ContinuationSequenceNumber: over HTTP/1.1, over HTTP/2 without TLS, and over HTTP/2 with it.
func TestSubscribersMissNothing(t *testing.T) {
	f := func(name, protocol string, transport *http.Transport, args ...string) {
		t.Run(name, func(t *testing.T) { missNothing(t, up(t, node.Options{Args: args}), transport, protocol) })
	}
	cert, key := certificate(t)
	f("HTTP/1.1", "HTTP/1.1", protocols(func(p *http.Protocols) { p.SetHTTP1(true) }))
	f("HTTP/2 without TLS", "HTTP/2.0", protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }))
	f("HTTP/2 with TLS", "HTTP/2.0", protocols(func(p *http.Protocols) { p.SetHTTP2(true) }), "--tls-cert", cert, "--tls-key", key)
}

// What is put before each change of the shards, and behind the last: more than one event holds.
const (
	perPhase    = 40
	recordBytes = 32 << 10
)

func missNothing(t *testing.T, n *node.Node, transport *http.Transport, protocol string) {
	t.Cleanup(transport.CloseIdleConnections)
	seen := &noted{Transport: transport}
	u := userOf(t, n, func(o *kinesis.Options) { o.HTTPClient = seen })
	name, arn := u.stream(t, "followed", 1)
	f := &follower{u: u, t: t, consumers: []*string{u.register(t, arn, "one").ConsumerARN, u.register(t, arn, "two").ConsumerARN}}
	live := u.subscribe(t, u.register(t, arn, "live").ConsumerARN, shardID(0), types.StartingPosition{Type: types.ShardIteratorTypeLatest})

	before := u.putPhase(t, name, "before")
	must(u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: shardID(0), NewStartingHashKey: key(1, 2)}))(t)
	u.active(t, name)
	split := u.putPhase(t, name, "split")
	must(u.MergeShards(u.ctx, &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: shardID(1), AdjacentShardToMerge: shardID(2)}))(t)
	u.active(t, name)
	merged := u.putPhase(t, name, "merged")

	var pushed []string
	for over := false; !over; {
		e := u.next(t, live)
		if e == nil {
			t.Fatal("the stream ended without children:", live.Err())
		}
		pushed = append(pushed, names(e.Records)...)
		over = len(e.ChildShards) > 0
	}
	same(t, "pushed while the shard was split", pushed, before)
	if e := u.next(t, live); e != nil || live.Err() != nil {
		t.Errorf("after the end of a shard: %+v, %v", e, live.Err())
	}

	f.follow(*shardID(0))
	same(t, "the first shard, in order", f.got, before)
	f.follow(*shardID(1))
	f.follow(*shardID(2))
	second := slices.Sorted(slices.Values(f.got[perPhase:])) // two shards have no order
	same(t, "its children", second, slices.Sorted(slices.Values(split)))
	f.until(*shardID(3), 3*perPhase)
	same(t, "the merged shard, in order", f.got[2*perPhase:], merged)
	equal(t, "protocol", seen.proto, protocol)
}

// putPhase puts perPhase records, and gives their names.
func (u *user) putPhase(t *testing.T, stream *string, phase string) (all []string) {
	t.Helper()
	entries := make([]types.PutRecordsRequestEntry, perPhase)
	for i := range entries {
		name := fmt.Sprint(phase, i)
		all = append(all, name)
		entries[i] = types.PutRecordsRequestEntry{PartitionKey: &name, Data: append([]byte(name+" "), pattern(recordBytes)...)}
	}
	out := must(u.PutRecords(u.ctx, &kinesis.PutRecordsInput{StreamName: stream, Records: entries}))(t)
	equal(t, "failed", *out.FailedRecordCount, 0)
	return all
}

// names gives the first word of each record.
func names(records []types.Record) (all []string) {
	for _, r := range records {
		name, _, _ := strings.Cut(string(r.Data), " ")
		all = append(all, name)
	}
	return all
}

// follower reads shards by subscription, and hangs up after the first event of each: a consumer that is restarted. As a
// consumer may not subscribe again at once, another takes its place.
type follower struct {
	u         *user
	t         *testing.T
	consumers []*string
	got       []string
}

// follow reads a shard to its end, which names children that have this shard for a parent.
func (f *follower) follow(shard string) {
	f.t.Helper()
	f.each(shard, func(e *types.SubscribeToShardEvent) (done bool) {
		for _, child := range e.ChildShards {
			if !slices.Contains(child.ParentShards, shard) {
				f.t.Errorf("%s ends with the child %s of %v", shard, *child.ShardId, child.ParentShards)
			}
		}
		return len(e.ChildShards) > 0
	})
}

// until reads a shard until so many records have come in all.
func (f *follower) until(shard string, records int) {
	f.t.Helper()
	f.each(shard, func(*types.SubscribeToShardEvent) bool { return len(f.got) >= records })
}

func (f *follower) each(shard string, done func(*types.SubscribeToShardEvent) bool) {
	f.t.Helper()
	at := types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	for turn, over := 0, false; !over; turn++ {
		if turn >= len(f.consumers) {
			f.t.Fatalf("%s does not come to its end", shard)
		}
		events := f.u.subscribe(f.t, f.consumers[turn], &shard, at)
		for n := 0; !over; n++ {
			e := f.u.next(f.t, events)
			if e == nil {
				f.t.Fatalf("%s: the stream ended early: %v", shard, events.Err())
			}
			f.got = append(f.got, names(e.Records)...)
			if over = done(e); over {
				break
			}
			at = types.StartingPosition{Type: []types.ShardIteratorType{types.ShardIteratorTypeAfterSequenceNumber,
				types.ShardIteratorTypeAtSequenceNumber}[turn%2], SequenceNumber: e.ContinuationSequenceNumber}
			if turn == 0 {
				break
			}
		}
		if err := events.Close(); err != nil {
			f.t.Errorf("%s: %v", shard, err)
		}
	}
}
