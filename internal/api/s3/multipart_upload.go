package s3

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/object"
)

func (c *call) uploadRef() object.UploadRef {
	return object.UploadRef{Bucket: c.bucket, Key: c.key, ID: c.query.Get("uploadId")}
}

// createMultipartUpload begins an upload. Without an algorithm the object gets a CRC64NVME over all its bytes, as the
// service does.
var createMultipartUpload = operation{note: "as PutObject", run: func(c *call) error {
	attrs, err := c.attributes()
	if err != nil {
		return err
	}
	algorithm, composite, err := c.uploadChecksum()
	if err != nil {
		return err
	}
	up, err := c.Store.CreateUpload(c.ctx, c.bucket, c.key, object.UploadOptions{Attributes: attrs, ChecksumAlgorithm: algorithm, ChecksumComposite: composite})
	if err != nil {
		return err
	}
	out := s3wire.CreateMultipartUploadOutput{Bucket: new(c.bucket), Key: c.key, UploadId: new(up.ID), ChecksumAlgorithm: algorithm,
		ChecksumType: uploadChecksumType(&up)}
	out.SetHeader(c.w.Header())
	return c.answer(&out)
}}

// uploadChecksum reads which checksum the object shall have. Composite is the default of all but CRC64NVME.
func (c *call) uploadChecksum() (algorithm string, composite bool, err error) {
	h := c.r.Header
	text, kind := h.Get("X-Amz-Checksum-Algorithm"), h.Get("X-Amz-Checksum-Type")
	if text == "" {
		if kind != "" {
			return "", false, errInvalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return object.CRC64NVME, false, nil
	}
	if algorithm, err = algorithmOf(text); err != nil {
		return "", false, err
	}
	switch {
	case kind == "":
		return algorithm, algorithm != object.CRC64NVME, nil
	case kind == "COMPOSITE" && algorithm != object.CRC64NVME:
		return algorithm, true, nil
	case kind == "FULL_OBJECT" && object.ComposesFully(algorithm):
		return algorithm, false, nil
	}
	return "", false, errInvalidRequest("The " + short(kind) + " checksum type cannot be used with the " + strings.ToLower(algorithm) + " checksum algorithm.")
}

func uploadChecksumType(u *object.Upload) string {
	switch {
	case u.ChecksumAlgorithm == "":
		return ""
	case u.ChecksumComposite:
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}

// partNumber reads the number of a part.
func (c *call) partNumber() (int, error) {
	text := c.query.Get("partNumber")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > object.MaxParts {
		return 0, errInvalidArgument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", short(text))
	}
	return n, nil
}

var abortMultipartUpload = operation{run: func(c *call) error {
	if err := c.Store.AbortUpload(c.ctx, c.uploadRef()); err != nil {
		return err
	}
	return c.answerEmpty()
}}

var completeMultipartUpload = operation{run: func(c *call) error {
	// Its checksum headers are the object's, not the body's.
	want, err := checksumsOf(c.r.Header)
	if err != nil {
		return err
	}
	cond, err := c.conditions()
	if err != nil {
		return err
	}
	for name := range c.r.Header {
		if strings.HasPrefix(name, checksumPrefix) && name != checksumPrefix+"Type" {
			delete(c.r.Header, name)
		}
	}
	var in s3wire.CompleteMultipartUploadRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.MultipartUpload == nil || len(in.MultipartUpload.Parts) == 0 {
		return errMalformedXML
	}
	parts, err := completedParts(in.MultipartUpload.Parts)
	if err != nil {
		return err
	}
	if err := c.checkChecksumType(); err != nil {
		return err
	}
	opts := object.CompleteOptions{Conditions: cond, Want: want, Size: awswire.Value(in.MpuObjectSize)}
	// Joining parts of many gigabytes can outlast a caller's patience. It goes on when the caller has gone: who asks
	// again waits for it, and gets the object that it has made.
	info, err := c.Store.CompleteUpload(context.WithoutCancel(c.ctx), c.uploadRef(), parts, opts)
	if errors.Is(err, object.ErrIncompleteBody) {
		return errInvalidRequest("The provided 'x-amz-mp-object-size' header does not match what was computed")
	}
	if err != nil {
		return err
	}
	return c.answer(&s3wire.CompleteMultipartUploadOutput{Location: new(c.location()), Bucket: new(c.bucket), Key: c.key,
		ETag: new(quoted(info.ETag)), ChecksumType: checksumType(info.Checksums), ChecksumCRC32: named(info.Checksums, object.CRC32),
		ChecksumCRC32C: named(info.Checksums, object.CRC32C), ChecksumCRC64NVME: named(info.Checksums, object.CRC64NVME),
		ChecksumSHA1: named(info.Checksums, object.SHA1), ChecksumSHA256: named(info.Checksums, object.SHA256)})
}}

// checkChecksumType compares x-amz-checksum-type of a completion with what the upload was begun with.
func (c *call) checkChecksumType() error {
	kind := c.r.Header.Get("X-Amz-Checksum-Type")
	if kind == "" {
		return nil
	}
	up, err := c.Store.Upload(c.ctx, c.uploadRef())
	if fault.Is(err, fault.NotFound) {
		return nil // what has become of the upload is the completion's to say
	}
	if err != nil {
		return err
	}
	if was := uploadChecksumType(&up); was != kind {
		return errInvalidRequest("The upload was created using the " + was + " checksum mode. The complete request must use the same checksum mode.")
	}
	return nil
}

// location is the URL of the object at this endpoint.
func (c *call) location() string {
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	path := "/" + c.bucket + "/" + c.key
	if _, ok := bucketOfHost(c.r.Host, c.Hosts); ok {
		path = "/" + c.key
	}
	return (&url.URL{Scheme: scheme, Host: c.r.Host, Path: path}).String()
}

func completedParts(list []s3wire.CompletedPart) ([]object.Part, error) {
	parts := make([]object.Part, len(list))
	for i := range list {
		p := &list[i]
		if p.PartNumber == nil || p.ETag == nil {
			return nil, errMalformedXML
		}
		parts[i] = object.Part{Number: *p.PartNumber, ETag: unquoted(*p.ETag)}
		for _, sum := range []struct {
			algorithm string
			value     *string
		}{{object.CRC32, p.ChecksumCRC32}, {object.CRC32C, p.ChecksumCRC32C}, {object.CRC64NVME, p.ChecksumCRC64NVME},
			{object.SHA1, p.ChecksumSHA1}, {object.SHA256, p.ChecksumSHA256}} {
			if sum.value != nil {
				parts[i].Checksums = append(parts[i].Checksums, object.Checksum{Algorithm: sum.algorithm, Value: *sum.value})
			}
		}
	}
	return parts, nil
}

var listParts = operation{run: func(c *call) error {
	var in s3wire.ListPartsRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	most, err := bound(in.MaxParts, "max-parts")
	if err != nil {
		return err
	}
	up, err := c.Store.Upload(c.ctx, c.uploadRef())
	if err != nil {
		return err
	}
	parts, err := c.Store.Parts(c.ctx, up.UploadRef)
	if err != nil {
		return err
	}
	marker := awswire.Value(in.PartNumberMarker)
	parts = slices.DeleteFunc(parts, func(p object.Part) bool { return p.Number <= marker })
	out := s3wire.ListPartsOutput{Bucket: new(c.bucket), Key: c.key, UploadId: new(up.ID), PartNumberMarker: new(marker), MaxParts: new(most),
		IsTruncated: new(len(parts) > most), StorageClass: "STANDARD", Owner: c.ownerShape(), Initiator: &s3wire.Initiator{ID: new(c.owner)},
		ChecksumAlgorithm: up.ChecksumAlgorithm, ChecksumType: uploadChecksumType(&up)}
	for _, p := range parts[:min(most, len(parts))] {
		out.Parts = append(out.Parts, s3wire.Part{PartNumber: new(p.Number), LastModified: p.Modified, ETag: new(quoted(p.ETag)), Size: new(p.Size),
			ChecksumCRC32: named(p.Checksums, object.CRC32), ChecksumCRC32C: named(p.Checksums, object.CRC32C),
			ChecksumCRC64NVME: named(p.Checksums, object.CRC64NVME), ChecksumSHA1: named(p.Checksums, object.SHA1),
			ChecksumSHA256: named(p.Checksums, object.SHA256)})
		out.NextPartNumberMarker = new(p.Number)
	}
	return c.answer(&out)
}}

// bound reads the size of a page.
func bound(n *int, name string) (int, error) {
	if n == nil {
		return maxListed, nil
	}
	if *n < 0 {
		return 0, errInvalidArgument("Argument "+name+" must be an integer between 0 and 2147483647", name, strconv.Itoa(*n))
	}
	return min(*n, maxListed), nil
}
