package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/e2e/kafkacluster"
	"millrace/e2e/node"
)

// Times of a cluster's campaign.
const (
	// frozenLeast is longer than the lease of the catalog (10 s) and the session of the group that delivers: whoever
	// stands still for as long is taken for dead, and comes back as a zombie.
	frozenLeast  = 12 * time.Second
	frozenSpread = 4 * time.Second
	// outLeast is longer than the brokers need to elect leaders anew.
	outLeast  = 6 * time.Second
	outSpread = 4 * time.Second
	// backTime is how long everything may take to serve again when nothing disturbs any more.
	backTime = 90 * time.Second
	// middleTime is how long a change of shards is seen to be under way at most before something happens to its nodes.
	middleTime = 100 * time.Millisecond
	// clusterSettleTime is how long everything may take to be delivered.
	clusterSettleTime = 120 * time.Second
	// clusterAnswerTime is longer than a node is frozen, and than a request may take after that: a late answer is an answer.
	clusterAnswerTime = 60 * time.Second
	// clusterThinkTime leaves two cores enough to run three brokers, three nodes and their store.
	clusterThinkTime = 200 * time.Millisecond
	lookPause        = 100 * time.Millisecond // between two looks at what another process does
)

// clusterWorkers lists the connections to each node of a cluster.
var clusterWorkers = []group{
	{4, (*worker).post, []kind{jsonSmall}},
	{2, (*worker).post, []kind{formSmall}},
	{1, (*worker).post, []kind{taggedEmpty, taggedByte, taggedText, taggedForm}},
	{1, (*worker).post, []kind{anonymousJSONEmpty, anonymousJSONByte, anonymousFormEmpty, anonymousFormByte}},
	{1, (*worker).putRecord, []kind{wireRecord}},
	{1, (*worker).putRecords, []kind{wireRecord}},
	{1, (*worker).putRecordBatch, []kind{pushRecord}},
}

// member is a node of the cluster: a name and a data folder, and the process that serves at present.
type member struct {
	number  uint8
	name    string
	data    string
	log     *os.File
	process *node.Node                // nil: none runs
	now     atomic.Pointer[node.Node] // the process, once it serves
	frozen  bool
}

// mark notes in the member's log what is done to it.
func (m *member) mark(format string, args ...any) {
	fmt.Fprintf(m.log, "--- %s %s\n", time.Now().Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
}

// cluster is brokers, nodes, the store of their objects, and the book of what the nodes were told.
type cluster struct {
	t       testing.TB
	binary  string
	folder  string
	file    string
	config  string
	rng     *rand.Rand
	book    *book
	brokers *kafkacluster.Cluster
	out     map[int]func(int) error // brokers that don't serve, and how each is brought back
	store   *node.Node
	members [3]*member
	did     []string // in this round

	reshards atomic.Int64 // that were answered with success
}

func newCluster(t testing.TB, seed uint64, tags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, rng: rand.New(rand.NewPCG(seed, 0)), book: newBook(), out: map[int]func(int) error{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	c.binary, err = node.Binary(tags...)
	must(err)
	c.file, err = filepath.Abs("testdata/pipeline.yaml")
	must(err)
	c.folder, err = os.MkdirTemp("", "millrace-cluster-")
	must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d; objects, nodes' folders and their logs are kept: %s", seed, c.folder)
			return
		}
		if err := os.RemoveAll(c.folder); err != nil {
			t.Log(err)
		}
	})
	c.brokers = kafkacluster.Start(t, kafkacluster.Options{})
	storeFile, err := filepath.Abs("testdata/store.yaml")
	must(err)
	c.store, err = node.Start(t.Context(), node.Options{Binary: c.binary, Data: filepath.Join(c.folder, "store"), File: storeFile})
	must(err)
	t.Cleanup(c.store.Kill)
	c.config = filepath.Join(c.folder, "node.yaml")
	must(os.WriteFile(c.config, fmt.Appendf(nil, "engine: kafka://%s\nobjects:\n  endpoint: %s\n  region: us-east-1\n  path-style: true\n",
		c.brokers.Bootstrap(), c.store.AWS), 0o600))
	for i := range c.members {
		m := &member{number: uint8(i), name: fmt.Sprintf("n%d", i+1)}
		m.data = filepath.Join(c.folder, m.name)
		m.log, err = os.Create(filepath.Join(c.folder, m.name+".log"))
		must(err)
		t.Cleanup(func() { _ = m.log.Close() }) // what is in it was written
		c.members[i] = m
	}
	must(c.startAll())
	return c
}

// tell notes what is done, for the round's line.
func (c *cluster) tell(format string, args ...any) {
	c.did = append(c.did, fmt.Sprintf(format, args...))
}

// launch starts a member's process. It is killed when the test ends, whatever happens.
func (c *cluster) launch(m *member, env ...string) (err error) {
	m.mark("start %v", env)
	m.process, err = node.Launch(node.Options{Binary: c.binary, Data: m.data, File: c.file, Log: m.log,
		Args: []string{"--config", c.config, "--node", m.name},
		Env:  append([]string{"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any"}, env...)})
	if err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	c.t.Cleanup(m.process.Kill)
	return nil
}

// serve waits until a member's process serves.
func (m *member) serve() error {
	if err := m.process.Ready(context.Background()); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	m.mark("serves")
	m.now.Store(m.process)
	return nil
}

// startAll starts the members of which no process runs, all at once, and waits until every member serves.
func (c *cluster) startAll() error {
	for _, m := range c.members {
		if m.process == nil {
			if err := c.launch(m); err != nil {
				return err
			}
		}
	}
	for _, m := range c.members {
		if m.now.Load() == nil {
			if err := m.serve(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) kill(m *member) {
	c.tell("kill %s", m.name)
	m.mark("kill")
	m.process.Kill()
	m.gone()
}

// gone forgets a process that has ended.
func (m *member) gone() {
	m.now.Store(nil)
	m.process, m.frozen = nil, false
}

func (c *cluster) freeze(m *member) error {
	c.tell("freeze %s", m.name)
	m.mark("freeze")
	m.frozen = true
	return m.process.Freeze()
}

func (c *cluster) thaw(m *member) error {
	m.mark("thaw")
	m.frozen = false
	return m.process.Thaw()
}

func (c *cluster) killBroker(i int) error {
	c.tell("kill broker %d", i+1)
	c.out[i] = c.brokers.Restart
	return c.brokers.Kill(i)
}

func (c *cluster) freezeBroker(i int) error {
	c.tell("freeze broker %d", i+1)
	c.out[i] = c.brokers.Thaw
	return c.brokers.Freeze(i)
}

// brokersBack lets brokers serve again that were killed or frozen.
func (c *cluster) brokersBack() error {
	for i, back := range c.out {
		if err := back(i); err != nil {
			return err
		}
		delete(c.out, i)
	}
	return nil
}

// some gives the members in random order.
func (c *cluster) some() []*member {
	all := make([]*member, 0, len(c.members))
	for _, i := range c.rng.Perm(len(c.members)) {
		all = append(all, c.members[i])
	}
	return all
}

// aWhile is a random time.
func (c *cluster) aWhile(least, spread time.Duration) time.Duration {
	return least + time.Duration(c.rng.Int64N(int64(spread)))
}

// load makes load on every member until stop is called, which returns when it has ended.
func (c *cluster) load() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	var all sync.WaitGroup
	for _, m := range c.members {
		t := &target{book: c.book, number: m.number, node: m.now.Load, patient: true, think: clusterThinkTime, answer: clusterAnswerTime, groups: clusterWorkers}
		seed := c.rng.Uint64()
		all.Go(func() { t.run(ctx, seed) })
	}
	return func() { cancel(); all.Wait() }
}

// goOn holds for a time in which those members that run and are not frozen must answer events.
func (c *cluster) goOn(hold time.Duration) error {
	before, _, _ := c.book.count()
	time.Sleep(hold)
	after, _, _ := c.book.count()
	for _, m := range c.members {
		if m.now.Load() != nil && !m.frozen && after[m.number] == before[m.number] {
			return fmt.Errorf("%s has answered no event with success in %v", m.name, hold)
		}
	}
	return nil
}

// recover lets everything serve again, and waits until it does: all brokers in sync, every node answering events, and the
// stream ready for the next change.
func (c *cluster) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, backTime)
	defer cancel()
	for _, m := range c.members {
		if m.process == nil {
			continue
		}
		select {
		case <-m.process.Exited():
			return fmt.Errorf("%s has ended by itself\n%s", m.name, m.process.Output())
		default:
		}
		if m.frozen {
			if err := c.thaw(m); err != nil {
				return err
			}
		}
	}
	if err := c.brokersBack(); err != nil {
		return err
	}
	if err := c.startAll(); err != nil {
		return err
	}
	if err := c.brokers.WaitInSync(ctx); err != nil {
		return err
	}
	before, _, _ := c.book.count()
	for _, m := range c.members {
		if err := c.answers(ctx, m, before[m.number]); err != nil {
			return err
		}
		if err := c.active(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// answers waits until a member has answered more events than before.
func (c *cluster) answers(ctx context.Context, m *member, before int) error {
	return c.until(ctx, m, "answer events", func() error {
		if now, _, _ := c.book.count(); now[m.number] == before {
			return errors.New("it has answered none with success")
		}
		return nil
	})
}

// active waits until a member says that the stream is ACTIVE.
func (c *cluster) active(ctx context.Context, m *member) error {
	return c.until(ctx, m, "tell that the stream is ACTIVE", func() error {
		status, err := streamStatus(ctx, m.now.Load())
		if err == nil && status != "ACTIVE" {
			err = errors.New(status)
		}
		return err
	})
}

// middle waits until a node tells that a change of shards is under way, or was made so fast that nobody has seen it.
func (c *cluster) middle(n *node.Node, done <-chan error) error {
	for {
		if status, err := streamStatus(context.Background(), n); err == nil && status == "UPDATING" {
			time.Sleep(c.aWhile(0, middleTime))
			return nil
		}
		select {
		case err := <-done:
			c.tell("too late")
			return err
		default:
		}
	}
}

func streamStatus(ctx context.Context, n *node.Node) (string, error) {
	aws, err := dial(ctx, n.AWS)
	if err != nil {
		return "", err
	}
	defer aws.Close()
	var out struct {
		StreamDescriptionSummary struct{ StreamStatus string }
	}
	err = ask(aws, "DescribeStreamSummary", `{"StreamName":"class-stream"}`, &out)
	return out.StreamDescriptionSummary.StreamStatus, err
}

// until waits until a member does what it should.
func (c *cluster) until(ctx context.Context, m *member, what string, look func() error) error {
	n := m.now.Load()
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-n.Exited():
			return fmt.Errorf("%s has ended by itself\n%s", m.name, n.Output())
		case <-ctx.Done():
			return fmt.Errorf("%s did not %s in time: %w\n%s", m.name, what, err, n.Output())
		case <-time.After(lookPause):
		}
	}
}

// busy is what a change of shards may be answered when another one is under way.
var busy = []string{"ResourceInUseException", "LimitExceededException"}

// reshard makes one change of shards on a member, after a time. The channel gives an error when it was answered as it
// never should.
func (c *cluster) reshard(m *member, after time.Duration) <-chan error {
	done, seed := make(chan error, 1), c.rng.Uint64()
	go func() {
		defer close(done)
		r := &resharder{rng: rand.New(rand.NewPCG(seed, 1)), busy: busy}
		defer func() { c.reshards.Add(int64(r.done)); done <- r.err }()
		time.Sleep(after)
		n := m.now.Load()
		if n == nil {
			return
		}
		var err error
		if r.aws, err = dial(context.Background(), n.AWS); err != nil {
			return // it is gone
		}
		defer r.aws.Close()
		if shards, err := describe(r.aws); err == nil {
			r.reshard(shards)
		}
	}()
	return done
}

// reached lets one of the members come to a failpoint under load. It has killed itself there, or stands still.
func (c *cluster) reached(point string, freeze bool) (*member, error) {
	setting := fmt.Sprintf("MILLRACE_FAILPOINT=%s:%d", point, 1+c.rng.IntN(6))
	if freeze {
		setting += ":freeze"
	}
	for _, m := range c.some() { // one that delivers nothing at present never comes there
		c.kill(m)
		if err := c.launch(m, setting); err != nil {
			return nil, err
		}
		there, err := c.comes(m, point)
		if err != nil {
			return nil, err
		}
		if !there {
			c.tell("not at %s", point)
			c.kill(m) // or it would come there later, in another round
			if err := c.launch(m); err != nil {
				return nil, err
			}
			if err := m.serve(); err != nil {
				return nil, err
			}
			continue
		}
		c.tell("%s is at %s", m.name, point)
		if freeze {
			m.frozen = true
			return m, nil
		}
		<-m.process.Exited()
		m.gone()
		return m, nil
	}
	return nil, fmt.Errorf("no node came to failpoint %s within %v", point, pointTime)
}

// comes waits until a member that was just started comes to a failpoint, which may be before it serves.
func (c *cluster) comes(m *member, point string) (bool, error) {
	for began := time.Now(); time.Since(began) < pointTime; time.Sleep(lookPause) {
		if strings.Contains(m.process.Output(), "failpoint "+point) {
			return true, nil
		}
		if m.now.Load() != nil {
			continue
		}
		select {
		case <-m.process.Exited():
			if !strings.Contains(m.process.Output(), "failpoint "+point) { // written just before
				return false, m.serve()
			}
		default:
			if m.process.Serves() {
				if err := m.serve(); err != nil {
					return false, err
				}
			}
		}
	}
	return false, nil
}
