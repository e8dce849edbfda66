package kinesisengine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	firehosetypes "github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/e2e/node"
)

func TestMain(m *testing.M) { node.Main(m) }

const (
	eventBucket   = "orders-events"
	clusterBucket = "millrace-cluster"
	// patience bounds the wait for the last object: a dead node's lease, a takeover, a buffer.
	patience = 90 * time.Second
	// stage is how long the load goes on between two blows: longer than a lease, so that others take over.
	stage = 16 * time.Second
	// workers on each node, and their pause.
	workers   = 8
	thinkTime = 10 * time.Millisecond
)

var awsConfig = aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""), RetryMaxAttempts: 1}

func at(n *node.Node) aws.Config {
	c := awsConfig
	c.BaseEndpoint = aws.String(n.AWS)
	return c
}

func objects(n *node.Node) *s3.Client {
	return s3.NewFromConfig(at(n), func(o *s3.Options) { o.UsePathStyle = true })
}

// cluster is the service and what it takes to start nodes on it.
type cluster struct {
	t       *testing.T
	binary  string
	service *node.Node
	config  string
}

func start(t *testing.T) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("the nodes are other processes: a short run, as with the race detector, learns nothing here")
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, binary: binary, config: filepath.Join(t.TempDir(), "cluster.yaml")}
	c.service = c.up("service", "--no-example")
	if _, err := objects(c.service).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(clusterBucket)}); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("engine: kinesis://us-east-1\nkinesis: {endpoint: %q, cluster: s3://%s/one}\nobjects: {endpoint: %q, path-style: true}\n",
		c.service.AWS, clusterBucket, c.service.AWS)
	if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// folders keeps a node's data folder for its next start.
func (c *cluster) folder(name string) string { return filepath.Join(filepath.Dir(c.config), name) }

// up starts a node; it ends with the test.
func (c *cluster) up(name string, args ...string) *node.Node {
	c.t.Helper()
	opts := node.Options{Binary: c.binary, Data: c.folder(name), Args: args, Env: []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}}
	if len(args) > 0 && strings.HasSuffix(args[0], ".yaml") {
		opts.File, opts.Args = args[0], args[1:]
	}
	n, err := node.Start(c.t.Context(), opts)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Log(name + "\n" + n.Output())
		}
		n.Kill()
	})
	return n
}

// book knows what was sent, and what was answered.
type book struct {
	sent     atomic.Int64
	mu       sync.Mutex
	answered map[int64]bool
}

var client = &http.Client{Timeout: 30 * time.Second}

// load posts to a node until it is gone or ctx ends.
func (b *book) load(ctx context.Context, n *node.Node) {
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for ctx.Err() == nil && b.post(n) {
				time.Sleep(thinkTime) // of a client
			}
		})
	}
	all.Wait()
}

// post sends one event. It is false once the node is gone.
func (b *book) post(n *node.Node) bool {
	id := b.sent.Add(1)
	resp, err := client.Post(n.Ingest+"/prod/events", "application/json", strings.NewReader(fmt.Sprintf(`{"n":%d}`, id)))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode == http.StatusOK {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.answered[id] = true
	}
	return true
}

// delivered reads all objects and counts each event.
func (c *cluster) delivered() (map[int64]int, error) {
	times := map[int64]int{}
	s := objects(c.service)
	pages := s3.NewListObjectsV2Paginator(s, &s3.ListObjectsV2Input{Bucket: aws.String(eventBucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.t.Context())
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			answer, err := s.GetObject(c.t.Context(), &s3.GetObjectInput{Bucket: aws.String(eventBucket), Key: o.Key})
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err != nil {
				return nil, err
			}
			for line := range bytes.Lines(text) {
				digits := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(line)), `{"n":`), "}")
				id, err := strconv.ParseInt(digits, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("%s holds %q", *o.Key, line)
				}
				times[id]++
			}
		}
	}
	return times, nil
}

// check waits until all that was answered is there, and then looks whether anything is there twice.
func (c *cluster) check(b *book) {
	c.t.Helper()
	lost := 0
	var times map[int64]int
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Second) { // objects of other processes
		var err error
		if times, err = c.delivered(); err != nil {
			c.t.Fatal(err)
		}
		lost = 0
		for id := range b.answered {
			if times[id] == 0 {
				lost++
			}
		}
		if lost == 0 || time.Now().After(deadline) {
			break
		}
	}
	twice := 0
	for id, n := range times {
		if n > 1 {
			twice++
			c.t.Logf("event %d is there %d times", id, n)
		}
	}
	c.t.Logf("%d events sent, %d answered, %d delivered", b.sent.Load(), len(b.answered), len(times))
	if lost > 0 || twice > 0 || len(b.answered) == 0 {
		c.t.Errorf("of %d events that were answered %d are lost; %d are there more than once", len(b.answered), lost, twice)
	}
}

// Two nodes share what there is to deliver. One is killed and comes back, the other is frozen and wakes up.
func TestNodesAreKilledAndFrozen(t *testing.T) {
	c := start(t)
	file, err := filepath.Abs(filepath.Join("testdata", "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	a := c.up("a", file, "--config", c.config)
	b := c.up("b", "--no-example", "--config", c.config)
	if status, body, err := b.Get(t.Context(), "/_millrace/health"); err != nil || status != http.StatusOK || !strings.Contains(string(body), "s3://"+clusterBucket+"/one") {
		t.Errorf("health of b: %d %s, %v", status, body, err)
	}
	events := &book{answered: map[int64]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	onto := func(n *node.Node) { load.Go(func() { events.load(ctx, n) }) }
	onto(a)
	onto(b)
	pause := func(d time.Duration) { time.Sleep(d) } // of the load
	pause(stage / 4)
	b.Kill()
	pause(stage)
	b = c.up("b", "--no-example", "--config", c.config)
	onto(b)
	pause(stage / 4)
	if err := a.Freeze(); err != nil { // past its lease: when it wakes up its slots are b's
		t.Fatal(err)
	}
	pause(stage)
	if err := a.Thaw(); err != nil {
		t.Fatal(err)
	}
	pause(stage / 4)
	if err := b.Stop(); err != nil { // in order: it gives back what it has
		t.Error(err)
	}
	pause(stage / 4)
	stop()
	load.Wait()
	c.check(events)
	l, err := a.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if line, ok := l.Delivery("orders-delivery"); !ok || line.Delivered < int64(len(events.answered)) {
		t.Errorf("the ledger of a: %+v", line)
	}
}

// What one node of a cluster can't do for the others is refused, with the reason.
func TestDirectPutIsRefused(t *testing.T) {
	c := start(t)
	a := c.up("a", "--no-example", "--config", c.config)
	_, err := firehose.NewFromConfig(at(a)).CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("d"), DeliveryStreamType: firehosetypes.DeliveryStreamTypeDirectPut,
		ExtendedS3DestinationConfiguration: &firehosetypes.ExtendedS3DestinationConfiguration{
			BucketARN: aws.String("arn:aws:s3:::events"), RoleARN: aws.String("arn:aws:iam::000000000000:role/r")},
	})
	if err == nil || !strings.Contains(err.Error(), "DirectPut") || !strings.Contains(err.Error(), "KinesisStreamAsSource") {
		t.Errorf("got %v", err)
	}
	alone := filepath.Join(filepath.Dir(c.config), "alone.yaml")
	if err := os.WriteFile(alone, fmt.Appendf(nil, "engine: kinesis://us-east-1\nkinesis: {endpoint: %q}\n", c.service.AWS), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if n, err := node.Start(t.Context(), node.Options{Binary: c.binary, Data: c.folder("a"), Args: []string{"--no-example", "--config", alone},
		Env: []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}}); err == nil || !strings.Contains(err.Error(), "the data folder belongs to the engine kinesis in a cluster") {
		n.Kill()
		t.Errorf("the folder of a cluster's node was opened: %v", err)
	}
}
