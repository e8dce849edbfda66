package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/bench/load"
	"millrace/e2e/node"
)

// Bounds of the reshards of a campaign.
const (
	// reshardsMost bounds how often the stream is resharded in all rounds together: closed shards stay for a day, and a
	// campaign must not be about a thousand of them. Each start brings the stream back to what the definition says.
	reshardsMost = 60
	// reshardsOfOne bounds those of one node's life.
	reshardsOfOne = 3
	// shardsMost bounds the open shards, so that each has some load.
	shardsMost = 8
	// reshardPause is the longest pause between two.
	reshardPause = 700 * time.Millisecond
)

// shard is one of the stream's, as DescribeStream shows it.
type shard struct {
	ShardId, ParentShardId, AdjacentParentShardId string
	HashKeyRange                                  struct{ StartingHashKey, EndingHashKey string }
	SequenceNumberRange                           struct{ EndingSequenceNumber string }
}

// resharder splits, merges and scales the stream under load, until it is stopped or its node is gone.
type resharder struct {
	rng   *rand.Rand
	aws   *wire
	busy  []string // errors that say that another change is under way, and are no offence
	done  int      // answered with success
	tried int
	err   error // an answer that no reshard should get
}

// reshards runs one on a node; at most most reshards are made.
func reshards(ctx context.Context, n *node.Node, seed uint64, most int) *resharder {
	r := &resharder{rng: rand.New(rand.NewPCG(seed, 1))}
	var err error
	if r.aws, err = dial(ctx, n.AWS); err != nil {
		return r // the node is dead
	}
	defer r.aws.Close()
	for r.tried < most && r.err == nil {
		select {
		case <-ctx.Done():
			return r
		case <-time.After(time.Duration(r.rng.Int64N(int64(reshardPause)))):
		}
		shards, err := describe(r.aws)
		if err != nil || !r.reshard(shards) {
			return r
		}
	}
	return r
}

// reshard makes one change, and reports whether the node answered.
func (r *resharder) reshard(shards []shard) bool {
	open := slices.DeleteFunc(shards, func(s shard) bool { return s.SequenceNumberRange.EndingSequenceNumber != "" })
	slices.SortFunc(open, func(x, y shard) int {
		return number(x.HashKeyRange.StartingHashKey).Cmp(number(y.HashKeyRange.StartingHashKey))
	})
	operation, body := r.choose(open)
	a, err := r.aws.call(load.KinesisCall(r.aws.host, operation, []byte(body)))
	if err != nil {
		return false
	}
	r.tried++
	switch {
	case a.Status == http.StatusOK:
		r.done++
	case slices.ContainsFunc(r.busy, func(name string) bool { return bytes.Contains(a.Body, []byte(name)) }):
	case a.Status < 500:
		r.err = fmt.Errorf("%s of %s: %d %.300s", operation, body, a.Status, a.Body)
	}
	return a.Status == http.StatusOK
}

func (r *resharder) choose(open []shard) (operation, body string) {
	i := r.rng.IntN(len(open))
	at := open[i].HashKeyRange
	start, width := number(at.StartingHashKey), new(big.Int)
	width.Sub(number(at.EndingHashKey), start)
	switch n := r.rng.IntN(3); {
	case n == 0 && len(open) < shardsMost && width.BitLen() > 8:
		part := new(big.Int).Div(width, big.NewInt(2+r.rng.Int64N(6)))
		return "SplitShard", fmt.Sprintf(`{"StreamName":"class-stream","ShardToSplit":%q,"NewStartingHashKey":"%d"}`, open[i].ShardId, part.Add(part, start))
	case n == 1 && i+1 < len(open):
		return "MergeShards", fmt.Sprintf(`{"StreamName":"class-stream","ShardToMerge":%q,"AdjacentShardToMerge":%q}`, open[i].ShardId, open[i+1].ShardId)
	}
	least, most := (len(open)+1)/2, min(shardsMost, 2*len(open))
	target := least + r.rng.IntN(most-least+1)
	if target == len(open) { // no change is refused
		target = most
		if target == len(open) {
			target = least
		}
	}
	return "UpdateShardCount", fmt.Sprintf(`{"StreamName":"class-stream","TargetShardCount":%d,"ScalingType":"UNIFORM_SCALING"}`, target)
}

func number(text string) *big.Int {
	n, _ := new(big.Int).SetString(text, 10)
	return n
}

// describe lists the stream's shards, closed ones included.
func describe(aws *wire) (all []shard, err error) {
	for more := true; more; {
		after := ""
		if len(all) > 0 {
			after = fmt.Sprintf(`,"ExclusiveStartShardId":%q`, all[len(all)-1].ShardId)
		}
		a, err := aws.call(load.KinesisCall(aws.host, "DescribeStream", []byte(`{"StreamName":"class-stream"`+after+`}`)))
		if err != nil {
			return nil, err
		}
		var out struct {
			StreamDescription struct {
				Shards        []shard
				HasMoreShards bool
			}
		}
		if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != http.StatusOK {
			return nil, fmt.Errorf("DescribeStream: %d %.300s: %w", a.Status, a.Body, err)
		}
		all = append(all, out.StreamDescription.Shards...)
		more = out.StreamDescription.HasMoreShards
	}
	return all, nil
}

// spot is a place among the objects, keys sorted.
type spot struct{ object, line int32 }

func (s spot) before(t spot) bool {
	return s.object < t.object || s.object == t.object && s.line < t.line
}

// lineage checks that what was answered by a child stands behind what its ancestors answered: so each key is in order.
func (c *checker) lineage(shards []shard) {
	firsts, lasts := map[string]spot{}, map[string]spot{}
	for id := range c.book.entries {
		e := &c.book.entries[id]
		if e.state != answered || c.seen[id].times == 0 {
			continue
		}
		at, place := spot{c.seen[id].object, c.seen[id].line}, strings.TrimPrefix(c.book.places[e.place], "class-stream ")
		if first, seen := firsts[place]; !seen || at.before(first) {
			firsts[place] = at
		}
		if last, seen := lasts[place]; !seen || last.before(at) {
			lasts[place] = at
		}
	}
	for _, s := range shards { // by id: parents come first
		first, delivered := firsts[s.ShardId]
		last, seen := lasts[s.ShardId]
		for _, parent := range []string{s.ParentShardId, s.AdjacentParentShardId} {
			end, known := lasts[parent]
			if !known {
				continue
			}
			if delivered && first.before(end) {
				c.report.reordered++
				c.report.tell("reordered: %s begins in %s line %d, before its ancestors' end in %s line %d", s.ShardId,
					c.keys[first.object], first.line, c.keys[end.object], end.line)
			}
			if !seen || last.before(end) { // what the child's own children must stand behind
				last, seen = end, true
			}
		}
		if seen {
			lasts[s.ShardId] = last
		}
	}
}
