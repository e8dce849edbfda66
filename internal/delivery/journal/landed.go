package journal

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"time"

	"millrace/internal/stream"
)

// Landed says what one object holds: the index from records to objects. It is written in the step that commits the
// object. (From an object to its records lead the object's own metadata.)
type Landed struct {
	// Number counts what has landed of a row, from 1, without gaps: see [Row.Landed].
	Number  uint64 `json:"number"`
	Ordinal uint64 `json:"ordinal"` // of the manifest
	ID      string `json:"id"`      // of the part

	// Bucket and ObjectKey are empty of what went to an HTTP endpoint.
	Bucket    string `json:"bucket,omitempty"`
	ObjectKey string `json:"key,omitempty"`
	Error     string `json:"error,omitempty"` // error-output-type
	Lane      string `json:"lane,omitempty"`  // Lane.ID of one of several lanes

	First   stream.SequenceNumber `json:"first"`
	Last    stream.SequenceNumber `json:"last"`
	Records int64                 `json:"records"`
	Outputs int64                 `json:"outputs"`
	// Processed: records between First and Last may have been dropped, or lie in other lanes.
	Processed bool `json:"processed,omitempty"`

	// Next is the row's checkpoint after the commit; it never falls from number to number. Ahead: lanes were beyond it then.
	Next  stream.SequenceNumber `json:"next"`
	Ahead bool                  `json:"ahead,omitempty"`
	At    time.Time             `json:"at"` // of the commit
}

// Holds reports whether a place lies between the first and the last record.
func (l *Landed) Holds(at stream.SequenceNumber) bool {
	return !at.Before(l.First) && !l.Last.Before(at)
}

// HourCounts is what one UTC hour has added to a row, by the time of the commits.
type HourCounts struct {
	Hour int64 `json:"hour"` // since 1970
	// Accepted is what the shard took between the last commit of an earlier hour and the last one of this hour.
	Accepted     int64 `json:"accepted,omitempty"`
	Delivered    int64 `json:"delivered,omitempty"`
	DeadLettered int64 `json:"deadLettered,omitempty"`
	Dropped      int64 `json:"dropped,omitempty"`
	Expired      int64 `json:"expired,omitempty"`
	Bytes        int64 `json:"bytes,omitempty"` // delivered
	Objects      int64 `json:"objects,omitempty"`
	ErrorObjects int64 `json:"errorObjects,omitempty"`
}

func (h *HourCounts) add(o *HourCounts) {
	h.Accepted += o.Accepted
	h.Delivered += o.Delivered
	h.DeadLettered += o.DeadLettered
	h.Dropped += o.Dropped
	h.Expired += o.Expired
	h.Bytes += o.Bytes
	h.Objects += o.Objects
	h.ErrorObjects += o.ErrorObjects
}

// RowHour is an hour, and the row that it is of.
type RowHour struct {
	Key
	HourCounts
}

// OpenHour is the hour that is not over yet: what the counts were when it began.
type OpenHour struct {
	Hour           int64  `json:"hour"`
	Before         Counts `json:"before"`
	AcceptedBefore int64  `json:"acceptedBefore"`
	Accepted       int64  `json:"accepted"` // as of the last commit
}

// Bounds of the index.
const (
	// MaxLanded is how many objects [Index] keeps for a shard at most, the newest: 40 MB or so.
	MaxLanded = 100_000
	// MaxHours is how many hours it keeps.
	MaxHours = 31 * 24
	// RowLanded and RowHours bound what a row itself has, in journals that are no [Index]. All nodes hold all rows of these
	// in memory, and write them whole.
	RowLanded = 16
	RowHours  = 24
	// maxAround bounds what is looked at for one record: lanes lag behind by so many objects at most, or the answer says
	// that it is not complete.
	maxAround = 4096
)

// Index is what a [Journal] is as well that keeps what has landed beside its rows; there [Change.Landed] and
// [Change.Hours] are written. In others the rows have the newest, within [RowLanded] and [RowHours].
type Index interface {
	// Landed gives what may hold the record at a place, and its neighbours, in the order of their numbers: see [Around].
	Landed(ctx context.Context, key Key, at stream.SequenceNumber) (all []Landed, complete bool, err error)
	// LandedShards lists the rows, also those that are dropped, of which something is kept.
	LandedShards(ctx context.Context, delivery string) ([]Key, error)
	// Hours gives the hours of all rows of a delivery stream, each summed up, oldest first, without those that are open.
	Hours(ctx context.Context, delivery string) ([]HourCounts, error)
	// Prune forgets what landed before a time or exceeds [MaxLanded], and hours before one. It may forget some later.
	Prune(ctx context.Context, landed time.Time, hour int64) error
}

// Around picks from what has landed of a row, n in the order of their numbers, what may hold the record at a place: the
// commit that moved the checkpoint beyond it, those before while lanes were ahead, and one neighbour on either side.
// complete is false when it had to stop before it knew, or when what is kept does not reach back.
func Around(n int, get func(i int) (Landed, error), at stream.SequenceNumber) (all []Landed, complete bool, err error) {
	var failed error
	k := sort.Search(n, func(i int) bool {
		l, err := get(i)
		if err != nil {
			failed = err
		}
		return at.Before(l.Next)
	})
	if failed != nil {
		return nil, false, failed
	}
	for i := k - 1; i >= 0 && k-i <= maxAround; i-- {
		l, err := get(i)
		if err != nil {
			return nil, false, err
		}
		all = append(all, l)
		if complete = !l.Ahead || l.Number == 1; complete {
			break
		}
	}
	slices.Reverse(all)
	for i := k; i < n && i-k <= maxAround; i++ {
		l, err := get(i)
		if err != nil {
			return nil, false, err
		}
		complete = complete || l.Number == 1
		all = append(all, l)
		if i > k && l.Ordinal != all[len(all)-2].Ordinal {
			break // the neighbour
		}
	}
	return all, complete, nil
}

// AddLanded numbers what has landed. A journal that is no [Index] keeps the newest in the row itself.
func (r *Row) AddLanded(landed []Landed, inRow bool) {
	for i := range landed {
		r.Landed++
		landed[i].Number = r.Landed
	}
	if !inRow || len(landed) == 0 {
		return
	}
	all := append(slices.Clone(r.Recent), landed...)
	r.Recent = slices.Clone(all[max(0, len(all)-RowLanded):])
}

// CountHour notes a change of the row's counts, which were before, in an hour; accepted is all that the shard has taken by
// now. It gives the hour that has ended with it, if one has. A clock that falls back adds to the hour that is open.
func (r *Row) CountHour(hour int64, before Counts, accepted int64) (ended HourCounts, ok bool) {
	open := OpenHour{Hour: hour, Before: before, AcceptedBefore: before.Settled(), Accepted: before.Settled()}
	if r.Hour != nil {
		if open = *r.Hour; hour > open.Hour {
			ended, ok = open.sum(before), true
			open = OpenHour{Hour: hour, Before: before, AcceptedBefore: open.Accepted, Accepted: open.Accepted}
		}
	}
	open.Accepted = max(open.Accepted, accepted)
	r.Hour = &open
	return ended, ok
}

// Open gives the hour that is not over, so far.
func (r *Row) Open() (HourCounts, bool) {
	if r.Hour == nil {
		return HourCounts{}, false
	}
	return r.Hour.sum(r.Counts), true
}

func (o *OpenHour) sum(now Counts) HourCounts {
	return HourCounts{Hour: o.Hour, Accepted: o.Accepted - o.AcceptedBefore,
		Delivered: now.Delivered - o.Before.Delivered, DeadLettered: now.DeadLettered - o.Before.DeadLettered,
		Dropped: now.Dropped - o.Before.Dropped, Expired: now.Expired - o.Before.Expired,
		Bytes: now.DeliveredBytes - o.Before.DeliveredBytes, Objects: now.Objects - o.Before.Objects,
		ErrorObjects: now.ErrorObjects - o.Before.ErrorObjects}
}

// AddHours keeps hours in the row itself, for a journal that is no [Index].
func (r *Row) AddHours(hours ...HourCounts) {
	all := SumHours(append(slices.Clone(r.Hours), hours...))
	r.Hours = slices.Clone(all[max(0, len(all)-RowHours):])
}

// SumHours adds up what is of one hour; the oldest comes first. It takes over the slice.
func SumHours(all []HourCounts) []HourCounts {
	slices.SortStableFunc(all, func(a, b HourCounts) int { return cmp.Compare(a.Hour, b.Hour) })
	out := all[:0]
	for _, h := range all {
		if n := len(out); n > 0 && out[n-1].Hour == h.Hour {
			out[n-1].add(&h)
			continue
		}
		out = append(out, h)
	}
	return out
}

// HourOf gives the hour of a time.
func HourOf(t time.Time) int64 { return t.Unix() / 3600 }
