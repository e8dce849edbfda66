package app

import (
	"net/http"

	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// RecordAnswer is the answer of /_millrace/ledger/record: one line for each delivery stream, and shard that the number may
// be of.
type RecordAnswer struct {
	Stream   string                `json:"stream"`
	Sequence stream.SequenceNumber `json:"sequenceNumber"`
	Lines    []delivery.RecordLine `json:"lines"`
}

// serveRecord tells in which objects a record landed: ?stream=NAME&sequence=NUMBER.
func (n *Node) serveRecord(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	at, ok := stream.ParseSequenceNumber(q.Get("sequence"))
	if !ok {
		n.json(w, http.StatusBadRequest, map[string]string{"error": "sequence is no sequence number"})
		return
	}
	lines, err := n.engine.FindRecord(r.Context(), q.Get("stream"), at)
	n.answer(w, RecordAnswer{q.Get("stream"), at, lines}, err)
}

// serveObject tells what an object holds: ?bucket=NAME&key=KEY.
func (n *Node) serveObject(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	line, err := n.engine.FindObject(r.Context(), q.Get("bucket"), q.Get("key"))
	n.answer(w, line, err)
}

// serveHours tells what every hour has added: ?delivery=NAME, or of all.
func (n *Node) serveHours(w http.ResponseWriter, r *http.Request) {
	all, err := n.engine.Hours(r.Context(), r.URL.Query().Get("delivery"))
	n.answer(w, map[string][]delivery.HoursLedger{"deliveryStreams": all}, err)
}

// answer sends a document, or what went wrong.
func (n *Node) answer(w http.ResponseWriter, doc any, err error) {
	if err == nil {
		n.json(w, http.StatusOK, doc)
		return
	}
	status := http.StatusServiceUnavailable
	switch fault.KindOf(err) {
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Invalid:
		status = http.StatusBadRequest
	}
	n.json(w, status, map[string]string{"error": err.Error()})
}
