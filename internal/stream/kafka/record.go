package kafka

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// A record on the wire:
//
//	key      the partition key's bytes
//	value    the data
//	header   millrace-ehk: the ExplicitHashKey in decimal, when the caller gave one; not in hidden streams
//	header   millrace-sealed: the data is cipher text (its value is empty)
//
// The first header is for those who read the topic themselves, or copy it; Kinesis does not show it.
//
// What others wrote is read the same way. Its headers are not shown, a null value is empty data, and a key that is no
// partition key (1 to 256 characters of UTF-8) becomes one: none or an empty one "partition-N" with the number of its
// partition, which keeps the order of all that has no key when it is copied; any other the beginning of its bytes in
// base64.
const (
	ehkHeader    = "millrace-ehk"
	sealedHeader = "millrace-sealed"
	// maxKeyChars and maxKeyBytes bound a partition key: 256 characters of up to four bytes.
	maxKeyChars = 256
	maxKeyBytes = 4 * maxKeyChars
	// recordOverhead is what a record takes in a batch beside key and data, at most: lengths, deltas, the headers.
	recordOverhead = 128
	// sealedRoom is how much longer the data of a sealed record may be. What is left of the overheads of a batch of one
	// record has room for it, so that topics need no more.
	sealedRoom = 64
	// batchOverhead is what a batch takes beside its records.
	batchOverhead = 128
	// maxDataBytes is the largest record that a stream may be set to take.
	maxDataBytes = 10 << 20
)

// maxBatch gives the max.message.bytes of a topic whose records have so many bytes of data.
func maxBatch(maxRecordBytes int) int32 {
	return int32(min(maxRecordBytes, maxDataBytes) + maxKeyBytes + recordOverhead + batchOverhead)
}

// maxRecord is the other way round, for topics that others have set.
func maxRecord(maxBatch int32) int {
	return max(min(int(maxBatch)-maxKeyBytes-recordOverhead-batchOverhead, maxDataBytes), 1)
}

// appendPartitionKey appends what the key of a record means as a partition key.
func appendPartitionKey(dst, key []byte, partition int32) []byte {
	switch {
	case len(key) == 0:
		return strconv.AppendInt(append(dst, "partition-"...), int64(partition), 10)
	case len(key) <= maxKeyBytes && utf8.Valid(key) && (len(key) <= maxKeyChars || utf8.RuneCount(key) <= maxKeyChars):
		return append(dst, key...)
	}
	return base64.StdEncoding.AppendEncode(dst, key[:min(len(key), maxKeyChars/4*3)])
}
