package object

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"hash/crc32"

	"github.com/minio/crc64nvme"
)

// The checksum algorithms.
const (
	CRC32     = "CRC32"
	CRC32C    = "CRC32C"
	CRC64NVME = "CRC64NVME"
	SHA1      = "SHA1"
	SHA256    = "SHA256"
)

// Algorithms holds the names of all checksum algorithms.
var Algorithms = []string{CRC32, CRC32C, CRC64NVME, SHA1, SHA256}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NewHash makes the hash of a checksum algorithm; its Sum is big-endian, as checksums are written. Nil: no such algorithm.
func NewHash(algorithm string) hash.Hash {
	switch algorithm {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(castagnoli)
	case CRC64NVME:
		return crc64nvme.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	}
	return nil
}

// ComposesFully reports whether a multipart object can have a checksum of this algorithm over all its bytes. The
// service takes full object checksums of CRCs only.
func ComposesFully(algorithm string) bool {
	return algorithm == CRC32 || algorithm == CRC32C || algorithm == CRC64NVME
}
