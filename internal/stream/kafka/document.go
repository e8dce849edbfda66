package kafka

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// document is what the catalog keeps of a stream, as JSON under the stream's name.
//
//	CREATING ──> ACTIVE <──> UPDATING (Change says what is under way)
//	                └──────> DELETING ──> no document
//
// A document that is none of ACTIVE tells every node enough to finish what is under way, whoever began it.
type document struct {
	Format  int // formatVersion
	Stream  stream.Stream
	Topic   string
	TopicID topicID // zero while CREATING
	// Adopted: others made the topic. We keep its settings and never reshard it.
	Adopted bool `json:",omitempty"`
	// Compacted: of an adopted one, its cleanup.policy says so.
	Compacted bool `json:",omitempty"`
	// MaxBatchBytes is the topic's max.message.bytes: the largest batch of records that brokers take.
	MaxBatchBytes int32
	// Partitions has where each shard of Stream lies, and Ends where each closed one ends.
	Partitions map[uint32]int32
	Ends       map[uint32]int64 `json:",omitempty"`
	// NextPartition is the lowest partition that no shard has ever had.
	NextPartition int32
	Change        *change `json:",omitempty"`
}

const formatVersion = 1

// nowhere is the partition of a shard that was closed before it was ever open: such come and go on the way to another
// number of shards.
const nowhere = -1

// change is a reshard under way: the parents in Closing take no more records; once no node has any in flight to them,
// the stream's shards become Shards.
type change struct {
	ID         string // of this change
	Closing    []uint32
	Shards     []stream.Shard
	Partitions map[uint32]int32 // of shards that Stream does not have yet
}

// topicID is Kafka's id of one incarnation of a topic.
type topicID [16]byte

// MarshalText writes hexadecimal digits.
func (id topicID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *topicID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(id) {
		return fmt.Errorf("%.40q is no topic id", text)
	}
	copy(id[:], raw)
	return nil
}

func parseDocument(name string, raw []byte) (*document, error) {
	const op = "kafka.parseDocument"
	d := &document{}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fault.New(fault.Corrupt, op, name, "the catalog's document of the stream: %w", err)
	}
	if d.Format != formatVersion {
		return nil, fault.New(fault.Unsupported, op, name, "the catalog's document of the stream has format %d; this program knows %d", d.Format, formatVersion)
	}
	if d.Stream.Name != name || d.Topic == "" || len(d.Stream.Shards) == 0 {
		return nil, fault.New(fault.Corrupt, op, name, "the catalog's document of the stream is of %q, topic %q, with %d shards", d.Stream.Name, d.Topic, len(d.Stream.Shards))
	}
	for i := range d.Stream.Shards {
		sh := &d.Stream.Shards[i]
		_, placed := d.Partitions[sh.Index]
		_, ended := d.Ends[sh.Index]
		if !placed || ended == sh.Open() {
			return nil, fault.New(fault.Corrupt, op, name, "the catalog's document of the stream does not tell where %s lies or ends", sh.ID())
		}
	}
	return d, nil
}

func (d *document) encode() ([]byte, error) {
	d.Format = formatVersion
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fault.New(fault.Internal, "kafka.encode", d.Stream.Name, "%w", err)
	}
	return raw, nil
}

// place gives partitions to those shards that have none.
func (c *change) place(d *document) (partitions int32) {
	c.Partitions = map[uint32]int32{}
	partitions = d.NextPartition
	for i := range c.Shards {
		sh := &c.Shards[i]
		if _, known := d.Partitions[sh.Index]; known {
			continue
		}
		if !sh.Open() {
			c.Partitions[sh.Index] = nowhere
			continue
		}
		c.Partitions[sh.Index] = partitions
		partitions++
	}
	return partitions
}

// newChange computes what a reshard does to a stream.
func newChange(d *document, id string, to stream.Reshard, now time.Time) (*change, error) {
	next, err := d.Stream.Resharded(to, now)
	if err != nil {
		return nil, err
	}
	c := &change{ID: id, Shards: next.Shards}
	for _, sh := range d.Stream.Shards {
		if after, ok := next.Shard(sh.Index); ok && sh.Open() && !after.Open() {
			c.Closing = append(c.Closing, sh.Index)
		}
	}
	return c, nil
}

// conclude makes the change the truth: ends has where the closing shards end.
func (d *document) conclude(ends map[uint32]int64, now time.Time) {
	c := d.Change
	d.Change = nil
	d.Stream.Status = stream.Active
	d.Stream.Shards = slices.Clone(c.Shards)
	if d.Ends == nil {
		d.Ends = map[uint32]int64{}
	}
	for index, p := range c.Partitions {
		d.Partitions[index] = p
		d.NextPartition = max(d.NextPartition, p+1)
	}
	for i := range d.Stream.Shards {
		sh := &d.Stream.Shards[i]
		if _, known := d.Ends[sh.Index]; sh.Open() || known {
			continue
		}
		closed := *sh.Closed
		closed.At = now.UTC()
		sh.Closed = &closed
		d.Ends[sh.Index] = ends[sh.Index]
	}
}

// forget takes closed shards out of the document.
func (d *document) forget(gone []uint32) {
	d.Stream.Shards = slices.DeleteFunc(slices.Clone(d.Stream.Shards), func(sh stream.Shard) bool {
		return !sh.Open() && slices.Contains(gone, sh.Index)
	})
	for _, index := range gone {
		if _, left := d.Stream.Shard(index); !left {
			delete(d.Partitions, index)
			delete(d.Ends, index)
		}
	}
}

// topicOf gives the topic of a stream. Invalid: the name is one of those that are ours.
func (b *Backend) topicOf(op, name string) (string, error) {
	if rest, hidden := strings.CutPrefix(name, stream.HiddenPrefix); hidden {
		return b.opts.Settings.Prefix + ".direct." + rest, nil
	}
	if b.opts.Settings.Reserved(name) {
		return "", fault.New(fault.Invalid, op, name, "names that begin with %q are reserved for topics of Millrace", b.opts.Settings.Prefix+".")
	}
	return name, nil
}
