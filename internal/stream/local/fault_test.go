package local

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"millrace/internal/store"
	"millrace/internal/stream"
)

// A file system that fails: no caller is told a success for what is not on disk, and the next start on a disk that works
// has all that was answered.
func TestFailingFileSystem(t *testing.T) {
	walOnly := func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }
	for _, c := range []struct {
		name  string
		fails func(errorfs.Op) error
	}{
		{"full disk", func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate) {
				return syscall.ENOSPC
			}
			return nil
		}},
		{"failed fsync of the log", func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
				if walOnly(op) {
					return syscall.EIO
				}
			}
			return nil
		}},
		{"failed write of the log", func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite && walOnly(op) {
				return syscall.EIO
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) { testFailingFileSystem(t, c.fails) })
	}
}

func testFailingFileSystem(t *testing.T, fails func(errorfs.Op) error) {
	var broken atomic.Bool
	mem := vfs.NewCrashableMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !broken.Load() {
			return nil
		}
		return fails(op)
	}))
	fatal := make(chan error, 2)
	tell := func(err error) { fatal <- err }
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: fs, Fatal: tell})
	if err != nil {
		t.Fatal(err)
	}
	clk := newClock()
	// This backend is never closed: its process "ends" at the failure, as app ends the real one.
	b, err := Open(Options{DB: db, Now: clk.Now, IDs: seeded(), Fatal: tell, TrimEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	def, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	answered := map[string]stream.SequenceNumber{}
	var count atomic.Int64
	for caller := range 6 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d/%d", caller, i)
				results := make([]stream.Result, 1)
				entries := []stream.Entry{{PartitionKey: "k", Data: []byte(id)}}
				if err := b.Append(context.Background(), "s", entries, results); err != nil {
					return
				}
				mu.Lock()
				answered[id] = results[0].Sequence
				mu.Unlock()
				count.Add(1)
			}
		}()
	}
	for count.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	broken.Store(true)
	select {
	case <-fatal:
	case <-time.After(10 * time.Second):
		t.Fatal("the store did not tell that it can't go on")
	}
	// What is answered from here on is a lie only if the disk lacks it: the clone is taken after the last answer.
	for last := int64(-1); last != count.Load(); time.Sleep(20 * time.Millisecond) {
		last = count.Load()
	}
	survived := mem.CrashClone(vfs.CrashCloneCfg{})
	mu.Lock()
	defer mu.Unlock()

	again := open(t, survived, "log", clk, nil)
	found := map[string]stream.SequenceNumber{}
	var batch stream.Batch
	for from := (stream.SequenceNumber{}); ; from = batch.Next {
		req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: def.ID}, From: from, MaxRecords: 1000, MaxBytes: 1 << 20}
		if err := again.Read(t.Context(), req, &batch); err != nil {
			t.Fatal(err)
		}
		if len(batch.Records) == 0 {
			break
		}
		for _, r := range batch.Records {
			found[string(r.Data)] = r.Sequence
		}
	}
	for id, seq := range answered {
		if found[id] != seq {
			t.Fatalf("%s was answered with %v and is at %v", id, seq, found[id])
		}
	}
}
