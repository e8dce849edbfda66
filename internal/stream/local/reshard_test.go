package local

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

func must(t testing.TB, b *Backend, change stream.Reshard) *stream.Stream {
	t.Helper()
	def, err := b.Reshard(t.Context(), "s", change)
	if err != nil {
		t.Fatal(err)
	}
	return def
}

// indexes lists a stream's shards, the closed ones with a mark.
func indexes(def *stream.Stream) string {
	var words []string
	for _, sh := range def.Shards {
		words = append(words, fmt.Sprint(sh.Index)+map[bool]string{false: "!"}[sh.Open()])
	}
	return strings.Join(words, " ")
}

// A holder keeps a closed shard, and with it all that come from it: who reads the parent to its end finds the children.
func TestClosedShardsLeaveAfterTheirParents(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	b := open(t, fs, "log", c, nil)
	def, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	last := put(t, b, "s", "1", "2")[1].Sequence
	must(t, b, stream.Reshard{Count: 4}) // 0! 1! 2! 3 4 5 6: 1 and 2 were never written to
	f := func(want string) {
		t.Helper()
		if err := b.trim(); err != nil {
			t.Fatal(err)
		}
		now, _ := b.Stream("s")
		if got := indexes(now); got != want {
			t.Errorf("shards %s; want %s", got, want)
		}
	}
	hold := func(from stream.SequenceNumber) {
		b.Hold("delivery", stream.ShardRef{Stream: "s", ID: def.ID}, from)
	}
	hold(last)
	f("0! 1! 2! 3 4 5 6")
	c.Advance(25 * time.Hour)
	f("0! 1! 2! 3 4 5 6")
	before := b.Stats().Streams[0]
	hold(last.Next())
	f("3 4 5 6")
	if after := b.Stats().Streams[0]; after != before || after.Records != 2 {
		t.Errorf("what was appended counts as %+v after its shard has left, %+v before", after, before)
	}
	if n := rows(t, b, positionPrefix); n != 0 {
		t.Errorf("%d positions of shards that have left stay", n)
	}
	put(t, b, "s", "3")
	shut(t, b)
	b = open(t, fs, "log", c, nil)
	f("3 4 5 6")
	put(t, b, "s", "4")
	must(t, b, stream.Reshard{Count: 2})
	f("3! 4! 5! 6! 7 8")
}

// A clock that steps back does not date a shard's end before its records.
func TestShardsCloseAfterTheirLastRecords(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	b := open(t, fs, "log", c, nil)
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	put(t, b, "s", "1")
	arrived := c.Now()
	c.Advance(-time.Hour)
	def := must(t, b, stream.Reshard{Count: 2})
	shut(t, b)
	b = open(t, fs, "log", c, nil)
	stored, _ := b.Stream("s")
	for _, def := range []*stream.Stream{def, stored} {
		if at := def.Shards[0].Closed.At; at.UnixMilli() != arrived.UnixMilli() {
			t.Errorf("closed at %v, though a record arrived at %v", at, arrived)
		}
	}
}

func TestReshardBounds(t *testing.T) {
	b := open(t, vfs.NewMem(), "log", newClock(), nil)
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{maxShards + 1, 1 << 40} {
		if _, err := b.Reshard(t.Context(), "s", stream.Reshard{Count: count}); !fault.Is(err, fault.LimitExceeded) {
			t.Errorf("%d shards: %v", count, err)
		}
	}
	// After a group that could not be made durable nobody knows where the shard's records end.
	broken := errors.New("disk on fire")
	b.broken.Store(&broken)
	def, _ := b.Stream("s")
	if err := b.reshard(b.state.Load().byName["s"], def, nil); !errors.Is(err, broken) {
		t.Errorf("after a failed group a reshard gave %v", err)
	}
}

// A crash at any moment of appends and reshards: the shards are those of the last reshard that was answered, or of the one under way,
// they divide the key space, and what was answered is where its answer said, each key in order from parents to children.
func TestCrashAmongReshards(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 6
	}
	for round := range rounds {
		crashAmongReshards(t, round, rounds)
	}
}

func crashAmongReshards(t *testing.T, round, rounds int) {
	c, fs := newClock(), vfs.NewCrashableMem()
	b := open(t, fs, "log", c, func(o *Options) { o.BucketBytes = 2000 })
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s", Shards: 2}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	answered := map[string]stream.Result{}
	enough := make(chan struct{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for caller := range 6 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				results := make([]stream.Result, 1)
				key := fmt.Sprint("caller", caller)
				id := fmt.Sprintf("%s/%d", key, i)
				if err := b.Append(t.Context(), "s", []stream.Entry{{PartitionKey: key, Data: []byte(id)}}, results); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answered[id] = results[0]
				if len(answered) == 40+round*11 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	var known *stream.Stream // after the last reshard that was answered
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			def, err := b.Reshard(t.Context(), "s", stream.Reshard{Count: []int{3, 5, 4, 2}[i%4]})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			known = def
			mu.Unlock()
		}
	})
	<-enough
	mu.Lock()
	want, shards := map[string]stream.Result{}, known
	for id, r := range answered {
		want[id] = r
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: round * 100 / rounds, RNG: rng(round)})
	mu.Unlock()
	close(stop)
	wg.Wait()
	shut(t, b)

	b = open(t, crashed, "log", c, nil)
	def, _ := b.Stream("s")
	if shards != nil {
		for i, sh := range shards.Shards {
			if i >= len(def.Shards) || def.Shards[i].Index != sh.Index || def.Shards[i].Range != sh.Range || (!sh.Open() && def.Shards[i].Open()) {
				t.Fatalf("round %d: after the crash %s, before it %s", round, indexes(def), indexes(shards))
			}
		}
	}
	checkAfterCrash(t, b, def, want)
	must(t, b, stream.Reshard{Count: 3}) // and all goes on
	put(t, b, "s", "after")
	shut(t, b)
}

func checkAfterCrash(t *testing.T, b *Backend, def *stream.Stream, want map[string]stream.Result) {
	t.Helper()
	var open []stream.HashKeyRange
	found := map[string]stream.Result{}
	next := map[string]int{}
	for _, sh := range def.Shards {
		if sh.Open() {
			open = append(open, sh.Range)
		}
		var batch stream.Batch
		from := stream.SequenceNumber{}
		for n := 1; n > 0; n = len(batch.Records) {
			req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: def.ID, Shard: sh.Index}, From: from, MaxRecords: 100, MaxBytes: 1 << 20}
			if err := b.Read(t.Context(), req, &batch); err != nil {
				t.Fatal(err)
			}
			for _, r := range batch.Records {
				key := string(r.PartitionKey)
				if got := fmt.Sprintf("%s/%d", key, next[key]); got != string(r.Data) {
					t.Fatalf("%s where %s should come", r.Data, got)
				}
				next[key]++
				found[string(r.Data)] = stream.Result{Shard: sh.Index, Sequence: r.Sequence}
			}
			from = batch.Next
		}
		if batch.End == sh.Open() {
			t.Fatalf("%s: open %t, end %t", sh.ID(), sh.Open(), batch.End)
		}
	}
	for id, r := range want {
		if found[id] != r {
			t.Fatalf("%s was answered with %+v and is at %+v", id, r, found[id])
		}
	}
	slices.SortFunc(open, func(x, y stream.HashKeyRange) int { return x.Start.Compare(y.Start) })
	if !slices.Equal(open, stream.EvenRanges(len(open))) {
		t.Fatalf("the open shards take %v", open)
	}
}
