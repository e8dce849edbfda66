package stream

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSequenceNumberIsInvertible(t *testing.T) {
	f := func(created int64, shard uint32, position uint64) {
		t.Helper()
		s := NewSequenceNumber(created, shard, position)
		c, sh, p, ok := s.Parts()
		if !ok || c != created || sh != shard || p != position {
			t.Errorf("Parts(%v) = %d %d %d %v, want %d %d %d", s, c, sh, p, ok, created, shard, position)
		}
		if back, ok := ParseSequenceNumber(s.String()); !ok || back != s {
			t.Errorf("Parse(%q) = %v %v", s.String(), back, ok)
		}
		want := new(big.Int)
		want.SetUint64(s.hi).Lsh(want, 64).Or(want, new(big.Int).SetUint64(s.mid))
		want.Lsh(want, 64).Or(want, new(big.Int).SetUint64(s.lo))
		if got := s.String(); got != want.String() || len(got) != 56 {
			t.Errorf("String() = %q, want %q of 56 digits", got, want)
		}
	}
	f(1_700_000_000, 0, 0)
	f(1_700_000_000, 5, 1)
	f(maxCreation, 1<<32-1, 1<<64-1)
	f(1_800_000_000, 77, LastPosition)
	for range 1000 {
		f(rand.Int64N(maxCreation), rand.Uint32(), rand.Uint64())
	}
}

func TestSequenceNumberTextForms(t *testing.T) {
	for _, bad := range []string{"", "01", "-1", "1x", "123456789012345678901234567890123456789012345678901234567890"} {
		if s, ok := ParseSequenceNumber(bad); ok {
			t.Errorf("Parse(%q) = %v, want refusal", bad, s)
		}
	}
	for _, good := range []string{"0", "1", "10000000000000000000", "18446744073709551616", "340282366920938463463374607431768211456"} {
		if s, ok := ParseSequenceNumber(good); !ok || s.String() != good {
			t.Errorf("Parse(%q) = %v %v", good, s, ok)
		}
	}
}

func TestSequenceNumberOrder(t *testing.T) {
	a, b := NewSequenceNumber(1000, 3, 9), NewSequenceNumber(1000, 3, 10)
	child := NewSequenceNumber(1001, 7, 0)
	if !a.Before(b) || !b.Before(child) || !a.Before(a.Next()) || b.Before(a.Next()) {
		t.Error("numbers must rise with the position, and a child's above its parent's")
	}
	if _, _, _, ok := a.Next().Parts(); ok {
		t.Error("the place after a record is no record's number")
	}
}

// A gap lies between two neighbours, also before the first, and no record has its number.
func TestGaps(t *testing.T) {
	f := func(created int64, shard uint32, position uint64) {
		t.Helper()
		n := NewSequenceNumber(created, shard, position)
		g := n.Gap()
		if next, ok := g.AfterGap(); !ok || next != n {
			t.Errorf("behind the gap before %v: %v, %v", n, next, ok)
		}
		if _, _, _, ok := g.Parts(); ok || !g.Before(n) {
			t.Errorf("the gap before %v: %v", n, g)
		}
		if position > 0 && !NewSequenceNumber(created, shard, position-1).Next().Before(g) {
			t.Errorf("the gap before %v does not lie behind the record before", n)
		}
		if back, ok := ParseSequenceNumber(g.String()); !ok || back != g {
			t.Errorf("%v is read as %v", g, back)
		}
		if _, ok := n.AfterGap(); ok {
			t.Errorf("%v is no gap", n)
		}
	}
	f(0, 0, 0)
	f(1, 16, 0)
	f(1790000000, 3, 0)
	f(1790000000, 3, 1)
	f(1790000000, 1<<31, 1<<16)
	f(maxCreation, 7, LastPosition)
	if _, ok := (SequenceNumber{}).AfterGap(); ok {
		t.Error("the start of every shard is no gap")
	}
}

func TestEvenRangesCoverTheSpace(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 7, 100, 4096} {
		r := EvenRanges(n)
		if r[0].Start != (HashKey{}) || r[n-1].End != MaxHashKey {
			t.Errorf("%d ranges: ends %v", n, r)
		}
		for i := 1; i < n; i++ {
			if r[i].Start != r[i-1].End.Next() || r[i].Start.Prev() != r[i-1].End {
				t.Errorf("%d ranges: gap before %d", n, i)
			}
		}
	}
	if got := EvenRanges(2)[1].Start.String(); got != "170141183460469231731687303715884105728" {
		t.Errorf("half = %s", got)
	}
}

func TestHashKeys(t *testing.T) {
	// MD5("a") = 0cc175b9c0f1b6a831c399e269772661
	if got := HashPartitionKey("a").String(); got != "16955237001963240173058271559858726497" {
		t.Errorf("hash of a = %s", got)
	}
	f := func(text string, ok, inRange bool) {
		t.Helper()
		h, gotOK, gotRange := ParseHashKey(text)
		if gotOK != ok || gotRange != inRange || (inRange && h.String() != text) {
			t.Errorf("ParseHashKey(%q) = %v %v %v", text, h, gotOK, gotRange)
		}
	}
	f("0", true, true)
	f("340282366920938463463374607431768211455", true, true)
	f("340282366920938463463374607431768211456", true, false)
	f("999999999999999999999999999999999999999", true, false)
	f("00", false, false)
	f("-1", false, false)
	f("", false, false)
}

func TestShardIDs(t *testing.T) {
	f := func(text string, want uint32, ok bool) {
		t.Helper()
		if got, gotOK := ParseShardID(text); got != want || gotOK != ok {
			t.Errorf("ParseShardID(%q) = %d %v", text, got, gotOK)
		}
	}
	f("shardId-000000000005", 5, true)
	f("x-5", 5, true)
	f("5", 5, true)
	f("shardId-2147483647", 2147483647, true)
	if _, ok := ParseShardID("shardId-2147483648"); ok {
		t.Error("too large")
	}
	if _, ok := ParseShardID("shardId-"); ok {
		t.Error("empty")
	}
	if got := ShardID(4294967295); got != "shardId-004294967295" {
		t.Error(got)
	}
}

func BenchmarkSequenceNumberAppend(b *testing.B) {
	s := NewSequenceNumber(1_700_000_000, 3, 123456789)
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Append(buf[:0])
	}
}

// A moment sorts below every number that a service of our layout gives, and is told from it.
func TestMoments(t *testing.T) {
	at := time.UnixMilli(1_764_094_658_123)
	s := Since(at)
	if got, ok := s.Moment(); !ok || !got.Equal(at) || s.String() != "1764094658123" {
		t.Errorf("%v is %v, %v", s, got, ok)
	}
	first := NewSequenceNumber(1, 0, 0)
	if _, ok := first.Moment(); ok || !s.Before(first) {
		t.Errorf("%v, %v", first, s)
	}
	if !Since(time.Unix(0, 0)).IsZero() {
		t.Error("1970 is not the start of every shard")
	}
	if late, ok := Since(time.UnixMilli(1 << 60)).Moment(); !ok || late.Year() != 5138 {
		t.Errorf("the last moment is %v", late)
	}
	for _, n := range []SequenceNumber{first, {hi: 1}, {mid: 1}, {lo: 1}} {
		if got := n.Prev().Next(); got != n || !n.Prev().Before(n) {
			t.Errorf("before %v lies %v", n, n.Prev())
		}
	}
}
