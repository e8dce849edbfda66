package crash

import (
	"fmt"
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
	place uint16 // index into book.places
	seq   string // SequenceNumber or RecordId
}

// book is the outside ledger. It is what remains of the load when a node is killed.
type book struct {
	mu       sync.Mutex
	entries  []entry
	places   []string // "class-stream shardId-000000000000"
	byPlace  map[string]uint16
	refusals []string // the first of them
	refused  int
	drained  [][2]int // numbers, from and before, of what was sent to nodes that ended in the orderly way
}

// drains notes that the events from a number on were sent to a node that has drained: what it took it must have
// answered.
func (b *book) drains(from int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drained = append(b.drained, [2]int{from, len(b.entries)})
}

func newBook() *book { return &book{byPlace: map[string]uint16{}} }

// sends gives numbers to events that are about to be sent. No number is given twice, so that no event is sent twice.
func (b *book) sends(k kind, n int) (first int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first = len(b.entries)
	for range n {
		b.entries = append(b.entries, entry{kind: k})
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
}

// refusalsKept bounds the refusals that are told in full.
const refusalsKept = 5

// refuses notes an answer that is no success.
func (b *book) refuses(id int, status int, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries[id].state = refused
	b.refused++
	if len(b.refusals) < refusalsKept {
		b.refusals = append(b.refusals, fmt.Sprintf("%s (kind %d): %d %.300s", idText(id), b.entries[id].kind, status, body))
	}
}

// totals counts the events so far.
func (b *book) totals() (sent, acknowledged int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.entries {
		if b.entries[i].state == answered {
			acknowledged++
		}
	}
	return len(b.entries), acknowledged
}
