package journal_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/journaltest"
	"millrace/internal/stream"
)

func openPebble(t *testing.T) *journal.Pebble {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem(), Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return journal.Open(db, []byte("j/"))
}

func at(position uint64) stream.SequenceNumber { return stream.NewSequenceNumber(1, 3, position) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// landing is what one commit writes.
func landing(next uint64, ahead bool, ranges ...[2]uint64) []journal.Landed {
	var all []journal.Landed
	for _, r := range ranges {
		all = append(all, journal.Landed{Ordinal: next, First: at(r[0]), Last: at(r[1]), Next: at(next), Ahead: ahead, At: noon.Add(time.Duration(next) * time.Minute)})
	}
	return all
}

// commits are those of a shard whose lanes lag behind one another.
var commits = [][]journal.Landed{
	landing(10, false, [2]uint64{0, 9}),
	landing(12, true, [2]uint64{11, 19}, [2]uint64{14, 17}), // 12 and 13 are of a lane that waits
	landing(12, true, [2]uint64{20, 29}),
	landing(30, false, [2]uint64{12, 28}),
	landing(40, false, [2]uint64{30, 38}), // 39 was dropped
	landing(50, false, [2]uint64{40, 49}),
}

func write(t *testing.T, j journal.Journal, row *journal.Row, landed []journal.Landed, hours ...journal.RowHour) {
	t.Helper()
	row.Version++
	landed = slices.Clone(landed)
	row.AddLanded(landed, true)
	if err := j.Write(context.Background(), &journal.Change{Rows: []journal.Row{*row}, Landed: landed, Hours: hours}); err != nil {
		t.Fatal(err)
	}
}

// What may hold a record is found whichever lanes lag behind, in the journal's own index and in rows.
func TestLandedAroundAPlace(t *testing.T) {
	j := openPebble(t)
	row := journaltest.Row("d", 3, 0)
	for _, c := range commits {
		write(t, j, &row, c)
	}
	for _, tt := range []struct {
		place uint64
		holds []uint64 // numbers
	}{{0, []uint64{1}}, {9, []uint64{1}}, {10, nil}, {11, []uint64{2}}, {12, []uint64{2, 5}}, {15, []uint64{2, 3, 5}},
		{29, []uint64{4}}, {38, []uint64{6}}, {39, nil}, {49, []uint64{7}}, {50, nil}} {
		inIndex, complete, err := j.Landed(t.Context(), row.Key, at(tt.place))
		if err != nil || !complete {
			t.Fatal(complete, err)
		}
		inRow, complete, err := journal.Around(len(row.Recent), func(i int) (journal.Landed, error) { return row.Recent[i], nil }, at(tt.place))
		if err != nil || !complete {
			t.Fatal(complete, err)
		}
		for _, all := range [][]journal.Landed{inIndex, inRow} {
			var holds []uint64
			for i := range all {
				if all[i].Holds(at(tt.place)) {
					holds = append(holds, all[i].Number)
				}
			}
			if !slices.Equal(holds, tt.holds) {
				t.Errorf("place %d: in %v, not %v", tt.place, holds, tt.holds)
			}
		}
	}
	keys, err := j.LandedShards(t.Context(), "d")
	if err != nil || len(keys) != 1 || keys[0] != row.Key {
		t.Errorf("shards %v, %v", keys, err)
	}
}

// What is old goes, and then the answer for it is not complete. What a deleted delivery stream had goes with it.
func TestPruneOfTheIndex(t *testing.T) {
	j := openPebble(t)
	row, other := journaltest.Row("d", 3, 0), journaltest.Row("d2", 3, 0)
	for i, c := range commits {
		write(t, j, &row, c, journal.RowHour{Key: row.Key, HourCounts: journal.HourCounts{Hour: int64(i), Delivered: 1}})
	}
	write(t, j, &other, commits[0])
	if err := j.Prune(t.Context(), noon.Add(35*time.Minute), 4); err != nil {
		t.Fatal(err)
	}
	all, complete, err := j.Landed(t.Context(), row.Key, at(15))
	if err != nil || complete {
		t.Errorf("%v, complete %v, %v", all, complete, err)
	}
	all, complete, err = j.Landed(t.Context(), row.Key, at(45))
	if err != nil || !complete || len(all) != 2 || all[1].Number != 7 {
		t.Errorf("%v, complete %v, %v", all, complete, err)
	}
	hours, err := j.Hours(t.Context(), "d")
	if err != nil || len(hours) != 2 || hours[0].Hour != 4 {
		t.Errorf("hours %v, %v", hours, err)
	}
	if all, _, _ := j.Landed(t.Context(), other.Key, at(5)); len(all) != 0 {
		t.Errorf("another delivery stream still has %v", all)
	}
	write(t, j, &other, commits[4])
	if err := j.Write(t.Context(), &journal.Change{Drop: []journal.Row{row}, Final: &journal.Final{ID: "d"}}); err != nil {
		t.Fatal(err)
	}
	if all, _, _ := j.Landed(t.Context(), row.Key, at(45)); len(all) != 0 {
		t.Errorf("a deleted delivery stream still has %v", all)
	}
	if all, _, _ := j.Landed(t.Context(), other.Key, at(35)); len(all) != 1 {
		t.Errorf("another one has %v", all)
	}
	if hours, err := j.Hours(t.Context(), "d"); err != nil || len(hours) != 0 {
		t.Errorf("hours %v, %v", hours, err)
	}
}

// An earlier version that wrote the row in between has forgotten the numbers; then they begin anew.
func TestLandedNumbersBeginAnew(t *testing.T) {
	j := openPebble(t)
	row := journaltest.Row("d", 3, 0)
	for _, c := range commits[:4] {
		write(t, j, &row, c)
	}
	row.Landed = 0
	write(t, j, &row, commits[5])
	all, _, err := j.Landed(t.Context(), row.Key, at(45))
	if err != nil || len(all) != 1 || all[0].Number != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestHoursOfARow(t *testing.T) {
	var row journal.Row
	row.Counts.Delivered = 5 // of a version that counted no hours
	step := func(hour, delivered, accepted int64) (journal.HourCounts, bool) {
		before := row.Counts
		row.Counts.Delivered += delivered
		return row.CountHour(hour, before, accepted)
	}
	if ended, ok := step(100, 10, 20); ok {
		t.Errorf("ended %+v", ended)
	}
	step(100, 3, 25)
	step(99, 1, 26) // the clock fell back
	if open, _ := row.Open(); open != (journal.HourCounts{Hour: 100, Accepted: 21, Delivered: 14}) {
		t.Errorf("open %+v", open)
	}
	ended, ok := step(105, 7, 40)
	if !ok || ended != (journal.HourCounts{Hour: 100, Accepted: 21, Delivered: 14}) {
		t.Errorf("ended %+v, %v", ended, ok)
	}
	if open, _ := row.Open(); open != (journal.HourCounts{Hour: 105, Accepted: 14, Delivered: 7}) {
		t.Errorf("open %+v", open)
	}
	for hour := range int64(2 * journal.RowHours) {
		row.AddHours(journal.HourCounts{Hour: hour, Delivered: 1}, journal.HourCounts{Hour: hour, Delivered: 1})
	}
	if len(row.Hours) != journal.RowHours || row.Hours[0].Hour != journal.RowHours || row.Hours[0].Delivered != 2 {
		t.Errorf("hours %v", row.Hours)
	}
}

func TestRowKeepsTheNewestOnly(t *testing.T) {
	var row journal.Row
	for i := range uint64(2 * journal.RowLanded) {
		row.AddLanded(landing(i+1, false, [2]uint64{i, i}), true)
	}
	if n := len(row.Recent); n != journal.RowLanded || row.Recent[n-1].Number != row.Landed {
		t.Errorf("%d of %d", n, row.Landed)
	}
}
