package format

// blocks cuts what is written into blocks of one size, the last one shorter: compressors see the same cuts whatever the
// writes were.
type blocks struct {
	size   int
	buffer []byte // a block that is not full
	emit   func(block []byte) error
	err    error
}

func newBlocks(size int) blocks { return blocks{size: size, buffer: make([]byte, 0, size)} }

func (b *blocks) reset() { b.buffer, b.err = b.buffer[:0], nil }

func (b *blocks) Write(p []byte) (int, error) {
	given := len(p)
	for len(p) > 0 && b.err == nil {
		if len(b.buffer) == 0 && len(p) >= b.size { // no copy
			b.err = b.emit(p[:b.size])
			p = p[b.size:]
			continue
		}
		n := min(len(p), b.size-len(b.buffer))
		b.buffer = append(b.buffer, p[:n]...)
		p = p[n:]
		if len(b.buffer) == b.size {
			b.err = b.emit(b.buffer)
			b.buffer = b.buffer[:0]
		}
	}
	return given - len(p), b.err
}

// end emits the last block.
func (b *blocks) end() error {
	if b.err == nil && len(b.buffer) > 0 {
		b.err = b.emit(b.buffer)
		b.buffer = b.buffer[:0]
	}
	return b.err
}
