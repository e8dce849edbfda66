package template

import (
	"context"
	"testing"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// busy is streams that somebody else reshards first, to as many shards as there are numbers in other.
type busy struct {
	Streams
	other []int
}

func (b *busy) Reshard(ctx context.Context, name string, change stream.Reshard) (*stream.Stream, error) {
	if len(b.other) == 0 {
		return b.Streams.Reshard(ctx, name, change)
	}
	count := b.other[0]
	b.other = b.other[1:]
	if _, err := b.Streams.Reshard(ctx, name, stream.Reshard{Count: count}); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.InUse, "stream.Reshard", name, "the stream is UPDATING")
}

// A stream that others change while a file is applied is at last what the file says.
func TestStreamThatOthersChange(t *testing.T) {
	const before, after = `
Resources:
  S: {Type: AWS::Kinesis::Stream, Properties: {Name: orders, ShardCount: 2}}
`, `
Resources:
  S: {Type: AWS::Kinesis::Stream, Properties: {Name: orders, ShardCount: 4}}
`
	for _, other := range [][]int{nil, {3}, {5, 3}, {4}} {
		n := newNode(t)
		n.mustUp(before, Options{}, false)
		streams := &busy{n.Target.Streams, other}
		n.Target.Streams = streams
		n.mustUp(after, Options{}, false)
		if s, _ := n.streams.Stream("orders"); s.OpenShards() != 4 || len(streams.other) > 0 {
			t.Errorf("others made it %v first: %d open shards", other, s.OpenShards())
		}
	}
}
