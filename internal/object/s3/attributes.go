package s3

import (
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/internal/object"
)

func unquoted(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

// tagHeader writes tags as x-amz-tagging has them, a query string.
func tagHeader(tags map[string]string) *string {
	if len(tags) == 0 {
		return nil
	}
	values := make(url.Values, len(tags))
	for name, value := range tags {
		values.Set(name, value)
	}
	// '+' for a space is not understood everywhere.
	return aws.String(strings.ReplaceAll(values.Encode(), "+", "%20"))
}

func tagSet(tags map[string]string) []types.Tag {
	list := make([]types.Tag, 0, len(tags))
	for name, value := range maps.All(tags) {
		list = append(list, types.Tag{Key: aws.String(name), Value: aws.String(value)})
	}
	return list
}

func tagMap(list []types.Tag) map[string]string {
	if len(list) == 0 {
		return nil
	}
	tags := make(map[string]string, len(list))
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}

// setChecksum sets the one field of a request that a checksum belongs to.
func setChecksum(c *object.Checksum, crc32, crc32c, crc64, sha1, sha256 **string) {
	value := &c.Value
	switch c.Algorithm {
	case object.CRC32:
		*crc32 = value
	case object.CRC32C:
		*crc32c = value
	case object.CRC64NVME:
		*crc64 = value
	case object.SHA1:
		*sha1 = value
	case object.SHA256:
		*sha256 = value
	}
}

// checksums reads the fields of an answer. A part has no type; a composite value ends in the number of parts.
func checksums(kind string, crc32, crc32c, crc64, sha1, sha256 *string) (list []object.Checksum) {
	for _, c := range []struct {
		algorithm string
		value     *string
	}{{object.CRC32, crc32}, {object.CRC32C, crc32c}, {object.CRC64NVME, crc64}, {object.SHA1, sha1}, {object.SHA256, sha256}} {
		if v := aws.ToString(c.value); v != "" {
			list = append(list, object.Checksum{Algorithm: c.algorithm, Value: v,
				Composite: kind == string(types.ChecksumTypeComposite) || strings.Contains(v, "-")})
		}
	}
	return list
}

// info reads the headers of an object. It has no tags: they are asked for when there are any.
func info(at place, h *s3.HeadObjectOutput) object.Info {
	i := object.Info{Bucket: at.bucket, Key: at.key, Size: aws.ToInt64(h.ContentLength), ETag: unquoted(h.ETag),
		Modified: aws.ToTime(h.LastModified).UTC(),
		Attributes: object.Attributes{ContentType: aws.ToString(h.ContentType), ContentEncoding: aws.ToString(h.ContentEncoding),
			ContentDisposition: aws.ToString(h.ContentDisposition), ContentLanguage: aws.ToString(h.ContentLanguage),
			CacheControl: aws.ToString(h.CacheControl), Expires: aws.ToString(h.ExpiresString), Metadata: h.Metadata},
		Checksums: checksums(string(h.ChecksumType), h.ChecksumCRC32, h.ChecksumCRC32C, h.ChecksumCRC64NVME, h.ChecksumSHA1, h.ChecksumSHA256)}
	if _, after, ok := strings.Cut(i.ETag, "-"); ok {
		i.Parts, _ = strconv.Atoi(after) // an ETag of another form tells of no parts
	}
	if i.Parts == 1 {
		i.PartList = []object.Part{{Number: 1, Size: i.Size}}
	}
	return i
}

// headOf takes the headers of a get for those of a head, which are the same.
func headOf(g *s3.GetObjectOutput) *s3.HeadObjectOutput {
	return &s3.HeadObjectOutput{ContentLength: g.ContentLength, ETag: g.ETag, LastModified: g.LastModified, ContentType: g.ContentType,
		ContentEncoding: g.ContentEncoding, ContentDisposition: g.ContentDisposition, ContentLanguage: g.ContentLanguage,
		CacheControl: g.CacheControl, ExpiresString: g.ExpiresString, Metadata: g.Metadata, ChecksumType: g.ChecksumType,
		ChecksumCRC32: g.ChecksumCRC32, ChecksumCRC32C: g.ChecksumCRC32C, ChecksumCRC64NVME: g.ChecksumCRC64NVME,
		ChecksumSHA1: g.ChecksumSHA1, ChecksumSHA256: g.ChecksumSHA256, TagCount: g.TagCount, VersionId: g.VersionId}
}

func utc(t *time.Time) time.Time { return aws.ToTime(t).UTC() }
