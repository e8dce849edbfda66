package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// skipBytes is the gap that is read over rather than asked anew for: about what is on its way already.
const skipBytes = 256 << 10

// Head describes an object, with its tags by a second request when it has any. An answer to HEAD has no code, so one
// that says "not found" takes a second request, too.
func (s *Store) Head(ctx context.Context, bucket, key string) (object.Info, error) {
	const op = "object.Head"
	if err := checkNames(op, bucket, key); err != nil {
		return object.Info{}, err
	}
	return s.head(ctx, op, place{bucket: bucket, key: key})
}

func (s *Store) head(ctx context.Context, op string, at place) (object.Info, error) {
	answer, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &at.bucket, Key: &at.key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		worded := wordError(op, at, err)
		if missesKey(worded) {
			if _, bucketErr := s.headBucket(ctx, op, at.bucket); fault.Is(bucketErr, fault.NotFound) {
				return object.Info{}, bucketErr
			}
		}
		return object.Info{}, worded
	}
	i := info(at, answer)
	return i, s.addTags(ctx, op, at, answer, &i)
}

// missesKey reports whether an error says that a key is not there.
func missesKey(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.NotFound && strings.HasPrefix(f.Resource, object.MissingKey)
}

// addTags asks for the tags of an object that has some. The service does not count them for who may not read them.
func (s *Store) addTags(ctx context.Context, op string, at place, head *s3.HeadObjectOutput, i *object.Info) error {
	if aws.ToInt32(head.TagCount) == 0 {
		return nil
	}
	answer, err := s.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &at.bucket, Key: &at.key, VersionId: version(head.VersionId)})
	if err != nil {
		return wordError(op, at, err)
	}
	i.Tags = tagMap(answer.TagSet)
	return nil
}

// version is the id of a version that is one.
func version(id *string) *string {
	if aws.ToString(id) == "null" {
		return nil
	}
	return id
}

// Get opens an object: its bytes are on their way when it returns. See body for reads from elsewhere in it.
func (s *Store) Get(ctx context.Context, bucket, key string) (*object.Object, error) {
	const op = "object.Get"
	if err := checkNames(op, bucket, key); err != nil {
		return nil, err
	}
	b := &body{s: s, ctx: ctx, op: op, where: place{bucket: bucket, key: key}}
	answer, err := b.open(0)
	if err != nil {
		return nil, err
	}
	i := info(b.where, headOf(answer))
	b.size, b.etag, b.version = i.Size, i.ETag, version(answer.VersionId)
	if err := s.addTags(ctx, op, b.where, headOf(answer), &i); err != nil {
		b.Close()
		return nil, err
	}
	return &object.Object{Info: i, Body: b}, nil
}

// Delete removes a key.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	const op = "object.Delete"
	if err := checkNames(op, bucket, key); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	if err == nil {
		return nil
	}
	if err = wordError(op, place{bucket: bucket, key: key}, err); missesKey(err) {
		return nil
	}
	return err
}

// DeleteIfMatch removes a key if its object has the ETag. The service looks and removes.
func (s *Store) DeleteIfMatch(ctx context.Context, bucket, key, etag string) error {
	const op = "object.DeleteIfMatch"
	if err := checkNames(op, bucket, key); err != nil {
		return err
	}
	at := place{bucket: bucket, key: key}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, IfMatch: aws.String(quoted(etag))})
	if err == nil {
		return nil
	}
	if err = wordError(op, at, err); missesKey(err) {
		return fault.New(fault.PreconditionFailed, op, at.String(), "there is no object: %w", err)
	}
	return err
}

// Tag replaces the tags of an object.
func (s *Store) Tag(ctx context.Context, bucket, key string, tags map[string]string) error {
	const op = "object.Tag"
	if err := checkNames(op, bucket, key); err != nil {
		return err
	}
	var err error
	if len(tags) == 0 {
		_, err = s.client.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: &bucket, Key: &key})
	} else {
		_, err = s.client.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &bucket, Key: &key, Tagging: &types.Tagging{TagSet: tagSet(tags)}})
	}
	if err != nil {
		return wordError(op, place{bucket: bucket, key: key}, err)
	}
	return nil
}

// body reads one version of an object. Behind it is one answer of the service that is read in order, whoever reads; a
// read from elsewhere drops it and asks for what lies from there to the end. Many short reads from all over a large
// object are slow. When the service gives a checksum of all bytes, it is compared before the last of them are given.
type body struct {
	s     *Store
	ctx   context.Context
	op    string
	where place

	size    int64
	etag    string
	version *string

	mu     sync.Mutex
	stream io.ReadCloser // nil: none is open
	cancel context.CancelCauseFunc
	stall  *time.Timer // cancels a read that takes too long
	at     int64       // where stream is
	pos    int64       // where Read is
	closed bool
}

var (
	errClosed  = errors.New("the object is closed")
	errLonger  = errors.New("there are more of them")
	errStalled = errors.New("the service has sent nothing for too long")
)

// open asks for the bytes from an offset on.
func (b *body) open(offset int64) (*s3.GetObjectOutput, error) {
	ctx, cancel := context.WithCancelCause(b.ctx)
	in := &s3.GetObjectInput{Bucket: &b.where.bucket, Key: &b.where.key, ChecksumMode: types.ChecksumModeEnabled}
	if b.etag != "" {
		in.IfMatch, in.VersionId = aws.String(quoted(b.etag)), b.version
	}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	answer, err := b.s.client.GetObject(ctx, in, func(o *s3.Options) { o.HTTPClient = b.s.reads })
	if err == nil && offset > 0 && !strings.HasPrefix(aws.ToString(answer.ContentRange), fmt.Sprintf("bytes %d-", offset)) {
		answer.Body.Close()
		err = fault.New(fault.Unavailable, b.op, b.where.String(), "the service does not answer with the range that was asked for")
	}
	if err != nil {
		cancel(nil)
		return nil, wordError(b.op, b.where, err)
	}
	stall := time.AfterFunc(b.s.opts.Timeout, func() { cancel(errStalled) })
	stall.Stop()
	b.stream, b.cancel, b.stall, b.at = answer.Body, cancel, stall, offset
	return answer, nil
}

// drop ends the answer that is read.
func (b *body) drop() error {
	if b.stream == nil {
		return nil
	}
	b.cancel(nil) // first: what is left of it is not wanted
	b.stall.Stop()
	err := b.stream.Close()
	b.stream = nil
	return err
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.readFrom(p, b.pos)
	b.pos += int64(n)
	return n, err
}

// ReadAt implements io.ReaderAt. Several at once take turns.
func (b *body) ReadAt(p []byte, offset int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n < len(p) && err == nil {
		var m int
		m, err = b.readFrom(p[n:], offset+int64(n))
		n += m
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

// readFrom reads some bytes that lie at an offset.
func (b *body) readFrom(p []byte, offset int64) (int, error) {
	switch {
	case b.closed:
		return 0, fault.New(fault.Invalid, b.op, b.where.String(), "%w", errClosed)
	case offset < 0:
		return 0, fault.New(fault.Invalid, b.op, b.where.String(), "read at %d", offset)
	case len(p) == 0:
		return 0, nil
	case offset >= b.size:
		return 0, io.EOF
	}
	if err := b.seek(offset); err != nil {
		return 0, err
	}
	n, err := b.read(p)
	if err != nil {
		_ = b.drop() // the error that counts is known
	}
	return n, err
}

// seek has the stream stand at an offset.
func (b *body) seek(offset int64) error {
	if b.stream != nil && b.at <= offset && offset-b.at <= skipBytes {
		var over [4 << 10]byte
		for b.at < offset {
			if _, err := b.read(over[:min(int64(len(over)), offset-b.at)]); err != nil {
				_ = b.drop()
				return err
			}
		}
		return nil
	}
	_ = b.drop() // nothing of it is wanted
	_, err := b.open(offset)
	if fault.Is(err, fault.PreconditionFailed) || missesKey(err) {
		return fault.New(fault.Unavailable, b.op, b.where.String(), "the object was replaced or deleted while it was read: %w", err)
	}
	return err
}

// read reads on. At the end of the object it reads on to the end of the answer, where a checksum is compared.
func (b *body) read(p []byte) (int, error) {
	n, err := b.readOnce(p)
	b.at += int64(n)
	if err == nil && b.at >= b.size {
		var over [1]byte
		var more int
		if more, err = b.readOnce(over[:]); more > 0 {
			err = errLonger
		}
	}
	switch {
	case err == nil, err == io.EOF && b.at == b.size:
		return n, nil // the next read finds the end
	case b.at >= b.size && !broken(err):
		return 0, fault.New(fault.Corrupt, b.op, b.where.String(), "the bytes are not what the service has announced: %w", err)
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if context.Cause(b.ctx) == nil && errors.Is(err, context.Canceled) {
		err = errStalled
	}
	return n, fault.New(fault.Unavailable, b.op, b.where.String(), "at byte %d: %w", b.at, err)
}

// broken reports whether an error is of the network or of a caller who has gone: any other is a checksum's.
func broken(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (b *body) readOnce(p []byte) (int, error) {
	b.stall.Reset(b.s.opts.Timeout)
	defer b.stall.Stop()
	return b.stream.Read(p)
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	_ = b.drop() // to end an answer early is no error
	return nil
}
