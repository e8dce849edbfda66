package crash

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// state is what the outside knows of an event.
type state uint8

const (
	unanswered state = iota // sent, or about to be: it may be there once or not at all
	answered                // 200: it must be there once
	refused                 // another status
)

// entry is one event, by its number.
type entry struct {
	kind  kind
	state state
	node  uint8  // that it was sent to
	place uint16 // index into book.places
	seq   string // SequenceNumber or RecordId
}

// book is the outside ledger. It is what remains of the load when a node is killed.
type book struct {
	mu       sync.Mutex
	entries  []entry
	places   []string // "class-stream shardId-000000000000", "push-delivery shardId-000000000000"
	byPlace  map[string]uint16
	refusals []string       // the first of them
	reasons  map[string]int // of refusals, how often
	refused  int
	answered [nodesMost]int
	drained  []drained
}

// nodesMost is how many nodes a book can tell apart.
const nodesMost = 4

// drained is what was sent to a node that ended in the orderly way.
type drained struct {
	from, before int // numbers
	node         uint8
}

// drains notes that those events from a number on that were sent to a node were sent to one that has drained: what it
// took it must have answered.
func (b *book) drains(node uint8, from int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drained = append(b.drained, drained{from, len(b.entries), node})
}

func newBook() *book { return &book{byPlace: map[string]uint16{}, reasons: map[string]int{}} }

// sends is sendsTo for the one node of those tests that have no more.
func (b *book) sends(k kind, n int) (first int) { return b.sendsTo(0, k, n) }

// sendsTo gives numbers to events that are about to be sent to a node. No number is given twice, so that no event is
// sent twice.
func (b *book) sendsTo(node uint8, k kind, n int) (first int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first = len(b.entries)
	for range n {
		b.entries = append(b.entries, entry{kind: k, node: node})
	}
	return first
}

// answers notes that an event is acknowledged.
func (b *book) answers(id int, place, seq string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, known := b.byPlace[place]
	if !known {
		at = uint16(len(b.places))
		b.places = append(b.places, place)
		b.byPlace[place] = at
	}
	e := &b.entries[id]
	e.state, e.place, e.seq = answered, at, seq
	b.answered[e.node]++
}

// pushed counts the shards that answers of Direct PUT name.
func (b *book) pushed() (shards int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, place := range b.places {
		if strings.HasPrefix(place, pushDelivery) {
			shards++
		}
	}
	return shards
}

// Bounds of what is told of refusals: of the first ones in full, and of the reasons that are told apart.
const (
	refusalsKept = 5
	reasonsKept  = 100
)

// particular is what differs between two refusals for the same reason.
var particular = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]+`)

// refuses notes an answer that is no success.
func (b *book) refuses(id int, status int, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries[id].state = refused
	b.refused++
	reason := fmt.Sprintf("%d %s", status, particular.ReplaceAllString(fmt.Sprintf("%.200s", body), "N"))
	if _, known := b.reasons[reason]; known || len(b.reasons) < reasonsKept {
		b.reasons[reason]++
	}
	if len(b.refusals) < refusalsKept {
		b.refusals = append(b.refusals, fmt.Sprintf("%s (kind %d): %d %.300s", idText(id), b.entries[id].kind, status, body))
	}
}

// totals counts the events so far.
func (b *book) totals() (sent, acknowledged int) {
	by, sent, _ := b.count()
	for _, n := range by {
		acknowledged += n
	}
	return sent, acknowledged
}

// count gives the events so far that each node has answered, and how many were sent and refused in all.
func (b *book) count() (answeredBy [nodesMost]int, sent, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answered, len(b.entries), b.refused
}
