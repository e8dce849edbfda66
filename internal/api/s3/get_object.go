package s3

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
	"millrace/internal/object"
)

var getObject = operation{run: func(c *call) error {
	if c.query.Has("attributes") { // GetObjectAttributes is known by its header
		return errNoAttributes
	}
	o, err := c.Store.Get(c.ctx, c.bucket, c.key)
	if err != nil {
		return err
	}
	defer o.Body.Close()
	s, status, err := c.describeObject(&o.Info)
	if err != nil {
		return err
	}
	c.answered = true
	c.w.WriteHeader(status)
	return sendSpan(c.w, o, s)
}}

var headObject = operation{run: func(c *call) error {
	info, err := c.Store.Head(c.ctx, c.bucket, c.key)
	if err != nil {
		return err
	}
	_, status, err := c.describeObject(&info)
	if err != nil {
		return err
	}
	c.answered = true
	c.w.WriteHeader(status)
	return nil
}}

// sendSpan sends a piece of an object. A body that can seek is a file, which the operating system sends by itself.
func sendSpan(w io.Writer, o *object.Object, s span) error {
	if s.length == 0 {
		return nil
	}
	body := io.Reader(o.Body)
	if s.offset > 0 {
		if seeker, ok := o.Body.(io.Seeker); ok {
			if _, err := seeker.Seek(s.offset, io.SeekStart); err != nil {
				return err
			}
		} else {
			body = io.NewSectionReader(o.Body, s.offset, s.length)
		}
	}
	_, err := io.CopyN(w, body, s.length)
	return err
}

// describeObject checks the conditions of a read and sets the headers of its answer.
func (c *call) describeObject(info *object.Info) (span, int, error) {
	h := c.w.Header()
	cond := readConditions{h: c.r.Header, match: "If-Match", noneMatch: "If-None-Match", modified: "If-Modified-Since", unmodified: "If-Unmodified-Since"}
	if err := cond.check(info); err != nil {
		if err == errNotModified {
			h["Etag"] = []string{quoted(info.ETag)}
			h["Last-Modified"] = []string{awswire.HTTPTime(info.Modified)}
		}
		return span{}, 0, err
	}
	s, partial, err := c.selected(info)
	if err != nil {
		return span{}, 0, err
	}
	setAttributes(h, info)
	if err := c.overrideHeaders(h); err != nil {
		return span{}, 0, err
	}
	h["Content-Length"] = []string{strconv.FormatInt(s.length, 10)}
	if c.query.Has("partNumber") && info.Parts > 0 {
		h["X-Amz-Mp-Parts-Count"] = []string{strconv.Itoa(info.Parts)}
	}
	if len(s.checksums) > 0 && strings.EqualFold(c.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		setChecksums(h, s.checksums)
		h["X-Amz-Checksum-Type"] = []string{checksumType(info.Checksums)} // of a part, the object's
	}
	if partial {
		h["Content-Range"] = []string{s.contentRange(info.Size)}
		return s, http.StatusPartialContent, nil
	}
	return s, http.StatusOK, nil
}

// setAttributes writes what belongs to an object into headers.
func setAttributes(h http.Header, info *object.Info) {
	h["Accept-Ranges"] = []string{"bytes"}
	h["Etag"] = []string{quoted(info.ETag)}
	h["Last-Modified"] = []string{awswire.HTTPTime(info.Modified)}
	for _, a := range []struct{ name, value string }{
		{"Content-Type", info.ContentType}, {"Content-Encoding", info.ContentEncoding}, {"Content-Disposition", info.ContentDisposition},
		{"Content-Language", info.ContentLanguage}, {"Cache-Control", info.CacheControl}, {"Expires", info.Expires},
	} {
		if a.value != "" {
			h[a.name] = []string{a.value}
		}
	}
	if info.ContentType == "" {
		h["Content-Type"] = []string{"binary/octet-stream"}
	}
	for name, value := range info.Metadata { // spelled as the service does: clients show names as they come
		h[strings.ToLower(metaPrefix)+name] = []string{value}
	}
	if len(info.Tags) > 0 {
		h["X-Amz-Tagging-Count"] = []string{strconv.Itoa(len(info.Tags))}
	}
}

// overridden are the query parameters that replace headers of the answer.
var overridden = []struct{ query, header string }{
	{"response-content-type", "Content-Type"}, {"response-content-language", "Content-Language"}, {"response-expires", "Expires"},
	{"response-cache-control", "Cache-Control"}, {"response-content-disposition", "Content-Disposition"},
	{"response-content-encoding", "Content-Encoding"},
}

func (c *call) overrideHeaders(h http.Header) error {
	for _, o := range overridden {
		value := c.query.Get(o.query)
		if value == "" {
			continue
		}
		if c.Credentials != nil && c.caller.Anonymous() {
			return errInvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
		}
		h[o.header] = []string{value}
	}
	return nil
}

// readConditions are the conditions of a read, or of the source of a copy.
type readConditions struct {
	h                                      http.Header
	match, noneMatch, modified, unmodified string
	copying                                bool // all that does not hold is 412
}

// check reports the first condition that does not hold. If-None-Match has the last word over If-Modified-Since, and
// If-Match over If-Unmodified-Since.
func (r readConditions) check(info *object.Info) error {
	failed := func(name string) error { return errPrecondition.with("Condition", name) }
	match, noneMatch := r.h.Get(r.match), r.h.Get(r.noneMatch)
	changed := info.Modified.Truncate(time.Second)
	if match != "" && !matches(match, info.ETag) {
		return failed(r.match)
	}
	if since, ok := r.time(r.unmodified); ok && match == "" && changed.After(since) {
		return failed(r.unmodified)
	}
	unchanged := noneMatch != "" && matches(noneMatch, info.ETag)
	if since, ok := r.time(r.modified); ok && noneMatch == "" && !changed.After(since) {
		unchanged = true
	}
	switch {
	case unchanged && r.copying:
		return failed(r.noneMatch)
	case unchanged:
		return errNotModified
	}
	return nil
}

func (r readConditions) time(name string) (time.Time, bool) {
	t, err := http.ParseTime(r.h.Get(name))
	return t, err == nil // a date that can't be read is not looked at, as HTTP has it
}

// matches reports whether a list of ETags has the given one.
func matches(list, etag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == "*" || unquoted(one) == etag {
			return true
		}
	}
	return false
}

var errNoAttributes = errInvalidRequest("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")

// attributeNames are what GetObjectAttributes can be asked for.
var attributeNames = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

var getObjectAttributes = operation{note: "ObjectParts lists the parts where the store knows them", run: func(c *call) error {
	var in s3wire.GetObjectAttributesRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	for _, name := range in.ObjectAttributes {
		if !slices.Contains(attributeNames, name) {
			return errInvalidArgument("Invalid attribute name specified.", "x-amz-object-attributes", short(name))
		}
	}
	if len(in.ObjectAttributes) == 0 {
		return errNoAttributes
	}
	most, err := bound(in.MaxParts, "x-amz-max-parts")
	if err != nil {
		return err
	}
	info, err := c.Store.Head(c.ctx, c.bucket, c.key)
	if err != nil {
		return err
	}
	out := s3wire.GetObjectAttributesOutput{LastModified: info.Modified}
	wants := func(name string) bool { return slices.Contains(in.ObjectAttributes, name) }
	if wants("ETag") {
		out.ETag = new(info.ETag)
	}
	if wants("ObjectSize") {
		out.ObjectSize = new(info.Size)
	}
	if wants("StorageClass") {
		out.StorageClass = "STANDARD"
	}
	if wants("ObjectParts") && info.Parts > 0 {
		out.ObjectParts = objectParts(&info, awswire.Value(in.PartNumberMarker), most)
	}
	if list := info.Checksums; wants("Checksum") && len(list) > 0 {
		out.Checksum = &s3wire.Checksum{ChecksumCRC32: named(list, object.CRC32), ChecksumCRC32C: named(list, object.CRC32C),
			ChecksumCRC64NVME: named(list, object.CRC64NVME), ChecksumSHA1: named(list, object.SHA1),
			ChecksumSHA256: named(list, object.SHA256), ChecksumType: checksumType(list)}
	}
	out.SetHeader(c.w.Header())
	return c.answer(&out)
}}

// objectParts lists the parts of an object behind a number.
func objectParts(info *object.Info, marker, most int) *s3wire.GetObjectAttributesParts {
	out := &s3wire.GetObjectAttributesParts{TotalPartsCount: new(info.Parts)}
	if len(info.PartList) == 0 {
		return out
	}
	parts := info.PartList
	for len(parts) > 0 && parts[0].Number <= marker {
		parts = parts[1:]
	}
	out.PartNumberMarker, out.MaxParts, out.IsTruncated = new(marker), new(most), new(len(parts) > most)
	out.NextPartNumberMarker = new(marker)
	for _, p := range parts[:min(most, len(parts))] {
		sum := p.Checksums
		out.Parts = append(out.Parts, s3wire.ObjectPart{PartNumber: new(p.Number), Size: new(p.Size), ChecksumCRC32: named(sum, object.CRC32),
			ChecksumCRC32C: named(sum, object.CRC32C), ChecksumCRC64NVME: named(sum, object.CRC64NVME), ChecksumSHA1: named(sum, object.SHA1),
			ChecksumSHA256: named(sum, object.SHA256)})
		out.NextPartNumberMarker = new(p.Number)
	}
	return out
}
