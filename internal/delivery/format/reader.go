package format

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"

	"millrace/internal/fault"
)

// maxBlock bounds a Snappy block before compression: other writers than ours make larger ones, none that is known beyond
// some MiB. Whoever says more is refused, so that a few bytes can't ask for much memory.
const maxBlock = 16 << 20

// NewReader reads what an object holds, whatever of the kinds it is compressed by: its first bytes tell, and the name for
// HADOOP_SNAPPY, which has nothing that tells it. Parquet and ORC are Unsupported: their records are not in a row.
func NewReader(r io.Reader, contentEncoding, name string) (io.Reader, error) {
	const op = "format.NewReader"
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(len(javaStream.magic))
	if err != nil && err != io.EOF {
		return nil, err
	}
	begins := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case begins("PAR1"):
		return nil, fault.New(fault.Unsupported, op, name, "it is a Parquet file, whose records can't be read back")
	case begins("ORC"):
		return nil, fault.New(fault.Unsupported, op, name, "it is an ORC file, whose records can't be read back")
	case begins("\x1f\x8b"):
		zr, err := gzip.NewReader(in)
		if err != nil {
			return nil, damaged(name, err)
		}
		return &checked{zr, name}, nil
	case begins("PK\x03\x04"):
		return newZipReader(in, name)
	case begins(javaStream.magic[:8]):
		if _, err := in.Discard(len(javaStream.magic)); err != nil {
			return nil, damaged(name, err)
		}
		return &checked{&snappyReader{from: in, snappyStream: javaStream}, name}, nil
	case contentEncoding == HadoopSnappy.ContentEncoding() || strings.HasSuffix(name, HadoopSnappy.Extension()):
		return &checked{&snappyReader{from: in, snappyStream: hadoopStream}, name}, nil
	}
	return in, nil
}

func damaged(name string, err error) error {
	return fault.New(fault.Corrupt, "format.Read", name, "the compressed object is damaged: %w", err)
}

// checked words what decoders say of damaged data.
type checked struct {
	from io.Reader
	name string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	if err != nil && err != io.EOF && fault.KindOf(err) == fault.Internal {
		err = damaged(c.name, err)
	}
	return n, err
}

// newZipReader reads an archive with one entry, as a stream: sizes may stand behind the entry.
func newZipReader(in *bufio.Reader, name string) (io.Reader, error) {
	const headBytes = 30
	var head [headBytes]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, damaged(name, err)
	}
	rest := int(binary.LittleEndian.Uint16(head[26:])) + int(binary.LittleEndian.Uint16(head[28:]))
	if _, err := in.Discard(rest); err != nil {
		return nil, damaged(name, err)
	}
	if flags := binary.LittleEndian.Uint16(head[6:]); flags&1 != 0 {
		return nil, fault.New(fault.Unsupported, "format.NewReader", name, "the ZIP archive is encrypted")
	}
	if method := binary.LittleEndian.Uint16(head[8:]); method != 8 {
		return nil, fault.New(fault.Unsupported, "format.NewReader", name, "the entry of the ZIP archive is not deflated (method %d)", method)
	}
	return &checked{&zipReader{entry: flate.NewReader(in), in: in, name: name}, name}, nil
}

type zipReader struct {
	entry io.Reader
	in    *bufio.Reader
	name  string
	ended bool
}

func (z *zipReader) Read(p []byte) (int, error) {
	if z.ended {
		return 0, io.EOF
	}
	n, err := z.entry.Read(p)
	if err != io.EOF {
		return n, err
	}
	z.ended = true
	return n, z.last()
}

// last makes sure that no entry follows, which would be left out: behind a data descriptor of 12 to 24 bytes, or none,
// comes the central directory.
func (z *zipReader) last() error {
	tail, err := z.in.Peek(24 + 4)
	if err != nil && err != io.EOF {
		return err
	}
	for _, at := range []int{0, 12, 16, 20, 24} {
		if len(tail) < at+4 {
			break
		}
		switch string(tail[at : at+4]) {
		case "PK\x01\x02":
			return io.EOF
		case "PK\x03\x04":
			return fault.New(fault.Unsupported, "format.Read", z.name, "the ZIP archive has several entries")
		}
	}
	return io.ErrUnexpectedEOF
}

// snappyReader reads the blocks of both Snappy kinds.
type snappyReader struct {
	from *bufio.Reader
	snappyStream
	raw   []byte
	block []byte
	rest  []byte
	left  int // of the outer length, in Hadoop's kind
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *snappyReader) length() (int, error) {
	var b [4]byte
	if _, err := io.ReadFull(s.from, b[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(b[:])
	if n > maxBlock {
		return 0, fault.New(fault.Corrupt, "format.Read", "", "a Snappy block says that it has %d bytes", n)
	}
	return int(n), nil
}

func (s *snappyReader) next() error {
	if s.uncompressed && s.left == 0 {
		n, err := s.length()
		if err != nil {
			return err // io.EOF between blocks is the end
		}
		if s.left = n; n == 0 {
			return nil
		}
	}
	n, err := s.length()
	if err != nil {
		if s.uncompressed && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if cap(s.raw) < n {
		s.raw = make([]byte, n)
	}
	if _, err := io.ReadFull(s.from, s.raw[:n]); err != nil {
		return io.ErrUnexpectedEOF
	}
	size, err := s2.DecodedLen(s.raw[:n])
	if err != nil || size > maxBlock {
		return fault.New(fault.Corrupt, "format.Read", "", "a Snappy block of %d bytes does not say how long it is", n)
	}
	if cap(s.block) < size {
		s.block = make([]byte, size)
	}
	if s.rest, err = s2.Decode(s.block[:size], s.raw[:n]); err != nil {
		return err
	}
	if s.uncompressed {
		if s.left -= size; s.left < 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}
