package object

import (
	"context"
	"io"
	"time"
)

// Store keeps buckets and objects. All methods may be called concurrently.
//
// What a method has done when it returns nil survives a crash, and every later
// read and list shows it. A put that fails or is cut leaves the key as it was: a
// reader sees the old object or the new one, never a mixture.
//
// Errors are fault.Error. NotFound names what is missing: see [Missing]. Other
// kinds: InUse (bucket exists, bucket not empty), Invalid (names, digests, part
// order), PreconditionFailed (a condition does not hold; If-Match on a key that is
// not there is NotFound), LimitExceeded (too many buckets or uploads), Unavailable
// (full disk, low-space mark), Corrupt. Causes that matter to a surface are the
// variables of this package. An error of the body that is a fault.Error keeps its kind,
// others are Unavailable; errors.Is and errors.As find what the body returned.
type Store interface {
	CreateBucket(ctx context.Context, bucket Bucket) error
	DeleteBucket(ctx context.Context, name string) error // InUse when objects or uploads remain
	Bucket(ctx context.Context, name string) (Bucket, error)
	Buckets(ctx context.Context) ([]Bucket, error) // in byte order
	TagBucket(ctx context.Context, name string, tags map[string]string) error
	// SetBucket keeps a text with a bucket, under the name of a setting; an empty one removes it. Unsupported: the store
	// is a service that has no place for it.
	SetBucket(ctx context.Context, name, setting, text string) error
	// KeepsSettings reports whether SetBucket has a place for settings.
	KeepsSettings() bool
	// BucketSetting gives one setting of a bucket from memory; empty: there is none, or no bucket.
	BucketSetting(name, setting string) string

	// Put stores size bytes of body under a key (size -1: until EOF). Body is read once, streaming.
	Put(ctx context.Context, bucket, key string, body io.Reader, size int64, opts PutOptions) (Info, error)
	// Get opens an object; the caller closes Body. The content belongs to the version that Info describes, even
	// when the key is overwritten or deleted meanwhile.
	Get(ctx context.Context, bucket, key string) (*Object, error)
	Head(ctx context.Context, bucket, key string) (Info, error)
	// Delete removes a key; that it did not exist is no error.
	Delete(ctx context.Context, bucket, key string) error
	// DeleteIfMatch removes a key if its object has the given ETag, or if there is an object and the ETag is "*"; else
	// PreconditionFailed. No write comes between the look and the removal.
	DeleteIfMatch(ctx context.Context, bucket, key, etag string) error
	// Tag replaces the tags of an object and nothing else: neither ETag nor time change.
	Tag(ctx context.Context, bucket, key string, tags map[string]string) error
	// List lists keys in byte order.
	List(ctx context.Context, bucket string, opts ListOptions) (Page, error)

	CreateUpload(ctx context.Context, bucket, key string, attrs UploadOptions) (Upload, error)
	PutPart(ctx context.Context, upload UploadRef, number int, body io.Reader, size int64, opts PartOptions) (Part, error)
	// CompleteUpload makes the object of the parts that are named by number and ETag, and by checksum where given.
	// Calling it again while the key still holds the object that it made gives that object again.
	CompleteUpload(ctx context.Context, upload UploadRef, parts []Part, opts CompleteOptions) (Info, error)
	AbortUpload(ctx context.Context, upload UploadRef) error
	// Upload describes one upload in progress.
	Upload(ctx context.Context, upload UploadRef) (Upload, error)
	// Uploads lists the uploads in progress by key, those of one key by when they began.
	Uploads(ctx context.Context, bucket, prefix string) ([]Upload, error)
	Parts(ctx context.Context, upload UploadRef) ([]Part, error) // by number

	// Healthy returns nil when a put could be made durable now.
	Healthy(ctx context.Context) error
	Close() error
}

// Missing is what a NotFound error's Resource begins with, so that a surface can tell the cases apart.
const (
	MissingBucket = "bucket "
	MissingKey    = "key "
	MissingUpload = "upload "
)

// Object is an open object.
type Object struct {
	Info
	Body interface {
		io.Reader
		io.ReaderAt
		io.Closer
	}
}

// Conditions of a write; both empty: none.
type Conditions struct {
	IfNoneMatch string // "*": only when the key does not exist
	IfMatch     string // an ETag without quotes: only when the key has it
}

// Digests that the bytes must have; empty ones are not checked. A mismatch is Invalid and stores nothing.
type Digests struct {
	MD5       []byte
	SHA256    []byte // of the payload, as signed
	Checksums []Checksum
}

// PutOptions of a put.
type PutOptions struct {
	Attributes
	Conditions
	Want Digests
	// Trailer, when set, is called after EOF of body and gives digests that came behind the bytes.
	Trailer func() (Digests, error)
	// Compute names a checksum algorithm to compute and keep beside those of Want: "CRC64NVME". A checksum that Trailer
	// gives must be of this algorithm.
	Compute string
}

// PartOptions of a part; the fields are those of PutOptions. The checksum of the upload's algorithm is always computed.
type PartOptions struct {
	Want    Digests
	Trailer func() (Digests, error)
	Compute string
}

// ListOptions selects a page of keys.
type ListOptions struct {
	Prefix    string
	Delimiter string // keys that share the text up to the next delimiter roll up into one common prefix
	After     string // keys and common prefixes strictly after this
	Max       int    // keys and common prefixes together, 1 to 1000
}

// Page is a page of a listing, in byte order.
type Page struct {
	Objects        []Info // without Attributes
	CommonPrefixes []string
	Truncated      bool
	Next           string // After of the next page, when Truncated
}

// UploadRef names a multipart upload.
type UploadRef struct{ Bucket, Key, ID string }

// UploadOptions of a multipart upload.
type UploadOptions struct {
	Attributes
	ChecksumAlgorithm string // empty: none
	ChecksumComposite bool   // over the parts' digests; else over the bytes, which only CRCs allow
}

// CompleteOptions of the completion of an upload.
type CompleteOptions struct {
	Conditions
	Want []Checksum // of the whole object; empty: not checked
	Size int64      // of the whole object; 0: not checked
}

// Upload describes a multipart upload in progress.
type Upload struct {
	UploadRef
	UploadOptions
	Initiated time.Time
}

// Part describes one part of an upload.
type Part struct {
	Number    int
	Size      int64
	ETag      string
	Modified  time.Time
	Checksums []Checksum
}
