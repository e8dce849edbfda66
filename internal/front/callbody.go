package front

import (
	"io"
	"net/http"
	"time"
)

// maxCallBytes bounds the body of a call that its service holds in memory. The services have bounds of their own,
// all below; a little more lets them see what is too much, and say so in their own words.
const maxCallBytes = 16<<20 + smallBody

// callBody is the body of a call on the AWS endpoint on its way to the service that reads it. It keeps the pace of
// the caller, and unless it streams, accounts for what the service holds of it until the call has ended.
type callBody struct {
	from     io.ReadCloser
	to       deadliner // may be nil
	streams  bool
	reserved reservation
	most     int64 // the body may come to
	size     int64 // has come
	pace     pace
	renewed  time.Time // when a streaming body last got more time
	cut      error     // why the front reads no further
}

// newCallBody wraps the body of r, whose clock has been started.
func newCallBody(w http.ResponseWriter, r *http.Request, budget *Budget, streams bool) *callBody {
	b := &callBody{from: r.Body, streams: streams, reserved: reservation{budget: budget}, pace: paceOf(w)}
	b.to = b.pace.to
	b.most = maxCallBytes
	if r.ContentLength >= 0 {
		b.most = min(r.ContentLength, maxCallBytes)
	}
	return b
}

func (b *callBody) deadline(t time.Time) {
	if b.to != nil {
		_ = b.to.SetReadDeadline(t) // fails when the connection is gone; the next read tells
	}
}

func (b *callBody) Read(p []byte) (int, error) {
	if b.cut != nil {
		return 0, b.cut
	}
	if b.streams {
		b.renew() // now: how long the disk took for what came before is not the caller's fault
	}
	n, err := b.from.Read(p)
	b.size += int64(n)
	switch {
	case err == io.EOF:
		b.deadline(time.Time{}) // or the connection would end while the service works
	case err != nil:
		if slow(err) {
			b.cut = err
		}
		return n, err
	case !b.streams:
		b.pace.received(b.size)
	}
	if !b.streams {
		if b.cut = b.account(); b.cut != nil {
			return 0, b.cut
		}
		if err == io.EOF {
			b.reserved.settle(b.size)
		}
	}
	return n, err
}

// account reserves what has come.
func (b *callBody) account() error {
	if b.size > maxCallBytes {
		return errTooLarge
	}
	if !b.reserved.cover(b.size, b.most) {
		return errOverBudget
	}
	return nil
}

// renew gives a streaming body more time, once a second: a read is a few KiB.
func (b *callBody) renew() {
	const often = time.Second
	if now := time.Now(); now.Sub(b.renewed) >= often {
		b.renewed = now
		b.deadline(now.Add(streamTime))
	}
}

// Close is the server's to do, when the handler has returned.
func (b *callBody) Close() error { return nil }

func (b *callBody) release() { b.reserved.release() }
