package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

func create(t testing.TB, b *Backend, spec stream.CreateStream) *stream.Stream {
	t.Helper()
	s, err := b.CreateStream(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put appends one record.
func put(t testing.TB, b *Backend, name, key, data string) stream.Result {
	t.Helper()
	var results [1]stream.Result
	if err := b.Append(t.Context(), name, []stream.Entry{{PartitionKey: key, Data: []byte(data)}}, results[:]); err != nil {
		t.Fatal(err)
	}
	return results[0]
}

func mustPut(t testing.TB, b *Backend, name, key, data string) stream.Result {
	t.Helper()
	r := put(t, b, name, key, data)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

// eventually looks at a stream until what is asked of it is so.
func eventually(t testing.TB, b *Backend, name string, is func(*stream.Stream) bool) *stream.Stream {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if s, ok := b.Stream(name); ok && is(s) {
			return s
		}
		if time.Now().After(deadline) {
			s, _ := b.Stream(name)
			t.Fatalf("stream %s does not become what it should: %+v", name, s)
		}
		time.Sleep(time.Millisecond)
	}
}

func active(s *stream.Stream) bool { return s.Status == stream.Active }

type placedRecord struct {
	shard uint32
	key   string
	data  string
	seq   stream.SequenceNumber
}

// walk reads all shards to their tips or ends, parents first.
func walk(t testing.TB, b *Backend, name string) []placedRecord {
	t.Helper()
	s, ok := b.Stream(name)
	if !ok {
		t.Fatalf("no stream %s", name)
	}
	var all []placedRecord
	var batch stream.Batch
	for i := range s.Shards {
		sh := &s.Shards[i]
		req := stream.ReadRequest{Shard: stream.ShardRef{Stream: name, ID: s.ID, Shard: sh.Index}, MaxRecords: 1000, MaxBytes: 1 << 20}
		for {
			if err := b.Read(t.Context(), req, &batch); err != nil {
				t.Fatal(err)
			}
			for _, r := range batch.Records {
				all = append(all, placedRecord{sh.Index, string(r.PartitionKey), string(r.Data), r.Sequence})
			}
			req.From = batch.Next
			if batch.End || len(batch.Records) == 0 && batch.MillisBehind == 0 {
				if batch.End == sh.Open() {
					t.Fatalf("%s is open: %v; it ended: %v", sh.ID(), sh.Open(), batch.End)
				}
				break
			}
		}
	}
	return all
}

func split(t testing.TB, b *Backend, name string) error {
	t.Helper()
	_, err := b.Reshard(t.Context(), name, stream.Reshard{Count: 2})
	return err
}

// A node that stands still while a shard closes answers for what it has produced past the end only with the number that
// the record got in the child.
func TestFrozenNodeProducesAgainToTheChild(t *testing.T) {
	r := newRig(t)
	frozen, itsCatalog := r.open(nil)
	other, _ := r.open(nil)
	create(t, frozen, stream.CreateStream{Name: "s"})
	mustPut(t, frozen, "s", "k", "before")
	itsCatalog.freeze()
	if err := split(t, other, "s"); err != nil {
		t.Fatal(err)
	}
	s := eventually(t, other, "s", active) // after the lease
	mustPut(t, other, "s", "k", "from the other")
	if old, _ := frozen.Stream("s"); len(old.Shards) != 1 {
		t.Fatal("the frozen node sees the change")
	}
	answer := make(chan stream.Result, 1)
	go func() { answer <- put(t, frozen, "s", "k", "late") }()
	parent := other.view.Load().byName["s"].shards[0]
	deadline := time.Now().Add(20 * time.Second)
	for { // the record lies past the end
		end, err := other.listOffset(t.Context(), parent, latest, committed)
		if err != nil || time.Now().After(deadline) {
			t.Fatal(end, err)
		}
		if end == 2 {
			break
		}
	}
	select {
	case r := <-answer:
		t.Fatalf("answered without a look at the catalog: %+v", r)
	case <-time.After(50 * time.Millisecond):
	}
	itsCatalog.thaw()
	got := <-answer
	if got.Err != nil || got.Shard == 0 {
		t.Fatalf("got %+v", got)
	}
	all := walk(t, other, "s")
	if len(all) != 3 || all[0].data != "before" || all[1].data != "from the other" || all[2].data != "late" || all[2].seq != got.Sequence {
		t.Errorf("read %+v of %+v", all, s.Shards)
	}
}

// What a frozen node answers while its lease lasts lies before the end.
func TestLeaseCoversWhatIsAnswered(t *testing.T) {
	r := newRig(t)
	frozen, itsCatalog := r.open(nil)
	other, _ := r.open(nil)
	create(t, frozen, stream.CreateStream{Name: "s"})
	itsCatalog.freeze()
	done := make(chan error, 1)
	go func() { done <- split(t, other, "s") }()
	n := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 3*testLease)
		var results [1]stream.Result
		err := frozen.Append(ctx, "s", []stream.Entry{{PartitionKey: "k", Data: strconv.AppendInt(nil, int64(n), 10)}}, results[:])
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if results[0].Err != nil {
			break // the lease has run out, and nobody told whether the shard is open
		}
		n++
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, other, "s", active)
	all := walk(t, other, "s")
	if n == 0 || len(all) < n || len(all) > n+1 {
		t.Fatalf("%d answered, %d read", n, len(all))
	}
	for i := range n {
		if all[i].data != strconv.Itoa(i) || all[i].shard != 0 {
			t.Fatalf("record %d is %+v", i, all[i])
		}
	}
	itsCatalog.thaw()
}

// A shard that closes waits for what is in flight, and takes nothing new meanwhile.
func TestClosingWaitsForWhatIsInFlight(t *testing.T) {
	r := newRig(t)
	r.catalog.lease = time.Minute // not what ends the wait
	long := func(o *Options) { o.Lease = time.Minute }
	a, _ := r.open(long)
	b, _ := r.open(long)
	create(t, a, stream.CreateStream{Name: "s"})
	mustPut(t, a, "s", "k", "0")
	hold, held := make(chan struct{}), make(chan struct{}, 100)
	r.brokers.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		held <- struct{}{}
		r.brokers.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	answers := make(chan stream.Result, 2)
	go func() { answers <- put(t, a, "s", "k", "in flight") }()
	<-held
	done := make(chan error, 1)
	go func() { done <- split(t, b, "s") }()
	eventually(t, a, "s", func(s *stream.Stream) bool { return s.Status == stream.Updating })
	go func() { answers <- put(t, a, "s", "k", "after") }()
	select {
	case r := <-answers:
		t.Fatalf("answered while the shard closes: %+v", r)
	case err := <-done:
		if s, _ := b.Stream("s"); s.Status == stream.Active {
			t.Fatalf("closed with a record in flight: %v", err)
		}
	case <-time.After(100 * time.Millisecond):
	}
	close(hold)
	first, second := <-answers, <-answers
	if first.Err != nil || second.Err != nil || first.Shard == second.Shard {
		t.Fatalf("got %+v and %+v", first, second)
	}
	eventually(t, b, "s", active)
	var data []string
	for _, rec := range walk(t, b, "s") {
		data = append(data, rec.data)
	}
	if fmt.Sprint(data) != "[0 in flight after]" {
		t.Errorf("read %q", data)
	}
}

// Several nodes append, reshard and stand still at random. At the end what was answered is there once, in order for each
// key, at the place that the answer named.
func TestRandomHistories(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 7))
	r := newRig(t)
	const nodes, writers, lease = 3, 12, 300 * time.Millisecond
	r.catalog.lease = lease
	var backends [nodes]*Backend
	var catalogs [nodes]*memoryNode
	for i := range backends {
		backends[i], catalogs[i] = r.open(func(o *Options) { o.Lease = lease })
	}
	create(t, backends[0], stream.CreateStream{Name: "s", Shards: 2})

	stop := make(chan struct{})
	type answered struct {
		data string
		stream.Result
	}
	var mu sync.Mutex
	answers := map[string][]answered{} // by key, in order; an unknown outcome has its error
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+w)))
			for n := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				entries := make([]stream.Entry, 1+rnd.IntN(4))
				results := make([]stream.Result, len(entries))
				key := "w" + strconv.Itoa(w)
				for i := range entries {
					entries[i] = stream.Entry{PartitionKey: key, Data: fmt.Appendf(nil, "%s/%d", key, n)}
					n++
				}
				b := backends[rnd.IntN(nodes)]
				if err := b.Append(t.Context(), "s", entries, results); err != nil {
					if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Throttled) {
						t.Errorf("append: %v", err)
						return
					}
					continue // certainly not written
				}
				mu.Lock()
				for i := range entries {
					answers[key] = append(answers[key], answered{string(entries[i].Data), results[i]})
				}
				mu.Unlock()
			}
		})
	}
	// Some produces take their time.
	r.brokers.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.brokers.KeepControl()
		if rnd := rand.IntN(100); rnd < 5 {
			r.brokers.SleepControl(func() { time.Sleep(time.Duration(rnd*10) * time.Millisecond) })
		}
		return nil, nil, false
	})
	ended := time.After(6 * time.Second)
	wg.Go(func() { // one node at a time stands still, often for longer than its lease
		rnd := rand.New(rand.NewPCG(seed, 50))
		for {
			n := rnd.IntN(nodes)
			catalogs[n].freeze()
			time.Sleep(lease/4 + time.Duration(rnd.IntN(int(5*lease))))
			catalogs[n].thaw()
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rnd.IntN(int(lease)))):
			}
		}
	})
	reshards := 0
	for running := true; running; {
		_, err := backends[rnd.IntN(nodes)].Reshard(t.Context(), "s", stream.Reshard{Count: 1 + rnd.IntN(5)})
		if err == nil {
			reshards++
		} else if !fault.Is(err, fault.InUse) && !fault.Is(err, fault.Invalid) {
			t.Errorf("reshard: %v", err)
		}
		select {
		case <-time.After(time.Duration(rnd.IntN(int(lease)))):
		case <-ended:
			running = false
		}
	}
	close(stop)
	wg.Wait()
	eventually(t, backends[0], "s", active)

	read := map[string][]placedRecord{}
	for _, rec := range walk(t, backends[1], "s") {
		read[rec.key] = append(read[rec.key], rec)
	}
	total, unknown := 0, 0
	for key, list := range answers {
		got := read[key]
		at := 0
		for _, a := range list {
			total++
			if a.Err != nil {
				unknown++
				continue
			}
			for at < len(got) && got[at].data != a.data {
				at++ // only what nobody was told of may lie between
			}
			if at == len(got) {
				t.Fatalf("%s was answered and is lost, or out of order", a.data)
			}
			if got[at].shard != a.Shard || got[at].seq != a.Sequence {
				t.Errorf("%s lies in shard %d, not %d", a.data, got[at].shard, a.Shard)
			}
			at++
		}
		seen := map[string]bool{}
		for _, g := range got {
			if seen[g.data] {
				t.Errorf("%s is there twice", g.data)
			}
			seen[g.data] = true
		}
	}
	if reshards == 0 || total == 0 {
		t.Errorf("%d reshards, %d records", reshards, total)
	}
	t.Logf("%d records, %d of unknown outcome, %d reshards", total, unknown, reshards)
}

// A closing that its node has left is finished by another, and what was half made is made or taken away.
func TestWhatIsLeftHalfDoneIsFinished(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	for _, name := range []string{"updating", "deleting"} {
		create(t, b, stream.CreateStream{Name: name})
		mustPut(t, b, name, "k", "d")
	}
	d, err := b.newDocument("test", stream.CreateStream{Name: "creating", Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	edit := func(name string, fn func(*document) error) {
		t.Helper()
		if _, _, err := b.edit(t.Context(), "test", name, "", fn); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.update(t.Context(), "test", "creating", func(docs Documents) error { return keep(docs, d) }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.beginChange(t.Context(), "updating", stream.Reshard{Count: 3}); err != nil {
		t.Fatal(err)
	}
	edit("deleting", func(d *document) error { d.Stream.Status = stream.Deleting; return nil })
	check := func(b *Backend) {
		t.Helper()
		if s := eventually(t, b, "updating", active); s.OpenShards() != 3 || len(walk(t, b, "updating")) != 1 {
			t.Errorf("updating: %+v", s.Shards)
		}
		eventually(t, b, "creating", active)
		mustPut(t, b, "creating", "k", "d")
		deadline := time.Now().Add(20 * time.Second)
		for {
			if _, there := b.Stream("deleting"); !there && r.brokers.TopicInfo("deleting") == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it is not deleted")
			}
			time.Sleep(time.Millisecond)
		}
	}
	check(b) // a node that lives finishes after some leases

	create(t, b, stream.CreateStream{Name: "deleting"})
	edit("deleting", func(d *document) error { d.Stream.Status = stream.Deleting; return nil })
	again, _ := r.open(nil) // one that starts, at once
	check(again)
}
