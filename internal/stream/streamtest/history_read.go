package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// mark is a place that a reader remembers, as an iterator does.
type mark struct {
	shard stream.ShardRef
	place stream.SequenceNumber
	index int // of the first record at or after it
}

// anywhere gives a shard and a place in it: its beginning, a record's, right before or behind one, or its end.
func (p *player) anywhere(s *modelStream) (*modelShard, stream.SequenceNumber, int) {
	all := s.sorted()
	sh := all[p.rnd.IntN(len(all))]
	var place stream.SequenceNumber
	if n := len(sh.records); n > 0 {
		place = sh.records[p.rnd.IntN(n)].Sequence
	}
	switch n := p.rnd.IntN(6); {
	case n == 0:
		place = stream.SequenceNumber{}
	case n == 1 && !sh.Open():
		place = sh.Closed.Sequence
	case n == 2 && !place.IsZero():
		place = place.Next()
	case n == 3 && !place.IsZero() && !p.caps.ForeignNumbers: // no record has it
		place = place.Prev()
	}
	return sh, place, sh.from(place)
}

// asked asks the backend for a place, and gives the index that it should be at.
func (p *player) asked(s *modelStream) (sh *modelShard, place stream.SequenceNumber, index int, err error) {
	all := s.sorted()
	sh = all[p.rnd.IntN(len(all))]
	shard := ref(s.def, sh.Index)
	if p.Now == nil { // arrivals are known when they have been read
		if err := p.readFrom(s, sh, stream.SequenceNumber{}, stream.ReadRequest{MaxRecords: 1000, MaxBytes: 1 << 20}); err != nil {
			return sh, place, 0, err
		}
	}
	switch p.rnd.IntN(4) {
	case 0:
		p.note("Tip of %d", sh.Index)
		place, err = p.Backend.Tip(p.ctx, shard)
		return sh, place, len(sh.records), err
	case 1:
		p.note("Horizon of %d", sh.Index)
		place, err = p.Backend.Horizon(p.ctx, shard)
		return sh, place, p.shown(s, sh), err
	}
	ms := p.now().UnixMilli()
	if n := len(sh.records); n > 0 {
		ms = min(ms, sh.records[p.rnd.IntN(n)].Arrival+int64(p.rnd.IntN(3)-1)) // nobody asks for the future
	}
	p.note("At %d of %d", ms, sh.Index)
	place, err = p.Backend.At(p.ctx, shard, time.UnixMilli(ms))
	return sh, place, max(sh.since(ms), p.shown(s, sh)), err
}

// shown gives the index of the first record that is young enough for everybody.
func (p *player) shown(s *modelStream, sh *modelShard) int {
	if !p.caps.HidesAtAge {
		return 0
	}
	return sh.since(s.cutoff(p.now()))
}

// read reads a shard on from anywhere.
func (p *player) read() error {
	s, err := p.pick()
	if err != nil {
		return err
	}
	sh, place, _ := p.anywhere(s)
	if p.rnd.IntN(3) == 0 {
		var index int
		if sh, place, index, err = p.asked(s); err != nil {
			return p.unlessLeft(s, sh, err)
		}
		if err := p.at(sh, place, index); err != nil {
			return err
		}
	}
	return p.readFrom(s, sh, place, p.request())
}

// at checks that a place is where it was asked to be.
func (p *player) at(sh *modelShard, place stream.SequenceNumber, index int) error {
	if _, ok := place.Moment(); ok {
		return nil // the engine knows where; what is read from it will show that nothing is missed
	}
	if got := sh.from(place); got != index && got < max(index, sh.gone) || got > max(index, sh.gone) {
		return fmt.Errorf("the place %v is that of record %d; want %d", place, got, index)
	}
	return nil
}

// request makes up the bounds of a read.
func (p *player) request() stream.ReadRequest {
	return stream.ReadRequest{MaxRecords: 1 + p.rnd.IntN(30), MaxBytes: 1 + p.rnd.IntN([]int{50, 5000, 1 << 20}[p.rnd.IntN(3)]), Held: p.rnd.IntN(3) == 0}
}

// bookmark remembers a place for later.
func (p *player) bookmark() error {
	s, err := p.pick()
	if err != nil {
		return err
	}
	sh, place, index, err := p.asked(s)
	if err != nil {
		return p.unlessLeft(s, sh, err)
	}
	p.marks = append(p.marks, mark{ref(s.def, sh.Index), place, index})
	return nil
}

// resume reads on from a place that was remembered, and remembers how far it came.
func (p *player) resume() error {
	if len(p.marks) == 0 {
		return nil
	}
	m := &p.marks[p.rnd.IntN(len(p.marks))]
	s := p.model.streams[m.shard.Stream]
	if s == nil || s.def.ID != m.shard.ID || s.shards[m.shard.Shard] == nil {
		var batch stream.Batch
		p.note("%s, which is no more", m.shard)
		if err := p.Backend.Read(p.ctx, stream.ReadRequest{Shard: m.shard, From: m.place, MaxRecords: 1, MaxBytes: 1}, &batch); err == nil {
			return fmt.Errorf("%s is no more, and %d records were read from it", m.shard, len(batch.Records))
		}
		return nil
	}
	sh := s.shards[m.shard.Shard]
	if got := sh.from(m.place); got > m.index && got > max(sh.gone, p.shown(s, sh)) {
		return fmt.Errorf("the place %v in %s is now that of record %d; it was that of %d", m.place, m.shard, got, m.index)
	}
	return p.readFrom(s, sh, m.place, p.request())
}

// readFrom reads a shard from a place to its end, batch by batch, and compares each batch.
func (p *player) readFrom(s *modelStream, sh *modelShard, place stream.SequenceNumber, req stream.ReadRequest) error {
	if t, ok := place.Moment(); ok && p.Advance != nil && p.now().Sub(t) < 2*time.Second {
		p.Advance(2 * time.Second) // an engine may know its service's clock to the second, and nothing lies in the future
	}
	req.Shard = ref(s.def, sh.Index)
	r := reading{player: p, sh: sh, req: req, next: sh.from(place), limit: sh.gone}
	if shown := sh.since(s.cutoff(p.now())); !req.Held || !p.caps.Holds {
		if p.caps.HidesAtAge {
			r.next = max(r.next, shown)
		} else {
			r.limit = max(r.limit, shown)
		}
	}
	r.limit = max(r.limit, r.next)
	err := p.unlessLeft(s, sh, r.run(place))
	if err != nil {
		p.note("read %s/%d from %d (%v) by %d records of %d bytes, held %t", s.def.Name, sh.Index, sh.from(place), place, req.MaxRecords, req.MaxBytes, req.Held)
	}
	return err
}

// unlessLeft passes an error on, unless it is because the engine has seen fit to let a shard go.
func (p *player) unlessLeft(s *modelStream, sh *modelShard, err error) error {
	if !fault.Is(err, fault.NotFound) || p.caps.HidesAtAge {
		return err
	}
	if _, err := p.settled(s.def.Name); err != nil {
		return err
	}
	if s.shards[sh.Index] == nil || !sh.Open() && sh.Closed.At.UnixMilli() < s.cutoff(p.now()) {
		return nil
	}
	return err
}

// readAll reads every shard from its beginning.
func (p *player) readAll() error {
	p.log = append(p.log, "read all")
	for _, s := range p.model.streams {
		for _, sh := range s.sorted() {
			if err := p.readFrom(s, sh, stream.SequenceNumber{}, stream.ReadRequest{MaxRecords: 100, MaxBytes: 1 << 20}); err != nil {
				return err
			}
		}
	}
	return nil
}

// reading is a reader on its way. The next record is the one with the index next, or, until the first has come, any from there
// up to limit: what lies between may have been deleted.
type reading struct {
	*player
	sh          *modelShard
	req         stream.ReadRequest
	next, limit int
	batch       stream.Batch
}

func (r *reading) run(place stream.SequenceNumber) error {
	if err := r.wait(place); err != nil {
		return err
	}
	for rounds := 10 * (len(r.sh.records) + 3); rounds > 0; rounds-- {
		r.req.From = place
		if err := r.Backend.Read(r.ctx, r.req, &r.batch); err != nil {
			return err
		}
		if r.batch.Next.Before(place) {
			return fmt.Errorf("from %v on, Next is %v", place, r.batch.Next)
		}
		if err := r.records(); err != nil {
			return err
		}
		last, err := r.progress()
		if err != nil || last {
			return err
		}
		place = r.batch.Next
	}
	return errors.New("reading does not come to an end")
}

// wait checks that who waits where nothing is, waits.
func (r *reading) wait(place stream.SequenceNumber) error {
	ended, cancel := context.WithCancel(r.ctx)
	cancel()
	err := r.Backend.Wait(ended, r.req.Shard, place)
	_, moment := place.Moment()
	if !moment && r.sh.Open() && r.sh.from(place) == len(r.sh.records) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("waiting at %v, behind all records: %v", place, err)
	}
	return nil
}

// records compares the records of a batch.
func (r *reading) records() error {
	size := 0
	for k := range r.batch.Records {
		got := &r.batch.Records[k]
		size += len(got.Data) + len(got.PartitionKey)
		i, ok := r.sh.find(got.Sequence)
		if !ok {
			return fmt.Errorf("the record %v (%s) was never appended", got.Sequence, head(got.Data))
		}
		want := &r.sh.records[i]
		if i < r.next || i > r.limit {
			return fmt.Errorf("record %d (%s) comes; want %d", i, head(got.Data), r.next)
		}
		if k == 0 {
			if err := r.gap(i); err != nil {
				return err
			}
		}
		if got.Sealed != want.Sealed || !bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.PartitionKey, want.PartitionKey) {
			return fmt.Errorf("record %d has the data %s of %d bytes and the key %s; want %s, %d, %s",
				i, head(got.Data), len(got.Data), got.PartitionKey, head(want.Data), len(want.Data), want.PartitionKey)
		}
		if err := r.arrived(i, got.Arrival); err != nil {
			return err
		}
		r.next, r.limit = i+1, i+1
	}
	if n := len(r.batch.Records); n > r.req.MaxRecords || n > 1 && size > r.req.MaxBytes {
		return fmt.Errorf("%d records of %d bytes; at most %d of %d were asked for", n, size, r.req.MaxRecords, r.req.MaxBytes)
	}
	if n := len(r.batch.Records); n > 0 && !r.batch.Records[n-1].Sequence.Before(r.batch.Next) {
		return fmt.Errorf("the next place is %v, and the last record %v", r.batch.Next, r.batch.Records[n-1].Sequence)
	}
	return nil
}

// arrived compares an arrival, or learns it.
func (r *reading) arrived(i int, got int64) error {
	want := &r.sh.records[i]
	if want.Arrival == 0 {
		want.Arrival = got
		if i > 0 && r.sh.records[i-1].Arrival > got {
			return fmt.Errorf("record %d arrived at %d, before its predecessor", i, got)
		}
	}
	if got != want.Arrival {
		return fmt.Errorf("record %d arrived at %d; want %d", i, got, want.Arrival)
	}
	return nil
}

// gap checks what a batch says about records that are gone before the first that it has, which is the one with index i.
func (r *reading) gap(i int) error {
	if !r.caps.DensePositions {
		return nil
	}
	missing := int64(max(0, i-r.sh.from(r.req.From)))
	var resumed stream.SequenceNumber
	if missing > 0 {
		if resumed = r.batch.Next; i < len(r.sh.records) {
			resumed = r.sh.records[i].Sequence
		}
	}
	if r.batch.Skipped != missing || r.batch.Resumed != resumed {
		return fmt.Errorf("%d records are said to be missing up to %v; want %d, %v", r.batch.Skipped, r.batch.Resumed, missing, resumed)
	}
	return nil
}

// progress checks what a batch says about what follows; last tells that nothing does.
func (r *reading) progress() (last bool, err error) {
	b, n := &r.batch, len(r.sh.records)
	caughtUp := r.limit == n // may be; and it is when next is there as well
	switch {
	case b.MillisBehind == 0 && !b.End && !caughtUp:
		return false, fmt.Errorf("MillisBehind is 0, and record %d is the next of %d", r.next, n)
	case b.MillisBehind != 0 && r.next == n:
		return false, fmt.Errorf("MillisBehind is %d behind all %d records", b.MillisBehind, n)
	case b.End && (r.sh.Open() || !caughtUp):
		return false, fmt.Errorf("the shard is said to end: open %t, record %d is the next of %d", r.sh.Open(), r.next, n)
	}
	if k := len(b.Records); k > 0 {
		if age := r.now().UnixMilli() - b.Records[k-1].Arrival; r.caps.HidesAtAge && b.MillisBehind != 0 && b.MillisBehind != max(1, age) {
			return false, fmt.Errorf("MillisBehind is %d, and the last record is %d old", b.MillisBehind, age)
		}
		return b.End, nil
	}
	if b.MillisBehind != 0 {
		return false, nil
	}
	if !r.sh.Open() && !b.End {
		return false, fmt.Errorf("behind all records of a closed shard there is no end")
	}
	return true, r.gap(n)
}
