package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

var background = context.Background()

func TestCreateRefusesWhatExistsAndWhatIsMissing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", nil))
		_, err := n.engine.Create(background, request("d", "", nil))
		equal(t, "exists", fault.KindOf(err), fault.InUse)
		_, err = n.engine.Create(background, request("e", "nowhere", nil))
		equal(t, "no source", fault.KindOf(err), fault.Invalid)
		_, err = n.engine.Describe("e")
		equal(t, "not made", fault.KindOf(err), fault.NotFound)
		equal(t, "streams", len(n.source.Streams()), 1)
	})
}

// A creation that a crash cuts off leaves nothing behind; one that was answered is there.
func TestCrashInCreation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		hidden := hiddenStream("cut", "0123456789abcdef")
		if _, err := n.source.CreateStream(background, stream.CreateStream{Name: hidden}); err != nil {
			t.Fatal(err)
		}
		key := journal.Key{Delivery: "0123456789abcdef", Shard: stream.ShardRef{Stream: hidden, ID: "id1"}}
		if err := n.engine.opts.Journal.Write(background, &journal.Change{Rows: []journal.Row{{Key: key, Version: 1}}}); err != nil {
			t.Fatal(err)
		}
		def := n.create(request("d", "", nil))
		n.restart()
		var names []string
		for _, st := range n.source.Streams() {
			names = append(names, st.Name)
		}
		equal(t, "streams", strings.Join(names, " "), def.SourceStream())
		rows, err := n.engine.opts.Journal.Deliveries(background)
		if err != nil || len(rows) != 1 || rows[0] != def.ID {
			t.Errorf("rows of %q, %v", rows, err)
		}
	})
}

// Acknowledged records are never removed because their definition is missing, planned or not.
func TestHiddenStreamWithRecordsIsKept(t *testing.T) {
	for _, planned := range []bool{false, true} {
		inBubble(t, func(t *testing.T) { hiddenStreamWithRecords(t, planned) })
	}
}

func hiddenStreamWithRecords(t *testing.T, planned bool) {
	n := newNode(t, Options{}).start()
	defer func() { n.close() }()
	def := n.create(request("d", "", nil))
	n.put("d", "acknowledged")
	time.Sleep(time.Second)
	n.setHang("events", true)
	crashed := n.snapshot(0)
	n.close()
	if !planned {
		n = crashed
	}
	lost := n.defs.all["d"]
	delete(n.defs.all, "d")
	n.start()
	n.close()
	n.setHang("events", false)
	n.defs.all["d"] = lost // the catalog is repaired
	n.start()
	time.Sleep(2 * time.Minute)
	equal(t, "objects", joined(n.objects("events")), "acknowledged")
	equal(t, "stream", def.SourceStream(), n.source.Streams()[0].Name)
}

// Deletion may be cut off after any of its steps; the next start goes on, and the counts are right.
func TestCrashInDeletion(t *testing.T) {
	for step := range 3 {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, Options{}).start()
			defer n.close()
			def := n.create(request("d", "", hints(1, 5)))
			n.put("d", "delivered")
			time.Sleep(10 * time.Second)
			n.put("d", "discarded")
			time.Sleep(time.Second)
			deleting := def.clone()
			deleting.Status = Deleting
			n.setHang("events", true)
			snapshot := n.snapshot(1)
			snapshot.defs.all["d"] = deleting
			second := snapshot
			if step > 0 { // the counts are booked
				snapshot.start()
				second = snapshot.snapshot(1)
				snapshot.close()
				second.defs.all["d"] = deleting
			}
			if step == 1 { // the stream is not removed yet
				second.source = n.source.clone()
				second.join(second.world)
			}
			second.start()
			defer second.close()
			line := second.ledger("d")
			equal(t, "accepted", line.Accepted, 2)
			equal(t, "delivered", line.Delivered, 1)
			equal(t, "discarded", line.Discarded, 1)
			equal(t, "streams", len(second.source.Streams()), 0)
			equal(t, "definitions", len(second.defs.all), 0)
		})
	}
}

// What is planned when a delivery stream is deleted counts as delivered only if its object is there.
func TestDeleteWithPlannedObjects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.sink.mu.Lock()
		n.sink.lose = func(string, string) error { return errOut } // stored, and nobody hears of it
		n.sink.mu.Unlock()
		n.put("d", "there")
		time.Sleep(5500 * time.Millisecond)
		n.setHang("events", true)
		n.put("d", "not there")
		time.Sleep(10 * time.Second)
		if err := n.engine.Delete(background, "d"); err != nil {
			t.Fatal(err)
		}
		line := n.ledger("d")
		equal(t, "delivered", line.Delivered, 1)
		equal(t, "discarded", line.Discarded, 1)
	})
}

// A process that was declared dead and is not stops when another one has taken over its rows.
func TestFencedProcessStops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		def := n.create(request("d", "", hints(1, 5)))
		n.put("d", "a")
		time.Sleep(time.Second)
		rows, _, err := n.engine.opts.Journal.Load(background, def.ID)
		if err != nil {
			t.Fatal(err)
		}
		rows[0].Version++
		rows[0].Writer = "another"
		if err := n.engine.opts.Journal.Write(background, &journal.Change{Rows: rows}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		equal(t, "objects", len(n.objects("events")), 0)
		if trouble := n.engine.Trouble()["d"].Error; !strings.Contains(trouble, "another process") {
			t.Errorf("trouble %q", trouble)
		}
		equal(t, "fenced", n.engine.Metrics(background).DeliveryStreams[0].ShardsFencedAway, 1)
	})
}

// Retention may trim what is committed, and nothing else.
func TestHoldsFollowTheCheckpoint(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		n.append("s", "k", "before")
		n.create(request("d", "s", hints(1, 5)))
		st, _ := n.source.Stream("s")
		ref := stream.ShardRef{Stream: "s", ID: st.ID}
		held := func() int64 {
			n.source.mu.Lock()
			defer n.source.mu.Unlock()
			place, ok := n.source.held[ref]
			if !ok {
				return -1
			}
			return position(st.Shards[0].Created, 0, place)
		}
		equal(t, "at the start", held(), 1)
		n.append("s", "k", "a")
		time.Sleep(4 * time.Second)
		equal(t, "before the commit", held(), 1)
		time.Sleep(2 * time.Second)
		equal(t, "after the commit", held(), 2)
		n.close()
		n.source = n.source.clone() // holds are the process's
		n.join(n.world)
		n.start()
		equal(t, "after a start", held(), 2)
		n.close()
		n.source.split("s", 0)
		n.source = n.source.clone()
		n.join(n.world)
		n.start()
		st, _ = n.source.Stream("s")
		n.source.mu.Lock()
		defer n.source.mu.Unlock()
		ref.Shard = 1
		equal(t, "of a child, when Start returns", n.source.held[ref], st.Shards[1].First)
	})
}

func TestPutLimits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "", nil))
		n.create(request("k", "s", nil))
		f := func(name string, records [][]byte, message string) {
			t.Helper()
			_, err := n.engine.PutBatch(background, name, records, make([]PutResult, len(records)))
			if message == "" && err == nil {
				return
			}
			if e, ok := err.(*fault.Error); !ok || e.Message() != message {
				t.Errorf("got %v, want %q", err, message)
			}
		}
		f("none", make([][]byte, 1), "Firehose none under account 000000000000 not found.")
		f("k", make([][]byte, 1), "This operation is not permitted on KinesisStreamAsSource delivery stream type.")
		f("d", nil, "A batch holds 1 to 500 records, not 0")
		f("d", make([][]byte, 501), "A batch holds 1 to 500 records, not 501")
		f("d", [][]byte{make([]byte, MaxPutRecordBytes+1)}, "A record has at most 1024000 bytes, not 1024001")
		big := make([]byte, MaxPutRecordBytes)
		f("d", [][]byte{big, big, big, big, make([]byte, MaxPutBatchBytes-4*MaxPutRecordBytes+1)}, "Records size exceeds 4 MB limit")
		f("d", [][]byte{big, big, big, big, make([]byte, MaxPutBatchBytes-4*MaxPutRecordBytes)}, "")
	})
}

func TestListAndTags(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		for _, name := range []string{"c", "a", "b"} {
			n.create(request(name, "", nil))
		}
		n.create(request("k", "s", nil))
		names, more := n.engine.List(ListRequest{Limit: 2})
		equal(t, "first page", fmt.Sprint(names, more), "[a b] true")
		names, more = n.engine.List(ListRequest{Limit: 2, After: "bb"})
		equal(t, "second page", fmt.Sprint(names, more), "[c k] false")
		names, _ = n.engine.List(ListRequest{Limit: 2, Type: KinesisStreamAsSource})
		equal(t, "of a type", fmt.Sprint(names), "[k]")

		if err := n.engine.Tag(background, "a", []Tag{{"x", "1"}, {"y", "2"}, {"x2", ""}}); err != nil {
			t.Fatal(err)
		}
		if err := n.engine.Untag(background, "a", []string{"y", "absent"}); err != nil {
			t.Fatal(err)
		}
		n.restart()
		tags, more, err := n.engine.Tags("a", "", 1)
		equal(t, "tags", fmt.Sprint(tags, more, err), "[{x 1}] true <nil>")
		tags, more, err = n.engine.Tags("a", "x", 50)
		equal(t, "more tags", fmt.Sprint(tags, more, err), "[{x2 }] false <nil>")
		var many []Tag
		for i := range 49 {
			many = append(many, Tag{fmt.Sprint("t", i), ""})
		}
		equal(t, "too many", fault.KindOf(n.engine.Tag(background, "a", many)), fault.LimitExceeded)
	})
}

// Puts that race with a deletion are either counted as discarded or refused.
func TestPutsRaceWithDeletion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		var accepted sync.Map
		var wait sync.WaitGroup
		for i := range 20 {
			wait.Go(func() {
				for {
					id, _, err := n.engine.Put(background, "d", []byte("x"))
					if err != nil {
						if !fault.Is(err, fault.NotFound) {
							t.Error(err)
						}
						return
					}
					accepted.Store(id, i)
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(7 * time.Second)
		if err := n.engine.Delete(background, "d"); err != nil {
			t.Fatal(err)
		}
		wait.Wait()
		total := int64(0)
		accepted.Range(func(any, any) bool { total++; return true })
		line := n.ledger("d")
		equal(t, "accepted", line.Accepted, total)
		equal(t, "delivered and discarded", line.Delivered+line.Discarded, total)
	})
}

// Several shards of one delivery stream that plan in the same millisecond get different, rising ids.
func TestKeysOfManyShardsSortWithinEach(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 8)
		n.create(request("d", "s", hints(1, 0)))
		for i := range 30 {
			for key := range 20 {
				n.append("s", fmt.Sprint(key), text1(fmt.Sprint(key), i, 0))
			}
			time.Sleep(zeroBufferingAge / 2)
		}
		time.Sleep(5 * time.Second)
		got := map[string][]int{}
		for _, o := range n.objects("events") {
			sequence(t, o, got)
		}
		equal(t, "keys", len(got), 20)
		for key, numbers := range got {
			if len(numbers) != 30 || !slices.IsSorted(numbers) {
				t.Errorf("key %s: %v", key, numbers)
			}
		}
	})
}

func TestTimeZoneAndExpressionsInKeys(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", func(d *S3Destination) {
			prefix, failed, zone, extension := "y=!{timestamp:yyyy}/h=!{timestamp:HH}/", "e/!{firehose:error-output-type}/", "Asia/Tokyo", ".json.gz"
			d.Prefix, d.ErrorOutputPrefix, d.CustomTimeZone, d.FileExtension = &prefix, &failed, &zone, &extension
			d.CompressionFormat = "GZIP"
		}))
		n.put("d", "a")
		time.Sleep(2 * time.Minute)
		key := n.sink.keys("events")[0]
		if !strings.HasPrefix(key, "y=2000/h=09/d-1-2000-01-01-09-00-00-") || !strings.HasSuffix(key, ".json.gz") {
			t.Errorf("key %s", key)
		}
		o := n.sink.get("events", key)
		equal(t, "type", o.info.ContentType, "application/octet-stream")
		equal(t, "encoding", o.info.ContentEncoding, "gzip")
		if !strings.Contains(key, o.info.Metadata[metaManifest]) {
			t.Errorf("metadata %v", o.info.Metadata)
		}
	})
}

func TestApplyIsIdempotent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		n.stream("s2", 1)
		f := func(req *CreateRequest, version int64, changed bool) {
			t.Helper()
			def, did, err := n.engine.Apply(background, req)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "version", def.VersionID, version)
			equal(t, "changed", did, changed)
		}
		prefix := "p/"
		withPrefix := func(d *S3Destination) { d.Prefix = &prefix }
		tagged := request("d", "s", nil)
		tagged.Tags = []Tag{{"a", "b"}}
		f(request("d", "s", nil), 1, true)
		f(request("d", "s", nil), 1, false)
		f(request("d", "s", withPrefix), 2, true)
		f(request("d", "s", withPrefix), 2, false)
		f(request("d", "s", nil), 3, true) // an absent member takes its default
		f(tagged, 3, true)
		n.restart()
		f(tagged, 3, false)
		_, _, err := n.engine.Apply(background, request("d", "s2", nil))
		if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "KinesisStreamSourceConfiguration") {
			t.Errorf("another source: %v", err)
		}
		_, _, err = n.engine.Apply(background, request("d", "", nil))
		equal(t, "another type", fault.KindOf(err), fault.Unsupported)
	})
}
