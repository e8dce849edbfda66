package objectkey

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"millrace/internal/ids"
)

var suffixTime = mustPattern("yyyy-MM-dd-HH-mm-ss")

// Suffix says what an object's name ends with.
type Suffix struct {
	Name      string // of the delivery stream
	Version   string // of its definition
	Time      time.Time
	UUID      string
	Extension string // ".gz", or empty
}

// Append appends "class-delivery-1-2026-11-23-22-40-05-019ab…-….gz".
func (s Suffix) Append(dst []byte) []byte {
	dst = append(append(dst, s.Name...), '-')
	dst = append(append(dst, s.Version...), '-')
	dst = append(suffixTime.Format(dst, s.Time), '-')
	dst = append(dst, s.UUID...)
	return append(dst, s.Extension...)
}

// ID is the rising part of a UUID, 60 bits: milliseconds since 1970 in the upper 48, a counter in the lower 12.
type ID uint64

// After gives the id that follows last at the given time. It rises whatever the clock does: when the clock stands
// still or steps back, the counter runs on and borrows from the milliseconds to come.
func After(last ID, now time.Time) ID {
	return max(last+1, ID(max(now.UnixMilli(), 0))<<12)
}

// UUID gives the id as a version 7 UUID (RFC 9562, monotonic by method 1), whose lower 62 bits are random. Texts
// of rising ids sort in their order.
func (id ID) UUID(random *ids.Source) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[0:], uint64(id)>>12<<16|7<<12|uint64(id)&0xfff)
	random.Read(b[8:])
	b[8] = b[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// ParseID reads the id back from a UUID that it made.
func ParseID(uuid string) (ID, error) {
	var b [16]byte
	if _, err := hex.Decode(b[:], []byte(strings.ReplaceAll(uuid, "-", ""))); err != nil || len(uuid) != 36 {
		return 0, fmt.Errorf("%q is no UUID", uuid)
	}
	high := binary.BigEndian.Uint64(b[:])
	return ID(high>>16<<12 | high&0xfff), nil
}
