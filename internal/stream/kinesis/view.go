package kinesis

import (
	"maps"
	"slices"
	"strings"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// view is what is known of the streams at one moment; it is never changed.
type view struct {
	byName  map[string]*stream.Stream
	list    []*stream.Stream // in byte order of names
	changed chan struct{}    // closed when a later view is published
}

func newView(byName map[string]*stream.Stream) *view {
	return &view{
		byName: byName,
		list: slices.SortedFunc(maps.Values(byName), func(x, y *stream.Stream) int {
			return strings.Compare(x.Name, y.Name)
		}),
		changed: make(chan struct{}),
	}
}

// Stream describes a stream as it was last seen.
func (b *Backend) Stream(name string) (*stream.Stream, bool) {
	if isHidden(name) {
		if b.hidden == nil {
			return nil, false
		}
		return b.hidden.Stream(name)
	}
	st, ok := b.view.Load().byName[name]
	return st, ok
}

// Streams lists the service's streams as they were last seen, and the hidden ones.
func (b *Backend) Streams() []*stream.Stream {
	all := slices.Clone(b.view.Load().list)
	if b.hidden != nil {
		for _, st := range b.hidden.Streams() {
			if st.Hidden() {
				all = append(all, st)
			}
		}
	}
	slices.SortFunc(all, func(x, y *stream.Stream) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// shard finds a shard of the incarnation that a reference names.
func (v *view) shard(op string, ref stream.ShardRef) (*stream.Stream, *stream.Shard, error) {
	st, ok := v.byName[ref.Stream]
	if !ok || st.ID != ref.ID {
		return nil, nil, errNoStream(op, ref.Stream)
	}
	sh, ok := st.Shard(ref.Shard)
	if !ok {
		return nil, nil, fault.New(fault.NotFound, op, ref.String(), "no such shard")
	}
	return st, sh, nil
}

// holder finds the open shard that takes a hash key; ok is false when the view shows none.
func holder(st *stream.Stream, k stream.HashKey) (index uint32, ok bool) {
	for i := range st.Shards {
		if sh := &st.Shards[i]; sh.Open() && sh.Range.Contains(k) {
			return sh.Index, true
		}
	}
	return 0, false
}
