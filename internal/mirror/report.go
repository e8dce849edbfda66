package mirror

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace/internal/stream"
)

// Report is what came of a mirror, all runs of its state together.
type Report struct {
	Streams []StreamReport
	// Run counts this run alone.
	Run Counts
}

// StreamReport is one pair.
type StreamReport struct {
	From, To string
	Began    time.Time
	Counts
	Shards []ShardReport
}

// ShardReport is one shard of the source.
type ShardReport struct {
	Shard    uint32
	Position stream.SequenceNumber
	Ended    bool // copied to its end
	Pending  int  // records on their way when the run ended
	Counts
	// Problem says what does not add up; empty: it does.
	Problem string
}

// counts gives the sum of a pair's shards.
func (c *copying) counts() (sum Counts) {
	c.m.opts.State.view(func() {
		for _, d := range c.doc.Shards {
			sum.add(&d.Counts)
		}
	})
	return sum
}

// Report tells the counts by stream and shard.
func (m *Mirror) Report() Report {
	var r Report
	for _, c := range m.streams {
		s := StreamReport{From: c.pair.From, To: c.pair.To, Began: c.doc.Began}
		m.opts.State.view(func() {
			for _, index := range slices.Sorted(maps.Keys(c.doc.Shards)) {
				d := c.doc.Shards[index]
				if d.Omitted {
					continue
				}
				sh := ShardReport{Shard: index, Position: d.Position, Ended: d.Ended, Counts: d.Counts, Problem: c.problem(d)}
				if d.Intent != nil {
					sh.Pending = d.Intent.Records
				}
				s.add(&sh.Counts)
				s.Shards = append(s.Shards, sh)
			}
		})
		r.Run.add(&s.Counts)
		base := c.base
		base.negate()
		r.Run.add(&base)
		r.Streams = append(r.Streams, s)
	}
	return r
}

func (c *Counts) negate() {
	for _, n := range []*int64{&c.Records, &c.Copied, &c.Found, &c.Bytes, &c.Gone, &c.Assumed, &c.Reordered, &c.Moved} {
		*n = -*n
	}
}

// problem checks the counts of a shard: by themselves, and where positions of the source count records also against the
// distance that was covered.
func (c *copying) problem(d *shardDoc) string {
	if d.Records != d.Copied+d.Found {
		return fmt.Sprintf("%d records were read, %d copied and %d found", d.Records, d.Copied, d.Found)
	}
	if !c.m.opts.From.Capabilities().DensePositions {
		return ""
	}
	_, _, end, ok := d.Position.Parts()
	if !ok {
		return ""
	}
	_, _, start, _ := d.Start.Parts() // of a child: zero, its beginning
	if n := int64(end - start); n != d.Records+d.Gone {
		return fmt.Sprintf("%d positions were passed, with %d records read and %d gone", n, d.Records, d.Gone)
	}
	return ""
}

// Problem tells the first thing that does not add up; empty: all does.
func (r *Report) Problem() string {
	for i := range r.Streams {
		for j := range r.Streams[i].Shards {
			if sh := &r.Streams[i].Shards[j]; sh.Problem != "" {
				return fmt.Sprintf("%s/%s: %s", r.Streams[i].From, stream.ShardID(sh.Shard), sh.Problem)
			}
		}
	}
	return ""
}

// Progress is how far a run has come.
type Progress struct {
	Run          Counts
	Shards, Done int           // of those that are known by now
	Behind       time.Duration // of the pipeline that is behind most
	// Left counts the records up to where the run ends; negative: unknown.
	Left int64
}

// Progress may be asked at any time after [Mirror.Prepare].
func (m *Mirror) Progress() Progress {
	var p Progress
	dense := m.opts.From.Capabilities().DensePositions && !m.opts.Follow
	if !dense {
		p.Left = -1
	}
	for _, c := range m.streams {
		sum := c.counts()
		base := c.base
		base.negate()
		sum.add(&base)
		p.Run.add(&sum)
		m.opts.State.view(func() {
			p.Shards += max(len(c.running), len(c.limits))
			for _, pipe := range c.running {
				if pipe.done.Load() {
					p.Done++
					continue
				}
				p.Behind = max(p.Behind, time.Duration(pipe.behind.Load())*time.Millisecond)
			}
			if dense {
				p.Left += c.left()
			}
		})
	}
	return p
}

// left counts records up to the goals. The state is locked.
func (c *copying) left() (n int64) {
	for shard, goal := range c.goals {
		at := uint64(0)
		if d := c.doc.Shards[shard]; d != nil {
			if d.Ended || d.Omitted {
				continue
			}
			_, _, at, _ = d.Position.Parts() // zero is the beginning
		}
		if goal > at {
			n += int64(goal - at)
		}
	}
	return n
}
