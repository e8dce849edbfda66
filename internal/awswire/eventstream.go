package awswire

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"millrace/internal/fault"
)

// A message of an event stream (application/vnd.amazon.eventstream), all numbers big-endian:
//
//	total length, 4 | length of headers, 4 | CRC-32 of these 8 bytes, 4 | headers | payload | CRC-32 of all before, 4
//
// and a header, whose value is always a string here:
//
//	length of name, 1 | name | type of value 7, 1 | length of value, 2 | value
//
// Source: the Smithy specification, Amazon event stream; bounds as its decoders have them.
const (
	eventPrelude     = 12
	eventTrailer     = 4
	eventString      = 7
	maxEventName     = 1<<8 - 1
	maxEventValue    = 1<<15 - 1
	maxEventHeaders  = 128 << 10
	MaxEventPayload  = 16 << 20 // a record of 10 MiB is 14 MiB of base64
	leastEventHeader = 4        // what a header takes beside its name and value
)

// TypeEventStream is the content type of an event stream.
const TypeEventStream = "application/vnd.amazon.eventstream"

// EventHead is the headers of a kind of message, encoded once for all of them.
type EventHead string

// EventHeader is one header: {":event-type", "SubscribeToShardEvent"}.
type EventHeader struct{ Name, Value string }

// NewEventHead encodes headers. What does not fit is Invalid, and so is a name that comes twice.
func NewEventHead(headers ...EventHeader) (EventHead, error) {
	size := 0
	for i, h := range headers {
		if slices.ContainsFunc(headers[:i], func(before EventHeader) bool { return before.Name == h.Name }) {
			return "", fault.New(fault.Invalid, "awswire.NewEventHead", "", "header %.80q comes twice", h.Name)
		}
		if len(h.Name) == 0 || len(h.Name) > maxEventName || len(h.Value) > maxEventValue {
			return "", fault.New(fault.Invalid, "awswire.NewEventHead", "", "header %.80q of %d bytes with a value of %d: names have 1 to %d bytes, values up to %d",
				h.Name, len(h.Name), len(h.Value), maxEventName, maxEventValue)
		}
		size += leastEventHeader + len(h.Name) + len(h.Value)
	}
	if size > maxEventHeaders {
		return "", fault.New(fault.Invalid, "awswire.NewEventHead", "", "%d bytes of headers; a message has up to %d", size, maxEventHeaders)
	}
	b := make([]byte, 0, size)
	for _, h := range headers {
		b = append(append(b, byte(len(h.Name))), h.Name...)
		b = binary.BigEndian.AppendUint16(append(b, eventString), uint16(len(h.Value)))
		b = append(b, h.Value...)
	}
	return EventHead(b), nil
}

// MustEventHead is NewEventHead for headers that are the program's own.
func MustEventHead(headers ...EventHeader) EventHead {
	head, err := NewEventHead(headers...)
	if err != nil {
		panic(err)
	}
	return head
}

// BeginEvent appends the beginning of a message. The caller appends the payload, and completes the message by
// EndEvent, so that a payload is encoded where it is sent from.
func BeginEvent(dst []byte, head EventHead) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(head))) // the total length comes last
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, head...)
}

// EndEvent completes the message that BeginEvent began at dst[start:]. A payload above MaxEventPayload is Invalid, and
// dst is then given back without the message.
func EndEvent(dst []byte, start int) ([]byte, error) {
	m := dst[start:]
	if payload := len(m) - eventPrelude - int(binary.BigEndian.Uint32(m[4:])); payload > MaxEventPayload {
		return dst[:start], fault.New(fault.Invalid, "awswire.EndEvent", "", "a payload of %d bytes; a message has up to %d", payload, MaxEventPayload)
	}
	binary.BigEndian.PutUint32(m, uint32(len(m)+eventTrailer))
	binary.BigEndian.PutUint32(m[8:], crc32.ChecksumIEEE(m[:8]))
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(m)), nil
}
