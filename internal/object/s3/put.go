package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// maxPut is the most that the service takes in one request.
const maxPut = 5 << 30

// incoming is a body on its way into the service.
type incoming struct {
	op      string
	at      place
	body    io.Reader
	size    int64 // -1: until EOF
	digests *digester
}

// Put stores an object; see [object.Store], and the package for what a network does to its promises.
func (s *Store) Put(ctx context.Context, bucket, key string, body io.Reader, size int64, o object.PutOptions) (object.Info, error) {
	const op = "object.Put"
	if err := checkPut(op, bucket, key, &o.Attributes, o.Conditions); err != nil {
		return object.Info{}, err
	}
	digests, err := newDigester(op, key, o.Want, o.Trailer, o.Compute)
	if err != nil {
		return object.Info{}, err
	}
	in := &incoming{op: op, at: place{bucket: bucket, key: key}, body: body, size: size, digests: digests}
	if err := s.lookFirst(ctx, op, in.at, &o.Conditions); err != nil {
		return object.Info{}, err
	}
	if size > partBytes && size <= maxPut && digests.wanted() {
		return s.putStream(ctx, in, &o) // a checksum over all bytes, and their MD5 as ETag, belong to one piece only
	}
	buffer, err := s.buffers.take(ctx)
	if err != nil {
		return object.Info{}, fault.New(fault.Unavailable, op, in.at.String(), "wait for a buffer: %w", err)
	}
	first, more, err := in.first(*buffer)
	if err == nil && more {
		return s.putParts(ctx, in, &o, buffer) // the buffer is its now
	}
	defer s.buffers.give(buffer)
	if err != nil {
		return object.Info{}, err
	}
	if err := in.complete(int64(len(first))); err != nil {
		return object.Info{}, err
	}
	return s.putWhole(ctx, in, &o, first)
}

// first fills a buffer. more: there is at least a byte behind it.
func (in *incoming) first(buffer []byte) (whole []byte, more bool, err error) {
	n, err := in.fill(buffer)
	if err != nil || n < len(buffer) {
		return buffer[:n], false, err
	}
	one := make([]byte, 1)
	switch _, err := io.ReadFull(in.body, one); err {
	case nil:
		in.body = io.MultiReader(bytes.NewReader(one), in.body)
		return buffer, true, nil
	case io.EOF:
		return buffer, false, nil
	default:
		return nil, false, bodyError(in.op, in.at.key, err)
	}
}

// fill reads until the buffer is full or the body ends.
func (in *incoming) fill(buffer []byte) (int, error) {
	n, err := io.ReadFull(in.body, buffer)
	in.digests.write(buffer[:n])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return n, bodyError(in.op, in.at.key, err)
	}
	return n, nil
}

// complete checks length and digests of a body that has ended.
func (in *incoming) complete(n int64) error {
	if in.size >= 0 && n != in.size {
		return incomplete(in.op, in.at.key, n, in.size)
	}
	return in.digests.check(in.op, in.at.key)
}

func incomplete(op, key string, n, size int64) error {
	return fault.New(fault.Invalid, op, key, "%w: %d, not %d", object.ErrIncompleteBody, n, size)
}

// bodyError is what a body has returned; a fault.Error keeps its kind.
func bodyError(op, key string, err error) error {
	kind := fault.Unavailable
	var f *fault.Error
	if errors.As(err, &f) {
		kind = f.Kind
	}
	return fault.New(kind, op, key, "read the body: %w", err)
}

// putWhole stores bytes that are all in memory.
func (s *Store) putWhole(ctx context.Context, in *incoming, o *object.PutOptions, text []byte) (object.Info, error) {
	request := putInput(in.at, o)
	request.Body = bytes.NewReader(text)
	request.ContentLength = new(int64(len(text)))
	if c := in.digests.kept(); c != nil {
		setChecksum(c, &request.ChecksumCRC32, &request.ChecksumCRC32C, &request.ChecksumCRC64NVME, &request.ChecksumSHA1, &request.ChecksumSHA256)
	}
	answer, err := s.client.PutObject(ctx, request, expires(o.Expires))
	if err != nil {
		err = putError(in.op, in.at, o.Conditions, err)
		if !s.refusesConditions(o.Conditions, err) {
			return object.Info{}, err
		}
		if err := s.lookFirst(ctx, in.op, in.at, &o.Conditions); err != nil {
			return object.Info{}, err
		}
		return s.putWhole(ctx, in, o, text)
	}
	return putInfo(in.at, answer, o, int64(len(text))), nil
}

func putInput(at place, o *object.PutOptions) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		Bucket: &at.bucket, Key: &at.key,
		ContentType: orNil(o.ContentType), ContentEncoding: orNil(o.ContentEncoding), ContentDisposition: orNil(o.ContentDisposition),
		ContentLanguage: orNil(o.ContentLanguage), CacheControl: orNil(o.CacheControl),
		Metadata: o.Metadata, Tagging: tagHeader(o.Tags),
		IfNoneMatch: orNil(o.IfNoneMatch), IfMatch: orNil(quoted(o.IfMatch)),
	}
}

func putInfo(at place, answer *s3.PutObjectOutput, o *object.PutOptions, size int64) object.Info {
	return object.Info{Bucket: at.bucket, Key: at.key, Size: size, ETag: unquoted(answer.ETag), Modified: answeredAt(answer.ResultMetadata),
		Attributes: o.Attributes,
		Checksums: checksums(string(answer.ChecksumType), answer.ChecksumCRC32, answer.ChecksumCRC32C, answer.ChecksumCRC64NVME,
			answer.ChecksumSHA1, answer.ChecksumSHA256)}
}

// answeredAt is the service's clock at its answer.
func answeredAt(m middleware.Metadata) time.Time {
	response, ok := awsmiddleware.GetRawResponse(m).(*smithyhttp.Response)
	if !ok {
		return time.Time{}
	}
	t, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// expires sends a header that the SDK would only take as a time: objects keep the text.
func expires(text string) func(*s3.Options) {
	return func(o *s3.Options) {
		if text != "" {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("Expires", text))
		}
	}
}

// putError words an error of a put. If-Match on a key that is not there is NotFound of the key, whatever the service
// says with it.
func putError(op string, at place, cond object.Conditions, err error) error {
	worded := wordError(op, place{bucket: at.bucket, key: at.key}, err)
	if cond.IfMatch == "" && missesKey(worded) {
		// A 404 that names no bucket: some services say so of a bucket.
		return fault.New(fault.NotFound, op, object.MissingBucket+at.bucket, "%w", cause(err))
	}
	return worded
}

// checkPut finds what is wrong before anything is sent.
func checkPut(op, bucket, key string, attrs *object.Attributes, cond object.Conditions) error {
	if err := checkNames(op, bucket, key); err != nil {
		return err
	}
	n := 0
	for name, value := range attrs.Metadata {
		n += len(name) + len(value)
		if hasControls(name) || hasControls(value) {
			return fault.New(fault.Invalid, op, key, "metadata %q has control characters, which no header can carry", name)
		}
	}
	switch {
	case n > object.MaxMetadataBytes:
		return fault.New(fault.Invalid, op, key, "%w: %d bytes, more than %d", object.ErrMetadataTooLarge, n, object.MaxMetadataBytes)
	case cond.IfNoneMatch != "" && cond.IfNoneMatch != "*":
		return fault.New(fault.Unsupported, op, key, "If-None-Match of a write other than *")
	}
	return nil
}

func hasControls(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// checkNames refuses a key that is none. A name that no bucket can have is a bucket that is not there.
func checkNames(op, bucket, key string) error {
	if !object.ValidKey(key) {
		return fault.New(fault.Invalid, op, key, "a key is 1 to %d bytes of UTF-8", object.MaxKeyBytes)
	}
	return checkBucket(op, bucket)
}

func checkBucket(op, bucket string) error {
	if !object.ValidBucketName(bucket) {
		return fault.New(fault.NotFound, op, object.MissingBucket+bucket, "no bucket can have this name")
	}
	return nil
}
