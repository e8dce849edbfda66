package process

import (
	"crypto/md5"
	"encoding/binary"
	"strings"
	"sync"
)

// An aggregate is what the Kinesis Producer Library makes of several user records:
//
//	0      4                                len-16     len
//	+------+--------------------------------+----------+
//	| magic | AggregatedRecord in protobuf  | MD5 of it|
//	+------+--------------------------------+----------+
//
//	message AggregatedRecord {
//	  repeated string partition_key_table     = 1;
//	  repeated string explicit_hash_key_table = 2;
//	  repeated Record records                 = 3;
//	}
//	message Record {
//	  required uint64 partition_key_index     = 1;
//	  optional uint64 explicit_hash_key_index = 2;
//	  required bytes  data                    = 3;
//	  repeated Tag    tags                    = 4;  // required string key = 1; optional string value = 2
//	}
//
// Source: aggregation-format.md of the Kinesis Producer Library.
// AggregateMagic is what every aggregate begins with.
const AggregateMagic = "\xf3\x89\x9a\xc2"

const (
	// maxTableKeys bounds the keys of an aggregate, 8 bytes each while it is read. A record of 10 MiB whose user records all
	// have keys of their own, a byte long, holds fewer.
	maxTableKeys = 1 << 20
	// keptTableKeys bounds the tables that are kept for the next aggregate.
	keptTableKeys = 1 << 12
	// maxGroups bounds how deep groups nest in fields that nobody knows.
	maxGroups = 100
)

// span is a place in a message.
type span struct{ from, to uint32 }

// aggregate is a valid one, ready to be read.
type aggregate struct {
	message   []byte
	partition []span // the tables; first where the keys lie in message, then where they lie in keys
	hash      []span
	keys      string // all keys of both tables behind one another, so that they are one allocation
	records   int
}

var aggregates = sync.Pool{New: func() any { return new(aggregate) }}

// release gives the tables back.
func (a *aggregate) release() {
	if cap(a.partition) > keptTableKeys || cap(a.hash) > keptTableKeys {
		return
	}
	a.message, a.keys = nil, ""
	aggregates.Put(a)
}

// openAggregate reads data as an aggregate. Nil: it is none, or one that readers of the service would not take apart:
// wrong digest, broken protobuf, a required field missing, an index outside its table, no user record in it.
//
// Everything is checked before the first record is given out, so that a record is split whole or not at all. (The
// Kinesis Client Library loses what follows an index outside its table.)
func openAggregate(data []byte) *aggregate {
	if len(data) <= len(AggregateMagic)+md5.Size || string(data[:len(AggregateMagic)]) != AggregateMagic {
		return nil
	}
	message := data[len(AggregateMagic) : len(data)-md5.Size]
	if md5.Sum(message) != [md5.Size]byte(data[len(data)-md5.Size:]) {
		return nil
	}
	a := aggregates.Get().(*aggregate)
	a.message, a.partition, a.hash, a.records = message, a.partition[:0], a.hash[:0], 0
	if !a.readTables() || a.records == 0 || !a.checkRecords() {
		a.release()
		return nil
	}
	a.gatherKeys()
	return a
}

// readTables finds the keys. They may stand behind the records that name them.
func (a *aggregate) readTables() bool {
	r := wire{b: a.message}
	for r.next() {
		switch {
		case r.field == 1 && r.kind == bytesKind:
			a.partition = append(a.partition, r.value)
		case r.field == 2 && r.kind == bytesKind:
			a.hash = append(a.hash, r.value)
		case r.field == 3 && r.kind == bytesKind:
			a.records++
		}
		if len(a.partition)+len(a.hash) > maxTableKeys {
			return false
		}
	}
	return !r.bad
}

func (a *aggregate) checkRecords() bool {
	r := wire{b: a.message}
	for r.next() {
		if r.field == 3 && r.kind == bytesKind {
			if _, ok := a.record(r.value); !ok {
				return false
			}
		}
	}
	return true
}

// gatherKeys copies the keys into one string.
func (a *aggregate) gatherKeys() {
	size := 0
	for _, table := range [...][]span{a.partition, a.hash} {
		for _, key := range table {
			size += int(key.to - key.from)
		}
	}
	var b strings.Builder
	b.Grow(size)
	for _, table := range [...][]span{a.partition, a.hash} {
		for i, key := range table {
			from := b.Len()
			b.Write(a.message[key.from:key.to])
			table[i] = span{uint32(from), uint32(b.Len())}
		}
	}
	a.keys = b.String()
}

// userRecord is a Record of the message.
type userRecord struct {
	partition, hash  uint64
	hasHash, hasData bool
	hasPartition     bool
	data             span
}

// record reads the Record at a place of the message. Of a field that is there twice the last counts, as in all readers.
func (a *aggregate) record(at span) (u userRecord, ok bool) {
	r := wire{b: a.message[:at.to], pos: int(at.from)}
	for r.next() {
		switch {
		case r.field == 1 && r.kind == varintKind:
			u.partition, u.hasPartition = r.number, true
		case r.field == 2 && r.kind == varintKind:
			u.hash, u.hasHash = r.number, true
		case r.field == 3 && r.kind == bytesKind:
			u.data, u.hasData = r.value, true
		case r.field == 4 && r.kind == bytesKind:
			if !a.tag(r.value) {
				return u, false
			}
		}
	}
	return u, !r.bad && u.hasPartition && u.hasData &&
		u.partition < uint64(len(a.partition)) && (!u.hasHash || u.hash < uint64(len(a.hash)))
}

// tag reports whether there is a Tag. Nothing reads what it says.
func (a *aggregate) tag(at span) (ok bool) {
	r := wire{b: a.message[:at.to], pos: int(at.from)}
	for r.next() {
		ok = ok || r.field == 1 && r.kind == bytesKind
	}
	return ok && !r.bad
}

// each calls f for the user records in their order.
func (a *aggregate) each(f func(Sub) error) error {
	r := wire{b: a.message}
	for n := uint32(0); r.next(); {
		if r.field != 3 || r.kind != bytesKind {
			continue
		}
		u, _ := a.record(r.value)
		key := a.partition[u.partition]
		sub := Sub{Data: a.message[u.data.from:u.data.to:u.data.to], PartitionKey: a.keys[key.from:key.to], Aggregated: true, SubSequenceNumber: n}
		if u.hasHash {
			key := a.hash[u.hash]
			sub.ExplicitHashKey = a.keys[key.from:key.to]
		}
		if err := f(sub); err != nil {
			return err
		}
		n++
	}
	return nil
}

// The kinds of values on the wire.
const (
	varintKind     = 0
	fixed64Kind    = 1
	bytesKind      = 2
	startGroupKind = 3
	endGroupKind   = 4
	fixed32Kind    = 5
)

// wire goes through the fields of a protobuf message.
type wire struct {
	b   []byte
	pos int
	bad bool // this is no message

	// The field that next has read.
	field  uint64
	kind   uint64
	number uint64 // of varintKind
	value  span   // of bytesKind
}

func (r *wire) next() bool {
	if r.bad || r.pos == len(r.b) {
		return false
	}
	r.bad = !r.read() || r.kind == endGroupKind
	if !r.bad && r.kind == startGroupKind {
		r.bad = !r.skipGroup(r.field, 1)
	}
	return !r.bad
}

// read reads a tag and, unless it is a group's, the value.
func (r *wire) read() bool {
	tag, ok := r.varint()
	if !ok || tag>>3 == 0 || tag > 1<<32-1 {
		return false
	}
	r.field, r.kind = tag>>3, tag&7
	switch r.kind {
	case varintKind:
		r.number, ok = r.varint()
		return ok
	case fixed64Kind:
		return r.skip(8)
	case fixed32Kind:
		return r.skip(4)
	case bytesKind:
		size, ok := r.varint()
		from := r.pos
		if !ok || !r.skip(size) {
			return false
		}
		r.value = span{uint32(from), uint32(r.pos)}
		return true
	}
	return r.kind == startGroupKind || r.kind == endGroupKind
}

// skipGroup reads to the end of a group: an old way to nest messages, which nothing here knows.
func (r *wire) skipGroup(field uint64, depth int) bool {
	for depth <= maxGroups && r.read() {
		switch r.kind {
		case endGroupKind:
			ok := r.field == field
			r.field, r.kind = field, startGroupKind
			return ok
		case startGroupKind:
			if !r.skipGroup(r.field, depth+1) {
				return false
			}
		}
	}
	return false
}

func (r *wire) skip(n uint64) bool {
	if n > uint64(len(r.b)-r.pos) {
		return false
	}
	r.pos += int(n)
	return true
}

func (r *wire) varint() (uint64, bool) {
	v, n := binary.Uvarint(r.b[r.pos:])
	if n <= 0 {
		return 0, false
	}
	r.pos += n
	return v, true
}
