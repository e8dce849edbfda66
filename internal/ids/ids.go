// Package ids makes the names that AWS services hand out: request ids, trace ids,
// resource ids, and ARNs.
//
// All randomness of the program comes from a [Source], so that a test can seed it
// and golden files can hold whole responses. [New] draws from crypto/rand.
package ids

import (
	crand "crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"time"
)

// Source makes random ids. It is safe for concurrent use.
type Source struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

// New makes a source seeded from the operating system.
func New() *Source {
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
	return &Source{rng: rand.NewChaCha8(seed)}
}

// Seeded makes a source whose ids repeat from run to run, for tests.
func Seeded(seed uint64) *Source {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	return &Source{rng: rand.NewChaCha8(s)}
}

// Read fills p with random bytes; it never fails.
func (s *Source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Read(p)
}

// Uint64 gives 64 random bits.
func (s *Source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Uint64()
}

// UUID makes a version 4 UUID: "c6af9ac6-7b61-41e6-9a41-93e8deadbeef".
func (s *Source) UUID() string {
	var buf [36]byte
	return string(s.AppendUUID(buf[:0]))
}

// AppendUUID appends a version 4 UUID to dst.
func (s *Source) AppendUUID(dst []byte) []byte {
	var b [16]byte
	s.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return append(dst, out[:]...)
}

// Alphabets of AWS ids.
const (
	LowerAlnum = "abcdefghijklmnopqrstuvwxyz0123456789"
	UpperAlnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	Alnum      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// String makes n letters of the given alphabet (at most 64 letters long).
func (s *Source) String(alphabet string, n int) string {
	out := make([]byte, n)
	s.Read(out)
	for i, b := range out {
		out[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(out)
}

// ExtendedRequestID makes an x-amz-apigw-id such as "JKJaXmPLvHcESHA=".
func (s *Source) ExtendedRequestID() string {
	var b [11]byte
	s.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// HostID makes an x-amz-id-2 of at most 80 bytes in base64: 54 give the 72 letters of S3, 72 the 96 of Kinesis.
func (s *Source) HostID(size int) string {
	var b [80]byte
	s.Read(b[:size])
	return base64.StdEncoding.EncodeToString(b[:size])
}

// TraceID makes an X-Amzn-Trace-Id of the form "Root=1-5759e988-bd862e3fe1be46a994272793".
func (s *Source) TraceID(now time.Time) string {
	var b [16]byte
	s.Read(b[4:])
	sec := uint32(now.Unix())
	b[0], b[1], b[2], b[3] = byte(sec>>24), byte(sec>>16), byte(sec>>8), byte(sec)
	var out [40]byte
	copy(out[:], "Root=1-")
	hex.Encode(out[7:15], b[0:4])
	out[15] = '-'
	hex.Encode(out[16:40], b[4:16])
	return string(out[:])
}
