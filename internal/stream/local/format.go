package local

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// What lies in the store. All numbers are big-endian, so that byte order is number order.
//
//	r | bucket 4 | stream 4 | shard 4 | first position 8  ->  block: records of one shard, written by one group commit
//	s | name                                              ->  JSON of streamDoc: settings, shards, lineage
//	p | stream 4 | shard 4                                ->  position 8 | arrival 8: where a trimmed shard goes on
//	i                                                     ->  the last stream number given out, 4
//
// A bucket is a stretch of time and size (bucketBytes, bucketAge). It stands first in the key, so that what is
// flushed together lies together: tables do not overlap, compaction moves them without rewriting, and a bucket that
// retention has passed is dropped by a range.
//
// A block:
//
//	version 1 | count uvarint | arrival in ms 8 | { key length uvarint | key | data length uvarint | data } * count
//
// Version 1 holds records as they came, version 2 such as are sealed: a block has only the one or the other.
//
// Pebble protects blocks with checksums, in its write-ahead log and in its tables.
const (
	recordPrefix   = 'r'
	streamPrefix   = 's'
	positionPrefix = 'p'
	counterKey     = "i"

	blockVersion   = 1
	sealedVersion  = 2
	recordKeyBytes = 1 + 4 + 4 + 4 + 8
)

func appendShardPrefix(dst []byte, bucket, streamNo, shard uint32) []byte {
	dst = append(dst, recordPrefix)
	dst = binary.BigEndian.AppendUint32(dst, bucket)
	dst = binary.BigEndian.AppendUint32(dst, streamNo)
	return binary.BigEndian.AppendUint32(dst, shard)
}

func appendRecordKey(dst []byte, bucket, streamNo, shard uint32, position uint64) []byte {
	return binary.BigEndian.AppendUint64(appendShardPrefix(dst, bucket, streamNo, shard), position)
}

type recordKey struct {
	bucket, streamNo, shard uint32
	position                uint64
}

func parseRecordKey(key []byte) (recordKey, bool) {
	if len(key) != recordKeyBytes || key[0] != recordPrefix {
		return recordKey{}, false
	}
	return recordKey{
		binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint32(key[5:]), binary.BigEndian.Uint32(key[9:]),
		binary.BigEndian.Uint64(key[13:]),
	}, true
}

func positionKey(streamNo, shard uint32) []byte {
	key := binary.BigEndian.AppendUint32([]byte{positionPrefix}, streamNo)
	return binary.BigEndian.AppendUint32(key, shard)
}

// blockSize gives the exact size of a block's head and of one record in it.
func headSize(count int) int { return 1 + uvarintSize(uint64(count)) + 8 }

func recordSize(e *stream.Entry) int {
	return uvarintSize(uint64(len(e.PartitionKey))) + len(e.PartitionKey) + uvarintSize(uint64(len(e.Data))) + len(e.Data)
}

func uvarintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func appendHead(dst []byte, count int, arrival int64, sealed bool) []byte {
	version := byte(blockVersion)
	if sealed {
		version = sealedVersion
	}
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(count))
	return binary.BigEndian.AppendUint64(dst, uint64(arrival))
}

func appendRecord(dst []byte, e *stream.Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.PartitionKey)))
	dst = append(dst, e.PartitionKey...)
	dst = binary.AppendUvarint(dst, uint64(len(e.Data)))
	return append(dst, e.Data...)
}

// block is a block being read.
type block struct {
	count   uint64
	arrival int64
	sealed  bool
	rest    []byte
}

func openBlock(b []byte) (block, error) {
	if len(b) == 0 || b[0] != blockVersion && b[0] != sealedVersion {
		return block{}, fmt.Errorf("a block of unknown version % x", b[:min(len(b), 1)])
	}
	count, n := binary.Uvarint(b[1:])
	if n <= 0 || count == 0 || len(b) < 1+n+8 {
		return block{}, errCutBlock
	}
	// The smallest record takes two bytes: a larger count is a lie, and must not become an allocation.
	if count > uint64(len(b)) {
		return block{}, errCutBlock
	}
	return block{count, int64(binary.BigEndian.Uint64(b[1+n:])), b[0] == sealedVersion, b[1+n+8:]}, nil
}

var errCutBlock = fmt.Errorf("a block that ends too early")

// next takes one record off the block.
func (b *block) next() (key, data []byte, err error) {
	if key, err = b.field(); err != nil {
		return nil, nil, err
	}
	data, err = b.field()
	return key, data, err
}

func (b *block) field() ([]byte, error) {
	size, n := binary.Uvarint(b.rest)
	if n <= 0 || size > uint64(len(b.rest)-n) {
		return nil, errCutBlock
	}
	field := b.rest[n : n+int(size) : n+int(size)]
	b.rest = b.rest[n+int(size):]
	return field, nil
}

// streamDoc is a stream as the store keeps it.
type streamDoc struct {
	Number uint32        `json:"number"`
	Stream stream.Stream `json:"stream"`
}

func encodeDoc(d *streamDoc) ([]byte, error) { return json.Marshal(d) }

func decodeDoc(key, value []byte) (*streamDoc, error) {
	d := &streamDoc{}
	if err := json.Unmarshal(value, d); err != nil {
		return nil, fault.New(fault.Corrupt, "local.Open", string(key[1:]), "the stream's definition: %w", err)
	}
	return d, nil
}
