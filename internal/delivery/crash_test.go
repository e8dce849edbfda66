package delivery

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// dieAt makes the node's engine leave a snapshot of the world when it comes to a failpoint for the nth time. The engine
// goes on in its own world, which nobody looks at any more.
func (n *node) dieAt(name string, nth int, seed uint64) (remains func() *node) {
	var mu sync.Mutex
	var left *node
	n.opts.Failpoint = func(at string) {
		mu.Lock()
		defer mu.Unlock()
		if left != nil || at != name {
			return
		}
		if nth--; nth == 0 {
			left = n.snapshot(seed)
			left.opts.Failpoint = nil
		}
	}
	return func() *node {
		mu.Lock()
		defer mu.Unlock()
		return left
	}
}

// A record of these tests is "key:number:padding;", its numbers rising for each key.
func text1(key string, number, padding int) string {
	return fmt.Sprintf("%s:%d:%s;", key, number, strings.Repeat("p", padding))
}

// sequence reads back which numbers of each key stand in a text, in order.
func sequence(t *testing.T, text string, into map[string][]int) {
	t.Helper()
	for record := range strings.SplitSeq(strings.TrimSuffix(text, ";"), ";") {
		if record == "" {
			continue
		}
		fields := strings.SplitN(record, ":", 3)
		number := 0
		if _, err := fmt.Sscan(fields[1], &number); err != nil || len(fields) != 3 || strings.Trim(fields[2], "p") != "" {
			t.Fatalf("broken record %.100q", record)
		}
		into[fields[0]] = append(into[fields[0]], number)
	}
}

// verify checks that every record of the source stands in exactly one object, in its order, and that the ledger agrees.
func (n *node) verify(name string) {
	n.t.Helper()
	want, got := map[string][]int{}, map[string][]int{}
	for _, l := range n.source.streams[n.defs.all[name].SourceStream()].logs {
		for _, r := range l.records {
			sequence(n.t, string(r.Data), want)
		}
	}
	total := 0
	for key := range want {
		slices.Sort(want[key])
		total += len(want[key])
	}
	for _, o := range n.objects("events") {
		sequence(n.t, o, got)
	}
	for key := range want {
		if !slices.Equal(got[key], want[key]) {
			n.t.Errorf("key %s: delivered %v, accepted %v", key, got[key], want[key])
		}
	}
	line := n.ledger(name)
	equal(n.t, "accepted", line.Accepted, int64(total))
	equal(n.t, "delivered", line.Delivered, int64(total))
	equal(n.t, "objects", line.Objects, int64(len(n.sink.keys("events"))))
}

// A crash at every step, and another one during the recovery from it, loses and doubles nothing; the prefix is changed
// in between.
func TestCrashAtEveryStep(t *testing.T) {
	for _, name := range []string{"plan-before", "plan-after", "put-before", "put-after", "commit-before", "commit-after"} {
		for _, again := range []string{"", "recover-before", "recover-head", "recover-after", "put-after", "commit-before"} {
			for nth := 1; nth <= 3; nth++ {
				t.Run(fmt.Sprintf("%s-%d-%s", name, nth, again), func(t *testing.T) {
					inBubble(t, func(t *testing.T) { crashTwice(t, name, again, nth) })
				})
			}
		}
	}
}

func crashTwice(t *testing.T, name, again string, nth int) {
	n := newNode(t, Options{})
	remains := n.dieAt(name, nth, uint64(nth)*33)
	n.start()
	n.create(request("d", "", hints(1, 5)))
	number := 0
	put := func(n *node, times int) {
		for range times {
			number++
			n.put("d", text1("k", number, 10))
			time.Sleep(2 * time.Second)
		}
	}
	put(n, 12)
	n.close()
	second := remains()
	if second == nil {
		t.Fatalf("never came to %s", name)
	}
	if again != "" {
		remains = second.dieAt(again, 1, 50)
	}
	second.start()
	prefix := "2000/01/01/00/e" // sorts behind what was planned before
	if _, err := second.engine.UpdateDestination(context.Background(), &UpdateRequest{DeliveryStreamName: "d",
		CurrentDeliveryStreamVersionId: "1", DestinationId: DestinationID, ExtendedS3DestinationUpdate: &S3Update{S3ConfigurationUpdate: S3ConfigurationUpdate{Prefix: &prefix}}}); err != nil {
		t.Fatal(err)
	}
	put(second, 6)
	last := second
	if third := remains(); again != "" && third != nil {
		second.close()
		last = third.start()
		put(last, 6)
	}
	time.Sleep(30 * time.Second)
	last.verify("d")
	last.close()
}

var histories = flag.Int("histories", 60, "how many random histories to run")

// One random history after another: reshards, closed shards that leave, restarts, crashes, outages, lost answers of store and journal,
// updates, budgets. Every record is delivered once, in order, and the ledger adds up.
func TestRandomHistories(t *testing.T) {
	rounds := *histories
	if testing.Short() {
		rounds = min(rounds, 10)
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { (&history{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 1))}).run() })
		})
	}
}

type history struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	n       *node
	remains func() *node
	numbers map[string]int
	updates int
	out     bool
	mu      sync.Mutex // guards faults, which many goroutines draw
	faults  *rand.Rand
	lossy   bool
}

func (h *history) run() {
	h.numbers = map[string]int{}
	h.faults = rand.New(rand.NewPCG(h.seed, 2))
	lossy := h.r.IntN(2) == 0
	n := newNode(h.t, Options{BufferBudget: []int64{1, 2 * slabBytes, DefaultBufferBudget}[h.r.IntN(3)]})
	h.n = n
	h.equip(n)
	n.start()
	n.stream("s", 1+h.r.IntN(3))
	n.create(request("d", "s", func(d *S3Destination) {
		hints(1, h.r.IntN(20))(d)
		d.CompressionFormat = []string{"GZIP", "UNCOMPRESSED"}[h.r.IntN(2)]
		prefix := "p000/"
		d.Prefix = &prefix
	}))
	h.setLossy(lossy)
	for range 100 {
		h.step()
		h.n.ledger("d") // adds up at every moment
	}
	h.setOut(false)
	h.setLossy(false)
	time.Sleep(5 * time.Minute)
	h.n.verify("d")
	h.n.close()
}

// chance is true in one of n cases.
func (h *history) chance(n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lossy && h.faults.IntN(n) == 0
}

func (h *history) equip(n *node) {
	names := []string{"plan-before", "plan-after", "put-before", "put-after", "commit-before", "commit-after", "recover-head", "recover-after"}
	h.remains = n.dieAt(names[h.r.IntN(len(names))], 1+h.r.IntN(4), h.r.Uint64())
	n.sink.lose = func(string, string) error {
		if h.chance(5) {
			return errOut
		}
		return nil
	}
	n.answer = func() (bool, error) {
		if h.chance(10) {
			return h.chance(2), fault.New(fault.Unavailable, "journal.Write", "", "lost answer")
		}
		return true, nil
	}
}

func (h *history) setOut(out bool) {
	h.out = out
	h.n.setFail(func(string, string) error {
		if out {
			return errOut
		}
		return nil
	})
}

func (h *history) step() {
	switch h.r.IntN(20) {
	case 0:
		h.setOut(!h.out)
	case 1:
		h.n.close()
		h.start(h.n)
	case 2, 3:
		h.crash()
	case 4:
		h.update()
	case 5:
		h.reshard()
	case 6:
		h.forget()
	case 7, 8, 9, 10:
		time.Sleep(time.Duration(h.r.IntN(30)) * time.Second)
	default:
		h.append()
	}
}

func (h *history) append() {
	entries := make([]stream.Entry, 1+h.r.IntN(30))
	for i := range entries {
		key := fmt.Sprint("k", h.r.IntN(6))
		h.numbers[key]++
		padding := h.r.IntN(100)
		if h.r.IntN(20) == 0 {
			padding = h.r.IntN(400 << 10)
		}
		entries[i] = stream.Entry{PartitionKey: key, Data: []byte(text1(key, h.numbers[key], padding))}
	}
	if err := h.n.source.Append(context.Background(), "s", entries, make([]stream.Result, len(entries))); err != nil {
		h.t.Fatal(err)
	}
}

// reshard splits a shard, merges two, or scales.
func (h *history) reshard() {
	st, _ := h.n.source.Stream("s")
	var open []stream.Shard
	for _, sh := range st.Shards {
		if sh.Open() {
			open = append(open, sh)
		}
	}
	slices.SortFunc(open, func(x, y stream.Shard) int { return x.Range.Start.Compare(y.Range.Start) })
	i := h.r.IntN(len(open))
	change := splitting(st, open[i].Index)
	switch n := h.r.IntN(3); {
	case len(st.Shards) > 15:
		return
	case n == 0 || len(open) > 4:
		change = stream.Reshard{Count: 1 + h.r.IntN(3)}
	case n == 1 && i+1 < len(open):
		change = stream.Reshard{Merge: &stream.MergeShards{Shard: open[i].Index, Adjacent: open[i+1].Index}}
	}
	if err := h.n.source.reshard("s", change); err != nil {
		h.t.Fatal(err)
	}
}

// forget lets the oldest closed shard leave, if it is drained: what is not, is held.
func (h *history) forget() {
	l, err := h.n.engine.Ledger(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	st, _ := h.n.source.Stream("s")
	for _, line := range l.DeliveryStreams[0].Shards {
		if oldest := st.Shards[0]; line.Done && line.Shard == oldest.ID() && !oldest.Open() {
			h.n.source.forget("s", oldest.Index)
		}
	}
}

// crash goes on with what a failpoint has left, if one was reached, else with what is there now.
func (h *history) crash() {
	left := h.remains()
	if left == nil || left.defs.all["d"] == nil { // none, or one from before the beginning
		left = h.n.snapshot(h.r.Uint64())
		left.opts.Failpoint = nil
	}
	h.n.close()
	h.n = left
	h.equip(left)
	h.setOut(h.out)
	h.start(left)
}

// start starts a node; a journal that does not work at that moment would end the process, and be no news.
func (h *history) start(n *node) {
	lossy := h.lossy
	h.setLossy(false)
	n.start()
	h.setLossy(lossy)
}

func (h *history) setLossy(lossy bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lossy = lossy
}

func (h *history) update() {
	h.updates++
	prefix := fmt.Sprintf("p%03d/", h.updates)
	def, err := h.n.engine.Describe("d")
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = h.n.engine.UpdateDestination(context.Background(), &UpdateRequest{DeliveryStreamName: "d",
		CurrentDeliveryStreamVersionId: fmt.Sprint(def.VersionID), DestinationId: DestinationID,
		ExtendedS3DestinationUpdate: &S3Update{S3ConfigurationUpdate: S3ConfigurationUpdate{Prefix: &prefix}}})
	if err != nil {
		h.t.Fatal(err)
	}
}
