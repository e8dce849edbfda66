package journal_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/journaltest"
)

// What the index adds to a commit on a real disk: one key in a batch that is synced anyway.
func BenchmarkCommit(b *testing.B) {
	for _, indexed := range []bool{false, true} {
		b.Run(fmt.Sprint("indexed=", indexed), func(b *testing.B) {
			db, err := pebble.Open(b.TempDir(), &pebble.Options{Logger: silent{}})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			j, row := journal.Open(db, []byte("j/")), journaltest.Row("d", 3, 0)
			for i := 0; b.Loop(); i++ {
				row.Version++
				change := &journal.Change{}
				if indexed {
					change.Landed = landing(uint64(i), false, [2]uint64{uint64(i), uint64(i)})
					change.Landed[0].ObjectKey = "2026/03/01/12/d-1-2026-03-01-12-00-00-00dc6ad0-9660-7000-8cd8-7274d67084ca.gz"
					change.Landed[0].ID, change.Landed[0].Bucket = "00dc6ad0-9660-7000-8cd8-7274d67084ca", "class-events"
					row.AddLanded(change.Landed, false)
				}
				change.Rows = []journal.Row{row}
				if err := j.Write(b.Context(), change); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(db.Metrics().WAL.BytesIn)/float64(b.N), "B-WAL/op")
		})
	}
}
