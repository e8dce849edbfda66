// Package httpendpoint speaks the protocol of Amazon Data Firehose's HTTP endpoint
// destinations: one POST of a batch of records, and the judgement of its answer.
//
//	Settings ─> Endpoint ┐
//	records ──> Body ────┴─ Client.Post ─> Answer: delivered, to be tried again after Backoff, or never
//
// It knows no engine: how long a batch is tried again, and where it goes then, is its
// user's to say. A batch has the same request id and the same bytes in all its attempts, by which
// an endpoint can tell that it has it already.
//
// Sources: Amazon Data Firehose Developer Guide (HTTP endpoint delivery request and response
// specifications; HTTP endpoint delivery errors; troubleshooting HTTP endpoints), and messages recorded from the service.
package httpendpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"millrace/internal/fault"
	"millrace/internal/outbound"
)

// Limits of the service.
const (
	AnswerTime   = 3 * time.Minute // for one attempt, from the connection to the answer's last byte
	maxAnswer    = 1 << 20         // bytes of an answer's body, and of its head
	maxURL       = 1000
	maxAccessKey = 4096
)

// Bounds of this client.
const (
	maxPerHost  = 256 // connections to one host, of all delivery streams together
	idlePerHost = 32
	idleInAll   = 256
	maxShown    = 1024 // bytes of an answer that a message repeats
)

// Attribute is one of CommonAttributes.
type Attribute struct{ Name, Value string }

// Settings of an endpoint, as a definition has them.
type Settings struct {
	URL        string
	AccessKey  string // empty: none
	SourceARN  string // of the delivery stream
	Attributes []Attribute
	AllowHTTP  bool // whether the configuration allows http://
}

// Endpoint is where batches are posted. What it holds of secrets is not printed.
type Endpoint struct {
	url        *url.URL
	accessKey  string
	sourceARN  string
	attributes string // the header's value; empty: none
	place      string // scheme and host, for people: a path or query may hold a key
}

// CheckURL tells what is wrong with the URL of an endpoint. The text repeats nothing of it.
func CheckURL(target string, allowHTTP bool) error {
	_, err := parse(target, allowHTTP)
	return err
}

func parse(target string, allowHTTP bool) (*url.URL, error) {
	const op = "httpendpoint.CheckURL"
	u, err := url.Parse(target)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fault.New(fault.Invalid, op, "", "the Url of an HTTP endpoint begins with https:// and a host")
	case u.Scheme == "http" && !allowHTTP:
		return nil, fault.New(fault.Invalid, op, "", "the Url of an HTTP endpoint begins with https://; http: {allow-http-endpoints: true} in the "+
			"configuration file allows http:// too")
	case len(target) > maxURL:
		return nil, fault.New(fault.Invalid, op, "", "the Url of an HTTP endpoint has at most %d letters", maxURL)
	}
	if err := outbound.CheckHost(u); err != nil {
		return nil, fault.New(fault.Invalid, op, "", "%w", err)
	}
	return u, nil
}

// CheckAccessKey tells whether a key can be sent, as it is, in a header. The text repeats nothing of it.
func CheckAccessKey(key string) error {
	if len(key) > maxAccessKey || key != strings.TrimSpace(key) || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fault.New(fault.Invalid, "httpendpoint.CheckAccessKey", "",
			"an AccessKey has at most %d bytes, no control characters, and no blank at either end: it is the value of a header", maxAccessKey)
	}
	return nil
}

// NewEndpoint makes an endpoint. Errors are Invalid and say what is wrong, without a secret.
func NewEndpoint(s Settings) (*Endpoint, error) {
	u, err := parse(s.URL, s.AllowHTTP)
	if err != nil {
		return nil, err
	}
	if err := CheckAccessKey(s.AccessKey); err != nil {
		return nil, err
	}
	return &Endpoint{
		url: u, accessKey: s.AccessKey, sourceARN: s.SourceARN, attributes: attributesHeader(s.Attributes), place: u.Scheme + "://" + u.Host,
	}, nil
}

// attributesHeader makes the value of X-Amz-Firehose-Common-Attributes. It is ASCII, as a header should be.
func attributesHeader(attributes []Attribute) string {
	if len(attributes) == 0 {
		return ""
	}
	value := []byte(`{"commonAttributes":{`)
	for i, a := range attributes {
		if i > 0 {
			value = append(value, ',')
		}
		value = appendASCII(append(appendASCII(value, a.Name), ':'), a.Value)
	}
	return string(append(value, "}}"...))
}

// appendASCII appends a JSON string in which all but printable ASCII is escaped.
func appendASCII(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case ' ' <= r && r < 0x7f:
			dst = append(dst, byte(r))
		case r > 0xffff:
			r -= 0x10000
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return append(dst, '"')
}

// String is scheme and host.
func (e *Endpoint) String() string { return e.place }

// GoString is String: %#v shows no more than %v.
func (e *Endpoint) GoString() string { return e.place }

// LogValue is String: a handler for JSON shows no more than one for text.
func (e *Endpoint) LogValue() slog.Value { return slog.StringValue(e.place) }

// Client posts batches. It is safe for concurrent use.
type Client struct {
	transport *http.Transport
	buffers   sync.Pool // *[]byte, of answers
}

// New makes a client.
func New(o outbound.Options) *Client {
	return &Client{
		transport: o.Transport(outbound.Bounds{
			PerHost: maxPerHost, IdlePerHost: idlePerHost, IdleInAll: idleInAll, HeaderBytes: maxAnswer, RefuseLinkLocal: true,
		}),
		buffers: sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }},
	}
}

// Close closes the connections that no request uses.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Answer is what became of an attempt. Delivered: the endpoint has the batch. Permanent: it will never take it. Neither: try
// again, for the endpoint may or may not have it.
type Answer struct {
	Delivered bool
	Permanent bool
	Status    int    // of the answer; 0: there was none
	Code      string // of a failure, as in error objects: "HttpEndpoint.DestinationException"
	Message   string
}

// Post makes one attempt. The error is that of ctx, which has ended, and nothing else.
func (c *Client) Post(ctx context.Context, e *Endpoint, b *Body) (Answer, error) {
	body := outbound.NewBody(b.Bytes())
	defer body.Release()
	timed, cancel := context.WithTimeoutCause(ctx, AnswerTime, errAnswerTime)
	defer cancel()
	var progress outbound.Progress
	req := outbound.Request(progress.Watch(timed), e.url, body)
	e.dress(req, b)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return Answer{}, context.Cause(ctx)
		}
		return unanswered(timed, progress.Reached(), err), nil
	}
	defer resp.Body.Close()
	buffer := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buffer)
	most := maxAnswer
	if resp.StatusCode != http.StatusOK {
		most = maxShown
	}
	text, err := readUpTo((*buffer)[:0], resp.Body, most+1)
	*buffer = text
	if ctx.Err() != nil {
		return Answer{}, context.Cause(ctx)
	}
	if err != nil && resp.StatusCode == http.StatusOK {
		return unanswered(timed, outbound.Connected, err), nil
	}
	return judge(resp, text, b.RequestID()), nil
}

func (e *Endpoint) dress(r *http.Request, b *Body) {
	r.Header["X-Amz-Firehose-Protocol-Version"] = protocolVersion
	r.Header["X-Amz-Firehose-Request-Id"] = []string{b.RequestID()}
	r.Header["X-Amz-Firehose-Source-Arn"] = []string{e.sourceARN}
	if e.accessKey != "" {
		r.Header["X-Amz-Firehose-Access-Key"] = []string{e.accessKey}
	}
	if e.attributes != "" {
		r.Header["X-Amz-Firehose-Common-Attributes"] = []string{e.attributes}
	}
	if b.encoding == GZIP {
		r.Header["Content-Encoding"] = gzipCoding
	}
}

var (
	protocolVersion = []string{"1.0"}
	gzipCoding      = []string{"gzip"}
	errAnswerTime   = errors.New("the time of an answer is over")
)

func readUpTo(dst []byte, r io.Reader, most int) ([]byte, error) {
	for len(dst) < most {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), most)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// Codes of failures.
const (
	CodeRequestTimeout       = "HttpEndpoint.RequestTimeout"
	CodeResponseTooLarge     = "HttpEndpoint.ResponseTooLarge"
	CodeInvalidResponse      = "HttpEndpoint.InvalidResponseFromDestination"
	CodeDestinationException = "HttpEndpoint.DestinationException"
	CodeConnectionFailed     = "HttpEndpoint.ConnectionFailed"
	CodeConnectionReset      = "HttpEndpoint.ConnectionReset"
	CodeSSLHandshakeFailure  = "HttpEndpoint.SSLHandshakeFailure"
)

// Texts: the documented ones, and for DestinationException one that was recorded; the cause behind the first sentences is ours.
const (
	messageRequestTimeout   = "The delivery timed out before a response was received and will be retried. If this error persists, contact the AWS Firehose service team."
	messageTooLarge         = "The response received from the endpoint is too large. Contact the owner of the endpoint to resolve this issue."
	messageInvalid          = "The response received from the specified endpoint is invalid. Contact the owner of the endpoint to resolve the issue. "
	messageConnectionFailed = "Unable to connect to the destination endpoint. Contact the owner of the endpoint to resolve this issue."
	messageConnectionReset  = "Unable to maintain connection with the endpoint. Contact the owner of the endpoint to resolve this issue."
	messageSSL              = "Unable to complete an SSL Handshake with the endpoint. Contact the owner of the endpoint to resolve this issue."
	messageStatus           = "Delivery to the endpoint was unsuccessful. See Troubleshooting HTTP Endpoints in the Firehose documentation for more information. " +
		"Response received with status code. %d: %s"
)

// headTooLarge is how net/http's error begins, which has no other mark.
const headTooLarge = "net/http: server response headers exceeded"

// unanswered words an attempt that got no whole answer. Errors of a transport hold addresses and never a URL.
func unanswered(ctx context.Context, reached outbound.Reached, err error) Answer {
	cause := fmt.Sprintf(" (%v)", err)
	switch {
	case reached == outbound.Handshake:
		return Answer{Code: CodeSSLHandshakeFailure, Message: messageSSL + cause}
	case reached == outbound.Nowhere:
		return Answer{Code: CodeConnectionFailed, Message: messageConnectionFailed + cause}
	case errors.Is(context.Cause(ctx), errAnswerTime):
		return Answer{Code: CodeRequestTimeout, Message: messageRequestTimeout}
	case strings.Contains(err.Error(), headTooLarge):
		return Answer{Code: CodeResponseTooLarge, Message: messageTooLarge}
	}
	return Answer{Code: CodeConnectionReset, Message: messageConnectionReset + cause}
}

// judge tells what an answer means. Only 200 with the words of the specification says that the batch is there.
func judge(resp *http.Response, text []byte, requestID string) Answer {
	a := Answer{Status: resp.StatusCode}
	if a.Status != http.StatusOK {
		a.Permanent = a.Status == http.StatusRequestEntityTooLarge
		a.Code, a.Message = CodeDestinationException, fmt.Sprintf(messageStatus, a.Status, shown(text))
		return a
	}
	if len(text) > maxAnswer {
		a.Code, a.Message = CodeResponseTooLarge, messageTooLarge
		return a
	}
	why := headFault(resp.Header)
	if why == "" {
		why = bodyFault(text, requestID)
	}
	if why == "" {
		a.Delivered = true
		return a
	}
	a.Code = CodeInvalidResponse
	a.Message = fmt.Sprintf("%sResponse for request %s %s. Raw response received: %d %s", messageInvalid, requestID, why, a.Status, shown(text))
	return a
}

func headFault(h http.Header) string {
	if coding := h.Get("Content-Encoding"); coding != "" {
		return "has a Content-Encoding header, which is not accepted"
	}
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || media != "application/json" {
		return "does not contain a content-type: application/json header"
	}
	return ""
}

// shown cuts an answer's text to what a message repeats.
func shown(text []byte) string {
	return strings.ToValidUTF8(string(text[:min(len(text), maxShown)]), "")
}
