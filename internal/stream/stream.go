// Package stream owns the nouns of a data stream as Kinesis Data Streams defines
// it, and the contract of what keeps them.
//
//	Stream ── Shard ── Record          one stream, its shards (open and closed), their records
//	            │         └ SequenceNumber, PartitionKey, Data, arrival time
//	            └ HashKeyRange, parents
//	Backend                            keeps streams: stream/local; later Kafka and Amazon Kinesis
//
// It does arithmetic only: which shard a key belongs to, what a sequence number
// says. Every Backend passes the suite in stream/streamtest.
package stream

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Mode is how a stream's capacity is set.
type Mode string

// The modes, as the API spells them.
const (
	Provisioned Mode = "PROVISIONED"
	OnDemand    Mode = "ON_DEMAND"
)

// OnDemandShards is how many shards a new on-demand stream has.
const OnDemandShards = 4

// Status is where a stream is in its life.
type Status string

// The statuses, as the API spells them.
const (
	Creating Status = "CREATING"
	Active   Status = "ACTIVE"
	Updating Status = "UPDATING"
	Deleting Status = "DELETING"
)

// Retention bounds, and what a new stream has.
const (
	DefaultRetention = 24 * time.Hour
	MinRetention     = 24 * time.Hour
	MaxRetention     = 8760 * time.Hour
)

// DefaultMaxRecordBytes bounds a record's data unless the stream says otherwise.
const DefaultMaxRecordBytes = 1 << 20

// HiddenPrefix begins the name of a stream that no API lists or addresses: where Direct PUT delivery streams
// keep their records. No Kinesis stream name can hold it.
const HiddenPrefix = "~"

// Stream describes a stream at one moment. A value that a Backend has handed out is never changed.
type Stream struct {
	Name    string // "class-stream"
	ID      string // of this incarnation: a stream deleted and created again has another
	Status  Status
	Created time.Time
	Settings
	Shards []Shard // by index; closed ones stay until their last record has left retention
}

// Hidden reports whether no API may show the stream.
func (s *Stream) Hidden() bool { return strings.HasPrefix(s.Name, HiddenPrefix) }

// Shard finds a shard by index.
func (s *Stream) Shard(index uint32) (*Shard, bool) {
	i := sort.Search(len(s.Shards), func(i int) bool { return s.Shards[i].Index >= index })
	if i == len(s.Shards) || s.Shards[i].Index != index {
		return nil, false
	}
	return &s.Shards[i], true
}

// Children gives the shards whose parent or adjacent parent is the given one.
func (s *Stream) Children(parent uint32) []Shard {
	var children []Shard
	for _, sh := range s.Shards {
		for _, p := range sh.Parents {
			if p == parent {
				children = append(children, sh)
				break
			}
		}
	}
	return children
}

// OpenShards counts the shards that take writes.
func (s *Stream) OpenShards() int {
	n := 0
	for i := range s.Shards {
		if s.Shards[i].Open() {
			n++
		}
	}
	return n
}

// Shard is one ordered log of a stream.
type Shard struct {
	Index   uint32       // counted up per stream, never used twice
	Range   HashKeyRange // the hash keys that it takes
	Parents []uint32     // none, the shard it was split from, or the two it was merged from (ShardToMerge first)
	Created int64        // second since 1970; rises from parent to child
	First   SequenceNumber
	// Closed is nil while the shard takes writes. The end of a closed shard lies above all its records.
	Closed *ShardEnd
}

// ShardEnd says when a shard stopped taking writes.
type ShardEnd struct {
	Sequence SequenceNumber // EndingSequenceNumber
	At       time.Time
}

// Open reports whether the shard takes writes.
func (s *Shard) Open() bool { return s.Closed == nil }

// ID gives the shard's name: "shardId-000000000005".
func (s *Shard) ID() string { return ShardID(s.Index) }

// ShardID gives the name of the shard with the given index.
func ShardID(index uint32) string {
	var b [20]byte
	return string(AppendShardID(b[:0], index))
}

// AppendShardID appends a shard's name to dst.
func AppendShardID(dst []byte, index uint32) []byte {
	dst = append(dst, "shardId-000000000000"...)
	for i := len(dst) - 1; index > 0; i-- {
		dst[i] = byte('0' + index%10)
		index /= 10
	}
	return dst
}

// ParseShardID reads a shard's name as loosely as the service: what stands before the first '-' is dropped, and
// the rest is a number up to 2147483647.
func ParseShardID(id string) (uint32, bool) {
	if _, rest, found := strings.Cut(id, "-"); found {
		id = rest
	}
	n, err := strconv.ParseUint(id, 10, 31)
	return uint32(n), err == nil
}

// ShardRef names a shard of a certain incarnation of a stream.
type ShardRef struct {
	Stream string // name
	ID     string // incarnation
	Shard  uint32
}

func (r ShardRef) String() string { return fmt.Sprintf("%s/%s", r.Stream, ShardID(r.Shard)) }

// Record is what a shard holds.
type Record struct {
	Sequence     SequenceNumber
	Arrival      int64 // milliseconds since 1970, never falling within a shard
	PartitionKey []byte
	Data         []byte
	Sealed       bool // Data is cipher text, or was, where stream/seal has opened it
}
