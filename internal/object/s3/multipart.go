package s3

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// abortTimeout bounds the abort of an upload whose put has failed: the caller waits for it.
const abortTimeout = 10 * time.Second

// putParts stores a body of more than one buffer, the first of which is full, as a multipart upload. One part is under
// way while the next is read, if there is a second buffer to spare. The upload is completed with the conditions of the
// put, and aborted if anything fails. It gives the buffer back.
func (s *Store) putParts(ctx context.Context, in *incoming, o *object.PutOptions, full *[]byte) (object.Info, error) {
	u := &partsPut{s: s, in: in, at: in.at, full: full}
	defer u.release()
	created, err := s.client.CreateMultipartUpload(ctx, createInput(in.at, &o.Attributes), expires(o.Expires))
	if err != nil {
		return object.Info{}, putError(in.op, in.at, object.Conditions{}, err)
	}
	u.at.upload = aws.ToString(created.UploadId)
	err = u.send(ctx)
	if err == nil {
		err = in.complete(u.size)
	}
	var answer *s3.CompleteMultipartUploadOutput
	if err == nil {
		answer, err = u.complete(ctx, o.Conditions)
	}
	if err != nil {
		u.abort(ctx)
		return object.Info{}, err
	}
	return object.Info{Bucket: in.at.bucket, Key: in.at.key, Size: u.size, ETag: unquoted(answer.ETag), Modified: answeredAt(answer.ResultMetadata),
		Attributes: o.Attributes, Parts: len(u.parts),
		Checksums: checksums(string(answer.ChecksumType), answer.ChecksumCRC32, answer.ChecksumCRC32C, answer.ChecksumCRC64NVME,
			answer.ChecksumSHA1, answer.ChecksumSHA256)}, nil
}

// partsPut is a put in parts under way.
type partsPut struct {
	s     *Store
	in    *incoming
	at    place
	full  *[]byte // holds the part that is sent
	other *[]byte // is read into meanwhile; nil: memory is short, and one thing is done after the other
	parts []types.CompletedPart
	size  int64
}

func (u *partsPut) release() {
	u.s.buffers.give(u.full)
	u.s.buffers.give(u.other)
}

// send reads the body to its end and uploads it.
func (u *partsPut) send(ctx context.Context) error {
	u.other = u.s.buffers.spare()
	for part := *u.full; len(part) > 0; {
		u.size += int64(len(part))
		switch {
		case u.in.size >= 0 && u.size > u.in.size:
			return incomplete(u.in.op, u.at.key, u.size, u.in.size)
		case len(u.parts) == object.MaxParts:
			return fault.New(fault.Invalid, u.in.op, u.at.key, "the body is larger than %d parts of %d bytes", object.MaxParts, partBytes)
		}
		n, err := u.sendAndRead(ctx, part)
		if err != nil {
			return err
		}
		part = (*u.full)[:n]
	}
	return nil
}

// sendAndRead sends what is in the full buffer and reads the next part, which lies in the full buffer afterwards.
func (u *partsPut) sendAndRead(ctx context.Context, part []byte) (int, error) {
	if u.other == nil {
		if err := u.sendPart(ctx, part); err != nil {
			return 0, err
		}
		return u.in.fill(*u.full)
	}
	sent := make(chan error, 1)
	go func() { sent <- u.sendPart(ctx, part) }()
	n, err := u.in.fill(*u.other)
	if sendErr := <-sent; sendErr != nil { // the buffer and the list of parts are ours again
		err = sendErr
	}
	u.full, u.other = u.other, u.full
	return n, err
}

func (u *partsPut) sendPart(ctx context.Context, text []byte) error {
	number := new(int32(len(u.parts) + 1))
	answer, err := u.s.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &u.at.bucket, Key: &u.at.key, UploadId: &u.at.upload,
		PartNumber: number, Body: bytes.NewReader(text), ContentLength: new(int64(len(text)))})
	if err != nil {
		return u.wordError(err)
	}
	u.parts = append(u.parts, types.CompletedPart{PartNumber: number, ETag: answer.ETag, ChecksumCRC32: answer.ChecksumCRC32,
		ChecksumCRC32C: answer.ChecksumCRC32C, ChecksumCRC64NVME: answer.ChecksumCRC64NVME, ChecksumSHA1: answer.ChecksumSHA1,
		ChecksumSHA256: answer.ChecksumSHA256})
	return nil
}

func (u *partsPut) complete(ctx context.Context, cond object.Conditions) (*s3.CompleteMultipartUploadOutput, error) {
	answer, err := u.s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &u.at.bucket, Key: &u.at.key,
		UploadId: &u.at.upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
		IfNoneMatch: orNil(cond.IfNoneMatch), IfMatch: orNil(quoted(cond.IfMatch))})
	if err == nil {
		return answer, nil
	}
	err = u.wordError(err)
	if !u.s.refusesConditions(cond, err) {
		return nil, err
	}
	if err := u.s.lookFirst(ctx, u.in.op, u.at, &cond); err != nil {
		return nil, err
	}
	return u.complete(ctx, cond)
}

// wordError words an error of a part or of the completion. That the upload is gone is no fault of the caller, who knows
// nothing of it: somebody has aborted it, or it was completed and the answer was lost.
func (u *partsPut) wordError(err error) error {
	worded := wordError(u.in.op, u.at, err)
	var f *fault.Error
	if errors.As(worded, &f) && f.Kind == fault.NotFound && strings.HasPrefix(f.Resource, object.MissingUpload) {
		return fault.New(fault.Unavailable, u.in.op, u.at.String(), "the upload is gone, perhaps completed: %w", cause(err))
	}
	return worded
}

// abort removes the upload, also when the caller has gone. When that fails the parts stay, and cost, until somebody
// removes them.
func (u *partsPut) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_, err := u.s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.at.bucket, Key: &u.at.key, UploadId: &u.at.upload})
	if code, status := codeOf(err); err != nil && code != "NoSuchUpload" && status != http.StatusNotFound {
		u.s.opts.Log.Warn("an upload is left behind in a bucket", "bucket", u.at.bucket, "key", u.at.key, "uploadId", u.at.upload, "error", cause(err))
	}
}
