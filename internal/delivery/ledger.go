package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Ledger shows that what came in has gone out, or where it is: in source records since each delivery stream's start,
//
//	accepted = delivered + deadLettered + dropped + expired + discarded + inFlight
//
// Accepted comes from the source's dense positions, and the counts on the right from the records that were read and
// delivered, so that the sum is a check and not a definition. On a source without dense positions accepted is what was
// read (Counted).
//
// In a group every node gives the whole: of slots that others own from what they have written to the journal, which shows
// what is planned and committed and not, without dense positions, what they have read and buffer.
type Ledger struct {
	DeliveryStreams []DeliveryLedger `json:"deliveryStreams"`
	Deleted         []Line           `json:"deleted,omitempty"` // the last [journal.MaxFinals]
	Streams         []StreamLine     `json:"streams"`
}

// DeliveryLedger is that of one delivery stream.
type DeliveryLedger struct {
	Line
	SourceStream string      `json:"sourceStream,omitempty"` // empty: Direct PUT
	Counted      bool        `json:"counted,omitempty"`
	Retired      Line        `json:"retired"` // shards that have left their stream
	Shards       []ShardLine `json:"shards"`
}

// Line is one sum.
type Line struct {
	Name     string `json:"name,omitempty"`
	Accepted int64  `json:"accepted"`
	InFlight int64  `json:"inFlight"`
	journal.Counts
}

// ShardLine is that of a shard.
type ShardLine struct {
	Line
	Shard      string                `json:"shard"`
	StreamID   string                `json:"streamId"`
	Start      stream.SequenceNumber `json:"start"`
	Checkpoint stream.SequenceNumber `json:"checkpoint"`
	Done       bool                  `json:"done,omitempty"`
}

// StreamLine tells how many records the shards of a stream have taken that it still lists.
type StreamLine struct {
	Name     string `json:"name"`
	Accepted int64  `json:"accepted"`
	Shards   int    `json:"shards"`
}

// Check says what does not add up; nil when all does.
func (l *Ledger) Check() error {
	for i := range l.DeliveryStreams {
		d := &l.DeliveryStreams[i]
		sum := d.Retired
		for j := range d.Shards {
			if err := d.Shards[j].check(d.Name + " " + d.Shards[j].Shard); err != nil {
				return err
			}
			sum.add(&d.Shards[j].Line)
		}
		sum.Name = d.Name
		if sum != d.Line {
			return fault.New(fault.Corrupt, "delivery.Ledger", d.Name, "the shards sum up to %+v, the delivery stream has %+v", sum, d.Line)
		}
		if err := d.check(d.Name); err != nil {
			return err
		}
	}
	for i := range l.Deleted {
		if err := l.Deleted[i].check(l.Deleted[i].Name); err != nil {
			return err
		}
	}
	return nil
}

func (l *Line) check(name string) error {
	if l.InFlight < 0 || l.Accepted != l.Settled()+l.InFlight {
		return fault.New(fault.Corrupt, "delivery.Ledger", name,
			"accepted %d != delivered %d + deadLettered %d + dropped %d + expired %d + discarded %d + inFlight %d",
			l.Accepted, l.Delivered, l.DeadLettered, l.Dropped, l.Expired, l.Discarded, l.InFlight)
	}
	return nil
}

func (l *Line) add(m *Line) {
	l.Accepted += m.Accepted
	l.InFlight += m.InFlight
	l.Counts = l.Counts.Add(m.Counts)
}

// Ledger gives the sums as they are now. Each shard's line is of one moment.
func (e *Engine) Ledger(ctx context.Context) (*Ledger, error) {
	l := &Ledger{DeliveryStreams: []DeliveryLedger{}, Streams: []StreamLine{}}
	finals, err := e.opts.Journal.Finals(ctx)
	if err != nil {
		return nil, err
	}
	booked := map[string]bool{}
	for _, f := range finals {
		booked[f.ID] = true
		l.Deleted = append(l.Deleted, Line{Name: f.Name, Accepted: f.Accepted, Counts: f.Counts})
	}
	for _, d := range e.deliveries() {
		if booked[d.id] {
			continue
		}
		line, err := d.ledger(ctx)
		if err != nil {
			return nil, err
		}
		l.DeliveryStreams = append(l.DeliveryStreams, line)
	}
	if e.opts.Source.Capabilities().DensePositions {
		for _, st := range e.opts.Source.Streams() {
			if !st.Hidden() {
				l.Streams = append(l.Streams, e.streamLine(ctx, st))
			}
		}
	}
	return l, nil
}

func (e *Engine) streamLine(ctx context.Context, st *stream.Stream) StreamLine {
	line := StreamLine{Name: st.Name, Shards: len(st.Shards)}
	for i := range st.Shards {
		sh := &st.Shards[i]
		tip, err := e.opts.Source.Tip(ctx, stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index})
		if err == nil && sh.First.Before(tip) {
			line.Accepted += position(sh.Created, sh.Index, tip) - position(sh.Created, sh.Index, sh.First)
		}
	}
	return line
}

func (d *delivery) ledger(ctx context.Context) (DeliveryLedger, error) {
	out, taken := d.ownLedger(ctx)
	if d.engine.ownsAll() {
		return out, nil
	}
	rows, manifests, err := d.engine.opts.Journal.Load(ctx, d.id)
	if err != nil {
		return out, err
	}
	planned := map[stream.ShardRef]int64{}
	for _, m := range manifests {
		planned[m.Key.Shard] += m.Records()
	}
	var others []ShardLine
	for i := range rows {
		row := &rows[i]
		if taken[journal.SlotOf(row.Key, d.engine.slots)] {
			continue
		}
		if row.IsSums() {
			sums := Line{Accepted: row.Counts.Settled(), Counts: row.Counts}
			out.Retired.add(&sums)
			out.Line.add(&sums)
			continue
		}
		line := d.shardLine(row, d.tip(ctx, row), planned[row.Shard])
		out.Line.add(&line.Line)
		others = append(others, line)
	}
	out.Shards = append(out.Shards, others...)
	slices.SortFunc(out.Shards, func(a, b ShardLine) int {
		if c := strings.Compare(a.Shard, b.Shard); c != 0 {
			return c
		}
		return strings.Compare(a.StreamID, b.StreamID)
	})
	return out, nil
}

// ownLedger is the part of the ledger that lies in our slots, and which those are.
func (d *delivery) ownLedger(ctx context.Context) (out DeliveryLedger, taken map[int]bool) {
	def := d.definition.Load()
	out = DeliveryLedger{Line: Line{Name: d.name}, Counted: !d.dense(), Shards: []ShardLine{}}
	if def.Type != DirectPut {
		out.SourceStream = def.SourceStream()
	}
	taken = map[int]bool{}
	var retired journal.Counts
	d.mu.Lock()
	for slot, sums := range d.sums {
		taken[slot] = true
		retired = retired.Add(sums.Counts)
	}
	shards := make([]*shard, 0, len(d.shards))
	for _, s := range d.shards {
		shards = append(shards, s)
	}
	d.mu.Unlock()
	out.Retired = Line{Accepted: retired.Settled(), Counts: retired}
	out.Line.add(&out.Retired)
	sortShards(shards)
	for _, s := range shards {
		line := s.ledger(ctx)
		out.Line.add(&line.Line)
		out.Shards = append(out.Shards, line)
	}
	return out, taken
}

// ledger gives the shard's line. The row is read before the tip, so that the tip is never behind it.
func (s *shard) ledger(ctx context.Context) ShardLine {
	s.mu.Lock()
	row, inFlight := s.row, s.gauges.bufferedRecords.Load()
	for _, t := range s.outstanding {
		inFlight += t.manifest.Records()
	}
	s.mu.Unlock()
	if !s.d.dense() {
		return s.d.shardLine(&row, row.Checkpoint, inFlight)
	}
	if !row.Done {
		s.sawTip(s.d.tip(ctx, &row))
	}
	s.mu.Lock()
	tip := s.tip
	s.mu.Unlock()
	return s.d.shardLine(&row, tip, 0)
}

// tip gives where a row's shard ends now, as far as positions are dense; how far it is known when that can't be told.
func (d *delivery) tip(ctx context.Context, row *journal.Row) stream.SequenceNumber {
	if d.dense() && !row.Done {
		if tip, err := d.engine.opts.Source.Tip(ctx, row.Shard); err == nil {
			return tip
		}
	}
	return furthest(row)
}

// shardLine makes a line of a row: what is in flight is told by the tip where positions are dense, else it is inFlight.
func (d *delivery) shardLine(row *journal.Row, tip stream.SequenceNumber, inFlight int64) ShardLine {
	line := ShardLine{Shard: stream.ShardID(row.Shard.Shard), StreamID: row.Shard.ID, Start: row.Start, Checkpoint: row.Checkpoint, Done: row.Done}
	line.Counts = row.Counts
	if !d.dense() {
		line.InFlight = inFlight
		line.Accepted = row.Counts.Settled() + inFlight
		return line
	}
	if row.Done {
		tip = row.Checkpoint
	}
	line.Accepted = between(row, row.Start, tip)
	line.InFlight = unsettled(row, tip)
	return line
}

// String gives a line for people.
func (l Line) String() string {
	return fmt.Sprintf("%s: accepted %d, delivered %d, dead-lettered %d, dropped %d, expired %d, discarded %d, in flight %d",
		l.Name, l.Accepted, l.Delivered, l.DeadLettered, l.Dropped, l.Expired, l.Discarded, l.InFlight)
}
