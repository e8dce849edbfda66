package format

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
)

// snappyStream is what is around the raw blocks.
type snappyStream struct {
	magic        string // before the first block
	block        int    // bytes of a block before compression
	uncompressed bool   // the length before compression stands before the length after it
}

var (
	// javaStream is what SnappyOutputStream of snappy-java writes; its reader takes blocks of any size, its writer makes 32 KiB.
	javaStream = snappyStream{magic: "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01", block: 32 << 10}
	// hadoopStream is what Hadoop's BlockCompressorStream writes with SnappyCodec. Readers have buffers of 256 KiB; a block of
	// Snappy finds its matches within 64 KiB.
	hadoopStream = snappyStream{block: 64 << 10, uncompressed: true}
)

type snappyWriter struct {
	blocks
	snappyStream
	pool *sync.Pool
	w    io.Writer
	out  []byte
	some bool // the magic has been written
}

func newSnappy(pool *sync.Pool, stream snappyStream, w io.Writer) *snappyWriter {
	z, ok := pool.Get().(*snappyWriter)
	if !ok {
		z = &snappyWriter{blocks: newBlocks(stream.block), snappyStream: stream, pool: pool,
			out: make([]byte, len(stream.magic)+8+s2.MaxEncodedLen(stream.block))}
		z.emit = z.compress
	}
	z.w, z.some = w, false
	return z
}

func (z *snappyWriter) compress(block []byte) error {
	at := 0
	if !z.some {
		at = copy(z.out, z.magic)
		z.some = true
	}
	if z.uncompressed {
		binary.BigEndian.PutUint32(z.out[at:], uint32(len(block)))
		at += 4
	}
	raw := s2.EncodeSnappy(z.out[at+4:], block)
	binary.BigEndian.PutUint32(z.out[at:], uint32(len(raw)))
	_, err := z.w.Write(z.out[:at+4+len(raw)])
	return err
}

func (z *snappyWriter) Close() error {
	if z.end() == nil && !z.some && z.magic != "" {
		z.some = true
		_, z.err = io.WriteString(z.w, z.magic)
	}
	return z.err
}

func (z *snappyWriter) Release() {
	z.reset()
	z.w = nil
	z.pool.Put(z)
}
