package bucket

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"maps"
	"slices"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
)

// The object of a slot:
//
//	+-------+---------+---------+----------+-----------+---------------------------+
//	| magic | version | CRC-32C | length   | head      | items: rows, manifests,   |
//	| "MJS" | 1 byte  | 4 bytes | 4 bytes  | JSON      | finals, each              |
//	|       |         | LE      | LE       | (length)  | length (4, LE), sealed    |
//	+-------+---------+---------+----------+-----------+---------------------------+
//
// The checksum covers all but itself. Items are sealed as package journal seals them; the head says how many of each
// there are. An item that is not changed keeps its bytes.
const (
	slotMagic     = "MJS"
	formatVersion = 1
	headAt        = 12 // where the head begins
	putLetters    = 16 // of the id of a put
)

// head is what a slot says about itself.
type head struct {
	Slot int `json:"slot"`
	// Sequence is that of the put, one more with each.
	Sequence uint64 `json:"sequence"`
	Put      string `json:"put"` // its id
	// Owner is the process whose puts are taken: "NODE/INCARNATION"; empty: nobody's.
	Owner string `json:"owner,omitempty"`
	// Claimed is the sequence of the put by which the owner claimed the slot, or gave it back, and Over the id of the put
	// before that.
	Claimed uint64 `json:"claimed,omitempty"`
	Over    string `json:"over,omitempty"`

	Rows      int `json:"rows"`
	Manifests int `json:"manifests"`
	Finals    int `json:"finals"`
}

func ownerName(node, incarnation string) string { return node + "/" + incarnation }

// item is a value and its bytes.
type item[T any] struct {
	value  T
	sealed []byte
}

// state is all of a slot after one put. It does not change once it was put or read.
type state struct {
	head      head
	etag      string // of the object; "": it is not put yet
	rows      map[journal.Key]item[journal.Row]
	manifests map[journal.Key][]item[*journal.Manifest] // by ordinal
	finals    map[string]item[journal.Final]
	bytes     int // of all items
}

// newState is that of a slot that nobody has owned.
func newState(slot int, put string) *state {
	return &state{head: head{Slot: slot, Sequence: 1, Put: put}, rows: map[journal.Key]item[journal.Row]{},
		manifests: map[journal.Key][]item[*journal.Manifest]{}, finals: map[string]item[journal.Final]{}}
}

// next begins the state that follows, for a put with an id.
func (s *state) next(put string) *state {
	n := &state{head: s.head, rows: maps.Clone(s.rows), manifests: maps.Clone(s.manifests), finals: maps.Clone(s.finals), bytes: s.bytes}
	n.head.Sequence++
	n.head.Put = put
	return n
}

// handTo begins the state in which another process owns the slot.
func (s *state) handTo(owner, put string) *state {
	n := s.next(put)
	n.head.Owner, n.head.Claimed, n.head.Over = owner, n.head.Sequence, s.head.Put
	return n
}

const itemBytes = 4 // before each item

func (s *state) setRow(r item[journal.Row]) {
	s.dropRow(r.value.Key)
	s.rows[r.value.Key] = r
	s.bytes += itemBytes + len(r.sealed)
}

func (s *state) dropRow(k journal.Key) {
	if old, ok := s.rows[k]; ok {
		s.bytes -= itemBytes + len(old.sealed)
		delete(s.rows, k)
	}
}

func (s *state) setManifest(m item[*journal.Manifest]) {
	s.dropManifest(m.value)
	of := s.manifests[m.value.Key]
	at, _ := slices.BinarySearchFunc(of, m.value.Ordinal, byOrdinal)
	s.manifests[m.value.Key] = slices.Insert(slices.Clone(of), at, m)
	s.bytes += itemBytes + len(m.sealed)
}

func byOrdinal(m item[*journal.Manifest], ordinal uint64) int {
	return cmp.Compare(m.value.Ordinal, ordinal)
}

func (s *state) dropManifest(m *journal.Manifest) {
	of := s.manifests[m.Key]
	at, ok := slices.BinarySearchFunc(of, m.Ordinal, byOrdinal)
	if !ok {
		return
	}
	s.bytes -= itemBytes + len(of[at].sealed)
	if len(of) == 1 {
		delete(s.manifests, m.Key)
		return
	}
	s.manifests[m.Key] = slices.Delete(slices.Clone(of), at, at+1)
}

func (s *state) setFinal(f item[journal.Final]) {
	s.finals[f.value.ID] = f
	s.bytes += itemBytes + len(f.sealed)
}

func (s *state) dropFinal(id string) {
	s.bytes -= itemBytes + len(s.finals[id].sealed)
	delete(s.finals, id)
}

// keys gives the rows' keys in the order of stores: delivery stream, stream, incarnation, shard.
func (s *state) keys() []journal.Key {
	return slices.SortedFunc(maps.Keys(s.rows), compareKeys)
}

func compareKeys(a, b journal.Key) int {
	return cmp.Or(cmp.Compare(a.Delivery, b.Delivery), cmp.Compare(a.Shard.Stream, b.Shard.Stream),
		cmp.Compare(a.Shard.ID, b.Shard.ID), cmp.Compare(a.Shard.Shard, b.Shard.Shard))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode gives the bytes of the object.
func (s *state) encode() []byte {
	h := s.head
	h.Rows, h.Manifests, h.Finals = len(s.rows), 0, len(s.finals)
	for _, of := range s.manifests {
		h.Manifests += len(of)
	}
	text, err := json.Marshal(h)
	if err != nil {
		panic(err) // numbers and strings
	}
	out := make([]byte, headAt, headAt+len(text)+s.bytes)
	copy(out, slotMagic)
	out[3] = formatVersion
	binary.LittleEndian.PutUint32(out[8:], uint32(len(text)))
	out = append(out, text...)
	add := func(sealed []byte) {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(sealed)))
		out = append(out, sealed...)
	}
	for _, k := range s.keys() {
		add(s.rows[k].sealed)
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.manifests), compareKeys) {
		for _, m := range s.manifests[k] {
			add(m.sealed)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.finals)) {
		add(s.finals[id].sealed)
	}
	binary.LittleEndian.PutUint32(out[4:], checksum(out))
	return out
}

func checksum(object []byte) uint32 {
	return crc32.Update(crc32.Checksum(object[:4], castagnoli), castagnoli, object[8:])
}

// decode reads what encode wrote; where names the object for the operator.
func decode(object []byte, where string) (*state, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Corrupt, "journal.Load", where, format+"; restore the object from an earlier version of it or a backup", args...)
	}
	if len(object) < headAt || string(object[:3]) != slotMagic {
		return nil, bad("object of %d bytes does not begin with %q", len(object), slotMagic)
	}
	if object[3] != formatVersion {
		return nil, fault.New(fault.Corrupt, "journal.Load", where, "format version %d is unknown to this program, which reads version %d; "+
			"start the program that wrote it", object[3], formatVersion)
	}
	if binary.LittleEndian.Uint32(object[4:]) != checksum(object) {
		return nil, bad("checksum of %d bytes differs", len(object))
	}
	n := int64(binary.LittleEndian.Uint32(object[8:]))
	if n > int64(len(object)-headAt) {
		return nil, bad("its head is cut")
	}
	s := newState(0, "")
	if err := json.Unmarshal(object[headAt:headAt+n], &s.head); err != nil {
		return nil, bad("its head: %w", err)
	}
	d := decoder{rest: object[headAt+n:], bad: bad, where: where}
	d.each(s.head.Rows, func(sealed []byte) error {
		r, err := journal.DecodeRow(sealed, where)
		s.setRow(item[journal.Row]{r, sealed})
		return err
	})
	d.each(s.head.Manifests, func(sealed []byte) error {
		m, err := journal.DecodeManifest(sealed, where)
		s.setManifest(item[*journal.Manifest]{m, sealed})
		return err
	})
	d.each(s.head.Finals, func(sealed []byte) error {
		f, err := journal.DecodeFinal(sealed, where)
		s.setFinal(item[journal.Final]{f, sealed})
		return err
	})
	if d.err == nil && len(d.rest) > 0 {
		d.err = bad("%d bytes follow its last item", len(d.rest))
	}
	return s, d.err
}

// decoder walks over the items.
type decoder struct {
	rest  []byte
	where string
	bad   func(string, ...any) error
	err   error
}

func (d *decoder) each(n int, fn func(sealed []byte) error) {
	for range n {
		if d.err != nil {
			return
		}
		if len(d.rest) < itemBytes || int64(binary.LittleEndian.Uint32(d.rest)) > int64(len(d.rest)-itemBytes) {
			d.err = d.bad("an item is cut")
			return
		}
		size := int(binary.LittleEndian.Uint32(d.rest))
		sealed := d.rest[itemBytes : itemBytes+size : itemBytes+size]
		d.rest = d.rest[itemBytes+size:]
		d.err = fn(sealed)
	}
}

// fate is what has become of a put.
type fate uint8

const (
	notYet   fate = iota // the object is as it was before: the put may still arrive
	happened             // it has
	never                // it has not, and can't any more
	unknown              // others have written since, and what they wrote does not tell
)

// fateOf tells what has become of the put that follows base, by a later look at the object.
func fateOf(base, put *head, have *head) fate {
	switch {
	case have.Sequence == base.Sequence && have.Put == base.Put:
		return notYet
	case have.Sequence == put.Sequence && have.Put == put.Put, have.Claimed == put.Sequence+1 && have.Over == put.Put:
		return happened
	case have.Sequence == put.Sequence, have.Claimed == put.Sequence, have.Claimed == put.Sequence+1:
		return never
	}
	return unknown
}
