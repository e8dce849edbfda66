// Package journal owns what a delivery stream must remember to deliver every
// record exactly once: rows, manifests and final counts, and the contract of what
// keeps them, for one node or a group of nodes.
//
//	Row       one per (delivery stream, shard): start, checkpoint, cumulative counts; fenced by Version
//	Manifest  a planned flush, one object or more: everything that finishing it needs
//	Final     the counts of a delivery stream that was deleted
//	Landed    what an object holds, and HourCounts: what an hour has added ([Index])
//
//	Write(Change)  rows and manifests change together, in one atomic durable step, or not at all
//
// # Slots
//
// Every row belongs to a slot, by its key alone ([SlotOf]). A slot is the unit of
// ownership: one node at a time writes it, the nodes of a group share the slots
// among them. And it is the unit of atomicity: a change touches rows of one slot.
//
//	       slot 0    slot 1    slot 2   …
//	node a  owns               owns          writes what it owns, reads all
//	node b            owns                   gains slot 0 when a leaves or is lost
//
// [Pebble] keeps all in the node's local store: one slot, which the node owns for
// ever. delivery/journal/topic keeps it in a compacted topic, a slot a partition,
// owned through a consumer group. Both write rows, manifests and finals in one
// format. A journal shares no transaction with the records of the source.
package journal

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Journal keeps rows and manifests. All methods may be called concurrently.
//
// A Write that returned nil is durable and atomic. It compares the version of each
// row that it names with the stored one and fails with kind PreconditionFailed,
// nothing written, when one differs or the slot is not this node's: another
// process has taken over. After an error of another kind the change may or may not
// have happened; the caller loads again before it goes on. Stored bytes that do
// not check are Corrupt.
//
// What is read of a slot that the node owns is exact: all that was written before,
// by whomever, and nothing that may yet turn out not to have happened; a read waits
// until that is known. What is read of another slot is a state that the slot had,
// soon a newer one: never half of a change, and never older than what was read
// before.
type Journal interface {
	// Slots is how many slots there are. It never changes, not even by a restart.
	Slots() int
	// Join asks for slots. The member is told of what it gains and loses until Leave. It is called once.
	Join(ctx context.Context, m Member) error
	// Leave gives all slots back. When it returns the member is told nothing any more.
	Leave(ctx context.Context) error

	// Deliveries lists the ids that have rows.
	Deliveries(ctx context.Context) ([]string, error)
	// Load gives all rows of a delivery stream and, in the order of their plans, the manifests of each row.
	Load(ctx context.Context, delivery string) ([]Row, []*Manifest, error)
	// LoadShard gives one row (ok false: there is none) and its manifests.
	LoadShard(ctx context.Context, key Key) (row Row, ok bool, manifests []*Manifest, err error)
	Write(ctx context.Context, change *Change) error
	// Finals lists deleted delivery streams, oldest first, the [MaxFinals] newest.
	Finals(ctx context.Context) ([]Final, error)
	// Final gives the final counts of one (ok false: there are none).
	Final(ctx context.Context, delivery string) (f Final, ok bool, err error)
}

// Member is told which slots its process may write. The calls come one at a time.
//
// Between Gained and the return of Lost the process may write the slot. When the
// group is in order Lost is called before another node gains the slot, and may take
// as long as the member needs to let go, within seconds. When the process was away
// for too long (stopped, cut off) another node may own the slot before; then writes
// fail with PreconditionFailed from that moment on, and Lost comes after the fact.
type Member interface {
	Gained(slots []int)
	Lost(slots []int)
}

// MaxFinals bounds how many deleted delivery streams are remembered; a test rig that makes and drops thousands
// must not grow the store for ever.
const MaxFinals = 1000

// Key names a row.
type Key struct {
	Delivery string `json:"delivery"` // Definition.ID
	// Shard is the source's, or, without a stream, that of a row of sums: see [Key.Sums].
	Shard stream.ShardRef `json:"shard"`
}

// SlotOf tells which of so many slots a row belongs to: (FNV-1a of the delivery stream's id + shard index) mod slots, so
// that the shards of one delivery stream spread evenly, and the single shards of many do too. It never changes: rows
// would be lost.
func SlotOf(k Key, slots int) int {
	h := fnv.New32a()
	h.Write([]byte(k.Delivery))
	return int((uint64(h.Sum32()) + uint64(k.Shard.Shard)) % uint64(slots))
}

// Home tells the slot that decides about the delivery stream as a whole: where its final counts are.
func Home(delivery string, slots int) int { return SlotOf(Key{Delivery: delivery}, slots) }

// Sums names the row that takes over the counts of a row that is dropped. Both are in one slot, so that it is one step. Of
// each delivery stream there is one such row in every slot: those of index 0 to slots-1. With one slot its shard is zero.
func (k Key) Sums(slots int) Key {
	return Key{Delivery: k.Delivery, Shard: stream.ShardRef{Shard: k.Shard.Shard % uint32(slots)}}
}

// IsSums tells a row of sums from that of a shard.
func (k Key) IsSums() bool { return k.Shard.Stream == "" }

// Row is what is durable about one shard of a delivery stream.
type Row struct {
	Key
	// Version counts the writes of the row, from 1. It is the fence.
	Version uint64 `json:"version"`
	// Writer is the process that wrote it last; it tells a write of ours, whose answer was lost, from another's.
	Writer string `json:"writer"`

	// Created is the creation second of the shard, so that positions can be computed when the shard is gone.
	Created    int64                 `json:"shardCreated"`
	Parents    []uint32              `json:"parents,omitempty"`
	Start      stream.SequenceNumber `json:"start"`      // the first place that belongs to the delivery stream
	Checkpoint stream.SequenceNumber `json:"checkpoint"` // all before it is accounted for in Counts
	// Ahead lists the lanes that were delivered beyond the checkpoint, and are accounted for in Counts, in the order of their
	// names.
	Ahead []Ahead `json:"ahead,omitempty"`
	// AheadRecipe is the recipe of the manifests by which these lanes were found.
	AheadRecipe json.RawMessage `json:"aheadRecipe,omitempty"`
	// Done: the shard is closed and drained. Of a row of sums: the delivery stream is deleted, and all that this slot
	// held of it is settled in these sums.
	Done bool `json:"done"`
	// LastID, LastStamp and LastVersion are those of the newest manifest: ids rise, and stamps and versions of the
	// definition never fall within a shard, whoever plans.
	LastID      uint64    `json:"lastId"`
	LastStamp   time.Time `json:"lastStamp,omitzero"`
	LastVersion int64     `json:"lastVersion,omitempty"` // 0: of a program that did not say
	Counts      Counts    `json:"counts"`

	// Landed numbers what has landed, Hour is the one that is open, and Recent and Hours are the index where the journal has
	// none beside its rows: see [Index].
	Landed uint64       `json:"landed,omitempty"`
	Hour   *OpenHour    `json:"hour,omitempty"`
	Recent []Landed     `json:"recent,omitempty"`
	Hours  []HourCounts `json:"hours,omitempty"`
}

// Counts are cumulative, in source records.
type Counts struct {
	Delivered    int64 `json:"delivered"`
	DeadLettered int64 `json:"deadLettered"` // in error objects
	Dropped      int64 `json:"dropped"`      // by a processor
	Expired      int64 `json:"expired"`      // trimmed, or gone with their stream, before they were delivered
	Discarded    int64 `json:"discarded"`    // undelivered when the delivery stream was deleted

	DeliveredBytes int64 `json:"deliveredBytes"` // of outputs, before delimiter and compression
	Objects        int64 `json:"objects"`
	ErrorObjects   int64 `json:"errorObjects,omitempty"`
	Outputs        int64 `json:"outputs,omitempty"` // what delivered records have become; beside the equation
}

// Settled sums all source records that are no longer in flight.
func (c Counts) Settled() int64 {
	return c.Delivered + c.DeadLettered + c.Dropped + c.Expired + c.Discarded
}

// Add gives the sums of both.
func (c Counts) Add(d Counts) Counts {
	return Counts{
		Delivered: c.Delivered + d.Delivered, DeadLettered: c.DeadLettered + d.DeadLettered,
		Dropped: c.Dropped + d.Dropped, Expired: c.Expired + d.Expired, Discarded: c.Discarded + d.Discarded,
		DeliveredBytes: c.DeliveredBytes + d.DeliveredBytes, Objects: c.Objects + d.Objects,
		ErrorObjects: c.ErrorObjects + d.ErrorObjects, Outputs: c.Outputs + d.Outputs,
	}
}

// Manifest is a planned flush: one object or more. It can be finished without reading any definition, by a later version
// of this program, and the same manifest gives the same records in the same order.
type Manifest struct {
	Ordinal  uint64 `json:"ordinal"` // rises from plan to plan of a shard
	Key      Key    `json:"row"`
	Delivery string `json:"deliveryStream"` // name, for messages
	Version  string `json:"versionId"`      // of the definition that planned it

	// Next is where the checkpoint goes: what lies before it is in these parts or in earlier ones. Through is how far the
	// lanes of the parts go: at Next, or beyond it when other lanes, which lag behind, hold back the checkpoint.
	Next    stream.SequenceNumber `json:"next"`
	Through stream.SequenceNumber `json:"through"`
	Expired int64                 `json:"expired"`           // records of the range that are gone
	Dropped int64                 `json:"dropped,omitempty"` // records that a processor dropped, or that hold none

	// Recipe says how records were processed, in the words of the engine; empty: not at all.
	Recipe  json.RawMessage `json:"recipe,omitempty"`
	Parts   []Part          `json:"parts"`
	Planned time.Time       `json:"planned"` // for people
}

// Part is one object of a flush: what one lane holds.
type Part struct {
	ID        string `json:"id"` // UUID, in the object's key and metadata
	Bucket    string `json:"bucket"`
	ObjectKey string `json:"objectKey"`
	Lane      Lane   `json:"lane,omitzero"`

	First stream.SequenceNumber `json:"first"` // of the first record
	Last  stream.SequenceNumber `json:"last"`
	// Records are source records, each counted in the part that has its first output. Outputs are what the records have
	// become: as many, unless they were de-aggregated.
	Records int64 `json:"records"`
	Outputs int64 `json:"outputs"`
	Bytes   int64 `json:"bytes"` // of outputs

	Format      Format      `json:"format,omitempty"`
	Compression Compression `json:"compression"`
	Level       int         `json:"level,omitempty"`
	Delimiter   []byte      `json:"delimiter,omitempty"` // after every output of a text

	Stamp time.Time `json:"stamp"` // arrival of the oldest record: what the key shows

	// FailedID and FailedKey are of the error object for outputs that turn out not to fit when the object is made (Parquet),
	// or that the destination does not take (HTTP). Each is empty where nothing can fail so late.
	FailedID  string `json:"failedId,omitempty"`
	FailedKey string `json:"failedKey,omitempty"`
	// Failure says why a destination has refused the part for good; it goes to FailedKey then.
	Failure *Failure `json:"failure,omitempty"`
	// Upload is the open multipart upload that holds the object already, where it can't be made again.
	Upload *Upload `json:"upload,omitempty"`
	// Staged is the key of an object in Bucket that holds the outputs, where they can't be made again and go to no object.
	Staged string `json:"staged,omitempty"`
}

// Lane names what one object gathers: records of one dynamic partition, or of one kind of error. The zero Lane is that of
// a delivery stream which has one only.
type Lane struct {
	Keys  []string `json:"keys,omitempty"`  // values of the partition keys, in the order in which the prefix asks for them
	Error string   `json:"error,omitempty"` // error-output-type
}

// IsZero reports whether it is the one lane of its delivery stream.
func (l Lane) IsZero() bool { return l.Keys == nil && l.Error == "" }

// ID gives a short name of the lane, the same in all processes and versions.
func (l Lane) ID() string {
	h := sha256.New()
	var n [4]byte
	for _, text := range append([]string{l.Error}, l.Keys...) {
		binary.BigEndian.PutUint32(n[:], uint32(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}

// DroppedLane is the name under which Ahead keeps how far records without any output are counted.
const DroppedLane = "-"

// Failure of a destination.
type Failure struct {
	Code     string    `json:"code"`
	Message  string    `json:"message"`
	Attempts int       `json:"attempts"`
	Ended    time.Time `json:"ended"` // of the last attempt
}

// Upload is a multipart upload that has all its parts.
type Upload struct {
	ID    string       `json:"id"`
	Parts []UploadPart `json:"parts"`
}

// UploadPart is a part of it.
type UploadPart struct {
	Number   int    `json:"number"`
	Size     int64  `json:"size"`
	ETag     string `json:"etag"`
	Checksum string `json:"checksum,omitempty"` // "CRC32 AAAAAA=="
}

// Format of an object.
type Format string

// The formats.
const (
	Text    Format = "" // outputs, each followed by the delimiter, compressed
	Parquet Format = "parquet"
	Errors  Format = "errors" // a JSON line for each output
	HTTP    Format = "http"   // no object: a request to the endpoint of the recipe
)

// Compression of an object's bytes.
type Compression string

// The compressions, as the Firehose API spells them.
const (
	Uncompressed Compression = "UNCOMPRESSED"
	Gzip         Compression = "GZIP"
	Zip          Compression = "ZIP"
	Snappy       Compression = "Snappy"
	HadoopSnappy Compression = "HADOOP_SNAPPY"
)

// ID names the flush: by its first part, or by its ordinal when it has none.
func (m *Manifest) ID() string {
	if len(m.Parts) > 0 {
		return m.Parts[0].ID
	}
	return strconv.FormatUint(m.Ordinal, 10)
}

// Records counts the source records that the manifest accounts for.
func (m *Manifest) Records() int64 {
	n := m.Expired + m.Dropped
	for i := range m.Parts {
		n += m.Parts[i].Records
	}
	return n
}

// Ahead says how far a lane was delivered beyond the checkpoint.
type Ahead struct {
	Lane    string                `json:"lane"` // Lane.ID
	Through stream.SequenceNumber `json:"through"`
}

// Pass moves checkpoint and lanes over a manifest: what is read again from the checkpoint on is known by its lane to have
// been delivered. Manifests whose recipes make other lanes do not run ahead as long as older ones are: who plans sees to it.
func (r *Row) Pass(m *Manifest) {
	ahead := make([]Ahead, 0, len(r.Ahead)+len(m.Parts)+1)
	if m.Next.Before(m.Through) {
		for i := range m.Parts {
			ahead = append(ahead, Ahead{m.Parts[i].Lane.ID(), m.Through})
		}
		if m.Dropped > 0 {
			ahead = append(ahead, Ahead{DroppedLane, m.Through})
		}
	}
	known := make(map[string]bool, len(ahead))
	for _, a := range ahead {
		known[a.Lane] = true
	}
	for _, a := range r.Ahead {
		if !known[a.Lane] && m.Next.Before(a.Through) {
			ahead = append(ahead, a)
		}
	}
	slices.SortFunc(ahead, func(a, b Ahead) int { return strings.Compare(a.Lane, b.Lane) })
	if len(r.Ahead) == 0 {
		r.AheadRecipe = m.Recipe
	}
	r.Checkpoint, r.Ahead = m.Next, ahead
	if len(ahead) == 0 {
		r.Ahead, r.AheadRecipe = nil, nil
	}
}

// Change is one atomic step within one slot.
type Change struct {
	Rows   []Row       // written; each stored version must be the given one less 1 (0: no such row)
	Drop   []Row       // removed; each stored version must be the given one
	Plan   []*Manifest // added, or replaced under the same ordinal
	Remove []*Manifest // removed
	// Landed and Hours are added by an [Index]: Landed to the first of Rows.
	Landed []Landed
	Hours  []RowHour
	// Final is added, in the delivery stream's [Home]. Final counts are never written twice: PreconditionFailed.
	Final *Final
}

// Slot tells the one slot that the change is of. A change of several slots, or of none, is a fault of the caller's.
func (c *Change) Slot(slots int) (int, error) {
	slot, mixed := -1, false
	see := func(s int) {
		mixed = mixed || slot >= 0 && s != slot
		slot = s
	}
	for i := range c.Rows {
		see(SlotOf(c.Rows[i].Key, slots))
	}
	for i := range c.Drop {
		see(SlotOf(c.Drop[i].Key, slots))
	}
	for _, m := range c.Plan {
		see(SlotOf(m.Key, slots))
	}
	for _, m := range c.Remove {
		see(SlotOf(m.Key, slots))
	}
	if c.Final != nil {
		see(Home(c.Final.ID, slots))
	}
	if mixed || slot < 0 {
		return 0, fault.New(fault.Internal, "journal.Write", "", "a change must be of exactly one slot")
	}
	return slot, nil
}

// Compare checks the versions that a change asks for against the stored ones; row gives a stored row, zero when there is
// none, and final whether there are final counts.
func (c *Change) Compare(row func(Key) (Row, error), final func(delivery string) (bool, error)) error {
	check := func(k Key, want uint64) error {
		have, err := row(k)
		if err != nil {
			return err
		}
		if have.Version != want {
			return fault.New(fault.PreconditionFailed, "journal.Write", k.Delivery,
				"row of %s has version %d, not %d: another process has written it", k.Shard, have.Version, want)
		}
		return nil
	}
	for i := range c.Rows {
		if err := check(c.Rows[i].Key, c.Rows[i].Version-1); err != nil {
			return err
		}
	}
	for i := range c.Drop {
		if err := check(c.Drop[i].Key, c.Drop[i].Version); err != nil {
			return err
		}
	}
	if c.Final == nil {
		return nil
	}
	exists, err := final(c.Final.ID)
	if err == nil && exists {
		err = fault.New(fault.PreconditionFailed, "journal.Write", c.Final.Name, "the final counts are written")
	}
	return err
}

// Final is what remains of a deleted delivery stream.
type Final struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Deleted  time.Time `json:"deleted"`
	Accepted int64     `json:"accepted"`
	Counts   Counts    `json:"counts"`
}

// SortFinals puts the oldest first.
func SortFinals(all []Final) {
	slices.SortFunc(all, func(a, b Final) int {
		if c := a.Deleted.Compare(b.Deleted); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}
