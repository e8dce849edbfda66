package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"millrace/internal/stream"
)

// model is what a backend should be: a map of streams, each a map of shards, each a list of all the records that it
// ever took. Nothing is ever taken out of a list; what retention and trimming do is told by counting from its start:
//
//	records   0 1 2 3 4 5 6 7 8
//	          │   │       └ shown: from here on records are young enough for everybody
//	          │   └ gone: what lies before may have been deleted, as it was old and not held when somebody trimmed
//	          └ all ever appended
//
// [Histories] does the same things to a model and to a backend, and compares.
type model struct {
	streams map[string]*modelStream
}

type modelStream struct {
	def   *stream.Stream // as described last, without its shards
	last  uint32         // the highest index ever given to a shard
	holds map[string]map[uint32]stream.SequenceNumber
	// shards that have not left, by index
	shards map[uint32]*modelShard
}

type modelShard struct {
	stream.Shard // as it was described first; Closed is set once
	records      []modelRecord
	gone         int
}

type modelRecord struct {
	stream.Record // Arrival is 0 until it is known
	key           stream.HashKey
}

func newModel() *model { return &model{streams: map[string]*modelStream{}} }

// created takes a stream that has just been made: count shards that divide the key space.
func (m *model) created(def *stream.Stream, count int) error {
	s := &modelStream{def: def, holds: map[string]map[uint32]stream.SequenceNumber{}, shards: map[uint32]*modelShard{}}
	if len(def.Shards) != count {
		return fmt.Errorf("a new stream has %d shards; want %d", len(def.Shards), count)
	}
	for i, want := range stream.EvenRanges(count) {
		sh := def.Shards[i]
		if sh.Index != uint32(i) || sh.Range != want || !sh.Open() || len(sh.Parents) > 0 {
			return fmt.Errorf("shard %d of a new stream is %+v; want the range %v", i, sh, want)
		}
		s.add(sh)
	}
	m.streams[def.Name] = s
	return nil
}

func (s *modelStream) add(sh stream.Shard) {
	s.shards[sh.Index] = &modelShard{Shard: sh}
	s.last = max(s.last, sh.Index)
}

// sorted gives the shards by index: parents before children.
func (s *modelStream) sorted() []*modelShard {
	return slices.SortedFunc(maps.Values(s.shards), func(x, y *modelShard) int { return int(x.Index) - int(y.Index) })
}

// open gives the shards that take writes, by hash key.
func (s *modelStream) open() []*modelShard {
	open := slices.DeleteFunc(s.sorted(), func(sh *modelShard) bool { return !sh.Open() })
	slices.SortFunc(open, func(x, y *modelShard) int { return x.Range.Start.Compare(y.Range.Start) })
	return open
}

// locate gives the shard that takes a hash key.
func (s *modelStream) locate(key stream.HashKey) *modelShard {
	for _, sh := range s.open() {
		if sh.Range.Contains(key) {
			return sh
		}
	}
	panic("the open shards do not cover the key space") // described and resharded see to it
}

// took adds a record that a shard took. Its number lies above those of its predecessors; dense says that it also counts them.
func (sh *modelShard) took(e *stream.Entry, seq stream.SequenceNumber, arrival int64, dense bool) error {
	key := e.HashKey()
	switch n := len(sh.records); {
	case !sh.Range.Contains(key):
		return fmt.Errorf("%s took the hash key %v, which is not in its range %v", sh.ID(), key, sh.Range)
	case seq.Before(sh.First):
		return fmt.Errorf("%s begins at %v and gave the number %v", sh.ID(), sh.First, seq)
	case !sh.Open() && !seq.Before(sh.Closed.Sequence):
		return fmt.Errorf("%s ended at %v and gave the number %v", sh.ID(), sh.Closed.Sequence, seq)
	case n > 0 && !sh.records[n-1].Sequence.Before(seq):
		return fmt.Errorf("%s gave the number %v after %v", sh.ID(), seq, sh.records[n-1].Sequence)
	case dense && seq != stream.NewSequenceNumber(sh.Created, sh.Index, uint64(n)):
		return fmt.Errorf("%s gave record %d the number %v; want %v", sh.ID(), n, seq, stream.NewSequenceNumber(sh.Created, sh.Index, uint64(n)))
	}
	r := stream.Record{Sequence: seq, Arrival: arrival, PartitionKey: []byte(e.PartitionKey), Data: bytes.Clone(e.Data), Sealed: e.Sealed}
	sh.records = append(sh.records, modelRecord{r, key})
	return nil
}

// arrives gives the arrival of a record that is appended now: the clock's, and never before its predecessor's.
func (sh *modelShard) arrives(now time.Time) int64 {
	if n := len(sh.records); n > 0 {
		return max(now.UnixMilli(), sh.records[n-1].Arrival)
	}
	return now.UnixMilli()
}

// from gives the index of the first record at or after a place.
func (sh *modelShard) from(place stream.SequenceNumber) int {
	if t, ok := place.Moment(); ok {
		return sh.since(t.UnixMilli())
	}
	return sort.Search(len(sh.records), func(i int) bool { return !sh.records[i].Sequence.Before(place) })
}

// since gives the index of the first record that arrived at or after a millisecond.
func (sh *modelShard) since(ms int64) int {
	return sort.Search(len(sh.records), func(i int) bool { return sh.records[i].Arrival >= ms })
}

// find gives the index of the record with a number.
func (sh *modelShard) find(seq stream.SequenceNumber) (int, bool) {
	i := sh.from(seq)
	return i, i < len(sh.records) && sh.records[i].Sequence == seq
}

// held gives the index of the first record that somebody holds.
func (s *modelStream) held(sh *modelShard) int {
	lowest := len(sh.records)
	for _, places := range s.holds {
		if place, ok := places[sh.Index]; ok {
			lowest = min(lowest, sh.from(place))
		}
	}
	return lowest
}

func (s *modelStream) cutoff(now time.Time) int64 { return now.Add(-s.def.Retention).UnixMilli() }

// trim lets go what retention has passed and nobody holds: first records, then closed shards of which nothing is left,
// unless their parents stay.
func (m *model) trim(now time.Time) {
	for _, s := range m.streams {
		cutoff := s.cutoff(now)
		for _, sh := range s.shards {
			sh.gone = max(sh.gone, min(sh.since(cutoff), s.held(sh)))
		}
		for _, sh := range s.sorted() {
			// Who holds a place before the end has yet to be told of the children, also where the records are gone.
			if s.mayLeave(sh, cutoff) && s.held(sh) == len(sh.records) {
				delete(s.shards, sh.Index)
			}
		}
	}
}

func (s *modelStream) mayLeave(sh *modelShard, cutoff int64) bool {
	if sh.Open() || sh.Closed.At.UnixMilli() >= cutoff {
		return false
	}
	return !slices.ContainsFunc(sh.Parents, func(p uint32) bool { return s.shards[p] != nil })
}

// described compares a description with what is known. Nothing changes by itself.
func (s *modelStream) described(now *stream.Stream) error {
	if now.ID != s.def.ID || now.Retention != s.def.Retention || !now.Created.Equal(s.def.Created) || now.Status != stream.Active {
		return fmt.Errorf("the stream is %+v; want %+v", now, s.def)
	}
	if len(now.Shards) != len(s.shards) {
		return fmt.Errorf("the shards are %s; want %s", names(now.Shards), s)
	}
	for _, sh := range now.Shards {
		if err := s.same(sh); err != nil {
			return err
		}
	}
	return nil
}

func (s *modelStream) same(now stream.Shard) error {
	was := s.shards[now.Index]
	if was == nil {
		return fmt.Errorf("there is a shard %d; want %s", now.Index, s)
	}
	if now.Range != was.Range || !slices.Equal(now.Parents, was.Parents) || now.Created != was.Created || now.First != was.First || now.Open() != was.Open() {
		return fmt.Errorf("a shard is %+v; it was %+v", now, was.Shard)
	}
	if !now.Open() && (now.Closed.Sequence != was.Closed.Sequence || !now.Closed.At.Equal(was.Closed.At)) {
		return fmt.Errorf("%s ends at %+v; it ended at %+v", now.ID(), now.Closed, was.Closed)
	}
	return nil
}

// resharded takes the shards that a change has left: open ones of the ranges that were asked for, and nothing else new
// but what lies on the way from the old to them.
func (s *modelStream) resharded(change stream.Reshard, now *stream.Stream) error {
	want := s.asked(change)
	for _, sh := range now.Shards {
		was := s.shards[sh.Index]
		switch {
		case was == nil && sh.Index <= s.last:
			return fmt.Errorf("the index %d is given again", sh.Index)
		case was == nil:
			s.add(sh)
		case was.Open() && !sh.Open():
			if n := len(was.records); n > 0 && !was.records[n-1].Sequence.Before(sh.Closed.Sequence) {
				return fmt.Errorf("%s ends at %v, before its record %v", sh.ID(), sh.Closed.Sequence, was.records[n-1].Sequence)
			}
			was.Closed = sh.Closed
		}
		if err := s.same(sh); err != nil {
			return err
		}
	}
	if got := s.open(); !slices.EqualFunc(got, want, func(sh *modelShard, r stream.HashKeyRange) bool { return sh.Range == r }) {
		return fmt.Errorf("the open shards are %v; want the ranges %v", got, want)
	}
	return errors.Join(s.lineage(), s.described(now))
}

// asked gives the ranges of the open shards after a change.
func (s *modelStream) asked(change stream.Reshard) (ranges []stream.HashKeyRange) {
	if change.Count > 0 {
		return stream.EvenRanges(change.Count)
	}
	for _, sh := range s.open() {
		switch {
		case change.Split != nil && change.Split.Shard == sh.Index:
			at := change.Split.At
			ranges = append(ranges, stream.HashKeyRange{Start: sh.Range.Start, End: at.Prev()}, stream.HashKeyRange{Start: at, End: sh.Range.End})
		case change.Merge != nil && change.Merge.Adjacent == sh.Index:
			ranges[len(ranges)-1].End = sh.Range.End
		default:
			ranges = append(ranges, sh.Range)
		}
	}
	return ranges
}

// lineage checks all families that are still complete: parents are closed, older and numbered below their children, who
// take exactly their keys.
func (s *modelStream) lineage() error {
	for _, child := range s.shards {
		for _, p := range child.Parents {
			parent := s.shards[p]
			if parent == nil {
				continue // it has left
			}
			if parent.Open() || parent.Index >= child.Index || parent.Created >= child.Created || !parent.Closed.Sequence.Before(child.First) {
				return fmt.Errorf("%+v can't be the parent of %+v", parent.Shard, child.Shard)
			}
			if len(child.Parents) == 1 && !(parent.Range.Contains(child.Range.Start) && parent.Range.Contains(child.Range.End)) {
				return fmt.Errorf("the parent %+v was split into %+v", parent.Shard, child.Shard)
			}
			if len(child.Parents) == 2 && !(child.Range.Contains(parent.Range.Start) && child.Range.Contains(parent.Range.End)) {
				return fmt.Errorf("the parent %+v was merged into %+v", parent.Shard, child.Shard)
			}
		}
	}
	return nil
}

func (s *modelStream) String() string {
	var shards []stream.Shard
	for _, sh := range s.sorted() {
		shards = append(shards, sh.Shard)
	}
	return names(shards)
}

func (sh *modelShard) String() string { return fmt.Sprintf("%d%v", sh.Index, sh.Range) }

// names lists shards: "0! 1<0 2<0", closed ones with a mark, children with their parents.
func names(shards []stream.Shard) string {
	var b bytes.Buffer
	for _, sh := range shards {
		fmt.Fprintf(&b, " %d", sh.Index)
		if !sh.Open() {
			b.WriteByte('!')
		}
		for _, p := range sh.Parents {
			fmt.Fprintf(&b, "<%d", p)
		}
	}
	return string(bytes.TrimSpace(b.Bytes()))
}
