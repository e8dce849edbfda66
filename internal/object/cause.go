package object

import "errors"

// Causes of errors that share a kind but that a surface words differently. They are found with errors.Is and errors.As.
var (
	// InUse
	ErrBucketExists   = errors.New("the bucket exists")
	ErrBucketNotEmpty = errors.New("the bucket holds objects or uploads")
	// Invalid
	ErrIncompleteBody   = errors.New("the body has another length than was announced")
	ErrMetadataTooLarge = errors.New("the user metadata is too large")
	ErrInvalidPart      = errors.New("a part is missing, or its ETag or checksum is another")
	ErrPartOrder        = errors.New("the parts are not in ascending order")
	ErrPartTooSmall     = errors.New("a part that is not the last is too small")
)

// DigestError is the cause of an Invalid error when the bytes do not have a digest that the caller gave.
type DigestError struct {
	Algorithm string // "MD5", PayloadSHA256, "CRC32", …
}

// PayloadSHA256 is the algorithm of a DigestError about the hash that was signed.
const PayloadSHA256 = "payload SHA256"

func (e *DigestError) Error() string {
	return "the " + e.Algorithm + " given does not match the bytes"
}
