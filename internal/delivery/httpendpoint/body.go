package httpendpoint

import (
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/awswire"
)

// Limits of a batch.
const (
	MaxRecords = 10000
	MaxBytes   = 64 << 20 // of the body before it is compressed
)

// Encoding is ContentEncoding of a destination's RequestConfiguration.
type Encoding string

// The encodings.
const (
	NONE Encoding = "NONE"
	GZIP Encoding = "GZIP"
)

// Batch says what a body begins with. All is part of what is sent: the same batch made again has the same bytes.
type Batch struct {
	RequestID string // one word of ASCII, such as a UUID
	Timestamp time.Time
	Encoding  Encoding // empty: NONE
}

// Body is a batch of records as it is sent. Records are encoded and compressed as they come, so that a batch has its
// memory once; it is the user's to bound and to count. The zero value is ready for Reset. Not safe for concurrent use.
type Body struct {
	id       string
	encoding Encoding
	out      output
	zip      *gzip.Writer // until the body is ended
	scratch  []byte
	size     int // before compression, with what ends the body
	most     int // MaxBytes; less in tests
	records  int
	ended    bool
}

// writers lends what compresses, some 800 KiB each, to bodies that are being made.
var writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// output is what a body's writer writes to.
type output struct{ b []byte }

func (o *output) Write(p []byte) (int, error) { o.b = append(o.b, p...); return len(p), nil }

const (
	tail  = `]}`
	frame = `,{"data":""}`
	chunk = 24 << 10 // bytes that are encoded at once; of whole groups of three
)

// NewBody makes a body for a batch.
func NewBody(batch Batch) *Body {
	b := new(Body)
	b.Reset(batch)
	return b
}

// Reset begins another batch in the same memory.
func (b *Body) Reset(batch Batch) {
	b.id, b.encoding, b.records, b.ended, b.out.b = batch.RequestID, batch.Encoding, 0, false, b.out.b[:0]
	if b.most == 0 {
		b.most = MaxBytes
	}
	if b.encoding == GZIP {
		if b.zip == nil {
			b.zip = writers.Get().(*gzip.Writer)
		}
		b.zip.Reset(&b.out)
	}
	b.scratch = awswire.AppendString(append(b.scratch[:0], `{"requestId":`...), b.id)
	b.scratch = strconv.AppendInt(append(b.scratch, `,"timestamp":`...), batch.Timestamp.UnixMilli(), 10)
	b.scratch = append(b.scratch, `,"records":[`...)
	b.size = len(b.scratch) + len(tail)
	b.write(b.scratch)
}

// Append adds a record, unless the batch would be too large with it; then it is as it was. It keeps nothing of data.
func (b *Body) Append(data []byte) bool {
	if b.ended {
		panic("httpendpoint: a record for a body that was sent")
	}
	more := len(frame) + (len(data)+2)/3*4
	if b.records == MaxRecords || b.size+more > b.most {
		return false
	}
	b.size += more // the first record has no comma, and counts one
	begin := frame[:len(frame)-2]
	if b.records == 0 {
		begin = begin[1:]
	}
	b.records++
	b.scratch = append(b.scratch[:0], begin...)
	for len(data) > chunk {
		b.scratch = awswire.AppendBase64(b.scratch, data[:chunk])
		b.write(b.scratch)
		b.scratch, data = b.scratch[:0], data[chunk:]
	}
	b.scratch = append(awswire.AppendBase64(b.scratch, data), frame[len(frame)-2:]...)
	b.write(b.scratch)
	return true
}

func (b *Body) write(p []byte) {
	if b.encoding == GZIP {
		_, _ = b.zip.Write(p) // into memory: it does not fail
		return
	}
	b.out.b = append(b.out.b, p...)
}

// RequestID names the batch in all its attempts.
func (b *Body) RequestID() string { return b.id }

// Records is how many there are.
func (b *Body) Records() int { return b.records }

// Size bounds the body's before it is compressed.
func (b *Body) Size() int { return b.size }

// Held is the memory that the body holds, to be counted by who bounds it.
func (b *Body) Held() int { return cap(b.out.b) + cap(b.scratch) }

// Bytes ends the body, and gives it.
func (b *Body) Bytes() []byte {
	if !b.ended {
		b.ended = true
		b.write([]byte(tail))
		if b.encoding == GZIP {
			_ = b.zip.Close()
			writers.Put(b.zip)
			b.zip = nil
		}
	}
	return b.out.b
}
