package crash

import (
	"fmt"
	"strings"
	"testing"

	"millrace/internal/stream"
)

// The judge is tested, too: it must find each offence in objects that a test has spoilt.
func TestCheckerFindsEachOffence(t *testing.T) {
	f := func(name string, spoil func(lines []string) []string, want report) {
		t.Helper()
		b := newBook()
		var lines []string
		for i, k := range []kind{jsonSmall, formSmall, taggedEmpty, taggedText, wireRecord, anonymousJSONByte, anonymousFormByte, jsonSmall} {
			id := b.sends(k, 1)
			b.answers(id, "class-stream shardId-000000000000", fmt.Sprintf("%056d", 100+i))
			lines = append(lines, string(k.event(id).line))
		}
		b.sends(jsonSmall, 1) // sent and not answered
		b.sends(jsonSmall, 1) // the same, by a node that drained
		b.drains(0, 9)
		lines = spoil(lines)
		half := len(lines) / 2
		object := func(key string, lines []string) source {
			return source{key, func() ([]byte, error) { return []byte(strings.Join(lines, "")), nil }}
		}
		// Out of order, as a folder may list them.
		r, err := check(b, map[string][]source{"class-events": {object("p2/b", lines[half:]), object("p1/a", lines[:half])}}, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		got := report{lost: r.lost, duplicated: r.duplicated, reordered: r.reordered, mangled: r.mangled}
		if got.String() != want.String() || got.mangled != want.mangled || r.cut != want.cut {
			t.Errorf("%s: %s, %d mangled, %d cut; want %s, %d mangled, %d cut\n%s", name, r, r.mangled, r.cut, &want, want.mangled, want.cut, strings.Join(r.details, "\n"))
		}
		if r.bad() && len(r.details) == 0 {
			t.Errorf("%s: an offence without a word about it", name)
		}
	}
	swap := func(i, j int) func([]string) []string {
		return func(l []string) []string { l[i], l[j] = l[j], l[i]; return l }
	}
	f("all is well", func(l []string) []string { return l }, report{})
	f("an unanswered event arrived", func(l []string) []string { return append(l, string(jsonSmall.event(8).line)) }, report{})
	f("an event arrived that a node has cut", func(l []string) []string { return append(l, string(jsonSmall.event(9).line)) }, report{cut: 1})
	f("it arrived twice", func(l []string) []string {
		return append(l, string(jsonSmall.event(8).line), string(jsonSmall.event(8).line))
	}, report{duplicated: 1})
	f("the first is lost", func(l []string) []string { return l[1:] }, report{lost: 1})
	f("the last is lost", func(l []string) []string { return l[:7] }, report{lost: 1})
	f("one without a number is lost", func(l []string) []string { return append(l[:5:5], l[6:]...) }, report{lost: 1})
	f("one without a number is there twice", func(l []string) []string { return append(l, l[5]) }, report{duplicated: 1})
	f("one is in both objects", func(l []string) []string { return append(l, l[0]) }, report{duplicated: 1})
	f("two have changed places", swap(0, 1), report{reordered: 1})
	f("one is in the object before its own", swap(3, 4), report{reordered: 1})
	f("a byte differs", func(l []string) []string { l[0] = strings.Replace(l[0], "quote", "quota", 1); return l }, report{mangled: 1})
	f("an empty body was shown as empty", func(l []string) []string { l[2] = idText(2) + " \n"; return l }, report{mangled: 1})
	f("nobody sent it", func(l []string) []string { return append(l, "8\n") }, report{mangled: 1})
	f("nobody gave its number", func(l []string) []string { return append(l, string(jsonSmall.event(99).line)) }, report{mangled: 1})
	f("the end of the last is missing", func(l []string) []string { l[7] = l[7][:20]; return l }, report{mangled: 2})
}

// Shard 2 is the child of 0 and 1, of which 1 is empty; 3 is the child of 2, which is empty in the second case.
func TestCheckerFindsChildrenBeforeTheirParents(t *testing.T) {
	shards := []shard{{ShardId: "shardId-0"}, {ShardId: "shardId-1"}, {ShardId: "shardId-2", ParentShardId: "shardId-0", AdjacentParentShardId: "shardId-1"},
		{ShardId: "shardId-3", ParentShardId: "shardId-2"}}
	f := func(order []int, want int) {
		t.Helper()
		b := newBook()
		var text string
		for i, s := range order {
			id := b.sends(jsonSmall, 1)
			b.answers(id, fmt.Sprintf("class-stream shardId-%d", s), fmt.Sprintf("%056d", 100+i))
			text += string(jsonSmall.event(id).line)
		}
		r, err := check(b, map[string][]source{"class-events": {{"a", func() ([]byte, error) { return []byte(text), nil }}}}, shards)
		if err != nil || r.reordered != want {
			t.Errorf("%v: %d reordered, %v; want %d", order, r.reordered, err, want)
		}
	}
	f([]int{0, 0, 2, 2, 3}, 0)
	f([]int{0, 2, 0, 2, 3}, 1)
	f([]int{3, 0}, 1)
	f([]int{0, 3}, 0)
	f([]int{1, 0, 2, 3, 2}, 1)
}

// Records of Direct PUT are in order within the shard that their RecordId names, and only there.
func TestCheckerTellsShardsOfDirectPutApart(t *testing.T) {
	f := func(shards []uint32, positions []uint64, want int) {
		t.Helper()
		b := newBook()
		var text string
		for i, index := range shards {
			id, seq := b.sends(pushRecord, 1), stream.NewSequenceNumber(1_700_000_000, index, positions[i]).String()
			b.answers(id, pushPlace(seq), seq)
			text += string(pushRecord.event(id).line)
		}
		r, err := check(b, map[string][]source{"push-events": {{"a", func() ([]byte, error) { return []byte(text), nil }}}}, nil)
		if err != nil || r.reordered != want {
			t.Errorf("%v %v: %d reordered, %v; want %d", shards, positions, r.reordered, err, want)
		}
	}
	f([]uint32{5, 5, 0, 0}, []uint64{7, 8, 1, 2}, 0)
	f([]uint32{0, 5, 0, 5}, []uint64{7, 1, 8, 2}, 0)
	f([]uint32{5, 5, 0, 0}, []uint64{8, 7, 1, 2}, 1)
	f([]uint32{0, 5, 0, 5}, []uint64{7, 2, 8, 1}, 1)
	for _, id := range []string{"", "x", "17", "1" + strings.Repeat("0", 200)} {
		if place := pushPlace(id); place != "" {
			t.Errorf("%q has place %q", id, place)
		}
	}
}

func TestBodiesAreAsLargeAsIntended(t *testing.T) {
	for _, k := range []kind{jsonLarge, formLarge} {
		if n := len(k.event(1).body); n != largeBody {
			t.Errorf("kind %d: %d bytes", k, n)
		}
	}
	// The double decoding, as the reference tells it: a plus that was encoded is lost, and a quote comes out bare.
	if got, want := string(formLine("a=1%2B1&q=%2522&b&c==&d=%C3%A9")), "{\"a\" : \"1 1\",\"q\" : \"\"\",\"b\" : \"\",\"c\" : \"\",\"d\" : \"é\"}\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
