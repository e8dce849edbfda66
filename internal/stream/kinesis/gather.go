package kinesis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// maxPutRecords is the most that a PutRecords takes. Source: Kinesis API reference, PutRecords.
const maxPutRecords = 500

// put is what one caller wants put in one PutRecords. It owns its memory, so that a caller whose deadline has passed
// can go while it is in flight.
type put struct {
	entries []types.PutRecordsRequestEntry
	bytes   int   // as the service counts
	cost    int64 // of memory
	queued  time.Time
	done    chan struct{}

	out []types.PutRecordsResultEntry // set before done is closed, as is err
	err error
}

// frameCost is about what an entry takes in memory beside its data, twice: here, and as JSON.
const frameCost = 300

// newPut copies the chosen entries.
func newPut(entries []stream.Entry, chosen []int) *put {
	p := &put{entries: make([]types.PutRecordsRequestEntry, len(chosen)), done: make(chan struct{})}
	size, keySize := 0, 0
	for _, i := range chosen {
		size += len(entries[i].Data)
		keySize += len(entries[i].PartitionKey)
	}
	p.bytes = size + keySize
	p.cost = int64(p.bytes + frameCost*len(chosen))
	data := make([]byte, 0, size)
	var text strings.Builder
	text.Grow(keySize)
	for _, i := range chosen {
		text.WriteString(entries[i].PartitionKey)
	}
	keys, keyText := make([]string, len(chosen)), text.String()
	for n, i := range chosen {
		e := &entries[i]
		start := len(data)
		data = append(data, e.Data...)
		keys[n], keyText = keyText[:len(e.PartitionKey)], keyText[len(e.PartitionKey):]
		p.entries[n] = types.PutRecordsRequestEntry{Data: data[start:len(data):len(data)], PartitionKey: &keys[n]}
		if e.ExplicitHashKey != nil {
			p.entries[n].ExplicitHashKey = aws.String(e.ExplicitHashKey.String())
		}
	}
	return p
}

// gatherer gathers the puts of one stream into PutRecords.
//
// A put that comes while none is in flight leaves at once. While one is, puts wait: for its return, for enough of them
// to fill a call, or for Linger, whichever is first; then another is sent beside it, up to PutsInFlight. Each sender is
// a goroutine that lives while there is something to send.
type gatherer struct {
	b    *Backend
	name string

	mu      sync.Mutex
	queue   []*put
	records int // of the queue
	bytes   int
	senders int
	timer   *time.Timer // fires Linger after the queue began to fill

	written, writtenBytes atomic.Int64 // records that the service has taken
}

func (b *Backend) gatherer(name string) *gatherer {
	if g, ok := b.gatherers.Load(name); ok {
		return g.(*gatherer)
	}
	g, _ := b.gatherers.LoadOrStore(name, &gatherer{b: b, name: name})
	return g.(*gatherer)
}

// put queues p and waits for its outcome, or until ctx ends.
func (g *gatherer) put(ctx context.Context, p *put) error {
	const op = "kinesis.Append"
	p.cost = min(p.cost, g.b.opts.PutMemory)
	if err := g.b.memory.Acquire(ctx, p.cost); err != nil {
		return fault.New(fault.Unavailable, op, g.name, "no room to wait for Amazon Kinesis: %w", err)
	}
	g.enqueue(p)
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
	}
	if g.withdraw(p) {
		g.b.memory.Release(p.cost)
		return fault.New(fault.Unavailable, op, g.name, "not sent in time: %w", ctx.Err())
	}
	select {
	case <-p.done:
		return p.err
	default:
		return fault.New(fault.Unavailable, op, g.name, "sent, and not answered in time: the outcome is unknown: %w", ctx.Err())
	}
}

func (g *gatherer) enqueue(p *put) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.queued = time.Now()
	g.queue = append(g.queue, p)
	g.records += len(p.entries)
	g.bytes += p.bytes
	switch {
	case g.senders == 0 || g.full() && g.senders < g.b.opts.PutsInFlight:
		g.start()
	case len(g.queue) == 1 && g.timer == nil:
		g.timer = time.AfterFunc(g.b.opts.Linger, g.overdue)
	case len(g.queue) == 1:
		g.timer.Reset(g.b.opts.Linger)
	}
}

// withdraw takes p out of the queue; false: it has left.
func (g *gatherer) withdraw(p *put) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, q := range g.queue {
		if q == p {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			g.records -= len(p.entries)
			g.bytes -= p.bytes
			return true
		}
	}
	return false
}

func (g *gatherer) full() bool {
	return g.records >= maxPutRecords || g.bytes >= g.b.opts.MaxPutBytes
}

// start adds a sender. The caller holds mu.
func (g *gatherer) start() {
	g.senders++
	g.b.senders.Go(g.send)
}

// overdue sends what has waited for Linger.
func (g *gatherer) overdue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) > 0 && g.senders < g.b.opts.PutsInFlight {
		g.start()
	}
}

// send sends until nothing should leave now.
func (g *gatherer) send() {
	for first := true; ; first = false {
		batch := g.take(first)
		if batch == nil {
			return
		}
		g.fly(batch)
	}
}

// take takes what fits one PutRecords. A sender that has returned goes on when it is the only one, or what waits is
// enough or has waited long; else it leaves it to gather on.
func (g *gatherer) take(first bool) []*put {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 ||
		!first && g.senders > 1 && !g.full() && time.Since(g.queue[0].queued) < g.b.opts.Linger {
		g.senders--
		return nil
	}
	n, records, bytes := 0, 0, 0
	for ; n < len(g.queue); n++ {
		p := g.queue[n]
		if n > 0 && (records+len(p.entries) > maxPutRecords || bytes+p.bytes > g.b.opts.MaxPutBytes) {
			break
		}
		records += len(p.entries)
		bytes += p.bytes
	}
	batch := make([]*put, n)
	copy(batch, g.queue)
	g.queue = append(g.queue[:0], g.queue[n:]...)
	clear(g.queue[len(g.queue):cap(g.queue)])
	g.records -= records
	g.bytes -= bytes
	if len(g.queue) > 0 {
		g.resume()
	}
	return batch
}

// resume sees to what a take has left: it leaves with another sender now, or at its own time. The caller holds mu.
func (g *gatherer) resume() {
	if g.full() && g.senders < g.b.opts.PutsInFlight {
		g.start()
		return
	}
	left := max(0, g.b.opts.Linger-time.Since(g.queue[0].queued))
	if g.timer == nil {
		g.timer = time.AfterFunc(left, g.overdue)
		return
	}
	g.timer.Reset(left)
}

// fly sends a batch and wakes its callers. What the service refuses whole it has not written: then the halves are sent
// apart, so that one caller's bad entry is that caller's alone.
func (g *gatherer) fly(batch []*put) {
	out, err := g.b.putRecords(g.name, batch)
	if len(batch) > 1 && (fault.Is(err, fault.Invalid) || fault.Is(err, fault.Unsupported)) {
		g.fly(batch[:len(batch)/2])
		g.fly(batch[len(batch)/2:])
		return
	}
	for _, p := range batch {
		if err == nil {
			p.out, out = out[:len(p.entries)], out[len(p.entries):]
		}
		p.err = err
		g.b.memory.Release(p.cost)
		close(p.done)
	}
}

// maxUnsent is how often a request of which nothing was written is made again: connections that the server has closed
// while they were idle may come in numbers, and after the first the idle ones are given up.
const maxUnsent = 2

// putRecords does one PutRecords.
func (b *Backend) putRecords(name string, batch []*put) ([]types.PutRecordsResultEntry, error) {
	const op = "kinesis.Append"
	in := &sdk.PutRecordsInput{StreamName: &name, Records: batch[0].entries}
	if len(batch) > 1 {
		n := 0
		for _, p := range batch {
			n += len(p.entries)
		}
		in.Records = make([]types.PutRecordsRequestEntry, 0, n)
		for _, p := range batch {
			in.Records = append(in.Records, p.entries...)
		}
	}
	ctx, cancel := context.WithTimeout(b.base, b.opts.PutTimeout)
	defer cancel()
	out, err := b.client.PutRecords(ctx, in)
	for again := 0; again < maxUnsent && errors.Is(err, errNotSent) && ctx.Err() == nil; again++ {
		b.http.close()
		out, err = b.client.PutRecords(ctx, in)
	}
	if err != nil {
		err = faultOf(op, name, err)
		if fault.Is(err, fault.NotFound) {
			b.kick(name)
		}
		return nil, err
	}
	b.clock.learn(out.ResultMetadata, b.opts.Now())
	if len(out.Records) != len(in.Records) {
		return nil, fault.New(fault.Unavailable, op, name, "%d records sent, %d answered: the outcome is unknown", len(in.Records), len(out.Records))
	}
	return out.Records, nil
}
