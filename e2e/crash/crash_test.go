package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/e2e/node"
)

var (
	rounds = flag.Int("rounds", 2, "rounds of TestCrash; make crash runs 100")
	faulty = flag.Bool("faulty", false, "TestFaultIsFound looks for the fault at random kills, too, and not at a failpoint alone")
	seed   = flag.Uint64("seed", 0, "of all that is random in the rounds; 0: another one each time")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	node.Main(m)
}

// round is one way to die. The next round starts on what it leaves behind.
type round struct {
	name string
	run  func(c *campaign) error
}

// steps runs several of them as one round.
func steps(all ...func(c *campaign) error) func(c *campaign) error {
	return func(c *campaign) error {
		for _, step := range all {
			if err := step(c); err != nil {
				return err
			}
		}
		return nil
	}
}

// at lets a node die at a failpoint, somewhere in its work.
func at(point string) func(c *campaign) error {
	return func(c *campaign) error { return c.killedAt(point, 1+c.rng.IntN(20)) }
}

func inRecovery(point string) func(c *campaign) error {
	return func(c *campaign) error { return c.killedInRecovery(point) }
}

func withoutFolder(name string) func(c *campaign) error {
	return func(c *campaign) error { return c.withoutFolder(name) }
}

func otherPrefix(c *campaign) error { c.turnPrefix(); return nil }

var killedAtRandom = (*campaign).killedAtRandom

// ways are taken in turn. The first two are those that a plain "go test ./..." runs, the first ten those of CI.
var ways = []round{
	{"killed at a random moment", killedAtRandom},
	{"killed between plan and put; then in recovery; then another prefix", steps(at("put-before"), inRecovery("recover-after"), otherPrefix)},
	{"killed between put and commit; then when recovery finds the object", steps(at("put-after"), inRecovery("recover-head"))},
	{"killed after the plan; then another prefix", steps(at("plan-after"), otherPrefix)},
	{"killed at a random moment; three times more shortly after the start", steps(killedAtRandom,
		(*campaign).killedEarly, (*campaign).killedEarly, (*campaign).killedEarly)},
	{"killed before the commit; then before recovery", steps(at("commit-before"), inRecovery("recover-before"))},
	{"stopped in the orderly way", (*campaign).drained},
	{"killed while the bucket's folder was away", withoutFolder("class-events")},
	{"killed after the commit", at("commit-after")},
	{"killed while nothing could be written to any bucket", withoutFolder(".millrace")},
	{"killed before the plan", at("plan-before")},
	{"killed at a random moment; then another prefix", steps(killedAtRandom, otherPrefix)},
	{"killed between put and commit; then another prefix", steps(at("put-after"), otherPrefix)},
	{"killed with an object half written", at("object-written")},
	{"killed when an object is stored, and not yet at its path", at("object-committed")},
	{"killed when an object is at its path, and its folder not on disk", steps(at("object-renamed"), otherPrefix)},
	{"killed while objects are settled; then early in the next start", steps(at("object-settling"), (*campaign).killedEarly)},
}

func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	c := newCampaign(t, *seed, "failpoints")
	if *rounds > len(ways) {
		fmt.Printf("seed %d\n", *seed)
	}
	for range 3 { // killed while it makes what the definition asks for, in a new data folder
		if err := c.killedEarly(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range *rounds {
		c.round(i, ways[i%len(ways)])
	}
	r, err := c.finish()
	if r != nil {
		fmt.Printf("%d shards after %d reshards\n%d rounds, %s\n", len(c.shards), c.reshards, *rounds, r)
	}
	c.verdict(r, err)
	if *rounds >= len(ways) && c.reshards == 0 {
		t.Error("the stream was never resharded: that proves nothing about children")
	}
}

// round runs one and prints a line about it.
func (c *campaign) round(i int, way round) {
	c.t.Helper()
	began := time.Now()
	sent, acknowledged := c.book.totals()
	err := way.run(c)
	nowSent, nowAcknowledged := c.book.totals()
	sent, acknowledged = nowSent-sent, nowAcknowledged-acknowledged
	fmt.Printf("round %3d: %-72s %6d answered, %4d not, %.1f s\n", i+1, way.name, acknowledged, sent-acknowledged, time.Since(began).Seconds())
	if err != nil {
		c.t.Fatalf("round %d, %s: %v", i+1, way.name, err)
	}
}

// verdict fails the test for anything but a spotless report.
func (c *campaign) verdict(r *report, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Error(err)
	}
	if r == nil {
		return
	}
	if _, acknowledged := c.book.totals(); acknowledged == 0 || r.lines == 0 {
		c.t.Errorf("%d events were answered and %d delivered: that proves nothing", acknowledged, r.lines)
	}
	if r.bad() {
		c.t.Errorf("%s, %d mangled, %d cut, among %d lines in %d objects:\n%s", r, r.mangled, r.cut, r.lines, r.objects, strings.Join(r.details, "\n"))
	}
}

// A build with one deliberate fault, to commit before the object is put, must fail the suite: otherwise the suite's
// silence about other builds means nothing.
func TestFaultIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	found := func(ways ...round) *report {
		c := newCampaign(t, *seed, "failpoints", "faulty")
		for i, way := range ways {
			c.round(i, way)
		}
		r, err := c.finish()
		if r == nil {
			t.Fatal(err) // the campaign could not be ended, which is no verdict
		}
		fmt.Printf("the faulty build: %s\n", r)
		if err != nil {
			t.Logf("beside the report: %.600v", err)
		}
		return r
	}
	if r := found(round{"killed after the commit", at("commit-after")}); r.lost == 0 {
		t.Errorf("a node that committed before it put was killed in between, and the report is %s", r)
	}
	if !*faulty {
		return
	}
	var random []round
	for range 3 {
		random = append(random, ways[0], round{"killed while nothing could be written to any bucket", withoutFolder(".millrace")})
	}
	if r := found(random...); r.lost == 0 {
		t.Errorf("a node that commits before it puts was killed %d times under load, and the report is %s", len(random), r)
	}
}

// A bucket that is gone, and one whose disk fails, hold delivery up and nothing else: events are answered all the
// while, and all are delivered when the bucket is back.
func TestBucketOutages(t *testing.T) {
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	c := newCampaign(t, *seed, "failpoints")
	n, err := c.up()
	if err != nil {
		t.Fatal(err)
	}
	// Before the first event: a bucket that holds objects can't be deleted.
	if err := call(t.Context(), http.MethodDelete, n.AWS+"/class-events", http.StatusNoContent); err != nil {
		t.Fatal(err)
	}
	if err := c.under(n, func() error { return errors.Join(c.bucketDeleted(t.Context(), n), c.folderAway()) }); err != nil {
		t.Fatalf("%v\n%s", err, n.Output())
	}
	ctx, cancel := context.WithTimeout(t.Context(), settleTime)
	defer cancel()
	if _, err := n.Settled(ctx); err != nil { // by this node, without help of a restart
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	c.verdict(c.finish())
}

const outageTime = 1500 * time.Millisecond

// bucketDeleted lets events come while their bucket is deleted, and creates it again.
func (c *campaign) bucketDeleted(ctx context.Context, n *node.Node) error {
	if err := c.answersGoOn(); err != nil {
		return fmt.Errorf("while the bucket is deleted: %w", err)
	}
	if _, err := os.Stat(filepath.Join(c.data, "s3", "class-events")); err == nil {
		return errors.New("delivery has made the folder of a bucket that is deleted")
	}
	return call(ctx, http.MethodPut, n.AWS+"/class-events", http.StatusOK)
}

// folderAway makes every write of an object fail for a while.
func (c *campaign) folderAway() error {
	back, err := takeAway(filepath.Join(c.data, "s3", ".millrace"))
	if err != nil {
		return err
	}
	if err := c.answersGoOn(); err != nil {
		return errors.Join(fmt.Errorf("while no object can be written: %w", err), back())
	}
	return back()
}

// answersGoOn watches the load for the time of an outage.
func (c *campaign) answersGoOn() error {
	_, before := c.book.totals()
	time.Sleep(outageTime)
	_, after := c.book.totals()
	const least = 100 // in 1.5 s; the load makes more than ten times as many
	if after-before < least {
		return fmt.Errorf("only %d events were answered in %v", after-before, outageTime)
	}
	return nil
}

func call(ctx context.Context, method, url string, want int) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return nil
}
