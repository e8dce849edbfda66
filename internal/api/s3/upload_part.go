package s3

import (
	"io"
	"strconv"
	"strings"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/object"
)

var uploadPart = operation{run: func(c *call) error {
	if err := c.checkLength(); err != nil {
		return err
	}
	number, err := c.partNumber()
	if err != nil {
		return err
	}
	d, err := c.digests()
	if err != nil {
		return err
	}
	p, err := c.Store.PutPart(c.ctx, c.uploadRef(), number, c.body(), c.payload.Length,
		object.PartOptions{Want: d.Digests, Trailer: d.trailer, Compute: d.algorithm})
	if err != nil {
		return err
	}
	h := c.w.Header()
	h["Etag"] = []string{quoted(p.ETag)}
	setChecksums(h, p.Checksums)
	delete(h, "X-Amz-Checksum-Type") // a part has none
	return c.answerEmpty()
}}

var uploadPartCopy = operation{run: func(c *call) error {
	number, err := c.partNumber()
	if err != nil {
		return err
	}
	source, err := c.copySource()
	if err != nil {
		return err
	}
	defer source.Body.Close()
	s, err := copyRange(c.r.Header.Get("X-Amz-Copy-Source-Range"), source.Size)
	if err != nil {
		return err
	}
	if s.length > MaxObjectBytes {
		return errInvalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	}
	p, err := c.Store.PutPart(c.ctx, c.uploadRef(), number, io.NewSectionReader(source.Body, s.offset, s.length), s.length, object.PartOptions{})
	if err != nil {
		return err
	}
	return c.answer(&s3wire.UploadPartCopyOutput{CopyPartResult: &s3wire.CopyPartResult{ETag: new(quoted(p.ETag)), LastModified: p.Modified,
		ChecksumCRC32: named(p.Checksums, object.CRC32), ChecksumCRC32C: named(p.Checksums, object.CRC32C),
		ChecksumCRC64NVME: named(p.Checksums, object.CRC64NVME), ChecksumSHA1: named(p.Checksums, object.SHA1),
		ChecksumSHA256: named(p.Checksums, object.SHA256)}})
}}

// copyRange reads "bytes=a-b"; both ends must be within the source.
func copyRange(text string, size int64) (span, error) {
	if text == "" {
		return span{length: size}, nil
	}
	spec, ok := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	from, err1 := parseOffset(first)
	to, err2 := parseOffset(last)
	if !ok || !dash || err1 != nil || err2 != nil || to < from {
		return span{}, errInvalidArgument("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
			"x-amz-copy-source-range", short(text))
	}
	if to >= size {
		return span{}, errInvalidArgument("Range specified is not valid for source object of size: "+strconv.FormatInt(size, 10), "x-amz-copy-source-range", short(text))
	}
	return span{offset: from, length: to - from + 1}, nil
}
