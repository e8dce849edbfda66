package crash

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"millrace/e2e/node"
)

// Times of a campaign.
const (
	loadLeast   = 300 * time.Millisecond  // of load before a random kill
	loadSpread  = 2200 * time.Millisecond // and how much more at most
	earlyTime   = 150 * time.Millisecond  // in which a node has started, on a machine that is not busy
	pointTime   = 20 * time.Second        // in which a failpoint must have been reached
	recoverTime = 5 * time.Second         // in which a failpoint of recovery must have been, when there is something to recover
	settleTime  = 60 * time.Second        // in which everything must be delivered, once nothing disturbs
)

// campaign is a data folder, the nodes that live and die on it, and the book of what they were told.
type campaign struct {
	t      testing.TB
	binary string
	file   string
	data   string
	rng    *rand.Rand
	book   *book
	args   []string // of the node, beside the prefix
	env    []string
	groups []group       // the load
	think  time.Duration // of a worker
	prefix int           // of the objects; it rises, so that keys sort in the order of time
	loaded map[int]bool  // prefixes under which there was load

	refusing bool // events may be refused

	reshards int     // so far
	shards   []shard // of the stream, at the end
}

func newCampaign(t testing.TB, seed uint64, tags ...string) *campaign {
	t.Helper()
	return newCampaignOf(t, "testdata/pipeline.yaml", workers, seed, tags...)
}

// newCampaignOf is one with a definition and a load of its own.
func newCampaignOf(t testing.TB, definition string, groups []group, seed uint64, tags ...string) *campaign {
	t.Helper()
	binary, err := node.Binary(tags...)
	if err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs(definition)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "millrace-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d; the data folder is kept: %s", seed, folder)
			return
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Log(err)
		}
	})
	return &campaign{t: t, binary: binary, file: file, groups: groups, think: thinkTime, data: filepath.Join(folder, "data"),
		rng: rand.New(rand.NewPCG(seed, 0)), book: newBook(), loaded: map[int]bool{}}
}

// up starts a node on the campaign's data. The node is killed when the test ends, whatever happens.
func (c *campaign) up(env ...string) (*node.Node, error) {
	n, err := node.Start(context.Background(), c.options(env...))
	if n != nil {
		c.t.Cleanup(n.Kill)
	}
	return n, err
}

func (c *campaign) options(env ...string) node.Options {
	return node.Options{Binary: c.binary, Data: c.data, File: c.file, Env: append(env, c.env...),
		Args: append([]string{"--parameter", fmt.Sprintf("Prefix=p%06d/", c.prefix)}, c.args...)}
}

// turnPrefix changes the prefix from the next start on. What is planned keeps the one that it was planned with.
func (c *campaign) turnPrefix() { c.prefix++ }

// under makes load on a node while what runs, and until the load has ended.
func (c *campaign) under(n *node.Node, what func() error) error {
	c.loaded[c.prefix] = true
	ctx, stop := context.WithCancel(context.Background())
	ended, resharded := make(chan struct{}), make(chan *resharder, 1)
	seed := c.rng.Uint64()
	most := min(c.rng.IntN(reshardsOfOne+1), reshardsMost-c.reshards)
	go func() {
		defer close(ended)
		run(ctx, c.book, n, c.groups, c.think, seed)
	}()
	go func() { resharded <- reshards(ctx, n, seed, most) }()
	err := what()
	stop()
	<-ended
	r := <-resharded
	c.reshards += r.done
	return errors.Join(err, r.err)
}

// aWhile is a random time.
func (c *campaign) aWhile() time.Duration {
	return loadLeast + time.Duration(c.rng.Int64N(int64(loadSpread)))
}

// killedAtRandom kills a node under load.
func (c *campaign) killedAtRandom() error {
	n, err := c.up()
	if err != nil {
		return err
	}
	return c.under(n, func() error {
		select {
		case <-n.Exited():
			return fmt.Errorf("the node ended by itself\n%s", n.Output())
		case <-time.After(c.aWhile()):
		}
		n.Kill()
		return nil
	})
}

// killedAt lets a node kill itself under load, at the times-th passing of a failpoint.
func (c *campaign) killedAt(point string, times int) error {
	n, err := c.up(fmt.Sprintf("MILLRACE_FAILPOINT=%s:%d", point, times))
	if errors.Is(err, node.ErrDied) && n.Killed() {
		return nil // what it recovered took it there before it was ready
	}
	if err != nil {
		return err
	}
	return c.under(n, func() error { return c.mustDie(n, point, pointTime) })
}

// mustDie waits until a node has killed itself.
func (c *campaign) mustDie(n *node.Node, point string, within time.Duration) error {
	select {
	case <-n.Exited():
		if !n.Killed() {
			return fmt.Errorf("the node ended, but not by failpoint %s\n%s", point, n.Output())
		}
		return nil
	case <-time.After(within):
		n.Kill()
		return fmt.Errorf("failpoint %s was not reached within %v\n%s", point, within, n.Output())
	}
}

// killedInRecovery lets a node kill itself while it takes up what the last one has left.
func (c *campaign) killedInRecovery(point string) error {
	n, err := c.up("MILLRACE_FAILPOINT=" + point)
	if errors.Is(err, node.ErrDied) && n.Killed() {
		return nil
	}
	if err != nil {
		return err
	}
	return c.mustDie(n, point, recoverTime)
}

// killedEarly kills a node a few milliseconds after its process began, wherever that is: in recovery, or while it
// applies its definition, whose prefix has changed.
func (c *campaign) killedEarly() error {
	c.turnPrefix()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.rng.Int64N(int64(earlyTime))))
	defer cancel()
	n, err := node.Start(ctx, c.options())
	if err == nil {
		<-ctx.Done()
		n.Kill()
		return nil
	}
	if ctx.Err() == nil {
		return err // it did not get as far as to be killed
	}
	return nil
}

// drained stops a node under load in the orderly way: nothing that was accepted is cut.
func (c *campaign) drained() error {
	n, err := c.up()
	if err != nil {
		return err
	}
	from, _ := c.book.totals()
	err = c.under(n, func() error {
		time.Sleep(c.aWhile())
		return n.Stop()
	})
	c.book.drains(0, from)
	return err
}

// withoutFolder takes a folder of the object store away under load, kills the node, and brings the folder back.
func (c *campaign) withoutFolder(name string) error {
	n, err := c.up()
	if err != nil {
		return err
	}
	return c.under(n, func() error {
		time.Sleep(loadLeast)
		back, err := takeAway(filepath.Join(c.data, "s3", name))
		if err != nil {
			return err
		}
		time.Sleep(c.aWhile())
		n.Kill()
		return back()
	})
}

// takeAway moves a folder and puts a file in its place, so that nobody makes it anew.
func takeAway(folder string) (back func() error, err error) {
	away := folder + ".away"
	if err := os.Rename(folder, away); err != nil {
		return nil, err
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(os.Remove(folder), os.Rename(away, folder)) }, nil
}

// finish starts a last node, waits until nothing is in flight, stops it in the orderly way, and holds its objects and
// its ledger against the book.
func (c *campaign) finish() (*report, error) {
	n, err := c.up()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	ledger, err := n.Settled(ctx)
	if err != nil {
		return nil, err
	}
	listed := map[string][]string{}
	for _, bucket := range []string{"class-events", "push-events"} {
		if listed[bucket], err = list(ctx, n, bucket); err != nil {
			return nil, err
		}
	}
	if err := onlyOnce(ctx, n); err != nil {
		return nil, err
	}
	aws, err := dial(ctx, n.AWS)
	if err != nil {
		return nil, err
	}
	defer aws.Close()
	if c.shards, err = describe(aws); err != nil {
		return nil, err
	}
	if err := n.Stop(); err != nil {
		return nil, err
	}
	return c.judge(ledger, listed)
}

// onlyOnce checks that starts which were cut off have not left a second API behind.
func onlyOnce(ctx context.Context, n *node.Node) error {
	for _, look := range []struct {
		path, mark string
		want       int
	}{{"/restapis", `"rootResourceId"`, 1}, {"/_millrace/endpoints", `"method"`, 2}} {
		status, body, err := n.Get(ctx, look.path)
		if err != nil {
			return err
		}
		if got := bytes.Count(body, []byte(look.mark)); status != http.StatusOK || got != look.want {
			return fmt.Errorf("GET %s: %d, %d of %s instead of %d: %.600s", look.path, status, got, look.mark, look.want, body)
		}
	}
	return nil
}

// judge compares book, objects, lists and ledger.
func (c *campaign) judge(ledger *node.Ledger, listed map[string][]string) (*report, error) {
	buckets := map[string][]source{}
	for bucket := range listed {
		var err error
		if buckets[bucket], err = folder(filepath.Join(c.data, "s3", bucket)); err != nil {
			return nil, err
		}
	}
	r, err := check(c.book, buckets, c.shards)
	if err != nil {
		return nil, err
	}
	var problems []error
	for bucket, keys := range listed {
		if !slices.Equal(keys, r.keys[bucket]) {
			problems = append(problems, fmt.Errorf("the API lists %d objects of %s, its folder holds %d: %.400q and %.400q",
				len(keys), bucket, len(r.keys[bucket]), keys, r.keys[bucket]))
		}
	}
	problems = append(problems, c.ledgerProblems(ledger, r)...)
	problems = append(problems, c.keyProblems(r)...)
	if c.book.refused > 0 && !c.refusing {
		problems = append(problems, fmt.Errorf("%d events were refused, the first: %q", c.book.refused, c.book.refusals))
	}
	return r, errors.Join(problems...)
}

// objectKey is how Firehose names objects: behind a prefix without expressions comes the date.
var objectKey = regexp.MustCompile(`^p(\d{6})/\d{4}(/\d\d){3}/(class|push)-delivery-\d+-\d{4}(-\d\d){5}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.gz)?$`)

// keyProblems tells which keys are not as they must be, and whether the changes of the prefix have taken effect.
func (c *campaign) keyProblems(r *report) (problems []error) {
	prefixes := map[string]bool{}
	for _, bucket := range sortedKeys(r.keys) {
		for _, key := range r.keys[bucket] {
			parts := objectKey.FindStringSubmatch(key)
			if parts == nil {
				problems = append(problems, fmt.Errorf("an object of %s has the key %s", bucket, key))
				continue
			}
			prefixes[parts[1]] = true
		}
	}
	// What was not planned when its node died is planned with a later prefix, so that some may have no object.
	const enough = 4
	if len(c.loaded) >= enough && len(prefixes) < 2 {
		problems = append(problems, fmt.Errorf("events came under %d prefixes, and all objects are below %v", len(c.loaded), prefixes))
	}
	return problems
}

// ledgerProblems tells where the node's ledger and the objects differ. Nothing is in flight.
func (c *campaign) ledgerProblems(ledger *node.Ledger, r *report) (problems []error) {
	delivered, objects := 0, 0
	for _, line := range ledger.DeliveryStreams {
		delivered += int(line.Delivered)
		objects += int(line.Objects)
		if line.Delivered != line.Accepted {
			problems = append(problems, fmt.Errorf("the ledger of %s: accepted %d, delivered %d", line.Name, line.Accepted, line.Delivered))
		}
	}
	if delivered != r.lines || objects != r.objects {
		problems = append(problems, fmt.Errorf("the ledger tells of %d records in %d objects; there are %d in %d", delivered, objects, r.lines, r.objects))
	}
	if sent, acknowledged := c.book.totals(); delivered < acknowledged || delivered > sent {
		problems = append(problems, fmt.Errorf("the ledger tells of %d records; %d were sent and %d answered", delivered, sent, acknowledged))
	}
	return problems
}

// list gives the keys of a bucket as the S3 API does.
func list(ctx context.Context, n *node.Node, bucket string) ([]string, error) {
	var keys []string
	for token := ""; ; {
		query := url.Values{"list-type": {"2"}}
		if token != "" {
			query.Set("continuation-token", token)
		}
		status, body, err := n.Get(ctx, "/"+bucket+"?"+query.Encode())
		if err != nil {
			return nil, err
		}
		if status != http.StatusOK {
			return nil, fmt.Errorf("ListObjectsV2 of %s: %d %.300s", bucket, status, body)
		}
		var page struct {
			IsTruncated           bool
			NextContinuationToken string
			Contents              []struct{ Key string }
		}
		if err := xml.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("ListObjectsV2 of %s: %w", bucket, err)
		}
		for _, o := range page.Contents {
			keys = append(keys, o.Key)
		}
		if !page.IsTruncated {
			return keys, nil
		}
		token = page.NextContinuationToken
	}
}
