package delivery

import (
	"slices"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/stream"
)

// lane gathers what becomes one object: the records of one dynamic partition, or those that failed in one way. Most
// delivery streams have a single one.
type lane struct {
	name    journal.Lane
	key     string                // by which its gathering knows it
	from    stream.SequenceNumber // what lies before it was delivered already
	first   stream.SequenceNumber
	last    stream.SequenceNumber
	records int64 // source records that are counted here
	outputs int64
	bytes   int64
	oldest  int64     // arrival of the first record, milliseconds
	opened  time.Time // by the monotonic clock
	closed  bool      // the next record has no room in it
	kept    kept
}

// partition reports whether it is a dynamic partition.
func (l *lane) partition() bool { return len(l.name.Keys) > 0 }

// gathering is what a worker has read and not planned. It belongs to its worker.
type gathering struct {
	dest  *destination
	start stream.SequenceNumber // where the plan before ends, and this one begins
	next  stream.SequenceNumber // how far it has read: after the last record, or after what has expired
	lanes []*lane               // in the order in which they were opened
	byKey map[string]*lane
	full  bool // a lane is

	opened  time.Time
	records int64 // all that is gathered, for the gauges
	bytes   int64
	expired int64
	gap     bool // records are gone, expired of them if their number is known
	dropped int64
	// unrepeatable is set when processing the same records again may give something else. Then all leaves at once, and is
	// staged before it is planned.
	unrepeatable bool
	// bridge is what records were processed with that may have been delivered ahead of where this begins; nil: the same as
	// all others. See ahead.
	bridge *processing
}

func newGathering(start stream.SequenceNumber, dest *destination) *gathering {
	return &gathering{dest: dest, start: start, next: start, byKey: map[string]*lane{}, opened: time.Now()}
}

func (g *gathering) empty() bool { return len(g.lanes) == 0 && !g.gap && g.dropped == 0 }

// open adds a lane.
func (g *gathering) open(key string, name journal.Lane, from stream.SequenceNumber, k kept) *lane {
	l := &lane{name: name, key: key, from: from, opened: time.Now(), kept: k}
	g.lanes = append(g.lanes, l)
	g.byKey[key] = l
	return l
}

// again opens another lane in the place of one that can hold no more, in the middle of what was read. All leaves together
// then, and is staged: where the one ends and the other begins is no place in the source.
func (g *gathering) again(l *lane, k kept) *lane {
	g.unrepeatable = true
	return g.open(l.key, l.name, l.from, k)
}

// count notes that an output is in a lane; kept has it or not.
func (g *gathering) count(l *lane, o *output) {
	if l.outputs == 0 {
		l.first, l.oldest = o.sequence, o.arrival
	}
	l.last = o.sequence
	l.outputs++
	l.bytes += int64(len(o.data))
	g.bytes += int64(len(o.data))
	if o.first {
		l.records++
		g.records++
	}
	g.full = g.full || g.isFull(l)
}

// isFull reports whether a lane has all that one object should hold.
func (g *gathering) isFull(l *lane) bool {
	return l.closed || l.bytes >= g.dest.size || g.dest.maxOutputs > 0 && l.outputs >= g.dest.maxOutputs
}

// room is how many bytes may be read before a lane can be full. Of many lanes each gets little of what is read, and near their
// ends more is read, some of it twice, than one needs.
func (g *gathering) room() int64 {
	most := int64(0)
	for _, l := range g.lanes {
		most = max(most, l.bytes)
	}
	least := int64(1)
	if len(g.lanes) > 1 {
		least = readLeastBytes
	}
	return max(g.dest.size-most, least)
}

// wait tells how long a lane may go on gathering while the reader is at the tip; 0: it is due. Age counts from the
// oldest record's arrival; a clock that steps back can't stretch it beyond the interval, by the monotonic clock.
func (g *gathering) wait(l *lane, now time.Time) time.Duration {
	if g.isFull(l) {
		return 0
	}
	left := min(g.dest.age-now.Sub(time.UnixMilli(l.oldest)), g.dest.age-time.Since(l.opened))
	return min(max(left, 0), g.dest.age)
}

// overdue tells whether a lane is due while the reader is still catching up: by size, or by the time that this process
// has had it open. So a backlog leaves in full objects.
func (g *gathering) overdue(l *lane) bool {
	return g.isFull(l) || time.Since(l.opened) >= g.dest.age
}

// patience is how long the first lane that will be due may still wait.
func (g *gathering) patience(now time.Time) time.Duration {
	if len(g.lanes) == 0 {
		switch {
		case g.gap:
			return 0
		case g.empty():
			return idleWait
		}
		return max(g.dest.age-time.Since(g.opened), 0) // of dropped records only
	}
	least := g.dest.age
	for _, l := range g.lanes {
		least = min(least, g.wait(l, now))
	}
	return least
}

// isDue reports whether anything is.
func (g *gathering) isDue(now time.Time, atTip bool) bool {
	if len(g.lanes) == 0 {
		return !g.empty() && (atTip || time.Since(g.opened) >= g.dest.age) && g.patience(now) == 0
	}
	if g.full || g.overdue(g.lanes[0]) { // of all lanes the one that was opened first
		return true
	}
	for _, l := range g.lanes {
		if atTip && g.wait(l, now) == 0 {
			return true
		}
	}
	return false
}

// due gives the lanes that leave now: those that are due, and those that soon will be. All leave together when what they
// hold can't be made again, or when records are gone, which are counted once.
func (g *gathering) due(now time.Time, atTip bool) []*lane {
	if g.unrepeatable || g.gap || len(g.lanes) == 1 {
		return g.lanes
	}
	var all []*lane
	for _, l := range g.lanes {
		soon := atTip && g.wait(l, now) <= min(flushTogether, g.dest.age/10)
		if (soon || g.overdue(l)) && len(all) < maxParts {
			all = append(all, l)
		}
	}
	return all
}

// remove takes lanes out that are planned.
func (g *gathering) remove(gone []*lane) {
	leaves := make(map[*lane]bool, len(gone))
	for _, l := range gone {
		leaves[l] = true
		delete(g.byKey, l.key)
		g.records -= l.records
		g.bytes -= l.bytes
	}
	stay := make([]*lane, 0, len(g.lanes))
	for _, l := range g.lanes {
		if !leaves[l] {
			stay = append(stay, l)
		}
	}
	g.lanes, g.full = stay, slices.ContainsFunc(stay, g.isFull)
}

// low is where a process that knows nothing of what is gathered would have to read on, once the given lanes are planned.
func (g *gathering) low(gone []*lane) stream.SequenceNumber {
	leaves := make(map[*lane]bool, len(gone))
	for _, l := range gone {
		leaves[l] = true
	}
	low := g.next
	for _, l := range g.lanes {
		if !leaves[l] && l.first.Before(low) {
			low = l.first
		}
	}
	return low
}

// oldest gives the arrival of the oldest record, milliseconds; 0: there is none.
func (g *gathering) oldest() int64 {
	var oldest int64
	for _, l := range g.lanes {
		if oldest == 0 || l.oldest < oldest {
			oldest = l.oldest
		}
	}
	return oldest
}

// isKept reports whether all that is gathered is at hand, so that it can be delivered without its source.
func (g *gathering) isKept() bool {
	for _, l := range g.lanes {
		if l.kept.full {
			return false
		}
	}
	return true
}

func (g *gathering) close() {
	for _, l := range g.lanes {
		l.kept.drop()
	}
}
