package stream

import (
	"slices"
	"time"

	"millrace/internal/fault"
)

// Reshard says how the open shards of a stream change. Exactly one of its fields is set.
type Reshard struct {
	Split *SplitShard
	Merge *MergeShards
	Count int // so many open shards of equal width
}

// SplitShard closes a shard and opens two in its place: the lower takes the keys below At, the upper the rest.
type SplitShard struct {
	Shard uint32
	At    HashKey
}

// MergeShards closes two shards and opens one that takes the keys of both. Adjacent begins where Shard ends.
type MergeShards struct{ Shard, Adjacent uint32 }

// Resharded gives the stream as it is after a change, and leaves s as it is. Closed parents end at the number that
// no record has ([LastPosition]); children count up from the highest index, and are created later than their parents.
//
// It is arithmetic: what else a backend has to do for a change, it does before it shows the result.
//
// Errors: InUse when the stream is not ACTIVE, NotFound for an unknown shard, Invalid for a closed shard, a point
// that leaves nothing to one side, or a pair that is not adjacent.
func (s *Stream) Resharded(change Reshard, now time.Time) (*Stream, error) {
	const op = "stream.Reshard"
	if s.Status != Active {
		return nil, fault.New(fault.InUse, op, s.Name, "the stream is %s", s.Status)
	}
	r := resharder{next: *s, now: now.UTC()}
	r.next.Shards = slices.Clone(s.Shards)
	var err error
	switch {
	case change.Split != nil:
		err = r.split(change.Split.Shard, change.Split.At)
	case change.Merge != nil:
		err = r.merge(change.Merge.Shard, change.Merge.Adjacent)
	case change.Count > 0:
		err = r.scale(change.Count)
	default:
		err = fault.New(fault.Invalid, op, s.Name, "nothing to change")
	}
	if err != nil {
		return nil, err
	}
	return &r.next, nil
}

// resharder makes the next description of a stream, step by step.
type resharder struct {
	next Stream
	now  time.Time
}

func (r *resharder) split(index uint32, at HashKey) error {
	parent, err := r.open(index)
	if err != nil {
		return err
	}
	if at.Compare(parent.Range.Start) <= 0 || at.Compare(parent.Range.End) > 0 {
		return fault.New(fault.Invalid, "stream.Reshard", r.next.Name, "hash key %s does not divide %s, which takes %s to %s",
			at, parent.ID(), parent.Range.Start, parent.Range.End)
	}
	created := r.close(parent)
	whole := parent.Range
	r.add(HashKeyRange{whole.Start, at.Prev()}, created, index)
	r.add(HashKeyRange{at, whole.End}, created, index)
	return nil
}

func (r *resharder) merge(index, adjacent uint32) error {
	lower, err := r.open(index)
	if err != nil {
		return err
	}
	upper, err := r.open(adjacent)
	if err != nil {
		return err
	}
	if lower.Range.End == MaxHashKey || lower.Range.End.Next() != upper.Range.Start {
		return fault.New(fault.Invalid, "stream.Reshard", r.next.Name, "%s does not begin where %s ends", upper.ID(), lower.ID())
	}
	created := max(r.close(lower), r.close(upper))
	r.add(HashKeyRange{lower.Range.Start, upper.Range.End}, created, index, adjacent)
	return nil
}

// scale divides the key space evenly: it splits every shard at the borders that lie within it, and merges what then
// lies between two borders. Shards that come and go on the way are closed children, as on the service.
func (r *resharder) scale(count int) error {
	target := EvenRanges(count)
	for _, sh := range r.openByRange() {
		if err := r.cut(sh, target); err != nil {
			return err
		}
	}
	pieces := r.openByRange()
	for _, whole := range target {
		n := 0
		for n < len(pieces) && whole.Contains(pieces[n].Start) {
			n++
		}
		if err := r.join(pieces[:n]); err != nil {
			return err
		}
		pieces = pieces[n:]
	}
	return nil
}

// piece is an open shard and where it begins.
type piece struct {
	Index uint32
	HashKeyRange
}

func (r *resharder) openByRange() []piece {
	var all []piece
	for i := range r.next.Shards {
		if sh := &r.next.Shards[i]; sh.Open() {
			all = append(all, piece{sh.Index, sh.Range})
		}
	}
	slices.SortFunc(all, func(x, y piece) int { return x.Start.Compare(y.Start) })
	return all
}

// cut splits a shard at all borders within it, at the middle one first, so that lineages stay short.
func (r *resharder) cut(sh piece, target []HashKeyRange) error {
	for len(target) > 0 && target[0].Start.Compare(sh.Start) <= 0 {
		target = target[1:]
	}
	for len(target) > 0 && target[len(target)-1].Start.Compare(sh.End) > 0 {
		target = target[:len(target)-1]
	}
	if len(target) == 0 {
		return nil
	}
	at := target[len(target)/2].Start
	if err := r.split(sh.Index, at); err != nil {
		return err
	}
	n := len(r.next.Shards)
	lower, upper := r.next.Shards[n-2], r.next.Shards[n-1]
	if err := r.cut(piece{lower.Index, lower.Range}, target); err != nil {
		return err
	}
	return r.cut(piece{upper.Index, upper.Range}, target)
}

// join merges neighbours until one is left.
func (r *resharder) join(pieces []piece) error {
	for len(pieces) > 1 {
		var merged []piece
		for ; len(pieces) > 1; pieces = pieces[2:] {
			if err := r.merge(pieces[0].Index, pieces[1].Index); err != nil {
				return err
			}
			child := r.next.Shards[len(r.next.Shards)-1]
			merged = append(merged, piece{child.Index, child.Range})
		}
		pieces = append(merged, pieces...)
	}
	return nil
}

// open finds a shard that takes writes.
func (r *resharder) open(index uint32) (*Shard, error) {
	sh, ok := r.next.Shard(index)
	if !ok {
		return nil, fault.New(fault.NotFound, "stream.Reshard", r.next.Name, "there is no %s", ShardID(index))
	}
	if !sh.Open() {
		return nil, fault.New(fault.Invalid, "stream.Reshard", r.next.Name, "%s is closed", sh.ID())
	}
	copied := *sh
	return &copied, nil
}

// close ends a shard and gives the earliest creation second of its children.
func (r *resharder) close(sh *Shard) int64 {
	i, _ := slices.BinarySearchFunc(r.next.Shards, sh.Index, func(s Shard, index uint32) int { return int(int64(s.Index) - int64(index)) })
	r.next.Shards[i].Closed = &ShardEnd{Sequence: NewSequenceNumber(sh.Created, sh.Index, LastPosition), At: r.now}
	return max(r.now.Unix(), sh.Created+1)
}

func (r *resharder) add(keys HashKeyRange, created int64, parents ...uint32) {
	index := r.next.Shards[len(r.next.Shards)-1].Index + 1
	r.next.Shards = append(r.next.Shards, Shard{
		Index: index, Range: keys, Parents: parents, Created: created, First: NewSequenceNumber(created, index, 0),
	})
}
