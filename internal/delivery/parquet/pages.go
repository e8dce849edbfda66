package parquet

import (
	"io"
	"sync"
)

// chunkBytes is the unit of memory for finished pages: small, for there are as many begun ones as columns.
const chunkBytes = 4 << 10

// newChunks is a pool of what no writer uses now.
func newChunks() *sync.Pool { return &sync.Pool{New: func() any { return new([chunkBytes]byte) }} }

// pagePool gives the library memory for the finished pages of a row group, and counts it. It belongs to one writer.
type pagePool struct {
	chunks *sync.Pool
	held   int
}

func (p *pagePool) GetBuffer() io.ReadWriteSeeker  { return &pageBuffer{pool: p} }
func (p *pagePool) PutBuffer(b io.ReadWriteSeeker) { b.(*pageBuffer).drop() }

// pageBuffer is written once and then read once. Its memory is given back as it is read: whoever takes the bytes has
// them twice for one chunk only.
type pageBuffer struct {
	pool   *pagePool
	chunks []*[chunkBytes]byte
	size   int // written
	next   int // read
}

func (b *pageBuffer) Write(p []byte) (int, error) {
	given := len(p)
	for len(p) > 0 {
		at := b.size % chunkBytes
		if at == 0 {
			b.chunks = append(b.chunks, b.pool.chunks.Get().(*[chunkBytes]byte))
			b.pool.held += chunkBytes
		}
		n := copy(b.chunks[len(b.chunks)-1][at:], p)
		b.size += n
		p = p[n:]
	}
	return given, nil
}

// Seek goes to the start, which is all that the library does before it reads.
func (b *pageBuffer) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart || b.next != 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return 0, nil
}

func (b *pageBuffer) Read(p []byte) (int, error) {
	if b.next == b.size {
		return 0, io.EOF
	}
	i, at := b.next/chunkBytes, b.next%chunkBytes
	n := copy(p, b.chunks[i][at:min(chunkBytes, b.size-i*chunkBytes)])
	if b.next += n; b.next%chunkBytes == 0 {
		b.free(i)
	}
	return n, nil
}

// WriteTo implements io.WriterTo.
func (b *pageBuffer) WriteTo(w io.Writer) (written int64, err error) {
	for b.next < b.size {
		i, at := b.next/chunkBytes, b.next%chunkBytes
		n, err := w.Write(b.chunks[i][at:min(chunkBytes, b.size-i*chunkBytes)])
		b.next += n
		written += int64(n)
		if err != nil {
			return written, err
		}
		b.free(i)
	}
	return written, nil
}

func (b *pageBuffer) free(i int) {
	if b.chunks[i] != nil {
		b.pool.chunks.Put(b.chunks[i])
		b.chunks[i] = nil
		b.pool.held -= chunkBytes
	}
}

func (b *pageBuffer) drop() {
	for i := range b.chunks {
		b.free(i)
	}
	b.chunks = nil
}
