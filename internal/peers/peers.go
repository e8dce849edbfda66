// Package peers knows which nodes share an object store, without anything else
// between them: each puts a small object again and again, its beat, and lists those
// of the others.
//
//	PREFIX/nodes/NODE   JSON of a beat: which process, how many beats, what it tells the others
//
//	beat ── put, If-Match on the last one ──┐ every [Every], at once when there is something to tell
//	look ── list; get what has changed ─────┘ ──> Live, Watch, Await
//
// A node lives while its beat changes: who looks measures that by its own monotonic
// clock, so that nobody's wall clock matters. What stands on this must be safe when
// a node is taken for dead that is not, and the other way round.
//
// A process that finds its object written by another one of the same name stops
// beating, and says so: a name is one process's, the newest's.
//
// # Costs
//
// Each node makes a put and a list every [Every], and a get for every other node:
// 28,800 puts, as many lists and, of three nodes, 57,600 gets a day. At 0.005 and
// 0.0004 dollars for a thousand that is 0.31 dollars a day and node.
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

// Bounds, each with its reason.
const (
	// Every is how often a node beats and looks.
	Every = 3 * time.Second
	// Lease is how long a node lives after its last beat was seen: room for three lost ones.
	Lease = 4 * Every
	// MaxNodes bounds a cluster: everyone reads everyone's beat.
	MaxNodes = 64
	// maxBeatBytes bounds the object of a beat.
	maxBeatBytes = 16 << 10
	// forgetLeases is after how many leases of silence the object of a node that never said goodbye is removed.
	forgetLeases = 50
	// callTime bounds one look or beat, so that a store that hangs is seen.
	callTime = 10 * time.Second
	// openTime bounds how long Open tries to reach the store.
	openTime = 30 * time.Second
	// retryPause is between its tries.
	retryPause = 500 * time.Millisecond
	// awaitPause is between two looks of Await.
	awaitPause = 100 * time.Millisecond
)

// Options of a node. All but Every and Lease are required.
type Options struct {
	Store  object.Store
	Bucket string
	Prefix string // "" or "name/": the place of the cluster
	Node   string // the same after a restart; letters, digits, - _ .
	IDs    *ids.Source
	Log    *slog.Logger

	Every, Lease time.Duration // default: the constants
}

// Peer is a node that lives.
type Peer struct {
	Node string
	// Incarnation is another one after each start.
	Incarnation string
	// Values are what the node tells: see [Peers.Set].
	Values map[string]int64
}

// beat is what an object holds.
type beat struct {
	Format      int              `json:"format"`
	Node        string           `json:"node"`
	Incarnation string           `json:"incarnation"`
	Beat        uint64           `json:"beat"`
	Values      map[string]int64 `json:"values,omitempty"`
}

const beatFormat = 1

// seen is a beat as it was last read.
type seen struct {
	beat
	etag string
	at   time.Time // when it was first seen to be this one
}

// Peers is this node among the others. It is safe for concurrent use.
type Peers struct {
	opts        Options
	incarnation string

	ctx    context.Context
	cancel context.CancelFunc
	own    sync.WaitGroup
	kicked chan struct{} // a beat is due now
	looked chan struct{} // a look has ended: see Watch

	beating chan struct{} // held while a beat is put
	looking chan struct{} // held while a look is under way

	mu       sync.Mutex
	values   map[string]int64
	beats    uint64
	etag     string // of our beat; "": not known to be there
	others   map[string]seen
	lastLook time.Time // when the last one that succeeded began
	lastBeat time.Time
	replaced error // another process has our name
	trouble  error // of the last look or beat
}

// Open makes sure that the store keeps to conditions, begins to beat, and looks for the others. When it returns they
// can know of this node. Errors: Invalid for a bucket that is not there, Unsupported for a store that ignores conditions.
func Open(ctx context.Context, opts Options) (*Peers, error) {
	const op = "peers.Open"
	if opts.Every == 0 {
		opts.Every = Every
	}
	if opts.Lease == 0 {
		opts.Lease = Lease
	}
	if opts.Node == "" || strings.ContainsAny(opts.Node, "/ \x00") {
		return nil, fault.New(fault.Invalid, op, opts.Node, "a node's name is made of letters, digits, -, _ and .")
	}
	p := &Peers{
		opts: opts, incarnation: opts.IDs.String(ids.LowerAlnum, 16), values: map[string]int64{}, others: map[string]seen{},
		kicked: make(chan struct{}, 1), looked: make(chan struct{}, 1), beating: make(chan struct{}, 1), looking: make(chan struct{}, 1),
	}
	limited, done := context.WithTimeout(ctx, openTime)
	defer done()
	for _, step := range []func(context.Context) error{p.probe, p.first, p.Look} {
		if err := retry(limited, step); err != nil {
			return nil, err
		}
	}
	if n := len(p.Live()); n > MaxNodes {
		return nil, fault.New(fault.LimitExceeded, op, opts.Prefix, "%d nodes share this place; at most %d can", n, MaxNodes)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.own.Go(p.run)
	return p, nil
}

// retry runs a step until it succeeds, ctx ends, or it fails for a reason that time does not cure.
func retry(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		if err == nil || !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Throttled) {
			return err
		}
		if !pause(ctx, retryPause) {
			return err
		}
	}
}

// pause waits, or until ctx ends: then it is false.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// probe asks the store whether it keeps to conditions: all that stands on it is lost if it does not.
func (p *Peers) probe(ctx context.Context) error {
	const op = "peers.Open"
	key := p.opts.Prefix + "probe/" + p.opts.Node + "-" + p.incarnation
	put := func(text string, c object.Conditions) error {
		_, err := p.opts.Store.Put(ctx, p.opts.Bucket, key, strings.NewReader(text), int64(len(text)), object.PutOptions{Conditions: c})
		if missing(err, object.MissingBucket) {
			return fault.New(fault.Invalid, op, p.opts.Bucket, "the bucket that the cluster is to lie in is not there: %w", err)
		}
		return err
	}
	if err := put("first", object.Conditions{IfNoneMatch: "*"}); err != nil && !fault.Is(err, fault.PreconditionFailed) {
		return err
	}
	for _, c := range []object.Conditions{{IfNoneMatch: "*"}, {IfMatch: "00000000000000000000000000000000"}} {
		err := put("second", c)
		if err == nil {
			return fault.New(fault.Unsupported, op, p.opts.Bucket, "the service stored an object although a condition (If-None-Match, If-Match) did not hold; "+
				"nodes that share it would overwrite one another")
		}
		if !fault.Is(err, fault.PreconditionFailed) {
			return err
		}
	}
	if err := p.opts.Store.Delete(ctx, p.opts.Bucket, key); err != nil {
		p.opts.Log.Warn("an object that tested the store could not be removed", "key", key, "error", err)
	}
	return nil
}

// missing tells whether an error says that something of a kind is not there.
func missing(err error, what string) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.NotFound && strings.HasPrefix(f.Resource, what)
}

func (p *Peers) key(node string) string { return p.opts.Prefix + "nodes/" + node }

// first takes the name for this process.
func (p *Peers) first(ctx context.Context) error { return p.put(ctx, object.Conditions{}) }

func (p *Peers) run() {
	tick := time.NewTicker(p.opts.Every)
	defer tick.Stop()
	for {
		look := false
		select {
		case <-tick.C:
			look = true
		case <-p.kicked:
		case <-p.ctx.Done():
			return
		}
		err := p.beat(p.ctx)
		if err == nil && look {
			err = p.Look(p.ctx)
		}
		if p.ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		p.trouble = err
		p.mu.Unlock()
		if err != nil {
			p.opts.Log.Warn("the nodes that share the object store can't be reached; it is tried again", "error", err)
		}
	}
}

// beat tells the others that this node lives.
func (p *Peers) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	p.mu.Lock()
	etag, replaced := p.etag, p.replaced
	p.mu.Unlock()
	if replaced != nil {
		return replaced
	}
	cond := object.Conditions{IfMatch: etag}
	if etag == "" {
		cond = object.Conditions{IfNoneMatch: "*"}
	}
	err := p.put(ctx, cond)
	if !fault.Is(err, fault.PreconditionFailed) && !missing(err, object.MissingKey) {
		return err
	}
	// Another process of our name, or an earlier put of ours whose answer was lost, or it was taken for dead and removed.
	have, err := p.read(ctx, p.opts.Node)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case missing(err, object.MissingKey):
		p.etag = ""
	case err != nil:
		return err
	case have.Incarnation == p.incarnation:
		p.etag = have.etag
	default:
		p.replaced = fault.New(fault.Invalid, "peers.Beat", p.opts.Node, "another process runs under this node's name; stop one of them, or give each a name of its own")
		return p.replaced
	}
	p.kick()
	return nil
}

func (p *Peers) put(ctx context.Context, cond object.Conditions) error {
	p.beating <- struct{}{}
	defer func() { <-p.beating }()
	p.mu.Lock()
	p.beats++
	b := beat{Format: beatFormat, Node: p.opts.Node, Incarnation: p.incarnation, Beat: p.beats, Values: p.values}
	text, err := json.Marshal(b)
	p.mu.Unlock()
	if err != nil {
		return fault.New(fault.Internal, "peers.Beat", "", "%w", err)
	}
	sent := time.Now()
	info, err := p.opts.Store.Put(ctx, p.opts.Bucket, p.key(p.opts.Node), bytes.NewReader(text), int64(len(text)),
		object.PutOptions{Attributes: object.Attributes{ContentType: "application/json"}, Conditions: cond})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.etag, p.lastBeat = info.ETag, sent
	return nil
}

func (p *Peers) read(ctx context.Context, node string) (s seen, err error) {
	o, err := p.opts.Store.Get(ctx, p.opts.Bucket, p.key(node))
	if err != nil {
		return s, err
	}
	defer o.Body.Close()
	text, err := io.ReadAll(io.LimitReader(o.Body, maxBeatBytes))
	if err != nil {
		return s, fault.New(fault.Unavailable, "peers.Look", node, "%w", err)
	}
	if err := json.Unmarshal(text, &s.beat); err != nil || s.Format != beatFormat || s.Node != node {
		return s, fault.New(fault.Corrupt, "peers.Look", p.key(node), "the object is no beat that this program knows: %.80q", text)
	}
	s.etag, s.at = o.ETag, time.Now()
	return s, nil
}

// Look lists the beats and reads those that have changed.
func (p *Peers) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	select {
	case p.looking <- struct{}{}:
		defer func() { <-p.looking }()
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "peers.Look", "", "another look is under way: %w", ctx.Err())
	}
	began := time.Now()
	page, err := p.opts.Store.List(ctx, p.opts.Bucket, object.ListOptions{Prefix: p.key(""), Max: 1000})
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for i := range page.Objects {
		node := strings.TrimPrefix(page.Objects[i].Key, p.key(""))
		if node == p.opts.Node || node == "" {
			continue
		}
		listed[node] = true
		if err := p.see(ctx, node, page.Objects[i].ETag); err != nil {
			return err
		}
	}
	p.mu.Lock()
	for node := range p.others {
		if !listed[node] {
			delete(p.others, node)
		}
	}
	p.lastLook = began
	p.mu.Unlock()
	select {
	case p.looked <- struct{}{}:
	default:
	}
	return nil
}

// see takes note of one node.
func (p *Peers) see(ctx context.Context, node, etag string) error {
	p.mu.Lock()
	known, ok := p.others[node]
	p.mu.Unlock()
	if ok && known.etag == etag {
		if time.Since(known.at) > forgetLeases*p.opts.Lease {
			p.opts.Log.Info("a node that has long been silent is forgotten", "node", node)
			return p.opts.Store.Delete(ctx, p.opts.Bucket, p.key(node))
		}
		return nil
	}
	have, err := p.read(ctx, node)
	switch {
	case missing(err, object.MissingKey):
		return nil
	case fault.Is(err, fault.Corrupt): // of a later version, or somebody's: it takes part in nothing that we know of
		p.opts.Log.Warn("a beat can't be read", "node", node, "error", err)
		have = seen{beat: beat{Node: node}, etag: etag, at: time.Now()}
	case err != nil:
		return err
	}
	p.mu.Lock()
	p.others[node] = have
	p.mu.Unlock()
	return nil
}

// Incarnation names this process among those of its node.
func (p *Peers) Incarnation() string { return p.incarnation }

// Set tells the others a number, at once.
func (p *Peers) Set(name string, value int64) {
	p.mu.Lock()
	next := map[string]int64{name: value}
	for k, v := range p.values {
		if k != name {
			next[k] = v
		}
	}
	p.values = next
	p.mu.Unlock()
	p.kick()
}

func (p *Peers) kick() {
	select {
	case p.kicked <- struct{}{}:
	default:
	}
}

// Watch gets a value after looks; one reader is served.
func (p *Peers) Watch() <-chan struct{} { return p.looked }

// Live lists the nodes that live, by name. This one is among them unless another process has its name.
func (p *Peers) Live() []Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.living(time.Now())
	if p.replaced == nil {
		all = append(all, Peer{p.opts.Node, p.incarnation, p.values})
	}
	slices.SortFunc(all, func(a, b Peer) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// living gives the others that live at a moment. The caller holds mu.
func (p *Peers) living(at time.Time) (all []Peer) {
	for _, s := range p.others {
		if at.Sub(s.at) < p.opts.Lease {
			all = append(all, Peer{s.Node, s.Incarnation, s.Values})
		}
	}
	return all
}

// Await returns when all others that live tell what ok demands, or the lease has passed since the call. Its error says
// that ctx ended before.
func (p *Peers) Await(ctx context.Context, ok func(Peer) bool) error {
	limited, cancel := context.WithTimeout(ctx, p.opts.Lease)
	defer cancel()
	began := time.Now()
	for {
		if err := p.Look(limited); err == nil && p.all(began, ok) {
			return nil
		}
		if pause(limited, awaitPause) {
			continue
		}
		if ctx.Err() != nil {
			return fault.New(fault.Unavailable, "peers.Await", "", "other nodes have not followed in time: %w", ctx.Err())
		}
		return nil
	}
}

func (p *Peers) all(began time.Time, ok func(Peer) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.living(began), func(o Peer) bool { return !ok(o) })
}

// Lease is how long a silent node is waited for.
func (p *Peers) Lease() time.Duration { return p.opts.Lease }

// Every is how often nodes look for one another.
func (p *Peers) Every() time.Duration { return p.opts.Every }

// Healthy returns nil while the others can see that this node lives.
func (p *Peers) Healthy(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.replaced != nil:
		return p.replaced
	case time.Since(p.lastBeat) < p.opts.Lease && time.Since(p.lastLook) < p.opts.Lease:
		return nil
	case p.trouble != nil:
		return fault.New(fault.Unavailable, "peers.Healthy", p.opts.Bucket, "this node and the others have not seen one another for more than %v: %w", p.opts.Lease, p.trouble)
	}
	return fault.New(fault.Unavailable, "peers.Healthy", p.opts.Bucket, "this node and the others have not seen one another for more than %v", p.opts.Lease)
}

// Close stops and tells the others that this node has left.
func (p *Peers) Close(ctx context.Context) error {
	p.cancel()
	p.own.Wait()
	p.mu.Lock()
	replaced := p.replaced
	p.mu.Unlock()
	if replaced != nil {
		return nil // the object is the other's
	}
	return p.opts.Store.Delete(ctx, p.opts.Bucket, p.key(p.opts.Node))
}
