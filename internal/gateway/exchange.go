package gateway

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// exchange is one request on its way to its response, with the memory that it borrows from a pool.
type exchange struct {
	g    *Gateway
	req  *Request
	resp *Response

	api     *api
	stage   *stage
	method  *method
	setting restapi.MethodSetting

	usageKey string // usageIdentifierKey of the authorizer's answer: the API key where apiKeySource is AUTHORIZER

	requestID   string
	extendedID  string
	epoch       string // milliseconds
	trace       string // X-Amzn-Trace-Id for the answer, with Parent and Sampled
	rootLen     int    // of trace: the part that a request without one is given
	contentType string // of the request, without parameters; empty when none was sent

	in        mapping.Input
	context   mapping.Context
	overrides mapping.Overrides
	path      mapping.Params
	query     mapping.Params
	header    mapping.Params
	mapped    []mapped // parameters of the integration request

	body      []byte // the payload, inflated
	binary    bool   // the payload's type is one of binaryMediaTypes
	inflated  []byte
	reserved  int64 // of the budget
	held      int64 // of the budget for answers
	rendered  []byte
	answer    []byte // the backend's, when a template is to map it
	ids       []byte
	sent      Header // memory of the call's header, its answer's, its query and its path
	received  Header
	sentQuery []byte
	uri       []byte
	call      Call
	streaming streaming

	backendStatus int
	latency       time.Duration // of the backend; measured when it is logged
	integration   time.Duration // from the integration request to its answer; measured for access logs and counters
	total         time.Duration // likewise, from the request's arrival to its answer
	line          []byte        // of the access log
	masked        bool          // a default response would have hidden the backend's failure
	refused       bool          // answered with a default gateway response
	test          *test         // of a method that is tested; else nil

	trail *Trail // of ServeTraced; nil for live traffic
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// keptBytes bounds what the pool keeps of one exchange: nearly all events are far smaller, and what is larger is
// worth its own memory.
const keptBytes = 256 << 10

// keptParams bounds the parameter lists that the pool keeps.
const keptParams = 256

func (x *exchange) begin(g *Gateway, req *Request, resp *Response) {
	x.g, x.req, x.resp = g, req, resp
	x.body = req.Body
	x.identify()
}

// finish gives the memory back. Nothing of the request or the response stays reachable.
func (x *exchange) finish() {
	if x.reserved > 0 {
		x.g.Budget.Give(x.reserved)
	}
	if x.held > 0 {
		x.g.Answers.Give(x.held)
	}
	if cap(x.inflated)+cap(x.rendered)+cap(x.answer)+cap(x.sentQuery)+cap(x.uri) > keptBytes || cap(x.query)+cap(x.header)+cap(x.sent)+cap(x.received) > keptParams {
		return
	}
	clear(x.path)
	clear(x.query)
	clear(x.header)
	clear(x.mapped)
	clear(x.sent)
	clear(x.received)
	*x = exchange{
		path: x.path[:0], query: x.query[:0], header: x.header[:0], mapped: x.mapped[:0],
		inflated: x.inflated[:0], rendered: x.rendered[:0], answer: x.answer[:0], ids: x.ids[:0],
		sent: x.sent[:0], received: x.received[:0], sentQuery: x.sentQuery[:0], uri: x.uri[:0],
		line: x.line[:0],
	}
	exchanges.Put(x)
}

// Random bytes of one exchange: request id, extended id, trace id, parent.
const (
	uuidBytes     = 16
	extendedBytes = 11
	traceBytes    = 12
	parentBytes   = 8
)

// identify makes all ids at once: one draw of randomness and one string, of which each id is a part.
func (x *exchange) identify() {
	var random [uuidBytes + extendedBytes + traceBytes + parentBytes]byte
	x.g.IDs.Read(random[:])
	uuid, rest := random[:uuidBytes], random[uuidBytes:]
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80

	b := x.ids[:0]
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			b = append(b, '-')
		}
		start := [...]int{0, 4, 6, 8, 10}[i]
		b = hex.AppendEncode(b, uuid[start:end])
	}
	atExtended := len(b)
	b = base64.StdEncoding.AppendEncode(b, rest[:extendedBytes])
	atEpoch := len(b)
	b = strconv.AppendInt(b, x.req.Received.UnixMilli(), 10)
	atTrace := len(b)
	b = append(b, "Root=1-"...)
	seconds := uint32(x.req.Received.Unix())
	b = hex.AppendEncode(b, []byte{byte(seconds >> 24), byte(seconds >> 16), byte(seconds >> 8), byte(seconds)})
	b = append(b, '-')
	b = hex.AppendEncode(b, rest[extendedBytes:extendedBytes+traceBytes])
	x.rootLen = len(b) - atTrace
	b = append(b, ";Parent="...)
	b = hex.AppendEncode(b, rest[extendedBytes+traceBytes:])
	b = append(b, ";Sampled=0"...)
	x.ids = b

	all := string(b)
	x.requestID, x.extendedID, x.epoch, x.trace = all[:atExtended], all[atExtended:atEpoch], all[atEpoch:atTrace], all[atTrace:]
}

// adoptTrace makes the answer's trace id of the one that the caller sent: its root, its parent where it has one. A
// text without a root is left to the templates; the answer then bears the id that was made.
func (x *exchange) adoptTrace(sent string) {
	var root, parent, sampled string
	for part := range strings.SplitSeq(sent, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case strings.EqualFold(key, "Root"):
			root = value
		case strings.EqualFold(key, "Parent"):
			parent = value
		case strings.EqualFold(key, "Sampled"):
			sampled = value
		}
	}
	if root == "" {
		return
	}
	if sampled == "" {
		sampled = "0"
		if parent != "" {
			sampled = "1"
		}
	}
	if parent == "" {
		const at = len(";Parent=")
		parent = x.trace[x.rootLen+at : x.rootLen+at+2*parentBytes]
	}
	x.trace = "Root=" + root + ";Parent=" + parent + ";Sampled=" + sampled
}

// clock formats the time of requests, once a second.
type clock struct{ last atomic.Pointer[stamp] }

type stamp struct {
	second int64
	text   string
}

// format gives "09/Apr/2024:12:34:56 +0000".
func (c *clock) format(t time.Time) string {
	if s := c.last.Load(); s != nil && s.second == t.Unix() {
		return s.text
	}
	s := &stamp{t.Unix(), t.UTC().Format("02/Jan/2006:15:04:05 -0700")}
	c.last.Store(s)
	return s.text
}
