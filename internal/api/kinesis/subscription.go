package kinesis

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// subscription is one SubscribeToShard while it lasts. One goroutine, that of the call, waits, reads, encodes and
// writes, one event at a time, and no queue lies between: a caller who reads slowly is read for slowly, and holds the
// memory of one encoded event. While there is nothing to read it holds none.
type subscription struct {
	s   *Service
	ref stream.ShardRef
	arn string // the consumer's
	key subscriptionKey

	ctx    context.Context // ends with the caller, the node, and by cancel
	cancel context.CancelCauseFunc

	next      stream.SequenceNumber // where to read on
	first     stream.SequenceNumber // the shard's
	delivered stream.SequenceNumber // the last record's; zero: none
	spoke     time.Time             // when the last event was sent
	behind    int64                 // as the last read told; above 0 before the first, which may be throttled
}

var (
	// errSilent ends a subscription of which nothing more is to be said: its life is over, or its caller has gone.
	errSilent = errors.New("the subscription has ended")
	// errLife is the cause of an end after subscriptionLife.
	errLife = errors.New("five minutes have passed")
)

// serve answers the call, whose checks have passed.
func (u *subscription) serve(w http.ResponseWriter) {
	defer u.s.subscriptions.leave(u)
	defer u.cancel(nil)
	ctx, stop := context.WithTimeoutCause(u.ctx, subscriptionLife, errLife)
	defer stop()
	out := newEventWriter(ctx, w)
	defer out.close()
	if out.begin() != nil {
		return
	}
	u.spoke = time.Now()
	err := error(nil)
	for err == nil {
		err = u.step(ctx, out)
	}
	if x := u.ended(ctx, err); x != nil {
		_ = out.exception(x) // the caller may be gone; there is nobody else to tell
	}
}

// ended gives what the caller is told of the end, nil when nothing.
func (u *subscription) ended(ctx context.Context, err error) *exception {
	var x *exception
	switch {
	case errors.As(context.Cause(ctx), &x): // taken over from, or its consumer is gone
		return x
	case ctx.Err() != nil, errors.Is(err, errSilent):
		return nil
	case errors.As(err, &x):
		return x
	case fault.Is(err, fault.NotFound):
		if _, err := u.registered(); errors.As(err, &x) {
			return x
		}
		return u.s.noShard(stream.ShardID(u.ref.Shard), u.ref.Stream)
	}
	u.s.complain("SubscribeToShard", err)
	return failure(kinesiswire.ErrInternalFailure, "Internal failure: subscribe again.")
}

// step waits until something can be read, or it is time to say that nothing can, and sends one event.
func (u *subscription) step(ctx context.Context, out *eventWriter) error {
	idle, err := u.wait(ctx)
	if err != nil {
		return err
	}
	st, err := u.registered()
	if err != nil {
		return err
	}
	idle = idle || time.Since(u.spoke) >= idlePeriod // also when the engine tells of records and gives none
	sent, err := u.event(ctx, st, idle, out)
	if err != nil || sent {
		return err
	}
	return u.pause(ctx) // all that was there is hidden by now, or the engine knows of more than it can give yet
}

// event reads, encodes and sends one event; false when there is none to send.
func (u *subscription) event(ctx context.Context, st *stream.Stream, idle bool, out *eventWriter) (sent bool, err error) {
	memory := u.s.subscriptions.memory
	size := memoryFor(st)
	if memory.Acquire(ctx, size) != nil {
		return false, errSilent
	}
	defer func() { memory.Release(size) }()
	e := newShardEvent()
	defer e.release()
	end, err := u.read(ctx, st, e)
	if err != nil || len(e.batch.Records) == 0 && !end && !(idle && u.certain()) {
		return false, err
	}
	if err := u.encode(e, end); err != nil {
		return false, err
	}
	e.encoded()
	if over := size - e.size(); over > 0 { // most events are far smaller than they might have been
		memory.Release(over)
		size -= over
	}
	if out.send(e.frame) != nil {
		return false, errSilent
	}
	if u.spoke = time.Now(); end {
		return true, errSilent
	}
	return true, nil
}

// wait returns when there is something to read, or, idle, when an event is due even so.
func (u *subscription) wait(ctx context.Context) (idle bool, err error) {
	until, stop := context.WithDeadline(ctx, u.spoke.Add(idlePeriod))
	defer stop()
	switch err = u.s.Backend.Wait(until, u.ref, u.next); {
	case err == nil:
		return false, nil
	case ctx.Err() != nil:
		return false, errSilent
	case until.Err() != nil:
		return true, nil
	}
	return false, err
}

func (u *subscription) pause(ctx context.Context) error {
	t := time.NewTimer(readPause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errSilent
	}
}

// registered makes sure that the consumer is: another node may have removed it.
func (u *subscription) registered() (*stream.Stream, error) {
	st, ok := u.s.Backend.Stream(u.ref.Stream)
	if !ok || st.ID != u.ref.ID {
		return nil, u.s.noStream(u.ref.Stream)
	}
	if con, ok := st.Consumer(u.key.consumer.name); !ok || keyOf(con) != u.key.consumer {
		return nil, u.s.noConsumer(u.arn)
	}
	return st, nil
}

// memoryFor gives the memory that an event may come to: what is read, and the same in base64.
func memoryFor(st *stream.Stream) int64 {
	largest := max(eventBytes, st.MaxRecordBytes, stream.DefaultMaxRecordBytes) + maxKeyBytes
	return min(int64(largest)*7/3+eventRecords*recordFrame, eventMemory)
}

// maxKeyBytes is the most that a partition key takes: 256 characters.
const maxKeyBytes = 4 * 256

// read fills the event's batch; throttled, it is empty.
func (u *subscription) read(ctx context.Context, st *stream.Stream, e *shardEvent) (end bool, err error) {
	req := stream.ReadRequest{Shard: u.ref, From: u.next, MaxRecords: eventRecords, MaxBytes: eventBytes, Consumer: u.key.consumer.name}
	err = u.s.Backend.Read(ctx, req, e.batch)
	switch {
	case fault.Is(err, fault.Throttled):
		e.batch.Reset()
		return false, nil
	case err != nil:
		return false, err
	}
	u.next, u.behind = e.batch.Next, e.batch.MillisBehind
	if n := len(e.batch.Records); n > 0 {
		u.delivered = e.batch.Records[n-1].Sequence
	}
	if !e.batch.End {
		return false, nil
	}
	// As with GetRecords: without children the end is not told, since consumers take that for a fault.
	e.children = childrenOf(st, u.ref.Shard)
	if len(e.children) == 0 {
		if fresh, ok := u.s.Backend.Stream(u.ref.Stream); ok && fresh.ID == u.ref.ID {
			e.children = childrenOf(fresh, u.ref.Shard)
		}
	}
	return len(e.children) > 0, nil
}

// continuation gives a number to go on from, by AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER, without missing a record.
//
// Numbers of our layout have gaps between them, which no record bears: then nothing comes twice either. Another
// service's numbers have none that we could name. There it is the last record's, or, when none has come yet, a moment,
// or the number that the caller began with.
func (u *subscription) continuation() stream.SequenceNumber {
	if u.s.ownNumbers() {
		return gapBefore(u.next, u.first)
	}
	if !u.delivered.IsZero() {
		return u.delivered
	}
	if u.next.IsZero() {
		return stream.Since(longAgo)
	}
	if _, ok := u.next.Moment(); ok {
		return u.next.Prev() // AFTER it comes to the moment itself
	}
	return u.next
}

// certain reports whether continuation is right also while no record comes: behind a number that the caller began with,
// and that may be a record's, nothing may be skipped.
func (u *subscription) certain() bool {
	_, moment := u.next.Moment()
	return u.behind == 0 || u.s.ownNumbers() || !u.delivered.IsZero() || u.next.IsZero() || moment
}

// longAgo is before any record, and a moment.
var longAgo = time.Date(2002, 1, 1, 0, 0, 0, 0, time.UTC)

// gapBefore gives the gap before a place of a shard.
func gapBefore(place, first stream.SequenceNumber) stream.SequenceNumber {
	if place.IsZero() || place.Before(first) {
		return first.Gap()
	}
	if _, _, _, ok := place.Parts(); ok {
		return place.Gap()
	}
	if created, index, position, ok := place.Prev().Parts(); ok { // right behind a record
		return stream.NewSequenceNumber(created, index, position+1).Gap()
	}
	return place
}

// shardEvent is the memory that one event takes: what was read, until it is encoded, and what is sent. Each comes from
// a pool of its own, since a caller may take its time over the second.
type shardEvent struct {
	batch    *stream.Batch
	children []kinesiswire.ChildShard
	frame    []byte
	text     []byte
}

var (
	shardEvents  = sync.Pool{New: func() any { return new(shardEvent) }}
	eventBatches = sync.Pool{New: func() any { return new(stream.Batch) }}
)

func newShardEvent() *shardEvent {
	e := shardEvents.Get().(*shardEvent)
	e.batch = eventBatches.Get().(*stream.Batch)
	return e
}

func (e *shardEvent) size() int64 {
	size := cap(e.frame)
	if e.batch != nil {
		size += cap(e.batch.Buf) + len(e.batch.Records)*recordFrame
	}
	return int64(size)
}

// encoded gives back what was read.
func (e *shardEvent) encoded() {
	clear(e.batch.Records) // an engine may have lent its own memory
	e.batch.Reset()
	if cap(e.batch.Buf) <= keptEvent {
		eventBatches.Put(e.batch)
	}
	e.batch, e.children = nil, nil
}

func (e *shardEvent) release() {
	if e.batch != nil {
		e.encoded()
	}
	if cap(e.frame) <= keptEvent {
		shardEvents.Put(e)
	}
}

// keptEvent bounds what the pools keep of one event; one with a large record is rare and worth its own memory.
const keptEvent = 4 * eventBytes

// The heads of messages. That initial-response names the JSON of the protocol and events plain JSON is as recorded.
var (
	initialHead = awswire.MustEventHead(
		awswire.EventHeader{Name: ":message-type", Value: "event"},
		awswire.EventHeader{Name: ":event-type", Value: "initial-response"},
		awswire.EventHeader{Name: ":content-type", Value: awswire.TypeJSON11})
	eventHead = awswire.MustEventHead(
		awswire.EventHeader{Name: ":message-type", Value: "event"},
		awswire.EventHeader{Name: ":event-type", Value: "SubscribeToShardEvent"},
		awswire.EventHeader{Name: ":content-type", Value: awswire.TypeJSON})
)

func exceptionHead(code string) awswire.EventHead {
	return awswire.MustEventHead(
		awswire.EventHeader{Name: ":message-type", Value: "exception"},
		awswire.EventHeader{Name: ":exception-type", Value: code},
		awswire.EventHeader{Name: ":content-type", Value: awswire.TypeJSON})
}

// encode makes the message. It is written here and not by the generated shape, whose ContinuationSequenceNumber is
// always there, and whose records would have to be made first.
func (u *subscription) encode(e *shardEvent, end bool) (err error) {
	need := eventFrame
	for i := range e.batch.Records {
		r := &e.batch.Records[i]
		need += len(r.Data)*4/3 + len(r.PartitionKey) + recordFrame
	}
	if cap(e.frame) < need {
		e.frame = make([]byte, 0, need)
	}
	b := append(awswire.BeginEvent(e.frame[:0], eventHead), `{"Records":[`...)
	for i := range e.batch.Records {
		r := &e.batch.Records[i]
		e.text = r.Sequence.Append(e.text[:0])
		record := wireRecord(r, e.text)
		b = record.AppendJSON(awswire.Comma(b))
	}
	b = append(b, ']')
	if !end {
		b = append(b, `,"ContinuationSequenceNumber":"`...)
		b = append(u.continuation().Append(b), '"')
	}
	b = awswire.AppendInt(append(b, `,"MillisBehindLatest":`...), u.behind)
	if end {
		b = append(b, `,"ChildShards":[`...)
		for i := range e.children {
			b = e.children[i].AppendJSON(awswire.Comma(b))
		}
		b = append(b, ']')
	}
	e.frame, err = awswire.EndEvent(append(b, '}'), 0)
	return err
}

// eventFrame is about what an event takes beside its records, children included.
const eventFrame = 1 << 10

// eventWriter sends messages. Each is flushed at once. A caller who takes longer than pieceTime over a piece of one
// loses the stream; when the subscription ends while a message is being sent, only lastWords are left for it.
type eventWriter struct {
	w    http.ResponseWriter
	out  *http.ResponseController
	stop func() // waits for hurry

	mu    sync.Mutex
	hasty bool
}

func newEventWriter(ctx context.Context, w http.ResponseWriter) *eventWriter {
	o := &eventWriter{w: w, out: http.NewResponseController(w)}
	hurried := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(hurried)
		o.hurry()
	})
	o.stop = func() {
		if !unhook() {
			<-hurried
		}
	}
	return o
}

// close returns when nobody uses the response any more.
func (o *eventWriter) close() { o.stop() }

func (o *eventWriter) hurry() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hasty = true
	_ = o.out.SetWriteDeadline(time.Now().Add(lastWords)) // where there is no connection there is none to wait for
}

// deadline gives the next piece its time, or, zero, takes it back.
func (o *eventWriter) deadline(t time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.hasty {
		_ = o.out.SetWriteDeadline(t)
	}
}

func (o *eventWriter) begin() error {
	h := o.w.Header()
	h["Content-Type"] = []string{awswire.TypeEventStream}
	o.w.WriteHeader(http.StatusOK)
	b, err := awswire.EndEvent(append(awswire.BeginEvent(nil, initialHead), "{}"...), 0)
	if err != nil {
		return err
	}
	return o.send(b)
}

func (o *eventWriter) send(frame []byte) error {
	for len(frame) > 0 {
		piece := frame[:min(len(frame), pieceBytes)]
		o.deadline(time.Now().Add(pieceTime))
		if _, err := o.w.Write(piece); err != nil {
			return err
		}
		frame = frame[len(piece):]
	}
	err := o.out.Flush()
	o.deadline(time.Time{})
	return err
}

func (o *eventWriter) exception(x *exception) error {
	b := append(awswire.BeginEvent(nil, exceptionHead(x.Code)), `{"message":`...)
	b, err := awswire.EndEvent(append(awswire.AppendString(b, x.message), '}'), 0)
	if err != nil {
		return err
	}
	return o.send(b)
}
