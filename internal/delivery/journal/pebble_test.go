package journal_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/journaltest"
)

type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func TestPebble(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) *journaltest.Cluster {
		db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem(), Logger: silent{}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return &journaltest.Cluster{Open: func(*testing.T) journal.Journal { return journal.Open(db, []byte("j/")) }}
	})
}
