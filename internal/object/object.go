// Package object owns the nouns of an object store as S3 defines it, and the
// contract of what keeps them.
//
//	Bucket ── Key ── Info (size, ETag, headers, metadata, tags, checksums) + bytes
//	Store                        keeps buckets: object/dir, object/s3
//
// Every Store passes the suite in object/objecttest.
package object

import (
	"strings"
	"time"
	"unicode/utf8"
)

// MaxKeyBytes bounds a key, in bytes of UTF-8.
const MaxKeyBytes = 1024

// MaxMetadataBytes bounds the user metadata of an object, names and values together.
const MaxMetadataBytes = 2048

// MinPartBytes is the least size of every part of a multipart upload but the last.
const MinPartBytes = 5 << 20

// MaxParts bounds a part number.
const MaxParts = 10000

// Bucket describes a bucket.
type Bucket struct {
	Name    string // "example-events"
	Region  string
	Created time.Time
	Tags    map[string]string
	// Settings are texts that surfaces keep with a bucket, by name: SettingPolicy. They mean nothing to the store.
	Settings map[string]string
}

// Bounds of a bucket's settings, which a store may hold in memory.
const (
	MaxSettings     = 16
	MaxSettingBytes = 20 << 10 // the service's bound for a bucket policy, the longest of them
)

// Info describes an object.
type Info struct {
	Bucket, Key string
	Size        int64
	ETag        string // without quotes: "9e107d9d372bb6826bd81d3542a419d6", "…-3" for three parts
	Modified    time.Time
	Attributes
	Checksums []Checksum
	Parts     int // of a multipart object, else 0
	// PartList are those parts, in order, with number, size and checksums; Head and Get give them if the store knows
	// them, Put, CompleteUpload and List do not.
	PartList []Part
}

// Attributes travel with an object from its put to every get.
type Attributes struct {
	ContentType        string
	ContentEncoding    string
	ContentDisposition string
	ContentLanguage    string
	CacheControl       string
	Expires            string
	Metadata           map[string]string // x-amz-meta-*, names in lower case
	Tags               map[string]string
}

// Checksum is a digest that the store has verified and returns when asked.
type Checksum struct {
	Algorithm string // "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"
	Value     string // base64 of the big-endian digest; "…-3" when composite
	Composite bool   // over the parts' digests, not over the bytes
}

// ValidBucketName applies the S3 rules: 3 to 63 lower-case letters, digits, '-' and '.', letter or digit at both
// ends, no "..", no IPv4 address.
func ValidBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") {
		return false
	}
	onlyAddress := true
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && c != '-' && c != '.' {
			return false
		}
		if (i == 0 || i == len(name)-1) && !letter && !digit {
			return false
		}
		if !digit && c != '.' {
			onlyAddress = false
		}
	}
	return !onlyAddress || strings.Count(name, ".") != 3
}

// ValidKey reports whether key can name an object: 1 to 1024 bytes of UTF-8.
func ValidKey(key string) bool {
	return key != "" && len(key) <= MaxKeyBytes && utf8.ValidString(key)
}
