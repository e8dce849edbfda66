package s3

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// maxUploads bounds what one listing of uploads holds in memory, about 50 MB.
const maxUploads = 100_000

func uploadPlace(ref object.UploadRef) place {
	return place{bucket: ref.Bucket, key: ref.Key, upload: ref.ID}
}

// checkUpload refuses what can name no upload.
func checkUpload(op string, ref object.UploadRef) error {
	if err := checkNames(op, ref.Bucket, ref.Key); err != nil {
		return err
	}
	if ref.ID == "" {
		return fault.New(fault.NotFound, op, object.MissingUpload, "no upload has an empty id")
	}
	return nil
}

func createInput(at place, a *object.Attributes) *s3.CreateMultipartUploadInput {
	return &s3.CreateMultipartUploadInput{Bucket: &at.bucket, Key: &at.key,
		ContentType: orNil(a.ContentType), ContentEncoding: orNil(a.ContentEncoding), ContentDisposition: orNil(a.ContentDisposition),
		ContentLanguage: orNil(a.ContentLanguage), CacheControl: orNil(a.CacheControl), Metadata: a.Metadata, Tagging: tagHeader(a.Tags)}
}

// CreateUpload begins an upload. One whose answer is lost stays until somebody aborts it.
func (s *Store) CreateUpload(ctx context.Context, bucket, key string, o object.UploadOptions) (object.Upload, error) {
	const op = "object.CreateUpload"
	if err := checkPut(op, bucket, key, &o.Attributes, object.Conditions{}); err != nil {
		return object.Upload{}, err
	}
	in := createInput(place{bucket: bucket, key: key}, &o.Attributes)
	if a := o.ChecksumAlgorithm; a != "" {
		if !o.ChecksumComposite && !object.ComposesFully(a) {
			return object.Upload{}, fault.New(fault.Invalid, op, key, "%s over all bytes of an upload", a)
		}
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithm(a), types.ChecksumTypeFullObject
		if o.ChecksumComposite {
			in.ChecksumType = types.ChecksumTypeComposite
		}
	}
	answer, err := s.client.CreateMultipartUpload(ctx, in, expires(o.Expires))
	if err != nil {
		return object.Upload{}, putError(op, place{bucket: bucket, key: key}, object.Conditions{}, err)
	}
	return object.Upload{UploadRef: object.UploadRef{Bucket: bucket, Key: key, ID: aws.ToString(answer.UploadId)}, UploadOptions: o,
		Initiated: answeredAt(answer.ResultMetadata)}, nil
}

// PutPart stores a part: a small one from a buffer, with several attempts, a large one from the body, in one.
func (s *Store) PutPart(ctx context.Context, ref object.UploadRef, number int, body io.Reader, size int64, o object.PartOptions) (object.Part, error) {
	const op = "object.PutPart"
	if err := checkUpload(op, ref); err != nil {
		return object.Part{}, err
	}
	if number < 1 || number > object.MaxParts {
		return object.Part{}, fault.New(fault.Invalid, op, ref.Key, "a part has a number from 1 to %d, not %d", object.MaxParts, number)
	}
	digests, err := newDigester(op, ref.Key, o.Want, o.Trailer, o.Compute)
	if err != nil {
		return object.Part{}, err
	}
	in := &incoming{op: op, at: uploadPlace(ref), body: body, size: size, digests: digests}
	request := &s3.UploadPartInput{Bucket: &ref.Bucket, Key: &ref.Key, UploadId: &ref.ID, PartNumber: aws.Int32(int32(number))}
	if size > partBytes {
		return s.streamPart(ctx, in, request)
	}
	buffer, err := s.buffers.take(ctx)
	if err != nil {
		return object.Part{}, fault.New(fault.Unavailable, op, in.at.String(), "wait for a buffer: %w", err)
	}
	defer s.buffers.give(buffer)
	text, more, err := in.first(*buffer)
	switch {
	case err != nil:
		return object.Part{}, err
	case more && size < 0:
		return object.Part{}, fault.New(fault.Unsupported, op, in.at.String(), "a part of unknown length that has more than %d bytes", partBytes)
	case more:
		return object.Part{}, incomplete(op, ref.Key, partBytes+1, size)
	}
	if err := in.complete(int64(len(text))); err != nil {
		return object.Part{}, err
	}
	if c := digests.kept(); c != nil {
		setChecksum(c, &request.ChecksumCRC32, &request.ChecksumCRC32C, &request.ChecksumCRC64NVME, &request.ChecksumSHA1, &request.ChecksumSHA256)
	}
	request.Body, request.ContentLength = bytes.NewReader(text), new(int64(len(text)))
	return s.sendPart(ctx, in, request, int64(len(text)))
}

func (s *Store) streamPart(ctx context.Context, in *incoming, request *s3.UploadPartInput) (object.Part, error) {
	body := &streamed{incoming: in}
	request.Body, request.ContentLength = body, &in.size
	if c := in.digests.early(); c != nil {
		setChecksum(c, &request.ChecksumCRC32, &request.ChecksumCRC32C, &request.ChecksumCRC64NVME, &request.ChecksumSHA1, &request.ChecksumSHA256)
	}
	part, err := s.sendPart(ctx, in, request, in.size, unsigned)
	if body.err != nil {
		return object.Part{}, body.err
	}
	if err == nil {
		err = body.compare(part.Checksums)
	}
	return part, err
}

func (s *Store) sendPart(ctx context.Context, in *incoming, request *s3.UploadPartInput, size int64, how ...func(*s3.Options)) (object.Part, error) {
	answer, err := s.client.UploadPart(ctx, request, how...)
	if err != nil {
		return object.Part{}, wordError(in.op, in.at, err)
	}
	return object.Part{Number: int(*request.PartNumber), Size: size, ETag: unquoted(answer.ETag), Modified: answeredAt(answer.ResultMetadata),
		Checksums: checksums("", answer.ChecksumCRC32, answer.ChecksumCRC32C, answer.ChecksumCRC64NVME, answer.ChecksumSHA1, answer.ChecksumSHA256)}, nil
}

// CompleteUpload makes the object. What the service does not say is asked for afterwards.
func (s *Store) CompleteUpload(ctx context.Context, ref object.UploadRef, parts []object.Part, o object.CompleteOptions) (object.Info, error) {
	const op = "object.CompleteUpload"
	if err := checkUpload(op, ref); err != nil {
		return object.Info{}, err
	}
	at := uploadPlace(ref)
	list, err := completed(op, ref.Key, parts)
	if err != nil {
		return object.Info{}, err
	}
	if o.IfNoneMatch != "" && o.IfNoneMatch != "*" {
		return object.Info{}, fault.New(fault.Unsupported, op, ref.Key, "If-None-Match of a write other than *")
	}
	in := &s3.CompleteMultipartUploadInput{Bucket: &ref.Bucket, Key: &ref.Key, UploadId: &ref.ID,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: list}, IfNoneMatch: orNil(o.IfNoneMatch), IfMatch: orNil(quoted(o.IfMatch))}
	if o.Size != 0 {
		in.MpuObjectSize = &o.Size
	}
	if len(o.Want) > 0 {
		setChecksum(&o.Want[0], &in.ChecksumCRC32, &in.ChecksumCRC32C, &in.ChecksumCRC64NVME, &in.ChecksumSHA1, &in.ChecksumSHA256)
	}
	answer, err := s.client.CompleteMultipartUpload(ctx, in)
	if code, _ := codeOf(err); code == "BadDigest" && len(o.Want) > 0 {
		return object.Info{}, mismatch(op, ref.Key, o.Want[0].Algorithm)
	}
	if err != nil {
		return object.Info{}, wordError(op, at, err)
	}
	etag := unquoted(answer.ETag)
	info, err := s.head(ctx, op, place{bucket: ref.Bucket, key: ref.Key})
	if err != nil || info.ETag != etag { // the object is made, whatever became of it meanwhile
		info = object.Info{Bucket: ref.Bucket, Key: ref.Key, Size: o.Size, ETag: etag, Modified: answeredAt(answer.ResultMetadata), Parts: len(parts)}
	}
	info.PartList = nil
	info.Checksums = checksums(string(answer.ChecksumType), answer.ChecksumCRC32, answer.ChecksumCRC32C, answer.ChecksumCRC64NVME,
		answer.ChecksumSHA1, answer.ChecksumSHA256)
	return info, nil
}

// completed names the parts for the service. What is wrong by itself is not sent.
func completed(op, key string, parts []object.Part) ([]types.CompletedPart, error) {
	if len(parts) == 0 {
		return nil, fault.New(fault.Invalid, op, key, "%w: none is named", object.ErrInvalidPart)
	}
	list := make([]types.CompletedPart, len(parts))
	for i := range parts {
		p := &parts[i]
		if i > 0 && p.Number <= parts[i-1].Number {
			return nil, fault.New(fault.Invalid, op, key, "%w: %d after %d", object.ErrPartOrder, p.Number, parts[i-1].Number)
		}
		if p.Number < 1 || p.Number > object.MaxParts {
			return nil, fault.New(fault.Invalid, op, key, "%w: %d", object.ErrInvalidPart, p.Number)
		}
		list[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(quoted(p.ETag))}
		for j := range p.Checksums {
			setChecksum(&p.Checksums[j], &list[i].ChecksumCRC32, &list[i].ChecksumCRC32C, &list[i].ChecksumCRC64NVME, &list[i].ChecksumSHA1,
				&list[i].ChecksumSHA256)
		}
	}
	return list, nil
}

// AbortUpload removes an upload and its parts.
func (s *Store) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	const op = "object.AbortUpload"
	if err := checkUpload(op, ref); err != nil {
		return err
	}
	if _, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &ref.Bucket, Key: &ref.Key, UploadId: &ref.ID}); err != nil {
		return wordError(op, uploadPlace(ref), err)
	}
	return nil
}

// Upload finds an upload. When it began and its attributes are not told: no operation of the service does.
func (s *Store) Upload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	const op = "object.Upload"
	if err := checkUpload(op, ref); err != nil {
		return object.Upload{}, err
	}
	answer, err := s.client.ListParts(ctx, &s3.ListPartsInput{Bucket: &ref.Bucket, Key: &ref.Key, UploadId: &ref.ID, MaxParts: aws.Int32(1)})
	if err != nil {
		return object.Upload{}, wordError(op, uploadPlace(ref), err)
	}
	return object.Upload{UploadRef: ref, UploadOptions: object.UploadOptions{ChecksumAlgorithm: string(answer.ChecksumAlgorithm),
		ChecksumComposite: answer.ChecksumType == types.ChecksumTypeComposite}}, nil
}

// Uploads lists the uploads in progress.
func (s *Store) Uploads(ctx context.Context, bucket, prefix string) ([]object.Upload, error) {
	const op = "object.Uploads"
	if err := checkBucket(op, bucket); err != nil {
		return nil, err
	}
	var all []object.Upload
	in := &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: orNil(prefix), MaxUploads: aws.Int32(maxListed), EncodingType: types.EncodingTypeUrl}
	for {
		answer, err := s.client.ListMultipartUploads(ctx, in)
		if err != nil {
			return nil, wordError(op, place{bucket: bucket}, err)
		}
		decode := decoder(answer.EncodingType)
		for i := range answer.Uploads {
			u := &answer.Uploads[i]
			key, err := decode(u.Key)
			if err != nil {
				return nil, fault.New(fault.Unavailable, op, bucket, "the service lists %q: %w", aws.ToString(u.Key), err)
			}
			all = append(all, object.Upload{UploadRef: object.UploadRef{Bucket: bucket, Key: key, ID: aws.ToString(u.UploadId)}, Initiated: utc(u.Initiated),
				UploadOptions: object.UploadOptions{ChecksumAlgorithm: string(u.ChecksumAlgorithm), ChecksumComposite: u.ChecksumType == types.ChecksumTypeComposite}})
		}
		if !aws.ToBool(answer.IsTruncated) {
			break
		}
		key, err := decode(answer.NextKeyMarker)
		if err != nil || key == aws.ToString(in.KeyMarker) && aws.ToString(answer.NextUploadIdMarker) == aws.ToString(in.UploadIdMarker) {
			return nil, fault.New(fault.Unavailable, op, bucket, "the service's listing of uploads does not go on after %q", aws.ToString(in.KeyMarker))
		}
		if len(all) >= maxUploads {
			return nil, fault.New(fault.LimitExceeded, op, bucket, "the bucket has more than %d uploads", maxUploads)
		}
		in.KeyMarker, in.UploadIdMarker = &key, answer.NextUploadIdMarker
	}
	slices.SortStableFunc(all, func(a, b object.Upload) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// Parts lists the parts of an upload.
func (s *Store) Parts(ctx context.Context, ref object.UploadRef) ([]object.Part, error) {
	const op = "object.Parts"
	if err := checkUpload(op, ref); err != nil {
		return nil, err
	}
	var all []object.Part
	in := &s3.ListPartsInput{Bucket: &ref.Bucket, Key: &ref.Key, UploadId: &ref.ID, MaxParts: aws.Int32(maxListed)}
	for {
		answer, err := s.client.ListParts(ctx, in)
		if err != nil {
			return nil, wordError(op, uploadPlace(ref), err)
		}
		last := 0
		if len(all) > 0 {
			last = all[len(all)-1].Number
		}
		for i := range answer.Parts {
			p := &answer.Parts[i]
			if n := int(aws.ToInt32(p.PartNumber)); n > last {
				last = n
				all = append(all, object.Part{Number: n, Size: aws.ToInt64(p.Size), ETag: unquoted(p.ETag), Modified: utc(p.LastModified),
					Checksums: checksums("", p.ChecksumCRC32, p.ChecksumCRC32C, p.ChecksumCRC64NVME, p.ChecksumSHA1, p.ChecksumSHA256)})
			}
		}
		marker := strconv.Itoa(last)
		if !aws.ToBool(answer.IsTruncated) || marker == aws.ToString(in.PartNumberMarker) {
			return all, nil
		}
		in.PartNumberMarker = &marker
	}
}
