package s3

// Limits of the service, from its User Guide unless said otherwise.
const (
	// MaxObjectBytes bounds one put, one part and one copy.
	MaxObjectBytes = 5 << 30
	// MaxDocumentBytes bounds a body that is no object: a completion names 10,000 parts, a deletion 1000 keys of 1 KiB,
	// each byte of which may be escaped. (Ours: the service takes 2 MB of keys and does not tell of parts.)
	MaxDocumentBytes = 8 << 20

	maxListed     = 1000 // keys, parts, uploads of one answer
	maxBuckets    = 10_000
	maxDeleted    = 1000 // keys of one DeleteObjects
	deleteWorkers = 16   // of one DeleteObjects; they share the store's fsyncs
	maxTags       = 10
	maxBucketTags = 50
	maxTagKey     = 128
	maxTagValue   = 256

	requestIDLetters = 16
)
