package gateway

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// inflate undoes the payload's Content-Encoding: gzip, deflate or identity. Any other is an unsupported media type.
//
// The service's documents say that a payload shorter than the API's minimumCompressionSize is not inflated. It is
// here: no template can read what is left compressed, and an API that sets the size for its responses would store
// garbage of every small event.
func (x *exchange) inflate() *failure {
	if len(x.body) == 0 {
		return nil
	}
	encoding := strings.TrimSpace(x.req.Header.Get("Content-Encoding"))
	if encoding == "" {
		return nil
	}
	var r io.Reader
	switch {
	case strings.EqualFold(encoding, "gzip"), strings.EqualFold(encoding, "x-gzip"):
		zr, _ := gzipReaders.Get().(*gzip.Reader)
		if zr == nil {
			zr = new(gzip.Reader)
		}
		defer gzipReaders.Put(zr)
		if zr.Reset(bytes.NewReader(x.body)) != nil {
			return errEncoding
		}
		r = zr
	case strings.EqualFold(encoding, "deflate"):
		r = deflateReader(x.body)
	case strings.EqualFold(encoding, "identity"):
		return nil
	default:
		return errMediaType
	}
	return x.readInflated(r)
}

var gzipReaders sync.Pool

// deflateReader reads what "deflate" means, zlib's format, and what some clients send instead, the bare stream.
func deflateReader(body []byte) io.Reader {
	if zr, err := zlib.NewReader(bytes.NewReader(body)); err == nil {
		return zr
	}
	return flate.NewReader(bytes.NewReader(body))
}

// inflateStep is what an inflated payload is given first; it doubles from there, each step taken from the budget
// before it is made.
const inflateStep = 8 << 10

var errBudget = errors.New("no body memory left")

func (x *exchange) readInflated(r io.Reader) *failure {
	b := x.inflated[:0]
	for {
		if len(b) == cap(b) {
			grown, err := x.growInflated(b)
			if err != nil {
				return errOverBudget
			}
			b = grown
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		x.inflated = b
		switch {
		case len(b) > maxBodyBytes:
			return errTooLarge
		case err == io.EOF:
			x.body = b
			return nil
		case err != nil:
			return errEncoding
		}
	}
}

func (x *exchange) growInflated(b []byte) ([]byte, error) {
	size := max(2*cap(b), inflateStep)
	if budget := x.g.Budget; budget != nil {
		more := int64(size) - x.reserved // the pool's memory is free, and what is made in its place is not
		if !budget.Take(more) {
			return b, errBudget
		}
		x.reserved += more
	}
	larger := make([]byte, len(b), size)
	copy(larger, b)
	return larger, nil
}

// isBinary reports whether a media type is one of binaryMediaTypes: exactly, by "image/*", or by "*/*".
func isBinary(types []string, mediaType string) bool {
	for _, t := range types {
		if t == "*/*" || strings.EqualFold(t, mediaType) {
			return true
		}
		if major, ok := strings.CutSuffix(t, "/*"); ok {
			if m, _, found := strings.Cut(mediaType, "/"); found && strings.EqualFold(m, major) {
				return true
			}
		}
	}
	return false
}

const (
	toText   = "CONVERT_TO_TEXT"
	toBinary = "CONVERT_TO_BINARY"
)

// convertRequest makes of the payload what contentHandling says. Text that is not UTF-8 is mended byte by byte; raw
// stays true for bytes that no template can read.
func (x *exchange) convertRequest() (raw bool, err error) {
	def, handling := x.method.def, x.method.handling
	x.binary = len(def.binary) > 0 && isBinary(def.binary, x.contentTypeOrJSON())
	switch {
	case x.binary && handling == toText:
		x.body = base64.StdEncoding.AppendEncode(nil, x.body)
	case x.binary:
		return true, nil
	case handling == toBinary:
		decoded, err := base64.StdEncoding.AppendDecode(nil, x.body)
		if err != nil {
			return false, err
		}
		x.body = decoded
		return true, nil
	default:
		x.body = mended(x.body)
	}
	return false, nil
}

// mended puts U+FFFD in the place of each byte that is not UTF-8.
func mended(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+len(b)/8)
	for _, r := range text(b) {
		out = utf8.AppendRune(out, r)
	}
	return out
}

// convertResponse makes of the backend's answer what contentHandling and the caller's Accept say.
// raw: the outcome is bytes, which a template can't read unless they happen to be text.
func (x *exchange) convertResponse(b []byte, handling string) (out []byte, raw bool, err error) {
	types := x.method.def.binary
	if len(types) == 0 && handling == "" {
		return x.mendedAnswer(b), false, nil
	}
	fromBinary := isBinary(types, x.answerType())
	asBinary := handling == toBinary || handling == "" && isBinary(types, x.accept())
	switch {
	case !fromBinary && asBinary:
		out, err = base64.StdEncoding.AppendDecode(nil, b)
		return out, true, err
	case fromBinary && !asBinary:
		return base64.StdEncoding.AppendEncode(nil, b), false, nil
	case fromBinary:
		return b, true, nil
	}
	return x.mendedAnswer(b), false, nil
}

// mendedAnswer makes text of an answer; an action of this house answers with nothing else.
func (x *exchange) mendedAnswer(b []byte) []byte {
	if !x.method.answersHeaders() {
		return b
	}
	return mended(b)
}

// answerType is the media type of the backend's answer.
func (x *exchange) answerType() string {
	if !x.method.answersHeaders() {
		return typeAWSJSON
	}
	contentType, _ := x.backendHeader("Content-Type")
	return mediaType(contentType)
}

// typeAWSJSON is what the actions answer with.
const typeAWSJSON = "application/x-amz-json-1.1"

// accept is the first media type of the last Accept line; who sends none is taken to accept JSON.
func (x *exchange) accept() string {
	first, _, _ := strings.Cut(x.req.Header.Get("Accept"), ",")
	if first = mediaType(first); first == "" {
		return typeJSON
	}
	return first
}

func (x *exchange) contentTypeOrJSON() string {
	if x.contentType == "" {
		return typeJSON
	}
	return x.contentType
}

// text reads bytes as a string without a copy. The bytes must not change while the string is used.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
