package kinesis

import (
	"bytes"
	"testing"
	"time"

	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Nothing opens but what was sealed, letter by letter; and whatever is sealed, opens as what it was.
func FuzzOpenToken(f *testing.F) {
	sealer := newTokens(bytes.Repeat([]byte("k"), 32), ids.Seeded(1))
	stranger := newTokens(bytes.Repeat([]byte("x"), 32), ids.Seeded(1))
	from := stream.NewSequenceNumber(1421889722, 7, 1<<40)
	for _, v := range []token{
		{kind: tokenIterator, at: time.UnixMilli(1421889722345), stream: "s", id: "69f854e7-4c83-4104-b6ee-70e9db9c11ef", shard: 7, from: from},
		{kind: tokenShards, at: time.UnixMilli(1421889722345), stream: "s", after: -1, filter: shardFilter{kind: "AT_TIMESTAMP", after: -1, at: 5}},
		{kind: tokenStreams, stream: "s"},
		{kind: tokenConsumers, stream: "s", name: "c"},
	} {
		f.Add(sealer.seal(v), 0, byte(0), v.kind, v.at.UnixMilli(), v.stream, v.id, v.shard, v.after, v.name, v.filter.kind)
		f.Add(stranger.seal(v), 30, byte(1), v.kind, int64(-1), "", "", uint32(0), int64(0), "", "")
	}
	f.Add("AAAAAAAAAAHt", 1, byte('A'), byte(0), int64(0), "", "", uint32(0), int64(0), "", "")
	f.Fuzz(func(t *testing.T, text string, at int, change byte, kind byte, ms int64, name, id string, shard uint32, after int64, last, filter string) {
		tokens := newTokens(bytes.Repeat([]byte("q"), 32), ids.Seeded(2))
		if v, ok := tokens.open(text); ok { // of another key, or of none
			t.Fatalf("a stranger's token opened as %+v", v)
		}
		readToken([]byte(text)) // no panic, should the key be known to somebody

		v := token{kind: kind, at: time.UnixMilli(ms), stream: name, id: id, shard: shard}
		switch kind {
		case tokenIterator:
			v.from = from
		case tokenConsumers:
			v.name = last
		default:
			v.after, v.filter = after, shardFilter{kind: filter, after: after, at: ms}
		}
		if len(name)+len(id)+len(last)+len(filter) > 1<<10 {
			return // names are shorter
		}
		sealed := tokens.seal(v)
		if got, ok := tokens.open(sealed); !ok || got != v {
			t.Fatalf("sealed %+v, opened %+v, %t", v, got, ok)
		}
		at = int(uint(at) % uint(len(sealed)))
		for _, forged := range []string{sealed[:at] + string([]byte{sealed[at] ^ change}) + sealed[at+1:], sealed[:at], sealed[:at] + "\n" + sealed[at:], sealed + text, text + sealed} {
			if got, ok := tokens.open(forged); ok && forged != sealed {
				t.Fatalf("%q opened as %+v, and sealed was %q", forged, got, sealed)
			}
		}
	})
}
