package front

import (
	"net/http"
	"time"
)

// The pace that callers have to keep. Who is slower than this loses the connection: a body that trickles holds
// memory of the budget while it does.
const (
	// headerTime bounds how long a request's head may take.
	headerTime = 10 * time.Second
	// bodyTime bounds how long the first paceStep bytes of a body may take, nearly always all of it.
	bodyTime = 30 * time.Second
	// paceStep more bytes of a larger body must come in every paceTime: 35 KB/s, 10 MB in five minutes.
	paceStep = 512 << 10
	paceTime = 15 * time.Second
	// streamTime bounds the silence within a body that is not held in memory, such as an object of 5 GiB.
	streamTime = 30 * time.Second
	// writeTime bounds how long a caller may take to accept writeStep bytes of an answer.
	writeTime = 60 * time.Second
	writeStep = 256 << 10
	// writeRenewal is how old that time may be when a further short answer is written: such a one may have to be
	// accepted that much sooner.
	writeRenewal = writeTime / 6
	// idleTime is how long a connection is kept for its next request: longer than the load balancers in front
	// keep theirs (60 s), so that they are the ones to close it.
	idleTime = 75 * time.Second
)

// deadliner is the part of net/http's response writers that sets when reading the request must be done.
type deadliner interface{ SetReadDeadline(time.Time) error }

// pace sets the read deadlines of one body.
type pace struct {
	to   deadliner // nil in tests without a connection
	next int64     // how many bytes renew the deadline
}

// paceOf sets the pace of a body whose first bytes have a deadline, by the server's ReadTimeout or by startClock.
func paceOf(w http.ResponseWriter) pace {
	to, _ := w.(deadliner)
	return pace{to: to, next: paceStep}
}

// startClock bounds the first bytes of a body on a server that has no ReadTimeout, since bodies that stream may take
// any time. It counts also when nobody reads the body: net/http reads a short one to its end, to use the connection
// again.
func startClock(w http.ResponseWriter, r *http.Request) {
	if to, ok := w.(deadliner); ok && r.Body != nil && r.Body != http.NoBody {
		_ = to.SetReadDeadline(time.Now().Add(bodyTime)) // fails when the connection is gone; the first read tells
	}
}

// received notes that n bytes are there.
func (p *pace) received(n int64) {
	if n < p.next || p.to == nil {
		return
	}
	p.next = n + paceStep
	_ = p.to.SetReadDeadline(time.Now().Add(paceTime)) // fails when the connection is gone; the next read tells
}
