package kinesis

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Bounds of sending again what the service reported as failed; it says so of single entries when it is busy within.
const (
	maxTries   = 4
	firstPause = 25 * time.Millisecond // doubled with each try; half of it is random
)

// Append puts the entries, gathered with those of other callers, at most maxPutRecords and MaxPutBytes at a time.
//
// It returns at the deadline of ctx: Unavailable, and when the entries were in flight, their fate is unknown. They were
// copied before, so that nothing of the caller's is held.
func (b *Backend) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	const op = "kinesis.Append"
	if isHidden(name) {
		if b.hidden == nil {
			return errNoHidden(op, name)
		}
		return b.hidden.Append(ctx, name, entries, results)
	}
	if len(entries) != len(results) {
		return fault.New(fault.Internal, op, name, "%d entries, %d results", len(entries), len(results))
	}
	if !b.enter() {
		return errClosed(op, name)
	}
	defer b.appends.Done()
	st, ok := b.view.Load().byName[name]
	if !ok {
		return errNoStream(op, name)
	}
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, op, name, "%w", err)
	}
	a := appending{b: b, ctx: ctx, gatherer: b.gatherer(name), st: st, entries: entries, results: results}
	for first := 0; first < len(entries); {
		end := a.segment(first)
		if err := a.run(first, end); err != nil {
			return a.end(first, err)
		}
		first = end
	}
	return nil
}

// appending is one call of Append.
type appending struct {
	b        *Backend
	ctx      context.Context
	gatherer *gatherer
	st       *stream.Stream
	entries  []stream.Entry
	results  []stream.Result
	written  bool // some entry is
}

// segment gives the end of what fits one PutRecords from first on.
func (a *appending) segment(first int) int {
	bytes, end := 0, first
	for ; end < len(a.entries) && end-first < maxPutRecords; end++ {
		e := &a.entries[end]
		if bytes += len(e.Data) + len(e.PartitionKey); bytes > a.b.opts.MaxPutBytes && end > first {
			break
		}
	}
	return end
}

// run puts entries [first, end) until each is written or finally failed. An error: the rest has no results.
func (a *appending) run(first, end int) error {
	todo := make([]int, 0, end-first)
	for i := first; i < end; i++ {
		todo = append(todo, i)
	}
	for try := 1; ; try++ {
		p := newPut(a.entries, todo)
		if err := a.gatherer.put(a.ctx, p); err != nil {
			return err
		}
		if todo = a.settle(todo, p.out); len(todo) == 0 || try == maxTries || !a.pause(try) {
			return nil
		}
	}
}

// settle notes the outcome of each entry and gives those that may be sent again: failed, not by throttling, and not
// overtaken by a later entry of this call in the same shard.
func (a *appending) settle(sent []int, out []types.PutRecordsResultEntry) (again []int) {
	failed := 0
	for n, i := range sent {
		a.results[i] = a.result(i, &out[n])
		if a.results[i].Err != nil {
			failed++
		} else {
			a.written = true
		}
	}
	if failed == 0 {
		return nil
	}
	later := map[uint32]bool{} // shards that hold an entry behind the one that is looked at
	for _, i := range slices.Backward(sent) {
		r := &a.results[i]
		switch {
		case r.Err == nil:
			later[r.Shard] = true
		case fault.Is(r.Err, fault.Unavailable) && !later[r.Shard]:
			again = append(again, i)
		}
	}
	slices.Reverse(again)
	return again
}

// result reads the outcome of an entry.
func (a *appending) result(i int, out *types.PutRecordsResultEntry) stream.Result {
	const op = "kinesis.Append"
	if code := aws.ToString(out.ErrorCode); code != "" {
		// The service does not say which shard it was; the view says which it should be.
		shard, _ := holder(a.st, a.entries[i].HashKey())
		kind := fault.Unavailable
		if byCode[code] == fault.Throttled {
			kind = fault.Throttled
		}
		return stream.Result{Shard: shard, Err: fault.New(kind, op, a.st.Name, "%s: %s", code, aws.ToString(out.ErrorMessage))}
	}
	shard, ok := stream.ParseShardID(aws.ToString(out.ShardId))
	number, ok2 := stream.ParseSequenceNumber(aws.ToString(out.SequenceNumber))
	if !ok || !ok2 {
		return stream.Result{Err: fault.New(fault.Internal, op, a.st.Name, "the record is written, but its place is not understood: %.80q %.80q",
			aws.ToString(out.ShardId), aws.ToString(out.SequenceNumber))}
	}
	a.gatherer.written.Add(1)
	a.gatherer.writtenBytes.Add(int64(len(a.entries[i].Data) + len(a.entries[i].PartitionKey)))
	return stream.Result{Shard: shard, Sequence: number}
}

// pause waits before the next try; false when the caller's deadline would pass meanwhile.
func (a *appending) pause(try int) bool {
	d := firstPause << (try - 1)
	d = d/2 + rand.N(d/2)
	if deadline, ok := a.ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	return pause(a.ctx, d) == nil
}

// end ends a call early, with err for entries [from, …). Once something is written the call can't fail whole.
func (a *appending) end(from int, err error) error {
	if !a.written {
		return err
	}
	if k := fault.KindOf(err); k != fault.Throttled && k != fault.Internal {
		err = fault.New(fault.Unavailable, "kinesis.Append", a.st.Name, "%w", err)
	}
	for i := from; i < len(a.entries); i++ {
		if r := &a.results[i]; r.Sequence.IsZero() {
			shard, _ := holder(a.st, a.entries[i].HashKey())
			*r = stream.Result{Shard: shard, Err: err}
		}
	}
	return nil
}
