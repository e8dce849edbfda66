package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/object"
)

var errOut = fault.New(fault.Unavailable, "memory.Put", "", "out of order")

func (n *node) setFail(f func(bucket, key string) error) {
	n.sink.mu.Lock()
	defer n.sink.mu.Unlock()
	n.sink.fail = f
}

func (n *node) setHang(bucket string, hang bool) {
	n.sink.mu.Lock()
	defer n.sink.mu.Unlock()
	n.sink.hang[bucket] = hang
}

func bucket(name string) func(*S3Destination) {
	return func(d *S3Destination) {
		hints(1, 5)(d)
		d.BucketARN = "arn:aws:s3:::" + name
	}
}

func TestMissingBucketReceivesEverythingWhenItIsMade(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", bucket("later")))
		n.create(request("e", "", bucket("events")))
		var want strings.Builder
		for i := range 600 { // an hour
			n.put("d", fmt.Sprintf("%d,", i))
			fmt.Fprintf(&want, "%d,", i)
			n.put("e", "x")
			time.Sleep(6 * time.Second)
		}
		if objects := len(n.objects("events")); objects < 590 {
			t.Errorf("the other bucket got %d objects of 600", objects)
		}
		if n.engine.Healthy() == nil || n.engine.Trouble()["d"].Error == "" || n.engine.Trouble()["e"].Error != "" {
			t.Errorf("trouble %+v", n.engine.Trouble())
		}
		m := n.engine.Metrics(context.Background()).DeliveryStreams[0]
		equal(t, "manifests stay bounded", m.Manifests, maxOutstanding)
		equal(t, "lag", m.LagRecords, 600)
		if used := n.engine.budget.used.Load(); used > slabBytes {
			t.Errorf("%d bytes of memory wait for a bucket that is out", used)
		}
		if m.LagSeconds < 3590 {
			t.Errorf("lag of %v seconds", m.LagSeconds)
		}
		n.sink.create("later")
		time.Sleep(retryMax + 10*time.Second)
		objects := n.objects("later")
		equal(t, "content", strings.Join(objects, ""), want.String())
		if len(objects) > maxOutstanding+2 {
			t.Errorf("%d objects: a backlog leaves in full ones", len(objects))
		}
		equal(t, "healthy", n.engine.Healthy(), nil)
		equal(t, "in flight", n.ledger("d").InFlight, 0)
	})
}

func TestSlowBucketsDoNotHoldUpOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		for i := range 2 * putSlots {
			name := fmt.Sprintf("slow%d", i%2)
			n.sink.create(name)
			n.setHang(name, true)
			n.create(request(fmt.Sprintf("s%d", i), "", bucket(name)))
			n.put(fmt.Sprintf("s%d", i), "s")
		}
		time.Sleep(10 * time.Minute) // both have stalled, and are probed by one task each
		n.create(request("d", "", bucket("events")))
		for range 20 {
			n.put("d", "x")
			time.Sleep(6 * time.Second)
		}
		if got := len(n.objects("events")); got != 20 {
			t.Errorf("%d objects of 20", got)
		}
		n.setHang("slow0", false)
		n.setHang("slow1", false)
		time.Sleep(2*stallTimeout + retryMax)
		equal(t, "slow0", strings.Join(n.objects("slow0"), ""), strings.Repeat("s", putSlots))
		equal(t, "slow1", strings.Join(n.objects("slow1"), ""), strings.Repeat("s", putSlots))
	})
}

// An answer that is lost after the object was stored leads to no second object.
func TestLostAnswerOfAPut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		losses := 3
		n.sink.lose = func(string, string) error {
			if losses--; losses >= 0 {
				return errOut
			}
			return nil
		}
		n.start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		for i := range 5 {
			n.put("d", fmt.Sprint(i))
			time.Sleep(6 * time.Second)
		}
		time.Sleep(time.Minute)
		equal(t, "objects", joined(n.objects("events")), "0|1|2|3|4")
		line := n.ledger("d")
		equal(t, "delivered", line.Delivered, 5)
		equal(t, "objects counted", line.Objects, 5)
	})
}

// An object of somebody else on the planned key: before anything was ever put, another key is safe.
func TestForeignObjectOnAPlannedKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		taken := ""
		n.sink.fail = func(bucket, key string) error {
			if taken == "" {
				taken = key
				n.sink.mu.Lock()
				n.sink.buckets[bucket][key] = &memoryObject{[]byte("theirs"), object.Info{Key: key}}
				n.sink.mu.Unlock()
			}
			return nil
		}
		n.start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.put("d", "ours")
		time.Sleep(10 * time.Second)
		n.put("d", "next")
		time.Sleep(10 * time.Second)
		equal(t, "foreign object", string(n.sink.get("events", taken).data), "theirs")
		var ours []string
		for _, key := range n.sink.keys("events") {
			if key != taken {
				ours = append(ours, string(n.sink.get("events", key).data))
			}
		}
		equal(t, "objects in order", joined(ours), "ours|next")
	})
}

// When an earlier attempt may have stored the object, no other key is safe: delivery of that shard stops, loudly, until
// the foreign object is moved away.
func TestForeignObjectAfterAnUnknownOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		taken := ""
		n.sink.lose = func(bucket, key string) error {
			if taken != "" {
				return nil
			}
			taken = key
			n.sink.buckets[bucket][key] = &memoryObject{[]byte("theirs"), object.Info{Key: key}}
			return errOut
		}
		n.start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.put("d", "ours")
		time.Sleep(time.Hour)
		equal(t, "objects", joined(n.objects("events")), "theirs")
		if trouble := n.engine.Trouble()["d"].Error; !strings.Contains(trouble, taken) {
			t.Errorf("trouble %q does not name the key", trouble)
		}
		n.sink.mu.Lock()
		delete(n.sink.buckets["events"], taken)
		n.sink.mu.Unlock()
		time.Sleep(time.Minute)
		equal(t, "objects", joined(n.objects("events")), "ours")
		equal(t, "healthy", n.engine.Healthy(), nil)
	})
}

func TestSourceErrorsAreRetried(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{BufferBudget: 1}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.put("d", "a")
		time.Sleep(time.Second)
		n.source.mu.Lock()
		n.source.readErr = errors.New("disk on fire")
		n.source.mu.Unlock()
		n.put("d", "b")
		time.Sleep(time.Minute)
		equal(t, "objects", joined(n.objects("events")), "")
		n.source.mu.Lock()
		n.source.readErr = nil
		n.source.mu.Unlock()
		time.Sleep(time.Minute)
		equal(t, "objects", strings.Join(n.objects("events"), ""), "ab")
		equal(t, "healthy", n.engine.Healthy(), nil)
	})
}

// Stopping in order plans and puts what is buffered.
func TestCloseFlushes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		n.create(request("d", "", hints(5, 300)))
		n.put("d", "buffered")
		time.Sleep(time.Second)
		n.close()
		equal(t, "objects", joined(n.objects("events")), "buffered")
		n.start()
		defer n.close()
		time.Sleep(10 * time.Minute)
		equal(t, "objects", joined(n.objects("events")), "buffered")
	})
}

func TestCloseDoesNotWaitForABucketThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		n.create(request("d", "", hints(1, 5)))
		n.setHang("events", true)
		n.put("d", "a")
		time.Sleep(6 * time.Second)
		before := time.Now()
		n.close()
		if took := time.Since(before); took > drainTimeout {
			t.Errorf("close took %v", took)
		}
		n.setHang("events", false)
		n.start()
		defer n.close()
		time.Sleep(time.Second)
		equal(t, "objects", joined(n.objects("events")), "a")
	})
}

// After a write whose answer was lost, what the journal holds counts, and not what the process believes.
func TestLostAnswerOfARename(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		taken := ""
		n.sink.fail = func(bucket, key string) error {
			if taken == "" {
				taken = key
				n.sink.mu.Lock()
				n.sink.buckets[bucket][key] = &memoryObject{[]byte("theirs"), object.Info{Key: key}}
				n.sink.mu.Unlock()
			}
			return nil
		}
		writes := 0
		n.answer = func() (bool, error) {
			if writes++; writes == 3 { // rows, plan, rename
				n.sink.mu.Lock()
				delete(n.sink.buckets["events"], taken) // the first key is free again
				n.sink.mu.Unlock()
				return true, errOut
			}
			return true, nil
		}
		remains := n.dieAt("put-after", 1, 0)
		n.start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.put("d", "ours")
		time.Sleep(time.Minute)
		after := remains()
		after.sink.fail, after.answer = nil, nil
		after.start()
		defer after.close()
		time.Sleep(time.Minute)
		equal(t, "objects", joined(after.objects("events")), "ours")
		equal(t, "delivered", after.ledger("d").Delivered, 1)
	})
}

// A write of another process between ours and its lost answer is not taken for ours.
func TestAnotherWriterIsNotTakenForUs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		n.start()
		defer n.close()
		def := n.create(request("d", "", hints(1, 5)))
		plain := n.engine.opts.Journal.(*worldJournal).Journal
		n.engine.opts.Journal.(*worldJournal).answer = func() (bool, error) {
			rows, _, err := plain.Load(background, def.ID)
			if err != nil {
				t.Error(err)
			}
			rows[0].Version, rows[0].Writer = rows[0].Version+1, "another"
			if err := plain.Write(background, &journal.Change{Rows: rows}); err != nil {
				t.Error(err)
			}
			n.engine.opts.Journal.(*worldJournal).answer = nil
			return false, errOut
		}
		n.put("d", "a")
		time.Sleep(time.Minute)
		equal(t, "objects", len(n.objects("events")), 0)
		equal(t, "fenced", n.engine.Metrics(background).DeliveryStreams[0].ShardsFencedAway, 1)
	})
}

// An object that was stored before some of its records expired holds more than the amended plan says.
func TestStoredObjectOfAnAmendedPlan(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.sink.buckets["events"]["k"] = &memoryObject{info: object.Info{Attributes: object.Attributes{
			Metadata: map[string]string{metaManifest: "m", metaRecords: "5"}}}}
		s := n.engine.deliveries()[0].list()[0]
		m := &journal.Manifest{Expired: 2, Parts: []journal.Part{{ID: "m", Bucket: "events", ObjectKey: "k", Records: 3, Outputs: 3}}}
		result, found, err := newTask(s, m).head(background, &m.Parts[0])
		if err != nil || !found || result.delivered != 5 || result.expired != -2 {
			t.Errorf("%+v, %v, %v", result, found, err)
		}
	})
}

// An object that was stored before all of its records expired has delivered them.
func TestStoredObjectOfAnEmptyPlan(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.sink.buckets["events"]["k"] = &memoryObject{info: object.Info{Attributes: object.Attributes{
			Metadata: map[string]string{metaManifest: "m", metaRecords: "5"}}}}
		s := n.engine.deliveries()[0].list()[0]
		for _, c := range []struct {
			id    string
			count counted
		}{{"m", counted{delivered: 5, expired: -5, objects: 1}}, {"another", counted{}}} {
			m := &journal.Manifest{Expired: 5, Parts: []journal.Part{{ID: c.id, Bucket: "events", ObjectKey: "k"}}}
			if result, err := foundTask(s, m).store(background, 0); err != nil || result != c.count {
				t.Errorf("%+v, %v", result, err)
			}
		}
	})
}

// The same when the foreign object comes between the look and the put.
func TestForeignObjectBetweenLookAndPut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		attempts := 0
		n.sink.lose = func(bucket, key string) error {
			delete(n.sink.buckets[bucket], key) // stored, taken away, and never heard of
			return errOut
		}
		n.sink.fail = func(bucket, key string) error {
			if attempts++; attempts == 2 {
				n.sink.mu.Lock()
				defer n.sink.mu.Unlock()
				n.sink.buckets[bucket][key] = &memoryObject{[]byte("theirs"), object.Info{Key: key}}
				n.sink.lose = nil
			}
			return nil
		}
		n.start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.put("d", "ours")
		time.Sleep(time.Hour)
		equal(t, "objects", joined(n.objects("events")), "theirs")
	})
}
