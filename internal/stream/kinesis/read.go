package kinesis

import (
	"context"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// maxEmpty is how many answers without records a Read takes while records follow: the service crosses a long stretch
// without records in many calls. Then the reader is told, and goes on.
const maxEmpty = 6

// Read fills batch from what is kept of the shard, or asks the service.
func (b *Backend) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	const op = "kinesis.Read"
	if isHidden(req.Shard.Stream) {
		if b.hidden == nil {
			return errNoHidden(op, req.Shard.Stream)
		}
		return b.hidden.Read(ctx, req, batch)
	}
	batch.Reset()
	batch.Next = req.From
	if b.isClosed() {
		return errClosed(op, req.Shard.String())
	}
	st, sh, err := b.view.Load().shard(op, req.Shard)
	if err != nil {
		return err
	}
	ctx, cancel := b.until(ctx)
	defer cancel()
	w := walk{r: b.reader(req.Shard), place: req.From, horizon: b.opts.Now().Add(-st.Retention).UnixMilli(), began: time.Now()}
	for range maxEmpty {
		found := w.fill(req, batch)
		batch.Next = w.place
		switch {
		case found && !w.atTip:
			return nil
		case found:
			w.follows(ctx, batch)
			return nil
		case atEnd(sh, w.place):
			batch.End = true
			return nil
		}
		if cur, ok := w.answered(); ok && (cur.end || cur.behind == 0) {
			batch.End = cur.end
			return nil
		}
		if b.future(w.place) {
			return nil
		}
		if err := w.r.poll(ctx, w.place, w.known); err != nil {
			return err
		}
	}
	if cur, ok := w.answered(); ok {
		batch.MillisBehind, batch.End = cur.behind, cur.end
	}
	return nil
}

// follows tells whether anything follows the records that were found, at the end of what is kept. If it isn't known, the
// reader is told that more may follow, and learns it by the next Read.
func (w *walk) follows(ctx context.Context, batch *stream.Batch) {
	last := &batch.Records[len(batch.Records)-1]
	batch.MillisBehind = max(1, w.r.b.serverNow().UnixMilli()-last.Arrival)
	if cur, ok := w.r.b.cache.cursor(w.r, w.place); ok && cur.behind > 0 && !cur.end {
		return
	}
	if _, ok := w.answered(); !ok && w.r.poll(ctx, w.place, w.known) != nil {
		return
	}
	if cur, ok := w.answered(); ok && !w.hasRecords() {
		batch.MillisBehind, batch.End = cur.behind, cur.end
	}
}

// until ends a call with the backend.
func (b *Backend) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.base, cancel)
	return ctx, func() { stop(); cancel() }
}

// atEnd reports whether a place lies behind all records of a closed shard.
func atEnd(sh *stream.Shard, place stream.SequenceNumber) bool {
	return !sh.Open() && !place.Before(sh.Closed.Sequence)
}

// future reports whether a place is a moment that has not come on the service's clock: nothing lies there yet, and the
// service refuses to give an iterator of it.
func (b *Backend) future(place stream.SequenceNumber) bool {
	t, ok := place.Moment()
	return ok && t.After(b.serverNow())
}

// walk goes through a shard.
type walk struct {
	r       *reader
	place   stream.SequenceNumber
	horizon int64     // what arrived before it, retention hides
	began   time.Time // what was answered before is old
	atTip   bool      // fill took the last record of an answer
}

func (w *walk) hasRecords() bool {
	k, _ := w.r.b.cache.find(w.r, w.place)
	return k != nil
}

// answered gives what the service has said of the place since the walk began.
func (w *walk) answered() (cursor, bool) {
	cur, ok := w.r.b.cache.cursor(w.r, w.place)
	return cur, ok && (cur.end || !cur.asked.Before(w.began))
}

// known reports whether there is no need to ask.
func (w *walk) known() bool {
	cur, ok := w.answered()
	return w.hasRecords() || ok && (cur.end || cur.behind == 0)
}

// fill takes records that are kept.
func (w *walk) fill(req stream.ReadRequest, batch *stream.Batch) (found bool) {
	for {
		k, i := w.r.b.cache.find(w.r, w.place)
		if k == nil {
			return false
		}
		for i < len(k.records) && k.records[i].Arrival < w.horizon {
			i++
		}
		if i < len(k.records) {
			w.copy(k, i, req, batch)
			return true
		}
		w.place = k.next
	}
}

// copy copies records from i on, as many as were asked for.
func (w *walk) copy(k *chunk, i int, req stream.ReadRequest, batch *stream.Batch) {
	size, end := 0, i
	for ; end < len(k.records) && end-i < max(1, req.MaxRecords); end++ {
		n := len(k.records[end].Data) + len(k.records[end].PartitionKey)
		if end > i && size+n > req.MaxBytes {
			break
		}
		size += n
	}
	if cap(batch.Buf) < size {
		batch.Buf = make([]byte, 0, size)
	}
	buf := batch.Buf[:0]
	for j := i; j < end; j++ {
		rec := k.records[j]
		start := len(buf)
		buf = append(buf, rec.PartitionKey...)
		rec.PartitionKey = buf[start:len(buf):len(buf)]
		start = len(buf)
		buf = append(buf, rec.Data...)
		rec.Data = buf[start:len(buf):len(buf)]
		batch.Records = append(batch.Records, rec)
	}
	batch.Buf = buf
	last := &k.records[end-1]
	w.place = last.Sequence.Next()
	w.atTip = end == len(k.records)
	batch.MillisBehind = max(1, w.r.b.serverNow().UnixMilli()-last.Arrival)
}

// Wait polls until there is a record at or after from.
func (b *Backend) Wait(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber) error {
	const op = "kinesis.Wait"
	if isHidden(ref.Stream) {
		if b.hidden == nil {
			return errNoHidden(op, ref.Stream)
		}
		return b.hidden.Wait(ctx, ref, from)
	}
	limited, cancel := b.until(ctx)
	defer cancel()
	for {
		if b.isClosed() {
			return errClosed(op, ref.String())
		}
		v := b.view.Load()
		st, sh, err := v.shard(op, ref)
		if err != nil {
			return err
		}
		if atEnd(sh, from) {
			return nil
		}
		w := walk{r: b.reader(ref), place: from, horizon: b.opts.Now().Add(-st.Retention).UnixMilli()}
		found, again, err := w.look(limited, b.opts.PollInterval)
		switch {
		case found:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case fault.Is(err, fault.NotFound):
			b.kick(ref.Stream) // told when the view shows it too
		case err != nil && !fault.Is(err, fault.Throttled) && !b.isClosed():
			return err
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-v.changed:
		case <-ctx.Done():
		case <-b.closing:
		}
		timer.Stop()
	}
}

// look asks whether there is something at the place; else again says when to ask next. Several who wait at one place
// share what one of them has learned.
func (w *walk) look(ctx context.Context, every time.Duration) (found bool, again time.Duration, err error) {
	b := w.r.b
	if b.future(w.place) {
		return false, every, nil
	}
	var cur cursor
	fresh := func() bool {
		for {
			k, i := b.cache.find(w.r, w.place)
			if k == nil {
				break
			}
			for ; i < len(k.records); i++ {
				if k.records[i].Arrival >= w.horizon {
					found = true
					return true
				}
			}
			w.place = k.next
		}
		var ok bool
		cur, ok = b.cache.cursor(w.r, w.place)
		found = ok && cur.end
		return found || ok && cur.behind == 0 && time.Since(cur.asked) < every
	}
	if !fresh() {
		if err := w.r.poll(ctx, w.place, fresh); err != nil {
			return false, every, err
		}
		if fresh(); !found && cur.behind > 0 {
			return false, 0, nil
		}
	}
	if found {
		return true, 0, nil
	}
	return false, max(0, every-time.Since(cur.asked)), nil
}

// Horizon is the start of the shard: the service moves a reader up to the oldest record that it keeps.
func (b *Backend) Horizon(ctx context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	const op = "kinesis.Horizon"
	if isHidden(ref.Stream) && b.hidden != nil {
		return b.hidden.Horizon(ctx, ref)
	}
	_, _, err := b.view.Load().shard(op, ref)
	return stream.SequenceNumber{}, err
}

// At is the moment itself: the service finds the record when it is read from.
func (b *Backend) At(ctx context.Context, ref stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	const op = "kinesis.At"
	if isHidden(ref.Stream) && b.hidden != nil {
		return b.hidden.At(ctx, ref, t)
	}
	if b.isClosed() {
		return stream.SequenceNumber{}, errClosed(op, ref.String())
	}
	if _, _, err := b.view.Load().shard(op, ref); err != nil {
		return stream.SequenceNumber{}, err
	}
	return stream.Since(t), nil
}

const (
	// tipWindow is how far back Tip looks for the newest record. It must exceed what the clocks of the service's hosts
	// may differ by, and the second that the dates of answers are cut to.
	tipWindow = 5 * time.Second
	// maxTipReads bounds the answers that Tip goes through; on a shard that is written faster than it is read there is
	// no end.
	maxTipReads = 50
)

// Tip gives the place after the newest record.
//
// The service has an iterator for that place but no number. So Tip reads the last tipWindow: the place after the last
// record there is the tip. When there is none, the shard has been idle, and the tip is the moment at which that window
// began: no record has arrived since, and every later one will have arrived after it.
func (b *Backend) Tip(ctx context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	const op = "kinesis.Tip"
	if isHidden(ref.Stream) && b.hidden != nil {
		return b.hidden.Tip(ctx, ref)
	}
	if b.isClosed() {
		return stream.SequenceNumber{}, errClosed(op, ref.String())
	}
	_, sh, err := b.view.Load().shard(op, ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	if !sh.Open() {
		return sh.Closed.Sequence, nil
	}
	ctx, cancel := b.until(ctx)
	defer cancel()
	w := walk{r: b.reader(ref), place: stream.Since(b.serverNow().Add(-tipWindow)), began: time.Now()}
	for range maxTipReads {
		w.skip()
		if cur, ok := w.answered(); ok && (cur.end || cur.behind == 0) {
			break
		}
		if err := w.r.poll(ctx, w.place, w.known); err != nil {
			return stream.SequenceNumber{}, err
		}
	}
	w.skip()
	return w.place, nil
}

// skip moves behind the records that are kept.
func (w *walk) skip() {
	for {
		k, _ := w.r.b.cache.find(w.r, w.place)
		if k == nil {
			return
		}
		w.place = k.next
	}
}
