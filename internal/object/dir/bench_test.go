package dir

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/store"
)

// onDisk is a store whose files and index are on the disk of temporary folders.
func onDisk(b *testing.B) *Store {
	b.Helper()
	db, err := store.Open(b.TempDir(), store.Options{Profile: store.Meta})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(Options{Root: b.TempDir(), DB: db, Now: time.Now, IDs: ids.New()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := s.CreateBucket(context.Background(), object.Bucket{Name: "bench"}); err != nil {
		b.Fatal(err)
	}
	return s
}

// A durable put, of a small object by many and of a delivered one by one.
func BenchmarkPut(b *testing.B) {
	for _, c := range []struct{ size, writers int }{{1 << 10, 1}, {1 << 10, 64}, {1 << 20, 1}, {5 << 20, 4}} {
		b.Run(fmt.Sprintf("bytes=%d/writers-a-core=%d", c.size, c.writers), func(b *testing.B) {
			s := onDisk(b)
			var n atomic.Int64
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.SetParallelism(c.writers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					i := n.Add(1)
					key := fmt.Sprintf("2026/11/24/%02d/%08d", i%24, i)
					if _, err := s.Put(context.Background(), "bench", key, &endless{int64(c.size)}, int64(c.size), object.PutOptions{}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// Reading an object from its start.
func BenchmarkGet(b *testing.B) {
	s := onDisk(b)
	if _, err := s.Put(context.Background(), "bench", "k", &endless{1 << 20}, 1<<20, object.PutOptions{}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		o, err := s.Get(context.Background(), "bench", "k")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(struct{ io.Writer }{io.Discard}, o.Body); err != nil {
			b.Fatal(err)
		}
		o.Body.Close()
	}
}
