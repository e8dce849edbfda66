package s3

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// maxListed is the most that the service lists at once.
const maxListed = 1000

// List lists a page of keys. It uses the first version of the service's operation: its marker is any text, as After is,
// and may be a common prefix, which the second version's start-after steps into. Keys come encoded, because XML can't
// carry all that a key may hold.
func (s *Store) List(ctx context.Context, bucket string, o object.ListOptions) (object.Page, error) {
	const op = "object.List"
	if o.Max < 1 || o.Max > maxListed {
		return object.Page{}, fault.New(fault.Invalid, op, bucket, "a page has 1 to %d keys, not %d", maxListed, o.Max)
	}
	if err := checkBucket(op, bucket); err != nil {
		return object.Page{}, err
	}
	l := &listing{s: s, op: op, bucket: bucket, o: o, page: object.Page{Next: o.After}}
	for {
		more, err := l.request(ctx)
		if err != nil {
			return object.Page{}, err
		}
		n := len(l.page.Objects) + len(l.page.CommonPrefixes)
		if more && n < o.Max {
			continue // a service may give less than was asked for
		}
		l.page.Truncated = more
		if n > o.Max { // or more
			l.cut()
		}
		if !l.page.Truncated {
			l.page.Next = ""
		}
		return l.page, nil
	}
}

// cut shortens a page that is too long.
func (l *listing) cut() {
	p := &l.page
	p.Truncated = true
	for keys, prefixes := 0, 0; ; {
		if keys+prefixes == l.o.Max {
			p.Objects, p.CommonPrefixes = p.Objects[:keys], p.CommonPrefixes[:prefixes]
			return
		}
		if prefixes == len(p.CommonPrefixes) || keys < len(p.Objects) && p.Objects[keys].Key < p.CommonPrefixes[prefixes] {
			p.Next = p.Objects[keys].Key
			keys++
		} else {
			p.Next = p.CommonPrefixes[prefixes]
			prefixes++
		}
	}
}

// listing is a page that is gathered. Its page.Next is the last key or common prefix so far.
type listing struct {
	s          *Store
	op, bucket string
	o          object.ListOptions
	page       object.Page
}

func (l *listing) request(ctx context.Context) (more bool, err error) {
	left := int32(l.o.Max - len(l.page.Objects) - len(l.page.CommonPrefixes))
	from := l.page.Next
	answer, err := l.s.client.ListObjects(ctx, &s3.ListObjectsInput{Bucket: &l.bucket, Prefix: orNil(l.o.Prefix), Delimiter: orNil(l.o.Delimiter),
		Marker: orNil(from), MaxKeys: &left, EncodingType: types.EncodingTypeUrl})
	if err != nil {
		return false, wordError(l.op, place{bucket: l.bucket}, err)
	}
	decode := decoder(answer.EncodingType)
	for i := range answer.Contents {
		o := &answer.Contents[i]
		key, err := decode(o.Key)
		if err != nil {
			return false, l.badKey(o.Key, err)
		}
		if key <= from {
			continue
		}
		l.page.Next = max(l.page.Next, key)
		info := object.Info{Bucket: l.bucket, Key: key, Size: aws.ToInt64(o.Size), ETag: unquoted(o.ETag), Modified: utc(o.LastModified)}
		for _, a := range o.ChecksumAlgorithm {
			info.Checksums = append(info.Checksums, object.Checksum{Algorithm: string(a), Composite: o.ChecksumType == types.ChecksumTypeComposite})
		}
		l.page.Objects = append(l.page.Objects, info)
	}
	for _, p := range answer.CommonPrefixes {
		prefix, err := decode(p.Prefix)
		if err != nil {
			return false, l.badKey(p.Prefix, err)
		}
		if prefix > from {
			l.page.Next = max(l.page.Next, prefix)
			l.page.CommonPrefixes = append(l.page.CommonPrefixes, prefix)
		}
	}
	more = aws.ToBool(answer.IsTruncated)
	if more && l.page.Next == from {
		return false, fault.New(fault.Unavailable, l.op, l.bucket, "the service's listing does not go on after %q", from)
	}
	return more, nil
}

func (l *listing) badKey(key *string, err error) error {
	return fault.New(fault.Unavailable, l.op, l.bucket, "the service lists %q: %w", aws.ToString(key), err)
}

// decoder reads keys as the service says that it has written them.
func decoder(encoding types.EncodingType) func(*string) (string, error) {
	if encoding == types.EncodingTypeUrl {
		return func(s *string) (string, error) { return url.QueryUnescape(aws.ToString(s)) }
	}
	return func(s *string) (string, error) { return aws.ToString(s), nil }
}
