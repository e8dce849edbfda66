package s3

import (
	"io"
	"net/url"
	"strings"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/object"
)

// copySource opens the object that x-amz-copy-source names, if its conditions hold.
func (c *call) copySource() (*object.Object, error) {
	h := c.r.Header
	if owner := h.Get("X-Amz-Source-Expected-Bucket-Owner"); owner != "" && owner != c.Account.ID {
		return nil, errAccessDenied
	}
	bucket, key, err := parseCopySource(h.Get("X-Amz-Copy-Source"))
	if err != nil {
		return nil, err
	}
	if c.denied("s3:GetObject", bucket, key) {
		return nil, errAccessDenied
	}
	o, err := c.Store.Get(c.ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	const prefix = "X-Amz-Copy-Source-"
	cond := readConditions{h: h, match: prefix + "If-Match", noneMatch: prefix + "If-None-Match", modified: prefix + "If-Modified-Since",
		unmodified: prefix + "If-Unmodified-Since", copying: true}
	if err := cond.check(&o.Info); err != nil {
		o.Body.Close()
		return nil, err
	}
	return o, nil
}

// parseCopySource reads "/BUCKET/KEY", url-encoded, with or without the first slash.
func parseCopySource(text string) (bucket, key string, err error) {
	bad := errInvalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", "x-amz-copy-source", short(text))
	path, query, versioned := strings.Cut(text, "?")
	if versioned {
		if v, ok := strings.CutPrefix(query, "versionId="); !ok || v != "null" {
			return "", "", errNoSuchVersion.with("VersionId", short(query))
		}
	}
	path, err = url.PathUnescape(path)
	if err != nil {
		return "", "", bad
	}
	bucket, key, found := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !found || bucket == "" || key == "" {
		return "", "", bad
	}
	return bucket, key, nil
}

// directive reads COPY or REPLACE; COPY is the default.
func (c *call) directive(name string) (replace bool, err error) {
	switch v := c.r.Header.Get(name); v {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		kind := strings.Split(strings.ToLower(name), "-")[2] // x-amz-KIND-directive
		return false, errInvalidArgument("Unknown "+kind+" directive.", strings.ToLower(name), short(v))
	}
}

var copyObject = operation{note: "as PutObject; a copy of more than 5 GiB is refused", run: func(c *call) error {
	newMeta, err := c.directive("X-Amz-Metadata-Directive")
	if err != nil {
		return err
	}
	newTags, err := c.directive("X-Amz-Tagging-Directive")
	if err != nil {
		return err
	}
	attrs, err := c.attributes()
	if err != nil {
		return err
	}
	cond, err := c.conditions()
	if err != nil {
		return err
	}
	source, err := c.copySource()
	if err != nil {
		return err
	}
	defer source.Body.Close()
	switch {
	case source.Size > MaxObjectBytes:
		return errInvalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	case source.Bucket == c.bucket && source.Key == c.key && !newMeta && !newTags:
		return errInvalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	kept := source.Attributes
	if newMeta {
		kept = attrs
		kept.Tags = source.Tags
	}
	if newTags {
		kept.Tags = attrs.Tags
	}
	algorithm, err := c.copyAlgorithm(&source.Info)
	if err != nil {
		return err
	}
	info, err := c.Store.Put(c.ctx, c.bucket, c.key, io.Reader(source.Body), source.Size,
		object.PutOptions{Attributes: kept, Conditions: cond, Compute: algorithm})
	if err != nil {
		return err
	}
	return c.answer(&s3wire.CopyObjectOutput{CopyObjectResult: &s3wire.CopyObjectResult{ETag: new(quoted(info.ETag)), LastModified: info.Modified,
		ChecksumCRC32: named(info.Checksums, object.CRC32), ChecksumCRC32C: named(info.Checksums, object.CRC32C),
		ChecksumCRC64NVME: named(info.Checksums, object.CRC64NVME), ChecksumSHA1: named(info.Checksums, object.SHA1),
		ChecksumSHA256: named(info.Checksums, object.SHA256), ChecksumType: checksumType(info.Checksums)}})
}}

// copyAlgorithm names the checksum of a copy: what the caller asks for, else the source's.
func (c *call) copyAlgorithm(source *object.Info) (string, error) {
	if text := c.r.Header.Get("X-Amz-Checksum-Algorithm"); text != "" {
		return algorithmOf(text)
	}
	if len(source.Checksums) > 0 {
		return source.Checksums[0].Algorithm, nil
	}
	return object.CRC64NVME, nil
}
