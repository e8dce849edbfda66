package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// The shortest path: what is put into a Direct PUT delivery stream lands in one object when the interval is over.
func TestDirectPutIsDeliveredAfterItsInterval(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", func(d *S3Destination) { d.CompressionFormat = "GZIP" }))
		n.put("d", "abc", "abc", "")
		n.put("d", "def")
		time.Sleep(59 * time.Second)
		equal(t, "objects before the interval", len(n.objects("events")), 0)
		time.Sleep(2 * time.Second)
		equal(t, "objects", joined(n.objects("events")), "abcabcdef")
		key := n.sink.keys("events")[0]
		if !strings.HasPrefix(key, "2000/01/01/00/d-1-2000-01-01-00-00-00-") || !strings.HasSuffix(key, ".gz") {
			t.Errorf("key %s", key)
		}
		line := n.ledger("d")
		equal(t, "accepted", line.Accepted, 4)
		equal(t, "delivered", line.Delivered, 4)
		equal(t, "bytes", line.DeliveredBytes, 9)
		equal(t, "in flight", line.InFlight, 0)
	})
}

// With several shards the records of a call stay together in one, in their order, and calls take the shards in turn. A delivery
// stream that was made with one shard keeps it.
func TestDirectPutIsSpreadOverShards(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const shards, rounds, batch = 3, 4, 5
		n := newNode(t, Options{}).start()
		n.create(request("old", "", nil))
		n.close()
		n.opts.DirectPutShards, n.opts.IDs = shards, ids.Seeded(2)
		n.start()
		defer n.close()
		n.create(request("d", "", nil))
		calls := func(name string) map[uint32]int {
			t.Helper()
			by := map[uint32]int{} // calls by shard
			for call := range shards * rounds {
				records, results := make([][]byte, batch), make([]PutResult, batch)
				for i := range records {
					records[i] = fmt.Appendf(nil, "%s %02d-%d\n", name, call, i)
				}
				if _, err := n.engine.PutBatch(context.Background(), name, records, results); err != nil {
					t.Fatal(err)
				}
				var last stream.SequenceNumber
				for i, r := range results {
					seq, ok := stream.ParseSequenceNumber(r.RecordID)
					if r.Err != nil || !ok {
						t.Fatal(r)
					}
					_, shard, _, _ := seq.Parts()
					if _, before, _, _ := last.Parts(); i > 0 && (shard != before || last.Compare(seq) >= 0) {
						t.Errorf("record %d of a call is in shard %d, number %v, after %v in shard %d", i, shard, seq, last, before)
					}
					if last = seq; i == 0 {
						by[shard]++
					}
				}
			}
			return by
		}
		equal(t, "calls by shard", fmt.Sprint(calls("d")), fmt.Sprint(map[uint32]int{0: rounds, 1: rounds, 2: rounds}))
		equal(t, "calls of the old one by shard", fmt.Sprint(calls("old")), fmt.Sprint(map[uint32]int{0: shards * rounds}))
		time.Sleep(time.Minute + time.Second)
		equal(t, "objects", len(n.objects("events")), shards+1)
		for _, object := range n.objects("events") {
			if lines := strings.Split(strings.TrimSuffix(object, "\n"), "\n"); !slices.IsSorted(lines) {
				t.Errorf("out of order: %q", lines)
			}
		}
		equal(t, "delivered", n.ledger("d").Delivered, shards*rounds*batch)
		equal(t, "delivered by the old one", n.ledger("old").Delivered, shards*rounds*batch)
		if _, _, err := n.engine.Put(context.Background(), "d", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := n.engine.Delete(context.Background(), "d"); err != nil {
			t.Fatal(err)
		}
		equal(t, "hidden streams left", len(n.source.Streams()), 1)
	})
}

func TestKinesisSourceIsReadFromItsTip(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 2)
		n.append("s", "a", "before")
		n.create(request("d", "s", nil))
		n.append("s", "a", "after")
		time.Sleep(time.Minute + time.Second)
		equal(t, "objects", joined(n.objects("events")), "after")
		if _, _, err := n.engine.Put(context.Background(), "d", []byte("x")); err == nil {
			t.Error("put into a delivery stream with a Kinesis source succeeded")
		}
	})
}

func TestBufferIsFlushedWhenItsSizeIsReached(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 900)))
		record := strings.Repeat("x", 300<<10)
		for range 8 {
			n.put("d", record)
		}
		time.Sleep(time.Second)
		objects := n.objects("events")
		equal(t, "objects", len(objects), 2)
		equal(t, "size of the first", len(objects[0]), 4*300<<10) // the record that reaches the size belongs to it
		equal(t, "in flight", n.ledger("d").InFlight, 0)
	})
}

func TestBacklogLeavesInFullObjects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		n.start()
		n.create(request("d", "", hints(1, 1)))
		n.close()
		name := n.defs.all["d"].SourceStream()
		for range 50 { // five megabytes, a tenth of one every second, while the node is away
			n.append(name, "k", strings.Repeat("x", 100<<10))
			time.Sleep(time.Second)
		}
		n.start()
		defer n.close()
		time.Sleep(3 * time.Second)
		var sizes []int
		for _, o := range n.objects("events") {
			sizes = append(sizes, len(o)>>10)
		}
		equal(t, "objects", len(sizes), 5)
		for i, size := range sizes[:4] {
			if size < 1024 {
				t.Errorf("object %d of %d has %d KiB, less than the buffer's size", i, len(sizes), size)
			}
		}
	})
}

// A record that waited while the node was down is not made to wait for another interval.
func TestAgeCountsFromTheOldestArrivalAtTheTip(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		n.start()
		n.create(request("d", "", hints(5, 300)))
		n.close()
		n.append(n.defs.all["d"].SourceStream(), "k", "old")
		time.Sleep(299 * time.Second)
		n.start()
		defer n.close()
		time.Sleep(500 * time.Millisecond)
		equal(t, "objects before its time", len(n.objects("events")), 0)
		time.Sleep(time.Second)
		equal(t, "objects", joined(n.objects("events")), "old")
	})
}

// Who puts a record and stops the node finds it in the bucket: also when it came right after the worker's last look.
func TestOrderlyStopTakesWhatCameLast(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		n.start()
		n.create(request("d", "", hints(5, 300)))
		synctest.Wait()
		n.put("d", "a")
		synctest.Wait() // the worker has read it, and lets more gather
		n.put("d", "b", "c")
		n.close()
		equal(t, "objects", joined(n.objects("events")), "abc")
	})
}

func TestZeroIntervalDeliversWithinSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 0)))
		n.put("d", "a")
		time.Sleep(time.Second)
		n.put("d", "b")
		time.Sleep(time.Second)
		equal(t, "objects", joined(n.objects("events")), "a|b")
	})
}

// A clock that steps back neither holds records up nor breaks the order of keys, even when arrivals fall with it.
func TestClockStepsBack(t *testing.T) {
	t.Run("steady", func(t *testing.T) { inBubble(t, func(t *testing.T) { clockStepsBack(t, false) }) })
	t.Run("falling", func(t *testing.T) { inBubble(t, func(t *testing.T) { clockStepsBack(t, true) }) })
}

func clockStepsBack(t *testing.T, falling bool) {
	var step atomic.Int64
	n := newNode(t, Options{Now: func() time.Time { return time.Now().Add(time.Duration(step.Load())) }}).start()
	n.source.falling = falling
	defer n.close()
	n.create(request("d", "", hints(1, 10)))
	n.put("d", "1")
	time.Sleep(12 * time.Second)
	n.put("d", "2")
	time.Sleep(time.Second)
	step.Store(int64(-24 * time.Hour))
	time.Sleep(10 * time.Second)
	equal(t, "objects after the step", joined(n.objects("events")), "1|2")
	n.put("d", "3")
	time.Sleep(11 * time.Second)
	n.restart()
	n.put("d", "4")
	time.Sleep(11 * time.Second)
	equal(t, "objects in key order", joined(n.objects("events")), "1|2|3|4")
}

func TestDelimiterIsAppendedWhenAsked(t *testing.T) {
	on := true
	processing := func(parameters ...ProcessorParameter) func(*S3Destination) {
		return func(d *S3Destination) {
			d.ProcessingConfiguration = &ProcessingConfiguration{&on, []Processor{{"AppendDelimiterToRecord", parameters}}}
		}
	}
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.sink.create("other")
		n.create(request("d", "", processing()))
		n.create(request("e", "", func(d *S3Destination) {
			processing(ProcessorParameter{"Delimiter", `;\n`})(d)
			d.BucketARN = "arn:aws:s3:::other"
		}))
		n.put("d", "a", "b\n", "")
		n.put("e", "a", "b")
		time.Sleep(61 * time.Second)
		equal(t, "newline", joined(n.objects("events")), "a\nb\n\n\n")
		equal(t, "own", joined(n.objects("other")), "a;\nb;\n")
	})
}

func TestUpdateAppliesToLaterPlansOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", nil))
		n.put("d", "old")
		time.Sleep(time.Second)
		prefix := "new/"
		update := &UpdateRequest{DeliveryStreamName: "d", CurrentDeliveryStreamVersionId: "1", DestinationId: DestinationID,
			ExtendedS3DestinationUpdate: &S3Update{S3ConfigurationUpdate: S3ConfigurationUpdate{Prefix: &prefix}}}
		def, err := n.engine.UpdateDestination(context.Background(), update)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "version", def.VersionID, 2)
		equal(t, "bucket stays", def.Bucket(), "events")
		_, err = n.engine.UpdateDestination(context.Background(), update)
		equal(t, "stale version", fault.KindOf(err), fault.PreconditionFailed)
		time.Sleep(time.Minute)
		n.put("d", "later")
		time.Sleep(62 * time.Second)
		keys := n.sink.keys("events")
		equal(t, "objects", joined(n.objects("events")), "old|later")
		if !strings.HasPrefix(keys[0], "2000/01/01/00/d-1-") || !strings.HasPrefix(keys[1], "new/2000/01/01/00/d-2-") {
			t.Errorf("keys %q", keys)
		}
	})
}

func TestDeleteDiscardsAndCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		def := n.create(request("d", "", nil))
		n.put("d", "delivered")
		time.Sleep(61 * time.Second)
		n.put("d", "buffered", "buffered too")
		time.Sleep(time.Second)
		if err := n.engine.Delete(context.Background(), "d"); err != nil {
			t.Fatal(err)
		}
		line := n.ledger("d")
		equal(t, "accepted", line.Accepted, 3)
		equal(t, "delivered", line.Delivered, 1)
		equal(t, "discarded", line.Discarded, 2)
		if _, ok := n.source.Stream(def.SourceStream()); ok {
			t.Error("the hidden stream is still there")
		}
		_, _, err := n.engine.Put(context.Background(), "d", nil)
		equal(t, "put", err.(*fault.Error).Message(), "Firehose d under account 000000000000 not found.")
		n.create(request("d", "", nil)) // the name is free
		n.restart()
		equal(t, "objects", joined(n.objects("events")), "delivered")
		n.put("d", "again")
		time.Sleep(61 * time.Second)
		equal(t, "objects of the second", joined(n.objects("events")), "delivered|again")
	})
}

func TestTotalsSurviveRestartsAndShardsThatAreGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", hints(1, 5)))
		n.append("s", "a", "1")
		n.append("s", "a", "2")
		n.source.split("s", 0)
		n.append("s", "a", "3")
		time.Sleep(20 * time.Second)
		n.source.forget("s", 0)
		time.Sleep(2 * time.Second)
		n.restart()
		l, err := n.engine.Ledger(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		d := l.DeliveryStreams[0]
		equal(t, "delivered", d.Delivered, 3)
		equal(t, "retired", d.Retired.Delivered, 2)
		equal(t, "shards", len(d.Shards), 2)
		equal(t, "adds up", l.Check(), nil)
		equal(t, "objects", joined(n.objects("events")), "12|3")
	})
}

// Children are delivered after their parent, so that the records of one key stay in order through a reshard.
func TestChildrenAreReadAfterTheirParents(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", hints(1, 5)))
		n.sink.mu.Lock()
		n.sink.hang["events"] = true // the parent can't be drained
		n.sink.mu.Unlock()
		n.append("s", "k", "1")
		time.Sleep(6 * time.Second)
		n.source.split("s", 0)
		n.append("s", "k", "2")
		time.Sleep(10 * time.Minute)
		n.source.split("s", 1)
		n.source.split("s", 2)
		n.append("s", "k", "3")
		time.Sleep(10 * time.Minute)
		equal(t, "in flight", n.ledger("d").InFlight, 3) // unread children are counted too
		n.sink.mu.Lock()
		n.sink.hang["events"] = false
		n.sink.mu.Unlock()
		time.Sleep(3 * time.Minute)
		equal(t, "objects", joined(n.objects("events")), "1|2|3")
		equal(t, "in flight", n.ledger("d").InFlight, 0)
	})
}

func TestStreamThatIsMadeAgainIsFollowed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", hints(1, 5)))
		n.append("s", "k", "1")
		time.Sleep(10 * time.Second)
		n.append("s", "k", "buffered, and gone with the stream before the flush")
		time.Sleep(time.Second)
		if err := n.source.DeleteStream(context.Background(), "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		n.stream("s", 1)
		n.append("s", "k", "2")
		time.Sleep(10 * time.Second)
		equal(t, "objects", joined(n.objects("events")), "1|buffered, and gone with the stream before the flush|2")
		equal(t, "delivered", n.ledger("d").Delivered, 3)
	})
}

func TestRecordsOfADeletedStreamAreCountedAsExpired(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{BufferBudget: 1}).start() // nothing is kept in memory
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", hints(1, 60)))
		n.append("s", "k", "1")
		time.Sleep(time.Second)
		if err := n.source.DeleteStream(context.Background(), "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		line := n.ledger("d")
		equal(t, "accepted", line.Accepted, 1)
		equal(t, "expired", line.Expired, 1)
	})
}

// What a full disk has trimmed, before it was read or between plan and put, is counted.
func TestTrimmedRecordsAreCountedAsExpired(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{BufferBudget: 1})
		n.sink.fail = func(string, string) error { return errOut }
		n.start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", hints(1, 10)))
		for _, r := range []string{"1", "2", "3"} {
			n.append("s", "k", r)
		}
		time.Sleep(11 * time.Second) // planned, not put
		n.source.trim("s", 0, 2)
		n.setFail(nil)
		time.Sleep(15 * time.Second)
		equal(t, "objects", joined(n.objects("events")), "3")
		n.close()
		for _, r := range []string{"4", "5", "6"} {
			n.append("s", "k", r)
		}
		n.source.trim("s", 0, 3)
		n.start()
		time.Sleep(15 * time.Second)
		equal(t, "objects", joined(n.objects("events")), "3|6")
		line := n.ledger("d")
		equal(t, "accepted", line.Accepted, 6)
		equal(t, "expired", line.Expired, 4)
		equal(t, "delivered", line.Delivered, 2)
		n.append("s", "k", "7")
		n.source.trim("s", 0, 2) // all of it
		time.Sleep(idleWait)
		line = n.ledger("d")
		equal(t, "expired", line.Expired, 5)
		equal(t, "in flight", line.InFlight, 0)
	})
}

// The records of buffers that the budget has no room for are read again, and nothing else changes.
func TestBudgetOverflow(t *testing.T) {
	for _, budget := range []int64{1, slabBytes, 3 * slabBytes, DefaultBufferBudget} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, Options{BufferBudget: budget}).start()
			defer n.close()
			n.create(request("d", "", func(d *S3Destination) {
				hints(1, 5)(d)
				d.CompressionFormat = "GZIP"
			}))
			var want strings.Builder
			for i := range 700 {
				record := fmt.Sprintf("%d:%s\n", i, strings.Repeat("y", i*7%9000))
				want.WriteString(record)
				n.put("d", record)
			}
			time.Sleep(30 * time.Second)
			if got := strings.Join(n.objects("events"), ""); got != want.String() {
				t.Errorf("budget %d: objects differ", budget)
			}
			if used := n.engine.budget.used.Load(); used != 0 {
				t.Errorf("budget %d: %d bytes are not given back", budget, used)
			}
		})
	}
}
