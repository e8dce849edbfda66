package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/fault"
)

func provisioned(count int) *Stream {
	s := &Stream{Name: "s", Status: Active}
	for i, r := range EvenRanges(count) {
		s.Shards = append(s.Shards, Shard{Index: uint32(i), Range: r, Created: 100, First: NewSequenceNumber(100, uint32(i), 0)})
	}
	return s
}

// lineage writes a stream's shards on one line: "0! 1<0 2<0" is a closed shard and its two children.
func lineage(s *Stream) string {
	var words []string
	for _, sh := range s.Shards {
		w := fmt.Sprint(sh.Index)
		for i, p := range sh.Parents {
			w += string("<+"[i]) + fmt.Sprint(p)
		}
		if !sh.Open() {
			w += "!"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func TestReshardedLineage(t *testing.T) {
	half := EvenRanges(2)[1].Start
	quarter := EvenRanges(4)[1].Start
	for _, c := range []struct {
		name   string
		from   int
		change Reshard
		want   string
	}{
		{"split", 1, Reshard{Split: &SplitShard{0, half}}, "0! 1<0 2<0"},
		{"split one of two", 2, Reshard{Split: &SplitShard{0, quarter}}, "0! 1 2<0 3<0"},
		{"merge", 2, Reshard{Merge: &MergeShards{0, 1}}, "0! 1! 2<0+1"},
		{"double", 2, Reshard{Count: 4}, "0! 1! 2<0 3<0 4<1 5<1"},
		{"halve", 4, Reshard{Count: 2}, "0! 1! 2! 3! 4<0+1 5<2+3"},
		{"two to three", 2, Reshard{Count: 3}, "0! 1! 2<0 3<0! 4<1! 5<1 6<3+4"},
		{"the same count changes nothing", 3, Reshard{Count: 3}, "0 1 2"},
		{"one to four", 1, Reshard{Count: 4}, "0! 1<0! 2<0! 3<1 4<1 5<2 6<2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := provisioned(c.from)
			before := lineage(s)
			next, err := s.Resharded(c.change, time.Unix(200, 0))
			if err != nil {
				t.Fatal(err)
			}
			if got := lineage(next); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if lineage(s) != before {
				t.Error("the stream itself was changed")
			}
			checkSpace(t, next)
		})
	}
}

// checkSpace: open shards divide the key space, parents are closed and older than their children.
func checkSpace(t *testing.T, s *Stream) {
	t.Helper()
	var open []Shard
	for _, sh := range s.Shards {
		if sh.Open() {
			open = append(open, sh)
		} else if c, i, p, ok := sh.Closed.Sequence.Parts(); !ok || c != sh.Created || i != sh.Index || p != LastPosition {
			t.Errorf("%s ends at %s", sh.ID(), sh.Closed.Sequence)
		}
		if sh.First != NewSequenceNumber(sh.Created, sh.Index, 0) {
			t.Errorf("%s begins at %s", sh.ID(), sh.First)
		}
		for _, p := range sh.Parents {
			parent, ok := s.Shard(p)
			if !ok || parent.Open() || parent.Created >= sh.Created {
				t.Errorf("%s was created in second %d, its parent %+v", sh.ID(), sh.Created, parent)
			}
		}
	}
	slices.SortFunc(open, func(x, y Shard) int { return x.Range.Start.Compare(y.Range.Start) })
	if open[0].Range.Start != (HashKey{}) || open[len(open)-1].Range.End != MaxHashKey {
		t.Error("the ends of the key space have no shard")
	}
	for i := 1; i < len(open); i++ {
		if open[i-1].Range.End.Next() != open[i].Range.Start {
			t.Errorf("between %s and %s keys have no shard, or two", open[i-1].ID(), open[i].ID())
		}
	}
}

func TestReshardedCountsAreUniform(t *testing.T) {
	for from := 1; from <= 9; from++ {
		for to := 1; to <= 20; to++ {
			next, err := provisioned(from).Resharded(Reshard{Count: to}, time.Unix(50, 0)) // a clock before the parents' creation
			if err != nil {
				t.Fatal(err)
			}
			checkSpace(t, next)
			var got []HashKeyRange
			for _, sh := range next.Shards {
				if sh.Open() {
					got = append(got, sh.Range)
				}
			}
			slices.SortFunc(got, func(x, y HashKeyRange) int { return x.Start.Compare(y.Start) })
			if !slices.Equal(got, EvenRanges(to)) {
				t.Errorf("%d to %d shards: %v", from, to, got)
			}
		}
	}
}

func TestReshardedRefuses(t *testing.T) {
	closed, err := provisioned(2).Resharded(Reshard{Split: &SplitShard{0, EvenRanges(4)[1].Start}}, time.Unix(200, 0))
	if err != nil {
		t.Fatal(err)
	}
	updating := provisioned(2)
	updating.Status = Updating
	for _, c := range []struct {
		name   string
		s      *Stream
		change Reshard
		kind   fault.Kind
	}{
		{"nothing", provisioned(1), Reshard{}, fault.Invalid},
		{"not active", updating, Reshard{Count: 3}, fault.InUse},
		{"unknown shard", provisioned(1), Reshard{Split: &SplitShard{7, MaxHashKey}}, fault.NotFound},
		{"closed shard", closed, Reshard{Split: &SplitShard{0, EvenRanges(8)[1].Start}}, fault.Invalid},
		{"the point begins the shard", provisioned(1), Reshard{Split: &SplitShard{0, HashKey{}}}, fault.Invalid},
		{"the point lies beyond", provisioned(2), Reshard{Split: &SplitShard{0, MaxHashKey}}, fault.Invalid},
		{"not adjacent", provisioned(3), Reshard{Merge: &MergeShards{0, 2}}, fault.Invalid},
		{"the wrong way round", provisioned(2), Reshard{Merge: &MergeShards{1, 0}}, fault.Invalid},
		{"with itself", provisioned(1), Reshard{Merge: &MergeShards{0, 0}}, fault.Invalid},
	} {
		if _, err := c.s.Resharded(c.change, time.Unix(200, 0)); fault.KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: %v; want kind %v", c.name, err, c.kind)
		}
	}
}

func TestMiddle(t *testing.T) {
	f := func(start, end, want string, ok bool) {
		t.Helper()
		r := HashKeyRange{key(t, start), key(t, end)}
		at, is := r.Middle()
		if is != ok || ok && at != key(t, want) {
			t.Errorf("%s to %s: %v, %v", start, end, at, is)
		}
	}
	f("0", "1", "1", true)
	f("0", "9", "5", true)
	f("7", "7", "", false)
	f("7", "8", "8", true)
	f("0", "340282366920938463463374607431768211455", "170141183460469231731687303715884105728", true)
	f("170141183460469231731687303715884105728", "340282366920938463463374607431768211455", "255211775190703847597530955573826158592", true)
	f("18446744073709551615", "18446744073709551617", "18446744073709551617", true)
}

func key(t *testing.T, text string) HashKey {
	t.Helper()
	k, ok, inRange := ParseHashKey(text)
	if !ok || !inRange {
		t.Fatal(text)
	}
	return k
}
