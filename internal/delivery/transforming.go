package delivery

import (
	"context"
	"sync"
	"time"

	"millrace/internal/delivery/process"
	"millrace/internal/delivery/transform"
	"millrace/internal/stream"
)

// maxCalls bounds the calls of a function that one shard has under way; the service has the same bound.
const maxCalls = 5

// transformer is the function that transforms a delivery stream's records.
type transformer struct {
	arn     string
	retries int
	buffer  int           // bytes of data in a call
	age     time.Duration // after which a call is made with what there is
}

// round gathers records for calls of a function, which are made at the same time and whose answers are taken in order.
// What is in it was read, and is in no lane.
type round struct {
	dest  *destination
	calls []*functionCall
	used  int // of calls
	next  stream.SequenceNumber

	records int64 // of the source, that are in it
	// oldest is the arrival of the first record, milliseconds, and opened when it came here, by the monotonic clock.
	oldest int64
	opened time.Time
}

type functionCall struct {
	call    transform.Call
	gauge   transform.Gauge
	results []transform.Result
	data    []byte // of all records
	ends    []int
}

func newRound(dest *destination) *round { return &round{dest: dest} }

func (r *round) empty() bool { return r.used == 0 }

// add puts a piece of a record into a call.
func (r *round) add(record transform.Record) {
	if r.used == 0 {
		r.oldest, r.opened = record.Arrival.UnixMilli(), time.Now()
		r.open()
	}
	c := r.calls[r.used-1]
	if c.gauge.Due() || !c.gauge.Take(&record) {
		c = r.open()
		c.gauge.Take(&record)
	}
	c.data = append(c.data, record.Data...)
	c.ends = append(c.ends, len(c.data))
	record.Data = nil // it is the batch's; point gives what is ours
	c.call.Records = append(c.call.Records, record)
}

func (r *round) open() *functionCall {
	if r.used == len(r.calls) {
		r.calls = append(r.calls, &functionCall{gauge: transform.NewGauge(r.dest.function.buffer)})
	}
	r.used++
	c := r.calls[r.used-1]
	c.gauge.Reset()
	c.data, c.ends, c.call.Records = c.data[:0], c.ends[:0], c.call.Records[:0]
	return c
}

// isFull reports whether no further record should be added before the calls are made.
func (r *round) isFull(most int) bool {
	return r.used > most || r.used == most && r.calls[r.used-1].gauge.Due()
}

// wait is how long the round may go on gathering while the reader is at the tip.
func (r *round) wait(now time.Time) time.Duration {
	age := min(r.dest.function.age, r.dest.age)
	left := min(age-now.Sub(time.UnixMilli(r.oldest)), age-time.Since(r.opened))
	return min(max(left, 0), age)
}

// point makes the records' data point into the call's own memory, which has stopped growing.
func (c *functionCall) point() {
	from := 0
	for i, end := range c.ends {
		c.call.Records[i].Data = c.data[from:end:end]
		from = end
	}
	if cap(c.results) < len(c.ends) {
		c.results = make([]transform.Result, len(c.ends))
	}
	c.results = c.results[:len(c.ends)]
}

// addToRound splits a record and adds the pieces.
func (w *worker) addToRound(r *stream.Record) error {
	d, g := w.s.d, w.gathered
	if w.round == nil {
		w.round = newRound(g.dest)
	}
	p, crossing := g.dest.processing, g.bridge != nil && r.Sequence.Before(w.ahead.end)
	if crossing {
		p = g.bridge
	}
	added := false
	err := p.program.Split(r.Data, string(r.PartitionKey), func(sub process.Sub) error {
		if crossing {
			if delivered, err := w.crossed(r, &sub); delivered || err != nil {
				return err
			}
		}
		added = true
		w.round.add(transform.Record{Data: sub.Data, Arrival: time.UnixMilli(r.Arrival), Sequence: r.Sequence, Index: int(sub.Index),
			ShardID: stream.ShardID(w.s.ref.Shard), PartitionKey: sub.PartitionKey, Subsequence: int64(sub.SubSequenceNumber),
			Partition: int32(w.s.ref.Shard), Offset: d.offset(r.Sequence)})
		return nil
	})
	w.pass(r.Sequence.Next())
	if added {
		w.round.records++
	}
	return err
}

// crossed reports whether a piece of a record was delivered before an update gave the delivery stream its function.
func (w *worker) crossed(r *stream.Record, sub *process.Sub) (delivered bool, err error) {
	var before scratch
	before.out = output{data: sub.Data, first: sub.Index == 0, sequence: r.Sequence}
	key, err := w.gathered.bridge.place(&before, nil)
	if err != nil || !r.Sequence.Before(w.ahead.through(laneOf(string(key)))) {
		return false, err
	}
	w.ahead.saw(&before.out)
	return true, nil
}

// transform makes the calls of the round, and puts what comes back into lanes.
func (w *worker) transform(ctx context.Context) error {
	w.unplanned = true
	if err := w.call(ctx); err != nil {
		return err
	}
	w.unplanned = false
	return w.takeAnswers()
}

// call makes the calls of the round.
func (w *worker) call(ctx context.Context) error {
	r, e := w.round, w.s.d.engine
	endpoint := e.opts.Function(r.dest.function.arn)
	if endpoint == nil {
		return w.s.d.noFunction(r.dest)
	}
	var wait sync.WaitGroup
	errs := make([]error, r.used)
	for i, c := range r.calls[:r.used] {
		c.point()
		c.call.Endpoint, c.call.Retries = endpoint, r.dest.function.retries
		w.s.d.dress(&c.call)
		wait.Go(func() { errs[i] = w.s.d.invoke(ctx, r.dest, c) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// takeAnswers puts what has come back into lanes.
func (w *worker) takeAnswers() error {
	g, r := w.gathered, w.round
	g.unrepeatable = true
	var last stream.SequenceNumber // of the record that is being put together
	counted, any := false, false   // it is in a lane; there is one
	for _, c := range r.calls[:r.used] {
		for i := range c.results {
			record, result := &c.call.Records[i], &c.results[i]
			if !any || record.Sequence != last {
				if any && !counted {
					g.dropped++
				}
				// A piece that is not the first of its record lacks those that were delivered before, and with them it was counted.
				last, counted, any = record.Sequence, record.Index > 0, true
			}
			if result.Outcome == transform.Dropped {
				continue
			}
			if err := w.putResult(record, result, !counted); err != nil {
				w.restart() // a part of the round is in its lanes
				return err
			}
			counted = true
		}
	}
	if any && !counted {
		g.dropped++
	}
	g.next = r.next
	r.used, r.records = 0, 0
	if w.atTip {
		w.round = nil // it may be long until the next one, and calls keep their memory
	}
	w.s.gauges.buffered(g, w.round)
	return nil
}

// dress tells a call where its records come from.
func (d *delivery) dress(c *transform.Call) {
	e, def := d.engine, d.definition.Load()
	c.DeliveryStreamARN, c.Region = def.ARN(e.opts.Account), e.opts.Account.Region
	if def.KinesisSource != nil {
		c.Source, c.SourceARN = transform.Kinesis, def.KinesisSource.KinesisStreamARN
	}
	if def.MSKSource != nil {
		c.Source, c.SourceARN = transform.Kafka, def.MSKSource.MSKClusterARN
	}
}

// offset gives where a record lies in its Kafka partition; 0 when it lies in none.
func (d *delivery) offset(s stream.SequenceNumber) int64 {
	_, _, position, _ := s.Parts()
	return int64(position)
}

func (w *worker) putResult(record *transform.Record, result *transform.Result, first bool) error {
	s := &w.scratch
	s.out = output{data: result.Data, first: first, sequence: record.Sequence, arrival: record.Arrival.UnixMilli(), sub: record.Index}
	if result.Outcome == transform.Ok {
		key, err := w.gathered.dest.processing.place(s, result.PartitionKeys)
		if err != nil {
			return err
		}
		return w.put(key, &s.out)
	}
	s.out.data = record.Data
	s.fail = failure{Code: result.ErrorCode, Message: result.ErrorMessage, Attempts: result.Attempts, Ended: result.Ended.UnixMilli()}
	s.out.failure = &s.fail
	return w.put(appendErrorKey(s.key[:0], processingFailed), &s.out)
}
