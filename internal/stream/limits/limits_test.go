package limits

import (
	"bytes"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
)

func TestLimits(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_000)
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := local.Open(local.Options{DB: db, IDs: ids.Seeded(1), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	b := Of(inner, func() time.Time { return now })
	defer b.Close(t.Context())
	def, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(n, size int) (stored int) {
		t.Helper()
		entries := make([]stream.Entry, n)
		for i := range entries {
			entries[i] = stream.Entry{PartitionKey: "k", Data: bytes.Repeat([]byte("d"), size)}
		}
		results := make([]stream.Result, n)
		if err := b.Append(t.Context(), "s", entries, results); err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err == nil {
				stored++
			} else if fault.KindOf(r.Err) != fault.Throttled {
				t.Errorf("entry %d: %v", i, r.Err)
			}
		}
		return stored
	}
	if got := put(1500, 10); got != 1000 {
		t.Errorf("of 1500 records in one moment %d were stored, not 1000", got)
	}
	now = now.Add(100 * time.Millisecond)
	if got := put(1500, 10); got != 100 {
		t.Errorf("a tenth of a second later %d were stored, not 100", got)
	}
	now = now.Add(time.Minute)
	if got := put(1, stream.DefaultMaxRecordBytes); got != 1 {
		t.Error("a record of the largest size was not stored by an idle shard")
	}
	if got := put(1, 1); got != 0 {
		t.Error("a record was stored beyond 1 MiB a second")
	}
	now = now.Add(time.Minute)
	read := func() error {
		var batch stream.Batch
		return b.Read(t.Context(), stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: def.ID}, MaxRecords: 1, MaxBytes: 100}, &batch)
	}
	for i := range 5 {
		if err := read(); err != nil {
			t.Errorf("read %d: %v", i, err)
		}
	}
	if err := read(); fault.KindOf(err) != fault.Throttled {
		t.Errorf("the sixth read within a second: %v", err)
	}
	now = now.Add(time.Second)
	if err := read(); err != nil {
		t.Error(err)
	}
}
