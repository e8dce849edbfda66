package gateway

import (
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// coding is a Content-Encoding of a response.
type coding uint8

// The codings, of which identity leaves a body as it is.
const (
	identity coding = iota
	gzipped
	deflated
)

var codingNames = [...]string{identity: "identity", gzipped: "gzip", deflated: "deflate"}

// statusPartial is of a part of a body. Its Content-Range speaks of bytes that are not compressed.
const statusPartial = 206

// compress compresses a mapped response as the caller asks: when the API compresses bodies of this length, and
// nothing has compressed it before. The gateway's own answers are never compressed.
func (x *exchange) compress() {
	resp := x.resp
	least := x.method.def.compressFrom
	if least < 0 || x.refused || len(resp.Body) < max(least, 1) || resp.Status == statusPartial {
		return
	}
	c := acceptedCoding(x.req.Header)
	if c == identity || resp.Header.Get("Content-Encoding") != "" {
		return
	}
	p := packers.Get().(*packer)
	resp.Body = p.pack(c, resp.Body)
	packers.Put(p)
	resp.Header = append(resp.Header, Field{"Content-Encoding", codingNames[c]})
}

// acceptedCoding gives the coding that the caller rates highest; of several, the one that it names first and that is
// served. When none of these is served, or the caller names none, nothing is compressed.
func acceptedCoding(h Header) coding {
	best, bestQuality := identity, 0
	known := false // best is a coding that is served
	for i := range h {
		if !strings.EqualFold(h[i].Name, "Accept-Encoding") {
			continue
		}
		for one := range strings.SplitSeq(h[i].Value, ",") {
			name, parameters, _ := strings.Cut(one, ";")
			q := quality(parameters)
			if q < bestQuality || q == 0 || q == bestQuality && known {
				continue
			}
			c, ok := codingNamed(strings.TrimSpace(name))
			best, bestQuality, known = c, q, ok
		}
	}
	return best
}

func codingNamed(name string) (c coding, ok bool) {
	for c, known := range codingNames {
		if strings.EqualFold(name, known) {
			return coding(c), true
		}
	}
	return identity, false
}

// quality reads q of a coding's parameters in thousandths; 1 when it is not there, 0 when it can't be read.
func quality(parameters string) int {
	const whole = 1000
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return 0
		}
		return int(f*whole + 0.5)
	}
	return whole
}

// packer holds the memory of compressing one response after another.
type packer struct {
	out  appended
	gzip *gzip.Writer
	zlib *zlib.Writer
}

var packers = sync.Pool{New: func() any { return new(packer) }}

type appended struct{ b []byte }

func (a *appended) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// pack compresses body in its place. Writing to memory can't fail.
func (p *packer) pack(c coding, body []byte) []byte {
	p.out.b = p.out.b[:0]
	var w io.WriteCloser
	switch {
	case c == deflated && p.zlib == nil:
		p.zlib, _ = zlib.NewWriterLevel(&p.out, zlib.BestSpeed)
		w = p.zlib
	case c == deflated:
		p.zlib.Reset(&p.out)
		w = p.zlib
	case p.gzip == nil:
		p.gzip, _ = gzip.NewWriterLevel(&p.out, gzip.BestSpeed)
		w = p.gzip
	default:
		p.gzip.Reset(&p.out)
		w = p.gzip
	}
	_, _ = w.Write(body)
	_ = w.Close()
	packed := append(body[:0], p.out.b...)
	if cap(p.out.b) > keptBytes {
		p.out.b = nil
	}
	return packed
}
