package delivery

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// noRoom is a folder for spools that takes none, as on a disk that is full.
func noRoom(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "full")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Partitions that neither memory nor the spool can hold together are delivered all the same: what can be made again one after
// the other, what can't in smaller objects.
func TestSpoolIsFull(t *testing.T) {
	f := func(name string, edit func(*S3Destination), opts Options) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				opts.BufferBudget, opts.SpoolDir = 6*slabBytes, noRoom(t)
				if opts.Function != nil {
					opts.Transform = &moody{random: rand.New(rand.NewPCG(1, 0))}
				}
				n := newNode(t, opts).start()
				defer n.close()
				n.create(request("d", "", extended(edit)))
				for i := range 60 { // a hundred kilobytes, twice what memory has room for
					k := string(rune('a' + i%5))
					n.put("d", fmt.Sprintf(`{"k":%q,"n":%d,"pad":"%s"}`, k, i, strings.Repeat("x", 1700)))
					time.Sleep(200 * time.Millisecond)
				}
				time.Sleep(10 * time.Minute)
				n.verifyPadded("d")
			})
		})
	}
	f("partitions", nil, Options{})
	f("parquet", withParquet, Options{Table: anyTable})
	f("function", withFunction, Options{Function: anyFunction})
	f("parquet-of-a-function", func(d *S3Destination) { withFunction(d); withParquet(d) }, Options{Function: anyFunction, Table: anyTable})
}

// verifyPadded checks that all has been delivered, in the order of each partition.
func (n *node) verifyPadded(name string) {
	n.t.Helper()
	c, line := n.collect("events"), n.ledger(name)
	seen := map[int]bool{}
	for lane, numbers := range c.events {
		for i, number := range numbers {
			if seen[number] {
				n.t.Errorf("event %d is there twice", number)
			}
			if seen[number] = true; i > 0 && numbers[i-1] >= number {
				n.t.Errorf("%s is out of order: %v", lane, numbers)
			}
		}
	}
	equal(n.t, "in flight", line.InFlight, 0)
	equal(n.t, "delivered", line.Delivered, int64(len(seen)))
	equal(n.t, "settled", line.Settled(), 60)
	if n.opts.Function == nil {
		equal(n.t, "delivered events", len(seen), 60)
	}
}
