package delivery

import (
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// budget is the memory that all buffers of a node share, handed out in slabs.
type budget struct {
	total int64
	used  atomic.Int64
	free  sync.Pool // of *[slabBytes]byte
}

// take gives a slab, or nil when the budget is used up. The caller owns it until give.
func (b *budget) take() *[slabBytes]byte {
	if b.used.Add(slabBytes) > b.total {
		b.used.Add(-slabBytes)
		return nil
	}
	return b.slab()
}

// must gives a slab whatever the budget says. Lanes use it for their first one, so that its excess is bounded by their number.
func (b *budget) must() *[slabBytes]byte {
	b.used.Add(slabBytes)
	return b.slab()
}

func (b *budget) slab() *[slabBytes]byte {
	if slab, ok := b.free.Get().(*[slabBytes]byte); ok {
		return slab
	}
	return new([slabBytes]byte)
}

func (b *budget) give(slab *[slabBytes]byte) {
	b.used.Add(-slabBytes)
	b.free.Put(slab)
}

// kept is what is at hand of a lane: its first outputs, as text with delimiters or as frames. What has no room in memory
// goes to a spool, where there is one; else the rest is read again from the source. It has one owner: the lane, then the
// task.
type kept struct {
	budget *budget
	spools *spools // nil: what has no room is read again
	force  bool    // what has no room is in memory all the same; its owner sees to it that it is little
	runs   []run   // in files, before the slabs
	slabs  []*[slabBytes]byte
	used   int // of the slabs

	full    bool // what follows is not here
	records int64
	outputs int64
	bytes   int64                 // of outputs
	next    stream.SequenceNumber // where to read on
}

// text keeps an output as it will be in the object.
func (k *kept) text(o *output, delimiter []byte) error {
	if k.full {
		return nil
	}
	if ok, err := k.reserve(len(o.data) + len(delimiter)); !ok {
		k.full = true
		return err
	}
	k.write(o.data)
	k.write(delimiter)
	k.count(o)
	return nil
}

// keep keeps an output as its part needs it.
func (k *kept) keep(p *journal.Part, o *output) error {
	if framed(p.Format) {
		return k.frame(o)
	}
	return k.text(o, p.Delimiter)
}

// frame keeps an output with all that is known of it.
func (k *kept) frame(o *output) error {
	if k.full {
		return nil
	}
	if f := o.failure; f != nil {
		f.Code, f.Message = cut(f.Code), cut(f.Message)
	}
	var head [maxFrameHead]byte
	h := o.appendHead(head[:0])
	n := len(h) + len(o.data)
	if o.failure != nil {
		n += len(o.failure.Code) + len(o.failure.Message)
	}
	if ok, err := k.reserve(n); !ok {
		k.full = true
		return err
	}
	k.write(h)
	if o.failure != nil {
		k.write([]byte(o.failure.Code))
		k.write([]byte(o.failure.Message))
	}
	k.write(o.data)
	k.count(o)
	return nil
}

func (k *kept) count(o *output) {
	if o.first {
		k.records++
	}
	k.outputs++
	k.bytes += int64(len(o.data))
	k.next = o.sequence.Next()
}

// reserve makes room for n more bytes, all or none: used is an offset into slabs, so that reserved slabs lie beyond it.
func (k *kept) reserve(n int) (bool, error) {
	if k.take(n) {
		return true, nil
	}
	if k.spools == nil && !k.force {
		return false, nil
	}
	if !k.force {
		if err := k.spill(); err != nil {
			return false, err
		}
		if k.take(n) {
			return true, nil
		}
	}
	for len(k.slabs)*slabBytes < k.used+n { // an output, and no more, beyond the budget
		k.slabs = append(k.slabs, k.budget.must())
	}
	return true, nil
}

func (k *kept) take(n int) bool {
	need := (k.used + n + slabBytes - 1) / slabBytes
	had := len(k.slabs)
	for len(k.slabs) < need {
		slab := k.budget.take()
		if slab == nil {
			for _, s := range k.slabs[had:] {
				k.budget.give(s)
			}
			k.slabs = k.slabs[:had]
			return false
		}
		k.slabs = append(k.slabs, slab)
	}
	return true
}

// spill moves what is in memory to a file.
func (k *kept) spill() error {
	if k.used == 0 {
		return nil
	}
	r, err := k.spools.write(func(yield func([]byte) bool) {
		for at := 0; at < k.used; {
			p := k.inMemory(at)
			if !yield(p) {
				return
			}
			at += len(p)
		}
	}, int64(k.used))
	if err != nil {
		return err
	}
	k.runs = append(k.runs, r)
	k.giveSlabs()
	return nil
}

func (k *kept) giveSlabs() {
	for _, s := range k.slabs {
		k.budget.give(s)
	}
	k.slabs, k.used = nil, 0
}

func (k *kept) write(p []byte) {
	for len(p) > 0 {
		n := copy(k.slabs[k.used/slabBytes][k.used%slabBytes:], p)
		k.used += n
		p = p[n:]
	}
}

// inMemory gives what lies in slabs from an offset to the end of its slab; empty at the end.
func (k *kept) inMemory(offset int) []byte {
	if offset >= k.used {
		return nil
	}
	slab, start := k.slabs[offset/slabBytes], offset%slabBytes
	return slab[start:min(slabBytes, start+k.used-offset)]
}

// drop gives all memory and files back; nothing is kept from then on.
func (k *kept) drop() {
	k.giveSlabs()
	for i := range k.runs {
		k.runs[i].release()
	}
	*k = kept{budget: k.budget, spools: k.spools, full: true}
}

// yield gives memory back that others may need, and keeps the content where a file can have it.
func (k *kept) yield() {
	if k.spools == nil || k.spill() != nil {
		k.drop()
	}
}

// keptReader reads what is kept, from the beginning. What is kept must not change meanwhile.
type keptReader struct {
	k      *kept
	run    int
	offset int64 // into the run, or, behind the last one, into the slabs
	buf    []byte
	rest   []byte // of what next gave, for Read
}

// Read implements io.Reader.
func (r *keptReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		var err error
		if r.rest, err = r.next(); err != nil {
			return 0, err
		}
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next gives some of the text; empty at the end. It is valid until the next call.
func (r *keptReader) next() ([]byte, error) {
	for r.run < len(r.k.runs) {
		from := &r.k.runs[r.run]
		n := min(from.n-r.offset, spoolReadBytes)
		if n == 0 {
			r.run, r.offset = r.run+1, 0
			continue
		}
		if r.buf == nil {
			r.buf = make([]byte, spoolReadBytes)
		}
		p := r.buf[:n]
		if err := from.read(p, r.offset); err != nil {
			return nil, err
		}
		r.offset += n
		return p, nil
	}
	p := r.k.inMemory(int(r.offset))
	r.offset += int64(len(p))
	return p, nil
}

// output is what a record, or a piece of one, has become.
type output struct {
	data     []byte
	first    bool // of its record: it is the one that counts
	sequence stream.SequenceNumber
	arrival  int64 // milliseconds
	sub      int   // which of its record's outputs
	failure  *failure
}

// failure says why an output goes to an error object. Attempts and Ended are those of a call; a step that is computed has
// one attempt, and its end is that of the plan.
type failure struct {
	Code, Message string
	Attempts      int
	Ended         int64 // milliseconds; 0: of the plan
}

// A frame is
//
//	data length (4) | flags (1) | sub (4) | arrival (8) | sequence (24)
//	and of a failure: attempts (4) | ended (8) | code length (2) | message length (2) | code | message
//	data
//
// It lives in memory and in spools only.
const (
	frameHead    = 4 + 1 + 4 + 8 + stream.BinaryLen
	failureHead  = 4 + 8 + 2 + 2
	maxFrameHead = frameHead + failureHead

	firstFlag   = 1
	failureFlag = 2
)

// cut bounds a text of a failure, for whose length a frame has 16 bits.
func cut(text string) string {
	const most = 4 << 10
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

func (o *output) appendHead(b []byte) []byte {
	var flags byte
	if o.first {
		flags |= firstFlag
	}
	if o.failure != nil {
		flags |= failureFlag
	}
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(o.data))), flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(o.sub))
	b = binary.LittleEndian.AppendUint64(b, uint64(o.arrival))
	var number [stream.BinaryLen]byte
	o.sequence.PutBinary(&number)
	b = append(b, number[:]...)
	if f := o.failure; f != nil {
		b = binary.LittleEndian.AppendUint32(b, uint32(f.Attempts))
		b = binary.LittleEndian.AppendUint64(b, uint64(f.Ended))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(f.Code)))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(f.Message)))
	}
	return b
}

// frameReader takes frames apart. It reads ahead.
type frameReader struct {
	from io.Reader
	buf  []byte // what is read and not taken yet
	mem  []byte // buf is of it
	o    output
	f    failure
}

// frameReadBytes is how much of frames is read at a time; more where a frame is larger.
const frameReadBytes = 32 << 10

// next gives a frame, valid until the next call; io.EOF at the end.
func (r *frameReader) next() (*output, error) {
	head, err := r.take(frameHead)
	if err != nil {
		return nil, err
	}
	n, flags, o := int(binary.LittleEndian.Uint32(head)), head[4], &r.o
	o.sub, o.arrival = int(binary.LittleEndian.Uint32(head[5:])), int64(binary.LittleEndian.Uint64(head[9:]))
	o.sequence = stream.BinarySequenceNumber((*[stream.BinaryLen]byte)(head[17:]))
	o.first, o.failure = flags&firstFlag != 0, nil
	if flags&failureFlag != 0 {
		if head, err = r.take(failureHead); err != nil {
			return nil, torn(err)
		}
		r.f.Attempts, r.f.Ended = int(binary.LittleEndian.Uint32(head)), int64(binary.LittleEndian.Uint64(head[4:]))
		code, message := int(binary.LittleEndian.Uint16(head[12:])), int(binary.LittleEndian.Uint16(head[14:]))
		text, err := r.take(code + message)
		if err != nil {
			return nil, torn(err)
		}
		r.f.Code, r.f.Message = string(text[:code]), string(text[code:])
		o.failure = &r.f
	}
	if o.data, err = r.take(n); err != nil {
		return nil, torn(err)
	}
	return o, nil
}

func torn(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fault.New(fault.Internal, "delivery.frames", "", "a frame is cut")
	}
	return err
}

// take gives the next n bytes; io.EOF when there are none at all.
func (r *frameReader) take(n int) ([]byte, error) {
	if len(r.buf) < n {
		if len(r.mem) < n {
			mem := make([]byte, max(frameReadBytes, n+n/2))
			r.mem, r.buf = mem, mem[:copy(mem, r.buf)]
		} else {
			r.buf = r.mem[:copy(r.mem, r.buf)]
		}
		more, err := io.ReadAtLeast(r.from, r.mem[len(r.buf):], n-len(r.buf))
		if r.buf = r.mem[:len(r.buf)+more]; err != nil {
			if len(r.buf) > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	p := r.buf[:n]
	r.buf = r.buf[n:]
	return p, nil
}

// at gives when a step ended: when it says so, else at the time of the plan.
func (f *failure) at(planned time.Time) int64 {
	if f.Ended != 0 {
		return f.Ended
	}
	return planned.UnixMilli()
}
