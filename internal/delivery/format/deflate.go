package format

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"millrace/internal/fault"
)

// deflateBlock is what a compressor is given at once. It is deflate's own unit; larger ones gain nothing.
const deflateBlock = 64 << 10

type gzipWriter struct {
	blocks
	pool *sync.Pool
	gz   *gzip.Writer
}

func (p *Pool) newGzip(level int, w io.Writer) (*gzipWriter, error) {
	if z, ok := p.gzip[level].Get().(*gzipWriter); ok {
		z.gz.Reset(w)
		return z, nil
	}
	gz, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	z := &gzipWriter{blocks: newBlocks(deflateBlock), pool: &p.gzip[level], gz: gz}
	z.emit = func(block []byte) error {
		_, err := z.gz.Write(block)
		return err
	}
	return z, nil
}

func (z *gzipWriter) Close() error {
	if z.end() == nil {
		z.err = z.gz.Close()
	}
	return z.err
}

func (z *gzipWriter) Release() {
	z.reset()
	z.gz.Reset(io.Discard)
	z.pool.Put(z)
}

// maxEntry bounds the name of a ZIP's entry: a UUID has 36 bytes.
const maxEntry = 255

// The records of an archive (APPNOTE.TXT 4.3): all numbers little-endian.
const (
	localHeader      = 0x04034b50
	dataDescriptor   = 0x08074b50
	centralHeader    = 0x02014b50
	endOfCentral     = 0x06054b50
	versionNeeded    = 20     // deflate
	flags            = 1 << 3 // sizes and checksum follow the data
	methodDeflate    = 8
	dosDate          = 1<<5 | 1 // 1980-01-01, the first day of the format: the time is no part of what is compressed
	localHeaderBytes = 30
)

// zipWriter makes an archive of one entry. An entry and its archive end at 4 GiB, where ZIP64 would begin.
type zipWriter struct {
	blocks
	pool    *sync.Pool
	w       io.Writer
	deflate *flate.Writer
	entry   string
	scratch []byte
	crc     uint32
	total   int64 // bytes before compression
	written int64
}

func (p *Pool) newZip(level int, entry string, w io.Writer) (*zipWriter, error) {
	z, ok := p.zip[level].Get().(*zipWriter)
	if !ok {
		z = &zipWriter{blocks: newBlocks(deflateBlock), pool: &p.zip[level]}
		deflate, err := flate.NewWriter((*zipOutput)(z), level)
		if err != nil {
			return nil, err
		}
		z.deflate, z.emit = deflate, z.compress
	}
	z.w, z.entry = w, entry
	z.crc, z.total, z.written = 0, 0, 0
	return z, nil
}

// zipOutput is the archive as its compressor sees it.
type zipOutput zipWriter

func (o *zipOutput) Write(p []byte) (int, error) {
	z := (*zipWriter)(o)
	if z.written == 0 {
		if err := z.put(z.header(z.scratch[:0])); err != nil {
			return 0, err
		}
	}
	return len(p), z.put(p)
}

func (z *zipWriter) put(p []byte) error {
	n, err := z.w.Write(p)
	z.written += int64(n)
	return err
}

func (z *zipWriter) compress(block []byte) error {
	if z.total += int64(len(block)); z.total > math.MaxUint32 {
		return fault.New(fault.LimitExceeded, "format.Write", z.entry, "the entry of a ZIP ends at 4 GiB")
	}
	z.crc = crc32.Update(z.crc, crc32.IEEETable, block)
	_, err := z.deflate.Write(block)
	return err
}

func (z *zipWriter) header(b []byte) []byte {
	b = le32(b, localHeader)
	b = le16(b, versionNeeded, flags, methodDeflate, 0, dosDate)
	b = le32(b, 0, 0, 0)
	b = le16(b, uint16(len(z.entry)), 0)
	b = append(b, z.entry...)
	z.scratch = b
	return b
}

func (z *zipWriter) Close() error {
	if z.end() == nil {
		z.err = z.finish()
	}
	return z.err
}

func (z *zipWriter) finish() error {
	if err := z.deflate.Close(); err != nil {
		return err
	}
	compressed := z.written - localHeaderBytes - int64(len(z.entry))
	if z.written > math.MaxUint32-1024 {
		return fault.New(fault.LimitExceeded, "format.Close", z.entry, "a ZIP ends at 4 GiB")
	}
	b := le32(z.scratch[:0], dataDescriptor, z.crc, uint32(compressed), uint32(z.total))
	start := uint32(z.written) + uint32(len(b))
	b = le32(b, centralHeader)
	b = le16(b, versionNeeded, versionNeeded, flags, methodDeflate, 0, dosDate)
	b = le32(b, z.crc, uint32(compressed), uint32(z.total))
	b = le16(b, uint16(len(z.entry)), 0, 0, 0, 0)
	b = le32(b, 0, 0)
	b = append(b, z.entry...)
	length := uint32(z.written) + uint32(len(b)) - start
	b = le32(b, endOfCentral)
	b = le16(b, 0, 0, 1, 1)
	b = le32(b, length, start)
	b = le16(b, 0)
	z.scratch = b
	return z.put(b)
}

func le16(b []byte, values ...uint16) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func le32(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func (z *zipWriter) Release() {
	z.reset()
	z.w = nil
	z.deflate.Reset((*zipOutput)(z))
	z.pool.Put(z)
}
