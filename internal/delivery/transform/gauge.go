package transform

// Gauge tells when records are enough for a call. When a call is due for its age is its user's to say.
//
// The zero value is not for use; see [NewGauge].
type Gauge struct {
	buffer               int
	data, event, records int
}

// Bounds of BufferSizeInMBs, 0.2 to 3, and its default.
const (
	MinBuffer     = 200 << 10
	DefaultBuffer = 1 << 20
	MaxBuffer     = 3 << 20
)

// room is what a gauge leaves for the frame of an event: ARNs of streams have some hundred letters.
const room = 8 << 10

// NewGauge makes a gauge for a buffer of so many bytes of data.
func NewGauge(buffer int) Gauge {
	g := Gauge{buffer: min(max(buffer, MinBuffer), MaxBuffer)}
	g.Reset()
	return g
}

// Take counts a record. False: it is not counted, for one event would not hold it besides the others, which go first.
// The first record is always taken.
func (g *Gauge) Take(r *Record) bool {
	more := recordSize(r)
	if g.records > 0 && (g.event+more > MaxRequest || g.records == MaxRecords) {
		return false
	}
	g.data, g.event, g.records = g.data+len(r.Data), g.event+more, g.records+1
	return true
}

// Due tells whether what is taken fills the buffer, or an event.
func (g *Gauge) Due() bool {
	return g.data >= g.buffer || g.records >= MaxRecords || g.event >= MaxRequest
}

// Len is how many records are taken.
func (g *Gauge) Len() int { return g.records }

// Reset begins again.
func (g *Gauge) Reset() { g.data, g.event, g.records = 0, room, 0 }
