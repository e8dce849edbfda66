package gateway

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// AccessLogs finds where the lines of access logs go. It is asked when a stage is published.
type AccessLogs interface {
	AccessLog(settings *restapi.AccessLog) (LineWriter, error)
}

// LineWriter takes lines. Write must not block, for the caller of the API waits meanwhile; it keeps nothing of line.
type LineWriter interface{ Write(line []byte) }

// accessLog is the access log of a stage: its format, compiled, and where it goes.
type accessLog struct {
	pieces []piece
	json   bool // the format is an object: values are escaped, so that they stay within their quotes
	to     LineWriter
}

// piece is a stretch of text, or the place of a variable.
type piece struct {
	text  string // when there is no variable
	name  string // of the variable behind "context."
	value variable
}

// variable appends its value; nothing when there is none.
type variable func(x *exchange, dst []byte) []byte

var contextReference = regexp.MustCompile(`\$context((?:\.[A-Za-z0-9_]+)+)`)

// compileAccessLog compiles a format. Everything but $context.X is text: there is no VTL in it.
func compileAccessLog(format string) *accessLog {
	format = strings.TrimRight(format, "\r\n")
	l := &accessLog{json: strings.HasPrefix(strings.TrimSpace(format), "{")}
	at := 0
	for _, m := range contextReference.FindAllStringSubmatchIndex(format, -1) {
		if m[0] > at {
			l.pieces = append(l.pieces, piece{text: format[at:m[0]]})
		}
		name := format[m[2]+1 : m[3]]
		p := piece{name: name, value: variables[name]}
		l.pieces = append(l.pieces, p)
		at = m[1]
	}
	if at < len(format) {
		l.pieces = append(l.pieces, piece{text: format[at:]})
	}
	return l
}

// accessLogOf opens the access log that a stage asks for; nil: it asks for none.
func (g *Gateway) accessLogOf(s *restapi.Stage) (*accessLog, error) {
	if s.AccessLog == nil || s.AccessLog.Format == "" || s.AccessLog.DestinationARN == "" {
		return nil, nil
	}
	if g.AccessLogs == nil {
		return nil, errors.New("this node writes no access logs")
	}
	to, err := g.AccessLogs.AccessLog(s.AccessLog)
	if err != nil || to == nil {
		return nil, err
	}
	l := compileAccessLog(s.AccessLog.Format)
	l.to = to
	return l, nil
}

// maxAccessValueBytes bounds what one variable adds to a line: a caller chooses its user agent and its path.
const maxAccessValueBytes = 4 << 10

// appendLine appends the line of a request. What has no value is a dash.
func (l *accessLog) appendLine(dst []byte, x *exchange) []byte {
	for i := range l.pieces {
		p := &l.pieces[i]
		if p.name == "" {
			dst = append(dst, p.text...)
			continue
		}
		at := len(dst)
		if p.value != nil {
			dst = p.value(x, dst)
		} else if v, ok := x.context.Lookup(p.name); ok {
			dst = append(dst, v...)
		}
		switch {
		case len(dst) == at:
			dst = append(dst, '-')
		case len(dst)-at > maxAccessValueBytes && p.name != messageString:
			dst = append(dst[:at], strings.ToValidUTF8(string(dst[at:at+maxAccessValueBytes]), "")...)
		}
		if l.json && p.name != messageString && needsEscape(dst[at:]) {
			dst = mapping.AppendEscaped(dst[:at], string(dst[at:]))
		}
	}
	return dst
}

func needsEscape(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return true
		}
	}
	return false
}

// messageString is in quotes already.
const messageString = "error.messageString"

// variables are those that only a log knows, and those that are cheaper to append than to look up. All others are
// members of $context.
var variables = map[string]variable{
	"requestId":         func(x *exchange, b []byte) []byte { return append(b, x.requestID...) },
	"extendedRequestId": func(x *exchange, b []byte) []byte { return append(b, x.extendedID...) },
	"status":            func(x *exchange, b []byte) []byte { return strconv.AppendInt(b, int64(x.resp.Status), 10) },
	"responseLength": func(x *exchange, b []byte) []byte {
		return strconv.AppendInt(b, int64(len(x.resp.Body))+x.streaming.sent, 10)
	},
	"responseLatency": func(x *exchange, b []byte) []byte { return appendMillis(b, x.total) },

	"integrationLatency":            backendLatency,
	"integration.latency":           backendLatency,
	"integrationStatus":             backendStatus,
	"integration.status":            backendStatus,
	"integration.integrationStatus": backendStatus,
	"integration.requestId":         backendRequestID,
	"awsEndpointRequestId":          backendRequestID,
	"integrationErrorMessage":       backendError,
	"integration.error":             backendError,

	"integration.responseTransferMode": transferMode,
	"integration.timeToAllHeaders": func(x *exchange, b []byte) []byte {
		return sinceCalled(x, b, x.streaming.headers)
	},
	"integration.timeToFirstContent": func(x *exchange, b []byte) []byte {
		return sinceCalled(x, b, x.streaming.first)
	},

	messageString: func(x *exchange, b []byte) []byte {
		if !x.refused {
			return b
		}
		message := x.context.Error.Message
		if len(message) > maxAccessValueBytes { // cut within the quotes
			message = strings.ToValidUTF8(message[:maxAccessValueBytes], "")
		}
		return mapping.AppendMessage(b, message)
	},
	"xrayTraceId": func(x *exchange, b []byte) []byte {
		if !x.stage.tracing {
			return b
		}
		return append(b, x.trace[:strings.IndexByte(x.trace, ';')]...)
	},
}

func appendMillis(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(b, d.Milliseconds(), 10)
}

// reached reports whether a backend was called: it answered, or the failure says that it did not.
func (x *exchange) reached() bool {
	if x.method == nil || x.method.mock {
		return false
	}
	return x.backendStatus != 0 || x.refused && x.backendFailed()
}

func (x *exchange) backendFailed() bool {
	kind := x.context.Error.ResponseType
	return kind == "INTEGRATION_TIMEOUT" || kind == "INTEGRATION_FAILURE"
}

func backendLatency(x *exchange, b []byte) []byte {
	if !x.reached() {
		return b
	}
	return appendMillis(b, x.integration)
}

// transferMode is how an answer was to go on, in the past tense that the service has for logs.
func transferMode(x *exchange, b []byte) []byte {
	switch {
	case !x.reached():
		return b
	case x.method.streams:
		return append(b, "STREAMED"...)
	}
	return append(b, restapi.Buffered...)
}

// sinceCalled is when a part of a streamed answer came. What is gathered has no such parts.
func sinceCalled(x *exchange, b []byte, at time.Time) []byte {
	if at.IsZero() {
		return b
	}
	return appendMillis(b, at.Sub(x.streaming.called))
}

func backendStatus(x *exchange, b []byte) []byte {
	if !x.reached() || x.backendStatus == 0 {
		return b
	}
	return strconv.AppendInt(b, int64(x.backendStatus), 10)
}

func backendRequestID(x *exchange, b []byte) []byte {
	if !x.reached() {
		return b
	}
	id, _ := x.backendHeader("x-amzn-RequestId")
	return append(b, id...)
}

func backendError(x *exchange, b []byte) []byte {
	if !x.refused || !x.backendFailed() {
		return b
	}
	return append(b, x.context.Error.Message...)
}
