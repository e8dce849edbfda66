// Package s3 keeps objects in any service that speaks Amazon S3: the service itself, one that is compatible, or another
// Millrace node. Several nodes deliver into one store this way.
//
//	Put ─ up to 8 MiB ─────────────> PutObject from a buffer, tried again
//	    ─ more ────────────────────> CreateMultipartUpload ─ UploadPart… ─ CompleteMultipartUpload, or Abort
//	    ─ more, digests asked for ─> PutObject from the body itself, once (stream.go)
//	Get ─ GetObject; other offsets by ranges of the same version (get.go)
//	the rest ─ the operation of the same name; errors.go turns answers into kinds
//
// # Across a network
//
// No operation's answer is sure to arrive. An attempt whose answer is lost is made again, a few times (Options.Attempts).
// A put with If-None-Match whose first attempt stored the object is then told that the key exists: it returns
// PreconditionFailed, and the caller who must know reads the object's metadata, as delivery does. An Unavailable put may
// have stored the object, at once or later. Two puts of one key with If-None-Match never both succeed, if the service
// keeps to that: ask it before you rely on it, as package peers does. A service that
// answers that it does not know If-None-Match is served with Options.LookFirst; one that passes it over in silence can't be told from
// one that has it until two puts meet. A service that refuses a large body may cut the connection before its
// answer is read; then the refusal is Unavailable.
//
// # Memory
//
// A put or part holds one buffer of 8 MiB, a multipart put a second one when there is one to spare. There are
// Options.Buffers of them, 16 unless told otherwise: 128 MiB. Who finds none waits until its context ends.
//
// # What differs from a store on this machine
//
//   - Times are those of the service, in full seconds but for listings. The time that Put returns is the service's clock
//     at its answer: what Head tells may be some seconds earlier.
//   - The parts of an object are told only when it has one.
//   - Buckets have no settings: those that the service keeps are the business of who owns the bucket there.
//   - DeleteIfMatch needs a service that knows If-Match of a deletion: one that does not look at it deletes.
//   - Upload does not tell when the upload began, nor its attributes; Uploads tells no attributes.
//   - Checksums in a listing have no values.
//   - A checksum that is only known behind a body of more than 8 MiB is compared, but the service keeps its own instead.
//   - An object that is open keeps the bytes that are on their way; a read from elsewhere in it is Unavailable once the
//     object has been replaced, unless the bucket has versions.
//   - A part of more than 8 MiB needs a known size. A part brings the checksum that its caller gives or asks for and no
//     other; the service may want that of the upload's algorithm.
//
// # What the credentials must allow
//
// s3:GetObject, s3:PutObject, s3:ListBucket (without which a missing key is Denied, and delivery waits for ever) and
// s3:AbortMultipartUpload. An upload that could not be aborted, because the node died or the service was out of reach,
// stays in the bucket: give it a lifecycle rule with AbortIncompleteMultipartUpload.
package s3
