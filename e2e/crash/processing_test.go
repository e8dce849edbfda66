package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/e2e/node"
)

var processingRounds = flag.Int("processing-rounds", 1, "rounds of TestProcessing; make crash-processing runs 100")

// Times of campaigns whose partitions gather for a minute, the least that the API takes.
const (
	partitionTime     = 60 * time.Second
	partitionsSettle  = 3 * partitionTime      // in which everything must be delivered, once nothing disturbs
	drainSpread       = 700 * time.Millisecond // of a drain: about what one takes
	drainPasses       = 60                     // of a failpoint, load and drain together
	reshardKillSpread = 30 * time.Millisecond  // of a reshard: about what one takes
	functionTime      = 1500 * time.Millisecond
	processingThink   = 80 * time.Millisecond
	judgeEvery        = 25 // rounds
)

// processing is a campaign of delivery streams that process their records.
type processing struct {
	*campaign
	outside *outside
	flows   []flow // that have load
	objects string // the folder of the node that keeps objects
}

func newProcessing(t testing.TB, seed uint64, tags ...string) *processing {
	t.Helper()
	p := &processing{campaign: newCampaignOf(t, "testdata/processing.yaml", processingLoad, seed, tags...), outside: newOutside(t, seed)}
	p.think, p.flows, p.objects = processingThink, flows, p.data
	if err := p.configure(""); err != nil {
		t.Fatal(err)
	}
	return p
}

// configure says where the function and the endpoint are, and more.
func (p *processing) configure(more string) error {
	config := filepath.Join(filepath.Dir(p.data), "node.yaml")
	p.args = []string{"--config", config, "--parameter", "Hook=" + p.outside.URL}
	return os.WriteFile(config, fmt.Appendf(nil, "functions:\n  arn:aws:lambda:us-east-1:000000000000:function:moody: %s/function\nhttp: {allow-http-endpoints: true}\n%s",
		p.outside.URL, more), 0o600)
}

// processingRound is one way to die.
type processingRound struct {
	name string
	run  func(p *processing) error
}

func plainly(all ...func(c *campaign) error) func(p *processing) error {
	return func(p *processing) error { return steps(all...)(p.campaign) }
}

func whileDraining(point string, then ...func(c *campaign) error) func(p *processing) error {
	return func(p *processing) error {
		return errors.Join(p.killedDraining(point), steps(then...)(p.campaign))
	}
}

// processingWays are taken in turn. The first one is that of a plain "go test ./...", the first six those of CI. Partitions
// leave when a node drains, so that most kills come then.
var processingWays = []processingRound{
	{"killed while it drains", whileDraining("")},
	{"killed in the middle of a reshard", (*processing).killedResharding},
	{"killed draining, between plan and put; in recovery; another prefix", whileDraining("put-before", orInRecovery("recover-after"), otherPrefix)},
	{"killed draining, after something was staged", whileDraining("stage", killedAtRandom)},
	{"killed draining, between put and commit; then when objects are found", whileDraining("put-after", orInRecovery("recover-head"), (*campaign).killedEarly)},
	{"stopped in the orderly way", plainly((*campaign).drained)},
	{"killed draining, before the plan", whileDraining("plan-before")},
	{"killed draining, after the plan; then before recovery; another prefix", whileDraining("plan-after", orInRecovery("recover-before"), otherPrefix)},
	{"killed when partitions are due", (*processing).killedWhenDue},
	{"killed draining, before the commit", whileDraining("commit-before")},
	{"killed draining, after the commit", whileDraining("commit-after")},
	{"killed draining, when an object is at its path", whileDraining("object-renamed", killedAtRandom)},
	{"killed draining, when an object is stored, and not yet at its path", whileDraining("object-committed")},
	{"killed at a random moment; three times more shortly after the start", plainly(killedAtRandom,
		(*campaign).killedEarly, (*campaign).killedEarly, (*campaign).killedEarly)},
	{"killed while the bucket of partitions was away", plainly(withoutFolder("moody-parted-events"))},
	{"killed while nothing could be written to any bucket", plainly(withoutFolder(".millrace"), otherPrefix)},
	{"killed in the middle of a reshard, three times", func(p *processing) error {
		return errors.Join(p.killedResharding(), p.killedResharding(), p.killedResharding())
	}},
}

func TestProcessing(t *testing.T) {
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	t.Parallel() // it mostly waits
	p := newProcessing(t, *seed, "failpoints")
	if *processingRounds > 1 {
		fmt.Printf("seed %d\n", *seed)
	}
	for i := range *processingRounds {
		way := processingWays[i%len(processingWays)]
		p.round(i, round{way.name, func(*campaign) error { return way.run(p) }})
		if i%judgeEvery == judgeEvery-1 && i+1 < *processingRounds {
			if r, err := p.finish(); err != nil || r.bad() {
				p.verdict(r, err)
				t.Fatalf("after %d rounds", i+1)
			}
		}
	}
	r, err := p.finish()
	if r != nil {
		fmt.Printf("%d shards after %d reshards; %d calls of the function; requests to the endpoint: %d taken, %d refused, %d sent again after they were taken\n%d rounds, %s\n",
			len(p.shards), p.reshards, p.outside.moody.calls.Load(), len(p.outside.hook.order), p.outside.hook.refused, p.outside.hook.again, *processingRounds, r)
	}
	p.verdict(r, err)
}

// A build that commits before it puts is found out here, too, in each delivery stream that has objects.
func TestProcessingFaultIsFound(t *testing.T) {
	if !*faulty {
		t.Skip("TestFaultIsFound looks for the same fault in seconds; this one waits for a minute, and for -faulty")
	}
	p := newProcessing(t, *seed, "failpoints", "faulty")
	p.round(0, round{"killed draining, after the commit", func(*campaign) error { return p.killedDraining("commit-after") }})
	r, err := p.finish()
	if r == nil {
		t.Fatal(err) // the campaign could not be ended, which is no verdict
	}
	fmt.Printf("the faulty build: %s\n", r)
	if r.lost == 0 {
		t.Errorf("a node that committed before it put was killed in between, and the report is %s", r)
	}
}

// killedDraining stops a node in the orderly way, under load, and kills it meanwhile: at a failpoint, or at random.
func (p *processing) killedDraining(point string) error {
	var env []string
	if point != "" {
		env = []string{fmt.Sprintf("MILLRACE_FAILPOINT=%s:%d", point, 1+p.rng.IntN(drainPasses))}
	}
	n, err := p.up(env...)
	if errors.Is(err, node.ErrDied) && n.Killed() {
		return nil // what it recovered took it there before it was ready
	}
	if err != nil {
		return err
	}
	return p.under(n, func() error {
		select {
		case <-n.Exited():
		case <-time.After(p.aWhile() + functionTime): // so that partitions hold something that the function has made
		}
		if point == "" {
			timer := time.AfterFunc(time.Duration(p.rng.Int64N(int64(drainSpread))), n.Kill)
			defer timer.Stop()
		}
		if err := n.Stop(); err != nil && !n.Killed() {
			return err
		}
		return nil
	})
}

// orInRecovery kills a node while it takes up what the last one has left, if that is anything, or soon after.
func orInRecovery(point string) func(c *campaign) error {
	return func(c *campaign) error {
		n, err := c.up("MILLRACE_FAILPOINT=" + point)
		if errors.Is(err, node.ErrDied) && n.Killed() {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-n.Exited():
			if !n.Killed() {
				return fmt.Errorf("the node ended by itself\n%s", n.Output())
			}
		case <-time.After(loadLeast):
			n.Kill()
		}
		return nil
	}
}

// killedResharding kills a node while it splits or merges.
func (p *processing) killedResharding() error {
	n, err := p.up()
	if err != nil {
		return err
	}
	return p.under(n, func() error {
		time.Sleep(p.aWhile())
		r := &resharder{rng: rand.New(rand.NewPCG(p.rng.Uint64(), 3))}
		if r.aws, err = dial(p.t.Context(), n.AWS); err != nil {
			return err
		}
		defer r.aws.Close()
		shards, err := describe(r.aws)
		if err != nil {
			return err
		}
		timer := time.AfterFunc(time.Duration(p.rng.Int64N(int64(reshardKillSpread))), n.Kill)
		defer timer.Stop()
		r.reshard(shards)
		<-n.Exited()
		p.reshards += r.done
		return r.err
	})
}

// killedWhenDue kills a node at about the time when partitions leave because they have gathered for long enough.
func (p *processing) killedWhenDue() error {
	n, err := p.up()
	if err != nil {
		return err
	}
	if err := p.under(n, func() error { time.Sleep(p.aWhile()); return nil }); err != nil {
		return err
	}
	time.Sleep(partitionTime - loadLeast - loadSpread/2 + time.Duration(p.rng.Int64N(int64(loadSpread))))
	n.Kill()
	return nil
}

// finish waits until all is delivered, stops the node in the orderly way, and judges all that became of all records.
func (p *processing) finish() (*report, error) {
	p.outside.calm.Store(true)
	defer p.outside.calm.Store(false)
	n, err := p.up()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), partitionsSettle)
	defer cancel()
	ledger, err := n.Settled(ctx)
	if err != nil {
		return nil, err
	}
	listed := map[string][]string{}
	for _, f := range p.flows {
		for _, bucket := range []string{f.bucket, f.backup} {
			if bucket == "" {
				continue
			}
			if listed[bucket], err = list(ctx, n, bucket); err != nil {
				return nil, err
			}
		}
	}
	aws, err := dial(ctx, n.AWS)
	if err != nil {
		return nil, err
	}
	defer aws.Close()
	if p.shards, err = describe(aws); err != nil {
		return nil, err
	}
	if err := n.Stop(); err != nil {
		return nil, err
	}
	return p.judge(ledger, func(bucket string) ([]source, error) {
		all, err := folder(filepath.Join(p.objects, "s3", bucket))
		var keys []string
		for _, o := range all {
			keys = append(keys, o.key)
		}
		slices.Sort(keys)
		if err == nil && !slices.Equal(keys, listed[bucket]) {
			err = fmt.Errorf("the API lists %d objects of %s, its folder holds %d: %.400q and %.400q", len(listed[bucket]), bucket, len(keys), listed[bucket], keys)
		}
		return all, err
	})
}

// judge compares book, objects, what the endpoint took, and ledger.
func (p *processing) judge(ledger *node.Ledger, objects func(bucket string) ([]source, error)) (*report, error) {
	hook := &p.outside.hook
	hook.mu.Lock()
	defer hook.mu.Unlock()
	total, problems := &report{}, []error{}
	for _, odd := range hook.odd {
		problems = append(problems, errors.New(odd))
	}
	add := func(s *sorter, err error) error {
		if err != nil {
			return err
		}
		total.add(s.report)
		problems = append(problems, s.ledgerProblems(ledger)...)
		fmt.Printf("  %-14s %6d delivered, %5d dead-lettered in %4d + %3d objects, failed %v\n", s.flow.name, s.delivered, s.deadLettered, s.objects, s.errorObjects, s.failures)
		return nil
	}
	for _, f := range p.flows {
		all, err := objects(f.bucket)
		if err != nil {
			return nil, err
		}
		if err := add(sortOut(f, p.book, &p.outside.moody, all, hook.order, p.shards)); err != nil {
			return nil, err
		}
		if f.backup == "" {
			continue
		}
		if all, err = objects(f.backup); err != nil {
			return nil, err
		}
		if err := add(sortBackup(f, p.book, all)); err != nil {
			return nil, err
		}
	}
	if p.book.refused > 0 {
		problems = append(problems, fmt.Errorf("%d records were refused, the first: %s", p.book.refused, strings.Join(p.book.refusals, "\n")))
	}
	return total, errors.Join(problems...)
}

func (r *report) add(s *report) {
	r.objects += s.objects
	r.lines += s.lines
	r.lost += s.lost
	r.duplicated += s.duplicated
	r.reordered += s.reordered
	r.mangled += s.mangled
	r.cut += s.cut
	r.details = append(r.details, s.details...)
}
