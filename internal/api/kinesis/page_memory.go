package kinesis

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// pageMemory bounds the pages of GetRecords that are being read, encoded, or taken by their callers: their pageBytes,
// which in JSON are held twice and a half for as long as an answer is on its way. When many callers want
// large pages, or take them slowly, pages get smaller; a page may always be.
type pageMemory struct {
	room *semaphore.Weighted
	used atomic.Int64
}

const (
	// maxPageMemory is what all pages have together.
	maxPageMemory = 64 << 20
	// pageShare of what is left is the most that one page gets, so that a few callers who take theirs slowly leave some to others.
	pageShare = 4
	// leastPage is what a caller waits for when there is no room for more.
	leastPage = 64 << 10
	// fitWait is how long a page waits for room that it turned out to need. It holds some meanwhile, so that it must end.
	fitWait = 2 * time.Second
)

func newPageMemory() *pageMemory { return &pageMemory{room: semaphore.NewWeighted(maxPageMemory)} }

// take reserves up to a largest page, and waits until there is room for a least one.
func (m *pageMemory) take(ctx context.Context) (int64, error) {
	n := min(int64(maxReadBytes), (maxPageMemory-m.used.Load())/pageShare)
	if n < leastPage || !m.room.TryAcquire(n) {
		n = leastPage
		if err := m.room.Acquire(ctx, n); err != nil {
			return 0, fault.New(fault.Unavailable, "kinesis.GetRecords", "", "no memory for a page: %w", err)
		}
	}
	m.used.Add(n)
	return n, nil
}

func (m *pageMemory) give(n int64) {
	m.used.Add(-n)
	m.room.Release(n)
}

// fit makes the reservation what a page of so many bytes needs. A single record may be larger than what was reserved: it
// waits for room in turn with the others, and when there is none for fitWait its caller comes again.
func (m *pageMemory) fit(ctx context.Context, reserved, bytes int64) (int64, error) {
	switch {
	case bytes < reserved:
		m.give(reserved - bytes)
	case bytes > reserved:
		ctx, cancel := context.WithTimeout(ctx, fitWait)
		defer cancel()
		if m.room.Acquire(ctx, bytes-reserved) != nil {
			return reserved, failure(kinesiswire.ErrProvisionedThroughputExceeded, "Rate exceeded: this node has no memory for a page of %d bytes now.", bytes)
		}
		m.used.Add(bytes - reserved)
	}
	return bytes, nil
}

// pageBytes is what a page counts as: its data and keys or, where these are tiny, what stands around them.
func pageBytes(batch *stream.Batch) (n int64) {
	for i := range batch.Records {
		n += int64(len(batch.Records[i].Data) + len(batch.Records[i].PartitionKey))
	}
	return max(n, int64(len(batch.Records))*recordFrame)
}
