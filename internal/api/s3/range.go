package s3

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"millrace/internal/object"
)

// span is a piece of an object.
type span struct {
	offset, length int64
	checksums      []object.Checksum // of this piece, if it is a part
}

// selected finds what of an object the request asks for: all of it, a range, or a part. partial: the answer is 206.
func (c *call) selected(info *object.Info) (s span, partial bool, err error) {
	if text := c.query.Get("partNumber"); text != "" {
		s, err = c.selectedPart(text, info)
		return s, s.length > 0, err // nothing has no range of bytes
	}
	text := c.r.Header.Get("Range")
	if text == "" {
		return whole(info), false, nil
	}
	s, form, ok := parseRange(text, info.Size)
	switch {
	case !form: // what is no range of bytes is not looked at
		return whole(info), false, nil
	case !ok:
		return span{}, false, rangeError(text, info.Size)
	}
	return s, true, nil
}

func whole(info *object.Info) span { return span{length: info.Size, checksums: info.Checksums} }

// parseRange reads "bytes=a-b", "bytes=a-" and "bytes=-n". form: it is one of these; ok: it has bytes of the object.
func parseRange(text string, size int64) (s span, form, ok bool) {
	spec, found := strings.CutPrefix(strings.TrimSpace(text), "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !found || !dash || strings.Contains(last, ",") || first == "" && last == "" {
		return span{}, false, false
	}
	if first == "" {
		n, err := parseOffset(last)
		if err != nil {
			return span{}, false, false
		}
		if size == 0 && n > 0 {
			return span{}, false, false // the last bytes of nothing are all of it
		}
		n = min(n, size)
		return span{offset: size - n, length: n}, true, n > 0
	}
	from, err := parseOffset(first)
	if err != nil {
		return span{}, false, false
	}
	to := size - 1
	if last != "" {
		n, err := parseOffset(last)
		if err != nil || n < from {
			return span{}, false, false
		}
		to = min(to, n)
	}
	return span{offset: from, length: to - from + 1}, true, from < size
}

func parseOffset(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err
}

// selectedPart finds a part of a multipart object; any other object is its only part.
func (c *call) selectedPart(text string, info *object.Info) (span, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 1 || n > object.MaxParts:
		return span{}, errInvalidArgument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", short(text))
	case c.r.Header.Get("Range") != "":
		return span{}, errInvalidRequest("Cannot specify both Range header and partNumber query parameter")
	}
	parts := info.PartList
	if info.Parts > 1 && len(parts) != info.Parts {
		return span{}, errUnsupported("partNumber of an object whose store does not tell the sizes of its parts")
	}
	if len(parts) == 0 {
		parts = []object.Part{{Number: 1, Size: info.Size, Checksums: info.Checksums}}
	}
	if n > len(parts) {
		return span{}, newError(http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "The requested partnumber is not satisfiable").
			with("PartNumberRequested", text).with("ActualPartCount", strconv.Itoa(len(parts)))
	}
	var s span
	for i := range parts[:n-1] {
		s.offset += parts[i].Size
	}
	s.length = parts[n-1].Size
	if len(info.Checksums) > 0 && (info.Checksums[0].Composite || info.Parts == 0) {
		s.checksums = parts[n-1].Checksums // of an object with a checksum over all bytes, the service tells none for a part
	}
	return s, nil
}

func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.offset, s.offset+s.length-1, size)
}
