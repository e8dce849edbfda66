package topic

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
)

// The key of a record says what it is of:
//
//	r | row key                     row
//	m | row key | ordinal (8, BE)   manifest
//	f | delivery                    final counts
//	c                               claim: the value names the node, for people
//
// (row key: see journal.AppendKey.) An empty value removes. Records of one change stand together in the partition, and
// each says in a header how many of them follow, so that a reader never shows half of a change:
//
//	header "of" = number of the change (8, BE) | records that follow (4, BE)
//
// Compaction may take records out of an older change; the number tells where the next one begins.
const (
	rowKind      = 'r'
	manifestKind = 'm'
	finalKind    = 'f'
	claimKind    = 'c'

	changeHeader = "of"
)

// item is a record in the making or as it was read.
type item struct {
	kind     byte
	key      journal.Key       // of rows and manifests
	ordinal  uint64            // of manifests
	delivery string            // of finals
	row      *journal.Row      // these three: nil: removed
	manifest *journal.Manifest //
	final    *journal.Final    //
	offset   int64
}

func (i *item) recordKey() []byte {
	key := []byte{i.kind}
	switch i.kind {
	case rowKind:
		return journal.AppendKey(key, i.key)
	case manifestKind:
		return binary.BigEndian.AppendUint64(journal.AppendKey(key, i.key), i.ordinal)
	case finalKind:
		return append(key, i.delivery...)
	}
	return key
}

func (i *item) value() ([]byte, error) {
	switch {
	case i.row != nil:
		return journal.EncodeRow(i.row)
	case i.manifest != nil:
		return journal.EncodeManifest(i.manifest)
	case i.final != nil:
		return journal.EncodeFinal(i.final)
	}
	return nil, nil
}

// items lists what a change writes.
func items(c *journal.Change) []item {
	var all []item
	for i := range c.Drop {
		all = append(all, item{kind: rowKind, key: c.Drop[i].Key})
	}
	for _, m := range c.Remove {
		all = append(all, item{kind: manifestKind, key: m.Key, ordinal: m.Ordinal})
	}
	for _, m := range c.Plan {
		all = append(all, item{kind: manifestKind, key: m.Key, ordinal: m.Ordinal, manifest: m})
	}
	for i := range c.Rows {
		all = append(all, item{kind: rowKind, key: c.Rows[i].Key, row: &c.Rows[i]})
	}
	if c.Final != nil {
		all = append(all, item{kind: finalKind, delivery: c.Final.ID, final: c.Final})
	}
	return all
}

// records makes the records of a change.
func records(topic string, slot int, number uint64, all []item) ([]*kgo.Record, error) {
	var out []*kgo.Record
	for i := range all {
		value, err := all[i].value()
		if err != nil {
			return nil, fault.New(fault.Internal, "journal.Write", topic, "%w", err)
		}
		header := binary.BigEndian.AppendUint64(nil, number)
		header = binary.BigEndian.AppendUint32(header, uint32(len(all)-1-i))
		out = append(out, &kgo.Record{Topic: topic, Partition: int32(slot), Key: all[i].recordKey(), Value: value,
			Headers: []kgo.RecordHeader{{Key: changeHeader, Value: header}}})
	}
	return out, nil
}

// change reads the header.
func changeOf(r *kgo.Record) (number uint64, follow uint32) {
	for _, h := range r.Headers {
		if h.Key == changeHeader && len(h.Value) == 12 {
			return binary.BigEndian.Uint64(h.Value), binary.BigEndian.Uint32(h.Value[8:])
		}
	}
	return 0, 0
}

// parse reads a record. A kind that this program does not know is an error: a later version wrote it, and it may matter.
func parse(r *kgo.Record, slots int) (item, error) {
	where := fmt.Sprintf("%s/%d at %d", r.Topic, r.Partition, r.Offset)
	damaged := func() (item, error) {
		return item{}, fault.New(fault.Corrupt, "journal.Load", where, "the record's key %.40q is none that this program knows", r.Key)
	}
	if len(r.Key) == 0 {
		return damaged()
	}
	i := item{kind: r.Key[0], offset: r.Offset}
	var rest []byte
	ok := true
	switch i.kind {
	case rowKind, manifestKind:
		i.key, rest, ok = journal.ParseKey(r.Key[1:])
	case finalKind:
		i.delivery = string(r.Key[1:])
	case claimKind:
		return i, nil
	default:
		ok = false
	}
	if i.kind == manifestKind && ok {
		if ok = len(rest) == 8; ok {
			i.ordinal = binary.BigEndian.Uint64(rest)
		}
	}
	if !ok {
		return damaged()
	}
	if slot := i.slot(slots); slot != int(r.Partition) {
		return item{}, fault.New(fault.Corrupt, "journal.Load", where, "the record belongs to slot %d: the topic had another number "+
			"of partitions than %d when it was written; they must never be changed", slot, slots)
	}
	return i, i.decode(r.Value, where)
}

func (i *item) slot(slots int) int {
	if i.kind == finalKind {
		return journal.Home(i.delivery, slots)
	}
	return journal.SlotOf(i.key, slots)
}

func (i *item) decode(value []byte, where string) error {
	if len(value) == 0 {
		return nil
	}
	switch i.kind {
	case rowKind:
		row, err := journal.DecodeRow(value, where)
		i.row = &row
		return err
	case manifestKind:
		var err error
		if i.manifest, err = journal.DecodeManifest(value, where); err == nil {
			err = i.manifest.Check()
		}
		return err
	}
	final, err := journal.DecodeFinal(value, where)
	i.final = &final
	return err
}
