package crash

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/bench/load"
	"millrace/e2e/node"
	"millrace/internal/config"
)

var (
	onKafka  = flag.Bool("kafka", false, "run the tests that start a real Kafka, which e2e/kafka/install has installed")
	onlyWays = flag.String("ways", "", "only those ways of TestCluster whose names match this `REGEXP`")
)

// clusterRound is one thing that happens to a cluster under load. Afterwards everything is brought back.
type clusterRound struct {
	name  string
	quiet bool // no other changes of shards than its own
	run   func(c *cluster) error
}

// clusterWays are taken in turn. The first five are those of CI.
var clusterWays = []clusterRound{
	{"a node is killed while it reshards", true, func(c *cluster) error { return c.disturbed(0, c.killFor(outLeast)) }},
	{"a node is frozen while another reshards", true, func(c *cluster) error { return c.disturbed(1, c.freezeFor) }},
	{"a broker is killed", false, func(c *cluster) error { return c.brokerOut((*cluster).killBroker) }},
	{"a node hangs with the right to write in hand", false, func(c *cluster) error { return c.zombieAt("journal-admitted") }},
	{"a node is killed between plan and put", false, func(c *cluster) error { return c.killedAt("put-before") }},

	{"a node is killed", false, func(c *cluster) error { return c.killFor(frozenLeast)(c.some()[0]) }},
	{"a broker is frozen", false, func(c *cluster) error { return c.brokerOut((*cluster).freezeBroker) }},
	{"a node is frozen while it reshards", true, func(c *cluster) error { return c.disturbed(0, c.freezeFor) }},
	{"a node is stopped in the orderly way", false, (*cluster).stopped},
	{"a node reshards while another is frozen", true, func(c *cluster) error {
		all := c.some()
		if err := c.freeze(all[1]); err != nil {
			return err
		}
		time.Sleep(c.aWhile(0, loadSpread))
		c.tell("reshard on %s", all[0].name)
		done := c.reshard(all[0], 0)
		err := c.goOn(c.aWhile(frozenLeast, frozenSpread))
		return errors.Join(err, c.thaw(all[1]), <-done)
	}},
	{"two nodes are killed", false, (*cluster).twoKilled},
	{"a node hangs between plan and put", false, func(c *cluster) error { return c.zombieAt("put-before") }},
	{"a node hangs between put and commit", false, func(c *cluster) error { return c.zombieAt("put-after") }},
	{"brokers are restarted one after the other", false, (*cluster).rolling},
	{"a node is frozen", false, func(c *cluster) error { return c.freezeFor(c.some()[0]) }},
	{"a node is killed between put and commit", false, func(c *cluster) error { return c.killedAt("put-after") }},
	{"a broker and a node are killed", false, func(c *cluster) error {
		if err := c.killBroker(c.rng.IntN(3)); err != nil {
			return err
		}
		return c.killFor(frozenLeast)(c.some()[0])
	}},
	{"a node hangs before the plan", false, func(c *cluster) error { return c.zombieAt("plan-before") }},
	{"a node is killed while another reshards", true, func(c *cluster) error { return c.disturbed(1, c.killFor(outLeast)) }},
	{"a node hangs before the commit, and is killed", false, func(c *cluster) error {
		m, err := c.reached("commit-before", true)
		if err != nil {
			return err
		}
		err = c.goOn(c.aWhile(frozenLeast, frozenSpread))
		c.kill(m)
		return err
	}},
	{"a broker is killed while a node reshards", true, func(c *cluster) error {
		return c.disturbed(0, func(*member) error { return c.brokerOut((*cluster).killBroker) })
	}},
	{"all nodes are killed", false, func(c *cluster) error {
		time.Sleep(c.aWhile(loadLeast, loadSpread))
		for _, m := range c.members {
			c.kill(m)
		}
		return nil
	}},
	{"two brokers are killed", false, (*cluster).noQuorum},
	{"a node is killed after the plan", false, func(c *cluster) error { return c.killedAt("plan-after") }},
	{"a node is frozen while a broker is killed", false, func(c *cluster) error {
		m := c.some()[0]
		if err := c.freeze(m); err != nil {
			return err
		}
		return c.brokerOut((*cluster).killBroker)
	}},
	{"a node is killed after the commit", false, func(c *cluster) error { return c.killedAt("commit-after") }},
}

// killFor kills a node, and leaves it dead for a while.
func (c *cluster) killFor(least time.Duration) func(m *member) error {
	return func(m *member) error {
		c.kill(m)
		return c.goOn(c.aWhile(least, frozenSpread))
	}
}

// freezeFor freezes a node past its session and the lease.
func (c *cluster) freezeFor(m *member) error {
	if err := c.freeze(m); err != nil {
		return err
	}
	return c.goOn(c.aWhile(frozenLeast, frozenSpread))
}

// disturbed starts a change of shards on a node, and does something to a node in the middle of it: to the same one, or to
// another. The others must bring the change to its end.
func (c *cluster) disturbed(other int, disturb func(m *member) error) error {
	all := c.some()
	at := all[0]
	c.tell("reshard on %s", at.name)
	done := c.reshard(at, 0)
	if err := c.middle(at.now.Load(), done); err != nil {
		return err
	}
	if err := disturb(all[other]); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), backTime)
	defer cancel()
	for _, m := range all {
		if m.now.Load() == nil || m.frozen {
			continue
		}
		if err := c.active(ctx, m); err != nil {
			return err
		}
	}
	if all[other].frozen {
		if err := c.thaw(all[other]); err != nil {
			return err
		}
	}
	return <-done
}

// brokerOut takes a broker away for a while, in which the others must serve.
func (c *cluster) brokerOut(take func(c *cluster, broker int) error) error {
	if err := take(c, c.rng.IntN(3)); err != nil {
		return err
	}
	time.Sleep(outLeast) // in which other brokers become leaders
	return c.goOn(c.aWhile(outLeast, outSpread))
}

// noQuorum takes two of three brokers away: nothing can be acknowledged until one is back.
func (c *cluster) noQuorum() error {
	first := c.rng.IntN(3)
	for _, i := range []int{first, (first + 1) % 3} {
		if err := c.killBroker(i); err != nil {
			return err
		}
	}
	time.Sleep(c.aWhile(outLeast, outSpread))
	return nil
}

// rolling restarts the brokers one after the other, as for an upgrade.
func (c *cluster) rolling() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*backTime)
	defer cancel()
	for i := range 3 {
		c.tell("restart broker %d", i+1)
		if err := c.brokers.Stop(i); err != nil {
			return err
		}
		if err := c.brokers.Restart(i); err != nil {
			return err
		}
		if err := c.brokers.WaitInSync(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stopped stops a node in the orderly way: what it took it answers, and others take its work over.
func (c *cluster) stopped() error {
	m := c.some()[0]
	time.Sleep(c.aWhile(loadLeast, loadSpread))
	_, from, _ := c.book.count()
	time.Sleep(time.Second)
	c.tell("stop %s", m.name)
	m.mark("stop")
	err := m.process.Stop()
	m.gone()
	c.book.drains(m.number, from)
	if err != nil {
		return err
	}
	return c.goOn(c.aWhile(loadLeast, loadSpread))
}

func (c *cluster) twoKilled() error {
	all := c.some()
	c.kill(all[0])
	time.Sleep(c.aWhile(0, loadSpread))
	c.kill(all[1])
	return c.goOn(c.aWhile(frozenLeast, frozenSpread))
}

// killedAt lets a node kill itself at a step of its delivery; the others finish what it has begun.
func (c *cluster) killedAt(point string) error {
	if _, err := c.reached(point, false); err != nil {
		return err
	}
	return c.goOn(c.aWhile(frozenLeast, frozenSpread))
}

// zombieAt lets a node hang at a step of its delivery for so long that others have finished what it has begun, and then
// go on with it.
func (c *cluster) zombieAt(point string) error {
	m, err := c.reached(point, true)
	if err != nil {
		return err
	}
	if err := c.goOn(c.aWhile(frozenLeast, frozenSpread)); err != nil {
		return err
	}
	return c.thaw(m)
}

// Bounds of the changes of shards that happen beside what a round is about. Partitions are never given back.
const (
	asideMost  = 40
	asidePause = 5 * time.Second
)

// aside makes a change of shards on some node during every other round.
func (c *cluster) aside() <-chan error {
	if c.reshards.Load() >= asideMost || c.rng.IntN(2) == 0 {
		done := make(chan error, 1)
		done <- nil
		return done
	}
	return c.reshard(c.some()[0], c.aWhile(0, asidePause))
}

// round runs one and prints a line about it.
func (c *cluster) round(i int, way clusterRound) {
	c.t.Helper()
	c.did = nil
	began := time.Now()
	before, sent, refused := c.book.count()
	reshards := c.reshards.Load()
	var aside <-chan error
	if !way.quiet {
		aside = c.aside()
	}
	err := way.run(c)
	disturbed := time.Since(began)
	if err == nil {
		err = c.recover(c.t.Context())
	}
	if aside != nil {
		err = errors.Join(err, <-aside)
	}
	after, nowSent, nowRefused := c.book.count()
	answered := 0
	for m := range after {
		answered += after[m] - before[m]
	}
	fmt.Printf("round %3d: %-46s %5d sent, %5d answered, %4d refused, %d reshards, %4.1f s, back %4.1f s (%s)\n", i+1, way.name, nowSent-sent, answered,
		nowRefused-refused, c.reshards.Load()-reshards, disturbed.Seconds(), (time.Since(began) - disturbed).Seconds(), strings.Join(c.did, ", "))
	if err != nil {
		c.t.Fatalf("round %d, %s: %v", i+1, way.name, err)
	}
}

// finish waits until everything is delivered, and holds objects, stream and ledgers against the book.
func (c *cluster) finish(within time.Duration) (*report, error) {
	ctx := c.t.Context()
	aws, err := dial(ctx, c.some()[0].now.Load().AWS)
	if err != nil {
		return nil, err
	}
	defer aws.Close()
	shards, err := describe(aws)
	if err != nil {
		return nil, err
	}
	records, problems := c.stream(aws, shards)
	began := time.Now()
	ledgers, err := c.settled(ctx, records, within)
	if err != nil {
		problems = append(problems, err)
	}
	if ledgers == nil {
		return nil, errors.Join(problems...)
	}
	if err == nil {
		fmt.Printf("all is delivered after %.1f s\n", time.Since(began).Seconds())
	}
	judge := &campaign{t: c.t, data: c.store.Data, book: c.book, shards: shards, refusing: true}
	var first map[string][]string
	for i, m := range c.members {
		if err := onlyOnce(ctx, m.now.Load()); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m.name, err))
		}
		listed := map[string][]string{}
		for _, bucket := range []string{"class-events", "push-events"} {
			if listed[bucket], err = list(ctx, m.now.Load(), bucket); err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
		}
		if i == 0 {
			first = listed
			continue // it is held against the objects
		}
		if !maps.EqualFunc(listed, first, slices.Equal) {
			problems = append(problems, fmt.Errorf("%s and %s list different objects", c.members[0].name, m.name))
		}
	}
	r, err := judge.judge(ledgers[0], first)
	if err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", c.members[0].name, err))
	}
	if r == nil {
		return nil, errors.Join(problems...)
	}
	for i, m := range c.members[1:] {
		if wrong := errors.Join(judge.ledgerProblems(ledgers[i+1], r)...); wrong != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m.name, wrong))
		}
	}
	if shards := c.book.pushed(); shards != config.DefaultDirectPutShards {
		problems = append(problems, fmt.Errorf("answers of Direct PUT name %d shards, not %d", shards, config.DefaultDirectPutShards))
	}
	problems = append(problems, c.refusalProblems()...)
	return r, errors.Join(problems...)
}

// faultySettleTime is how long a build is waited for that may never come to an end.
const faultySettleTime = 20 * time.Second

// stillTime is how long nothing may change any more in what nobody outside knows the number of: the records of Direct PUT.
const stillTime = 5 * time.Second

// settled waits until every node's ledger tells that all records of the stream are delivered, and all of Direct PUT that
// were answered. When time is over it gives the last ledgers with the error.
func (c *cluster) settled(ctx context.Context, records int, within time.Duration) ([]*node.Ledger, error) {
	pushed := 0
	for i := range c.book.entries {
		if e := &c.book.entries[i]; e.kind == pushRecord && e.state == answered {
			pushed++
		}
	}
	over := time.After(within)
	ledgers, still, last := make([]*node.Ledger, len(c.members)), time.Now(), ""
	for {
		wrong, now := "", ""
		for i, m := range c.members {
			var err error
			if ledgers[i], err = m.now.Load().Ledger(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			class, _ := ledgers[i].Delivery("class-delivery")
			push, _ := ledgers[i].Delivery("push-delivery")
			if class.Delivered != int64(records) || class.InFlight+push.InFlight > 0 || push.Delivered < int64(pushed) {
				wrong = fmt.Sprintf("%s tells %+v and %+v; the stream holds %d records, and %d were answered by Direct PUT", m.name, class, push, records, pushed)
			}
			now += fmt.Sprintf("%+v", push)
		}
		if now != last {
			still, last = time.Now(), now
		}
		if wrong == "" && time.Since(still) >= stillTime {
			return ledgers, nil
		}
		select {
		case <-over:
			return ledgers, fmt.Errorf("not all was delivered in %v: %s", within, wrong)
		case <-time.After(lookPause):
		}
	}
}

// stream reads the stream by GetRecords, and holds it against the book: an event that is in no object, or in two, was
// lost or doubled before delivery or by it.
func (c *cluster) stream(aws *wire, shards []shard) (records int, problems []error) {
	var sources []source
	for _, s := range shards {
		sources = append(sources, source{s.ShardId, func() ([]byte, error) { return readShard(aws, s.ShardId) }})
	}
	r, err := check(c.book, map[string][]source{"class-stream": sources}, shards, pushRecord)
	if err != nil {
		return 0, []error{err}
	}
	if r.bad() {
		problems = append(problems, fmt.Errorf("the stream itself: %s, %d mangled, %d cut, among %d records in %d shards:\n%s", r, r.mangled, r.cut, r.lines, r.objects,
			strings.Join(r.details, "\n")))
	}
	return r.lines, problems
}

// readShard gives all data of a shard.
func readShard(aws *wire, id string) (text []byte, err error) {
	var at struct{ ShardIterator string }
	if err := ask(aws, "GetShardIterator", fmt.Sprintf(`{"StreamName":"class-stream","ShardId":%q,"ShardIteratorType":"TRIM_HORIZON"}`, id), &at); err != nil {
		return nil, err
	}
	for at.ShardIterator != "" {
		var out struct {
			NextShardIterator  string
			MillisBehindLatest int
			Records            []struct{ Data string }
		}
		if err := ask(aws, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q,"Limit":10000}`, at.ShardIterator), &out); err != nil {
			return nil, err
		}
		for _, r := range out.Records {
			data, err := base64.StdEncoding.DecodeString(r.Data)
			if err != nil {
				return nil, err
			}
			text = append(text, data...)
		}
		if len(out.Records) == 0 && out.MillisBehindLatest == 0 {
			break
		}
		at.ShardIterator = out.NextShardIterator
	}
	return text, nil
}

func ask(aws *wire, operation, body string, out any) error {
	a, err := aws.call(load.KinesisCall(aws.host, operation, []byte(body)))
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("%s of %s: %d %.300s", operation, body, a.Status, a.Body)
	}
	return json.Unmarshal(a.Body, out)
}

// refusalProblems prints why events were refused, and tells which reasons no trouble of brokers or nodes explains.
func (c *cluster) refusalProblems() (problems []error) {
	for _, reason := range slices.Sorted(maps.Keys(c.book.reasons)) {
		fmt.Printf("  %5d refused: %s\n", c.book.reasons[reason], reason)
		fine := strings.HasPrefix(reason, "5") || strings.HasPrefix(reason, "429") ||
			slices.ContainsFunc([]string{"ProvisionedThroughputExceeded", "InternalFailure", "ServiceUnavailable", "KMSThrottling"},
				func(name string) bool { return strings.Contains(reason, name) })
		if !fine {
			problems = append(problems, fmt.Errorf("%d events were refused that no trouble explains: %s", c.book.reasons[reason], reason))
		}
	}
	return problems
}

// checkEvery is after how many rounds all is held against the book, so that a long campaign that fails tells about when.
const checkEvery = 20

func TestCluster(t *testing.T) {
	if !*onKafka {
		return
	}
	began := time.Now()
	c := newCluster(t, *seed, "failpoints")
	fmt.Printf("seed %d; brokers and nodes serve after %.1f s\n", *seed, time.Since(began).Seconds())
	only, err := regexp.Compile(*onlyWays)
	if err != nil {
		t.Fatal(err)
	}
	ways := slices.DeleteFunc(slices.Clone(clusterWays), func(w clusterRound) bool { return !only.MatchString(w.name) })
	for i := 0; i < *rounds && !t.Failed(); {
		stop := c.load()
		for end := min(i+checkEvery, *rounds); i < end; i++ {
			c.round(i, ways[i%len(ways)])
		}
		stop()
		r, err := c.finish(clusterSettleTime)
		if r != nil {
			sent, acknowledged := c.book.totals()
			fmt.Printf("%d events sent, %d answered; %d lines in %d objects; %d reshards\n%d rounds, %s\n", sent, acknowledged, r.lines, r.objects, c.reshards.Load(), i, r)
		}
		(&campaign{t: t, book: c.book}).verdict(r, err)
	}
	if *rounds > 0 && c.reshards.Load() == 0 {
		t.Error("the stream was never resharded: that proves nothing about children")
	}
}

// A build in which a node that was taken for dead is not kept from writing to the journal must fail the suite: otherwise
// the suite's silence about zombies means nothing.
func TestClusterFaultIsFound(t *testing.T) {
	if !*onKafka {
		return
	}
	c := newCluster(t, *seed, "failpoints", "unfenced")
	// What the node has in hand when it hangs is a matter of luck: not every time does it matter to others.
	const tries = 6
	for i := range tries {
		stop := c.load()
		c.round(i, clusterRound{"a node hangs with the right to write in hand", true, func(c *cluster) error { return c.zombieAt("journal-admitted") }})
		stop()
		r, err := c.finish(faultySettleTime)
		if r == nil {
			t.Fatal(err) // the campaign could not be ended, which is no verdict
		}
		fmt.Printf("the unfenced build: %s\n", r)
		if err != nil {
			t.Logf("beside the report: %.600v", err)
		}
		if r.bad() || err != nil {
			return
		}
	}
	t.Errorf("a node went on %d times with what others had delivered meanwhile, and nothing was found", tries)
}
