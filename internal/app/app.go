// Package app wires a node: it is the only place that names concrete backends,
// and it owns the order in which they start and stop.
//
//	data folder ─ stores (log, meta) ─ catalog ─ streams ─ objects ─ delivery ─ logs ─ gateway ─ services ─ listeners
//	     └───────────── opened from left to right, closed from right to left ─────────────┘
//
// A node that has started serves; [Node.Run] returns when it is told to stop or
// can't go on. Stopping drains: no accepted request is cut, what delivery has
// buffered is planned, and what is planned is put as far as time allows. What then
// remains is finished by the next start; a kill -9 differs only in how much.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/api/apigateway"
	"millrace/internal/api/firehose"
	"millrace/internal/api/kinesis"
	"millrace/internal/api/s3"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/front"
	"millrace/internal/gateway"
	"millrace/internal/gateway/httpcall"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/outbound"
	"millrace/internal/space"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/limits"
	"millrace/internal/stream/topics"
	"millrace/internal/telemetry"

	_ "time/tzdata" // CustomTimeZone works on machines without a time zone database
)

// Options of a node.
type Options struct {
	Config  config.Node
	Version string
	Log     *slog.Logger
	Stdout  io.Writer // for logs of stages, where the configuration wants them there; default: the process's
	// Allow is told how many bytes the node may use more, or less, than it did; see delivery.Options.
	Allow func(more int64)
	// Failpoint is called at the named steps of delivery and of the object store; for crash tests.
	Failpoint func(name string)
}

// Names within the data folder.
const (
	logFolder    = "log"  // records, in a store of the Log profile
	metaFolder   = "meta" // catalog, delivery journal, object index
	objectFolder = "s3"   // objects, as plain files
)

// Prefixes of the meta store: who keeps what in it.
var (
	catalogPrefix = []byte("c")
	journalPrefix = []byte("d")
	objectPrefix  = []byte("o")
)

// drainTime bounds what stopping waits for, in each of its steps.
const drainTime = 30 * time.Second

// Node is a running node.
type Node struct {
	opts    Options
	log     *slog.Logger
	account ids.Account
	ids     *ids.Source

	name     string // of this node in its cluster
	engineIs config.Engine
	folder   *folder
	space    *space.Watcher
	meta     *pebble.DB
	// What the engine brings: see openEngine.
	catalog  *catalog.Catalog
	streams  stream.Backend
	topics   *topics.Source  // of Kafka clusters that delivery reads; whatever the engine
	limits   *limits.Backend // before streams, with --aws-exact=limits; else nil
	journal  journal.Journal
	tokenKey []byte // seals shard iterators and NextTokens; all nodes of a cluster have one

	directPutShards int // 0: the default, one

	objects     object.Store
	engine      *delivery.Engine
	logs        *stageLogs
	gateway     *gateway.Gateway
	metered     *catalog.Snapshot // whose keys, plans and usage the gateway has; its follower's alone
	savingUsage sync.Mutex        // one saveUsage at a time
	s3          *s3.Service
	server      *front.Server
	metrics     *telemetry.Metrics
	budget      *front.Budget
	replays     replays

	started  time.Time
	checks   []check
	warnings []func(context.Context) map[string]string
	emitters []func(telemetry.Emit)
	failed   chan error      // a store that can't go on
	stopping context.Context // ends when close begins: answers without end, such as a tail, end then
	closers  []closer        // in the order of opening
}

type closer struct {
	name  string
	close func(context.Context) error
}

// check is what health asks: a node that fails one can't do its work.
type check struct {
	name string
	ask  func(context.Context) error
}

// Start opens the data folder and all that lies in it, and binds the listeners. Requests are answered from
// [Node.Run] on.
func Start(ctx context.Context, opts Options) (*Node, error) {
	n := &Node{
		opts: opts, log: opts.Log, ids: ids.New(), started: time.Now(), failed: make(chan error, 1),
		account: ids.NewAccount(opts.Config.Region, opts.Config.Account),
		budget:  front.NewBudget(int64(opts.Config.BodyBudget)), metrics: telemetry.NewMetrics(),
	}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// open opens the rooms, each on those before it.
func (n *Node) open(ctx context.Context) error {
	steps := []func(context.Context) error{
		n.openFolder, n.openMeta, n.openEngine, n.openLimits, n.openTopics, n.openObjects, n.openLogs, n.openDelivery, n.logsToDelivery, n.openGateway,
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	n.metrics.Collect(n.collect)
	return nil
}

// onClose registers what close is to undo.
func (n *Node) onClose(name string, fn func(context.Context) error) {
	n.closers = append(n.closers, closer{name, fn})
}

func (n *Node) openFolder(context.Context) error {
	f, err := openFolder(n.opts.Config.Data)
	if err != nil {
		return err
	}
	n.folder = f
	n.name = cmp.Or(n.opts.Config.Name, f.node)
	n.onClose("data folder", func(context.Context) error { return f.close() })

	n.space = space.New(f.path, uint64(n.opts.Config.LowSpace), space.Statfs, n.log)
	ctx, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { n.space.Run(ctx) })
	n.onClose("watch of disk space", func(context.Context) error { stop(); watch.Wait(); return nil })
	return nil
}

// fatal is told by a store that it can't go on. What was acknowledged is safe; only a new start can say what else is.
func (n *Node) fatal(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// openMeta opens the store of what is this node's own, whatever the engine.
func (n *Node) openMeta(context.Context) error {
	meta, err := store.Open(filepath.Join(n.folder.path, metaFolder), store.Options{Profile: store.Meta, Log: n.log, Fatal: n.fatal})
	if err != nil {
		return err
	}
	n.meta = meta
	n.onClose("meta store", func(context.Context) error { return meta.Close() })
	return nil
}

func (n *Node) openDelivery(ctx context.Context) error {
	table, err := n.tables()
	if err != nil {
		return err
	}
	o := delivery.Options{
		Source: n.source(), Sink: n.objects, Definitions: newDefinitions(n.catalog), Journal: n.journal,
		Account: n.account, IDs: n.ids, Now: time.Now, Log: n.log, Failpoint: n.opts.Failpoint, Allow: n.opts.Allow, DirectPutShards: n.directPutShards,
		ActivePartitions: n.opts.Config.ActivePartitions, LedgerKeep: n.opts.Config.LedgerKeep, Table: table, PlainEndpoints: n.opts.Config.HTTP.AllowHTTPEndpoints,
		SpoolDir: filepath.Join(n.folder.path, spoolFolder), LowSpace: n.space.Low, Errors: deliveryErrors{n.logs},
	}
	if err := os.RemoveAll(o.SpoolDir); err != nil { // nothing in it is of use to another process
		return err
	}
	if err := n.deliveryCalls(&o); err != nil {
		return err
	}
	if n.engine, err = delivery.New(o); err != nil {
		return err
	}
	if err := n.engine.Start(ctx); err != nil {
		return err
	}
	n.onClose("delivery", n.engine.Close)
	n.streams.StartTrimming() // after the engine has said what it holds
	return nil
}

// services makes the surfaces. They are given the same credentials as the front.
func (n *Node) services(credentials awswire.Lookup, kin *kinesis.Service, fire *firehose.Service) (map[front.Service]http.Handler, error) {
	gw, err := apigateway.New(apigateway.Options{
		Catalog: n.catalog, Account: n.account, IDs: n.ids, Now: time.Now, Credentials: credentials, Log: n.log, Import: importOpenAPI,
		Tester: tester{n}, SaveUsage: n.saveUsage,
		Gate: n.gate(), Authorizers: authorizers{n},
	})
	if err != nil {
		return nil, err
	}
	n.s3, err = s3.New(s3.Options{
		Store: n.objects, Account: n.account, IDs: n.ids, Now: time.Now, Credentials: credentials,
		Hosts: n.opts.Config.AllowHosts, Budget: n.budget, Log: n.log,
	})
	if err != nil {
		return nil, err
	}
	return map[front.Service]http.Handler{
		front.Kinesis: kin, front.Firehose: fire, front.APIGateway: gw, front.S3: n.s3,
	}, nil
}

func (n *Node) openGateway(ctx context.Context) error {
	kin, fire, credentials, err := n.openStreamServices()
	if err != nil {
		return err
	}
	handlers, err := n.services(credentials, kin, fire)
	if err != nil {
		return err
	}
	out, err := n.outbound()
	if err != nil {
		return err
	}
	gatekeeper, err := n.newGatekeeper(credentials, out)
	if err != nil {
		return err
	}
	sender := httpcall.New(out)
	n.onClose("connections of HTTP integrations", func(context.Context) error { sender.Close(); return nil })
	n.gateway, err = gateway.New(gateway.Options{
		Actions: actions{kin, fire, n.s3}, Sender: sender, Account: n.account, IDs: n.ids, Now: time.Now,
		Gate: n.gate(), Gatekeeper: gatekeeper,
		TrustedProxies: n.opts.Config.TrustedProxies, ExactResponses: n.opts.Config.ExactResponses,
		AccountThrottle: n.opts.Config.ExactLimits, Budget: n.budget, Answers: n.budget.Answers(), Log: n.logs, AccessLogs: n.logs, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.followAPIs()
	n.keepUsage()
	return n.bind(ctx, handlers, credentials)
}

// outbound says whom calls that leave the node trust, and which way they go.
func (n *Node) outbound() (outbound.Options, error) {
	roots, err := n.opts.Config.HTTP.Roots()
	if err != nil {
		return outbound.Options{}, fmt.Errorf("http.ca-file: %w", err)
	}
	out := outbound.Options{Roots: roots}
	if n.opts.Config.HTTP.Proxy == config.ProxyEnvironment {
		out = out.FromEnvironment()
	}
	return out, nil
}

func (n *Node) openStreamServices() (*kinesis.Service, *firehose.Service, awswire.Lookup, error) {
	credentials, err := loadCredentials(n.opts.Config.Credentials)
	if err != nil {
		return nil, nil, nil, err
	}
	var backend stream.Backend = n.streams
	if n.limits != nil {
		backend = n.limits
	}
	kin, err := kinesis.New(kinesis.Options{
		Backend: backend, Account: n.account, IDs: n.ids, Now: time.Now, TokenKey: n.tokenKey, Credentials: credentials, Log: n.log,
		ExactRates: n.limits != nil,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	n.emitters = append(n.emitters, collectRates(kin), kin.Collect)
	fire, err := firehose.New(firehose.Options{
		Engine: n.engine, Account: n.account, IDs: n.ids, Now: time.Now, Credentials: credentials, Log: n.log,
		PlainEndpoints: n.opts.Config.HTTP.AllowHTTPEndpoints,
	})
	return kin, fire, credentials, err
}

func loadCredentials(file string) (awswire.Lookup, error) {
	if file == "" {
		return nil, nil
	}
	keys, err := config.LoadCredentials(file)
	if err != nil {
		return nil, err
	}
	return func(id string) (string, bool) { secret, ok := keys[id]; return secret, ok }, nil
}

func (n *Node) bind(ctx context.Context, handlers map[front.Service]http.Handler, credentials awswire.Lookup) error {
	c := &n.opts.Config
	server, err := front.Listen(ctx, front.Options{
		AWS:     front.Listener{Addr: c.Listen, TLSCert: c.TLSCert, TLSKey: c.TLSKey},
		Ingest:  front.Listener{Addr: c.Ingest, TLSCert: c.IngestTLSCert, TLSKey: c.IngestTLSKey},
		Gateway: n.gateway, Services: handlers, Millrace: n.operator(), Credentials: credentials,
		AllowHosts: c.AllowHosts, Budget: n.budget, IDs: n.ids, Now: time.Now, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.server = server
	n.onClose("listeners", server.Shutdown)
	stopping, stop := context.WithCancel(context.Background())
	n.stopping = stopping
	n.onClose("answers without end", func(context.Context) error { stop(); return nil })
	return nil
}

// Run serves until ctx ends, then drains and closes. It returns nil after an orderly stop.
func (n *Node) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- n.server.Serve() }()
	var err error
	select {
	case <-ctx.Done():
		n.log.Info("stopping: requests in flight are answered, buffers are planned")
	case err = <-served:
	case err = <-n.failed:
		// No drain: the store can't make anything durable any more, and nobody may be told that it did.
		return err
	}
	return errors.Join(err, n.close())
}

// Close stops a node that [Node.Run] was not called on.
func (n *Node) Close() error { return n.close() }

// close closes in the reverse order of opening.
func (n *Node) close() error {
	var all error
	for i := len(n.closers) - 1; i >= 0; i-- {
		c := n.closers[i]
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		if err := c.close(ctx); err != nil {
			all = errors.Join(all, fault.New(fault.KindOf(err), "app.Close", c.name, "%w", err))
		}
		cancel()
	}
	n.closers = nil
	return all
}

// AWSURL and IngestURL are where the node listens; "" where it does not.
func (n *Node) AWSURL() string { return n.server.AWSURL() }

// IngestURL is the ingest listener.
func (n *Node) IngestURL() string { return n.server.IngestURL() }

// ObjectFolder is where objects land as plain files; "" when they lie elsewhere.
func (n *Node) ObjectFolder() string {
	if n.opts.Config.Objects.Remote() {
		return ""
	}
	return filepath.Join(n.folder.path, objectFolder)
}

// ObjectService is the service that objects lie in; "" when that is the data folder.
func (n *Node) ObjectService() string {
	o := &n.opts.Config.Objects
	if !o.Remote() {
		return ""
	}
	return cmp.Or(o.Endpoint, "Amazon S3 in "+o.Region)
}

// Engine tells what keeps records, for people: "kafka at 10.0.0.1:9092,10.0.0.2:9092, as node a".
func (n *Node) Engine() string {
	switch n.engineIs.Kind {
	case config.OnKafka:
		return "kafka at " + strings.Join(n.engineIs.Brokers, ",") + ", as node " + n.name
	case config.OnKinesis:
		at := "kinesis at " + cmp.Or(n.opts.Config.Kinesis.Endpoint, n.engineIs.Region)
		if n.inBucket() {
			at += ", as node " + n.name + " of " + n.opts.Config.Kinesis.Cluster
		}
		return at
	}
	return "local"
}

// Warnings tells what works and is weaker than it should be, by what it is about.
func (n *Node) Warnings(ctx context.Context) map[string]string {
	all := map[string]string{}
	for _, ask := range n.warnings {
		maps.Copy(all, ask(ctx))
	}
	return all
}
