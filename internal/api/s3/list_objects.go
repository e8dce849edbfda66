package s3

import (
	"strconv"
	"strings"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/object"
)

// listing is what the three list operations have in common.
type listing struct {
	c         *call
	encode    func(string) string
	encoding  string
	prefix    string
	delimiter string
	max       int
	page      object.Page
}

// list reads a page. after is where it begins, exclusively.
func (c *call) list(encoding string, prefix, delimiter *string, maxKeys *int, after string) (*listing, error) {
	l := &listing{c: c, encoding: encoding, encode: plainText, max: maxListed}
	switch encoding {
	case "":
	case "url":
		l.encode = urlText
	default:
		return nil, errInvalidArgument("Invalid Encoding Method specified in Request", "encoding-type", short(encoding))
	}
	if maxKeys != nil {
		if *maxKeys < 0 {
			return nil, errInvalidArgument("Argument max-keys must be an integer between 0 and 2147483647", "max-keys", strconv.Itoa(*maxKeys))
		}
		l.max = min(*maxKeys, maxListed)
	}
	if prefix != nil {
		l.prefix = *prefix
	}
	if delimiter != nil {
		l.delimiter = *delimiter
	}
	if l.max == 0 {
		_, err := c.Store.Bucket(c.ctx, c.bucket)
		return l, err
	}
	var err error
	l.page, err = c.Store.List(c.ctx, c.bucket, object.ListOptions{Prefix: l.prefix, Delimiter: l.delimiter, After: after, Max: l.max})
	if err == nil {
		err = l.startInside(after)
	}
	return l, err
}

// startInside adds the common prefix that a marker lies in, when keys of it come after. The store compares a marker with
// what keys roll up into; the service does so only when the marker is a common prefix, as that of a next page may be.
func (l *listing) startInside(after string) error {
	rest, ok := strings.CutPrefix(after, l.prefix)
	i := strings.Index(rest, l.delimiter)
	if !ok || l.delimiter == "" || i < 0 || i+len(l.delimiter) == len(rest) {
		return nil
	}
	common := l.prefix + rest[:i+len(l.delimiter)]
	page, err := l.c.Store.List(l.c.ctx, l.c.bucket, object.ListOptions{Prefix: common, After: after, Max: 1})
	if err != nil || len(page.Objects) == 0 {
		return err
	}
	p := &l.page
	p.CommonPrefixes = append([]string{common}, p.CommonPrefixes...)
	if len(p.Objects)+len(p.CommonPrefixes) <= l.max {
		return nil
	}
	// One too many: the last one waits for the next page.
	p.Truncated = true
	keys, prefixes := len(p.Objects), len(p.CommonPrefixes)
	if keys > 0 && p.Objects[keys-1].Key > p.CommonPrefixes[prefixes-1] {
		p.Objects = p.Objects[:keys-1]
	} else {
		p.CommonPrefixes = p.CommonPrefixes[:prefixes-1]
	}
	p.Next = p.CommonPrefixes[len(p.CommonPrefixes)-1]
	if n := len(p.Objects); n > 0 && p.Objects[n-1].Key > p.Next {
		p.Next = p.Objects[n-1].Key
	}
	return nil
}

func plainText(s string) string { return s }

// urlText encodes a key as encoding-type=url has it; '/' stays.
func urlText(s string) string {
	const upper = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~*/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', upper[c>>4], upper[c&15]})
	}
	return b.String()
}

// optional encodes a text that may be absent.
func (l *listing) optional(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return new(l.encode(*s))
}

func (l *listing) contents(owner bool) []s3wire.Object {
	list := make([]s3wire.Object, len(l.page.Objects))
	for i := range l.page.Objects {
		o := &l.page.Objects[i]
		list[i] = s3wire.Object{Key: l.encode(o.Key), LastModified: o.Modified, ETag: new(quoted(o.ETag)), Size: new(o.Size), StorageClass: "STANDARD",
			ChecksumType: checksumType(o.Checksums)}
		for _, sum := range o.Checksums {
			list[i].ChecksumAlgorithm = append(list[i].ChecksumAlgorithm, sum.Algorithm)
		}
		if owner {
			list[i].Owner = l.c.ownerShape()
		}
	}
	return list
}

func (l *listing) prefixes() []s3wire.CommonPrefix {
	list := make([]s3wire.CommonPrefix, len(l.page.CommonPrefixes))
	for i, p := range l.page.CommonPrefixes {
		list[i].Prefix = new(l.encode(p))
	}
	return list
}

var listObjectsV2 = operation{run: func(c *call) error {
	var in s3wire.ListObjectsV2Request
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.ContinuationToken != nil && *in.ContinuationToken == "" {
		return errInvalidArgument("The continuation token provided is incorrect", "continuation-token", "")
	}
	after, err := readToken(in.ContinuationToken)
	if err != nil {
		return err
	}
	if after == "" && in.StartAfter != nil {
		after = *in.StartAfter
	}
	l, err := c.list(in.EncodingType, in.Prefix, in.Delimiter, in.MaxKeys, after)
	if err != nil {
		return err
	}
	out := s3wire.ListObjectsV2Output{Name: new(c.bucket), Prefix: new(l.encode(l.prefix)), Delimiter: l.optional(in.Delimiter),
		MaxKeys: new(l.max), KeyCount: new(len(l.page.Objects) + len(l.page.CommonPrefixes)), IsTruncated: new(l.page.Truncated),
		EncodingType: l.encoding, ContinuationToken: in.ContinuationToken, StartAfter: l.optional(in.StartAfter),
		Contents: l.contents(in.FetchOwner != nil && *in.FetchOwner), CommonPrefixes: l.prefixes()}
	if l.page.Truncated {
		out.NextContinuationToken = new(token(l.page.Next))
	}
	return c.answer(&out)
}}

var listObjects = operation{run: func(c *call) error {
	var in s3wire.ListObjectsRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	marker := ""
	if in.Marker != nil {
		marker = *in.Marker
	}
	l, err := c.list(in.EncodingType, in.Prefix, in.Delimiter, in.MaxKeys, marker)
	if err != nil {
		return err
	}
	out := s3wire.ListObjectsOutput{Name: new(c.bucket), Prefix: new(l.encode(l.prefix)), Marker: new(l.encode(marker)),
		Delimiter: l.optional(in.Delimiter), MaxKeys: new(l.max), IsTruncated: new(l.page.Truncated), EncodingType: l.encoding,
		Contents: l.contents(true), CommonPrefixes: l.prefixes()}
	if l.page.Truncated && l.delimiter != "" {
		out.NextMarker = new(l.encode(l.page.Next))
	}
	return c.answer(&out)
}}

// listObjectVersions shows each object as its only version, for tools that empty a bucket by its versions.
var listObjectVersions = operation{note: "each object is its only version, \"null\"", run: func(c *call) error {
	var in s3wire.ListObjectVersionsRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	marker := ""
	if in.KeyMarker != nil {
		marker = *in.KeyMarker
	}
	l, err := c.list(in.EncodingType, in.Prefix, in.Delimiter, in.MaxKeys, marker)
	if err != nil {
		return err
	}
	out := s3wire.ListObjectVersionsOutput{Name: new(c.bucket), Prefix: new(l.encode(l.prefix)), KeyMarker: new(l.encode(marker)),
		VersionIdMarker: new(""), Delimiter: l.optional(in.Delimiter), MaxKeys: new(l.max), IsTruncated: new(l.page.Truncated),
		EncodingType: l.encoding, CommonPrefixes: l.prefixes()}
	for _, o := range l.contents(true) {
		out.Versions = append(out.Versions, s3wire.ObjectVersion{Key: o.Key, VersionId: new("null"), IsLatest: new(true), LastModified: o.LastModified,
			ETag: o.ETag, Size: o.Size, StorageClass: o.StorageClass, Owner: o.Owner, ChecksumAlgorithm: o.ChecksumAlgorithm, ChecksumType: o.ChecksumType})
	}
	if l.page.Truncated {
		out.NextKeyMarker, out.NextVersionIdMarker = new(l.encode(l.page.Next)), new("null")
	}
	return c.answer(&out)
}}
