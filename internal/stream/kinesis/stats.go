package kinesis

import (
	"slices"
	"strings"
)

// StreamStats counts what this node has put into one stream, since it was started.
type StreamStats struct {
	Stream  string
	Records int64
	Bytes   int64 // of data and partition keys
}

// Stats reads the counters, by stream.
func (b *Backend) Stats() []StreamStats {
	var all []StreamStats
	b.gatherers.Range(func(_, value any) bool {
		g := value.(*gatherer)
		all = append(all, StreamStats{g.name, g.written.Load(), g.writtenBytes.Load()})
		return true
	})
	slices.SortFunc(all, func(x, y StreamStats) int { return strings.Compare(x.Stream, y.Stream) })
	return all
}
