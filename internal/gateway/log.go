package gateway

import (
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// Line is a line of a stage's execution log.
type Line struct {
	API, Stage string
	Group      string // the log group that the service would write it to, see [ExecutionLogGroup]
	RequestID  string
	Time       time.Time
	Error      bool   // written at level ERROR, too
	Text       string // in the service's words, without the request id
}

// Append appends the line as it stands in a file: the time, which the service keeps beside it, and the service's form.
func (l *Line) Append(dst []byte) []byte {
	dst = l.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	dst = append(dst, " ("...)
	dst = append(dst, l.RequestID...)
	dst = append(dst, ") "...)
	return append(dst, l.Text...)
}

// LogSink takes execution logs. It must not block: the caller of the API waits meanwhile.
type LogSink interface{ Log(Line) }

// The bounds of error lines that reach the node's log. A broken template under load would else fill the disk that
// the records need.
const (
	errorLinesPerSecond = 20
	maxLineBytes        = 1024 // of one line, as the service cuts them
)

// SlogSink writes execution logs to a slog.Logger: error lines at Error, a bounded number a second, others at Info.
type SlogSink struct {
	log *slog.Logger
	now func() time.Time

	mu         sync.Mutex
	second     int64
	written    int
	suppressed int
}

// NewSlogSink makes a sink on log.
func NewSlogSink(log *slog.Logger, now func() time.Time) *SlogSink {
	return &SlogSink{log: log, now: now}
}

// Log writes a line.
func (s *SlogSink) Log(l Line) {
	if !l.Error {
		s.log.Info("execution", "api", l.API, "stage", l.Stage, "request", l.RequestID, "text", l.Text)
		return
	}
	suppressed, ok := s.admit()
	if !ok {
		return
	}
	attrs := []any{"api", l.API, "stage", l.Stage, "request", l.RequestID, "text", l.Text}
	if suppressed > 0 {
		attrs = append(attrs, "suppressed", suppressed)
	}
	s.log.Error("execution failed", attrs...)
}

// admit counts a line, and tells how many were left out before it.
func (s *SlogSink) admit() (suppressed int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := s.now().Unix(); second != s.second {
		s.second, s.written = second, 0
	}
	if s.written >= errorLinesPerSecond {
		s.suppressed++
		return 0, false
	}
	s.written++
	suppressed, s.suppressed = s.suppressed, 0
	return suppressed, true
}

// informs reports whether the stage logs every request of the method; traces, whether also payloads.
func (x *exchange) informs() bool { return x.setting.LoggingLevel == restapi.LogInfo }
func (x *exchange) traces() bool  { return x.informs() && x.setting.DataTraceEnabled }

func (x *exchange) log(isError bool, text string) {
	if x.test != nil {
		x.test.add(x.g.Now(), text)
		return
	}
	if len(text) > maxLineBytes {
		text = strings.ToValidUTF8(text[:maxLineBytes], "")
	}
	x.g.Log.Log(Line{x.api.id, x.stage.name, x.stage.group, x.requestID, x.g.Now(), isError, strings.Clone(text)})
}

// logBody writes a payload, of which no more is copied than its line holds.
func (x *exchange) logBody(label string, body []byte) {
	if x.test == nil && len(body) > maxLineBytes {
		body = body[:maxLineBytes]
	}
	x.log(false, label+text(body))
}

func (x *exchange) logArrival() {
	if x.test == nil {
		x.log(false, "Extended Request Id: "+x.extendedID)
	}
	x.log(false, "Starting execution for request: "+x.requestID)
	x.log(false, "HTTP Method: "+x.context.HTTPMethod+", Resource Path: "+x.pathWithoutStage())
	if !x.traces() {
		return
	}
	x.log(false, "Method request path: "+x.printed(x.path))
	x.log(false, "Method request query string: "+x.printed(x.query))
	x.log(false, "Method request headers: "+x.printed(x.header))
	x.logBody("Method request body before transformations: ", x.req.Body)
}

// logRequest writes the integration request to an action; a MOCK has none.
func (x *exchange) logRequest(uri string, request []byte) {
	endpoint := endpointOf(uri, "")
	x.log(false, "Endpoint request URI: "+endpoint)
	if x.traces() {
		headers := mapping.Params{{Name: "Accept", Value: typeJSON}, {Name: "User-Agent", Value: "AmazonAPIGateway_" + x.api.id}}
		if x.call.ContentType != "" {
			headers = append(headers, mapping.Param{Name: "Content-Type", Value: x.call.ContentType})
		}
		headers = append(headers, mapping.Param{Name: headerTrace, Value: x.trace})
		for _, m := range x.mapped {
			if m.place == toHeader && !strings.EqualFold(m.name, "Content-Type") {
				headers = append(headers, mapping.Param{Name: m.name, Value: m.value})
			}
		}
		x.log(false, "Endpoint request headers: "+x.printed(headers))
		x.logBody("Endpoint request body after transformations: ", request)
	}
	x.log(false, "Sending request to "+endpoint)
}

// endpointOf shows where the service would send the request of an integration's uri: to an action, or by path.
func endpointOf(uri, path string) string {
	parts := strings.SplitN(uri, ":", 6) // arn:aws:apigateway:us-east-1:kinesis:action/PutRecord
	if len(parts) != 6 {
		return uri
	}
	host := "https://" + parts[4] + "." + parts[3] + ".amazonaws.com"
	if path != "" {
		return host + path
	}
	return host + "/?Action=" + strings.TrimPrefix(parts[5], "action/")
}

// logEnd writes what became of a request whose backend was called, and an error line when its failure would have
// been hidden.
func (x *exchange) logEnd() {
	if x.masked {
		x.log(true, "Endpoint response status "+x.statusText()+" would be hidden by the default integration response; answered with "+
			strconv.Itoa(x.resp.Status))
	}
	if !x.informs() || x.refused {
		return
	}
	if !x.method.mock {
		x.log(false, "Received response. Status: "+x.statusText()+", Integration latency: "+
			strconv.FormatInt(x.latency.Milliseconds(), 10)+" ms")
		if x.traces() {
			x.log(false, "Endpoint response headers: "+x.printed(x.endpointHeaders()))
			if !x.streaming.begun { // of what has gone by nothing is kept
				x.logBody("Endpoint response body before transformations: ", x.answer)
			}
		}
	}
	if x.traces() {
		if !x.streaming.begun {
			x.logBody("Method response body after transformations: ", x.resp.Body)
		}
		var headers mapping.Params
		answered := x.resp.Header
		if x.test != nil {
			answered = x.testedHeader()
		}
		for _, f := range answered {
			headers = append(headers, mapping.Param(f))
		}
		x.log(false, "Method response headers: "+x.printed(headers))
	}
	if !x.resp.Cut {
		x.log(false, "Successfully completed execution")
	}
	x.log(false, "Method completed with status: "+strconv.Itoa(x.resp.Status))
}

// endpointHeaders are the headers of the backend's answer.
func (x *exchange) endpointHeaders() (all mapping.Params) {
	if x.method.answersHeaders() {
		for _, f := range x.call.Answer {
			all = append(all, mapping.Param(f))
		}
		return all
	}
	for _, name := range [...]string{"x-amzn-RequestId", "Date", "Content-Type", "Content-Length"} {
		if v, ok := x.backendHeader(name); ok {
			all = append(all, mapping.Param{Name: name, Value: v})
		}
	}
	return all
}

// logFailure writes the lines of a request that ended in a default gateway response. What the caller did wrong is
// logged only where the stage asks for it; what the definition or the node did wrong, always.
func (x *exchange) logFailure(why string) {
	if x.resp.Status < 500 && x.setting.LoggingLevel != restapi.LogError && !x.informs() {
		return
	}
	if why != "" {
		x.log(true, why)
	}
	x.log(x.resp.Status >= 500 || why != "", "Method completed with status: "+strconv.Itoa(x.resp.Status))
}

// maxPrintedMap is where the service cuts the headers of a line.
const maxPrintedMap = 1000

// printed shows parameters as the service does: {k=v, k2=v2}. Of secrets only the end is shown.
func (x *exchange) printed(params mapping.Params) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, p := range params {
		if i > 0 {
			b.WriteString(", ")
		}
		value := p.Value
		if secret(p.Name) || x.identifies(p.Name) {
			value = starred(value)
		}
		b.WriteString(p.Name + "=" + value)
		if b.Len() > maxPrintedMap {
			return strings.ToValidUTF8(b.String()[:maxPrintedMap], "") + " [TRUNCATED]"
		}
	}
	b.WriteByte('}')
	return b.String()
}

// secrets are headers and parameters of a query that let whoever reads them act as the caller.
var secrets = []string{"Authorization", "x-api-key", "X-Amz-Security-Token", "X-Amz-Signature", "Cookie", "Set-Cookie", "Proxy-Authorization"}

func secret(name string) bool { return isOneOf(name, secrets) }

// identifies reports whether the method's authorizer tells callers by a header or a parameter of the query.
func (x *exchange) identifies(name string) bool {
	if x.method == nil || x.method.guard == nil || x.method.guard.authorizer == nil {
		return false
	}
	for _, s := range x.method.guard.authorizer.sources {
		if (s.source == fromHeader || s.source == fromQuery) && len(s.arg) == len(name) && strings.EqualFold(s.arg, name) {
			return true
		}
	}
	return false
}

func starred(secret string) string {
	const shown = 6
	if len(secret) <= 2*shown {
		return "****"
	}
	return strings.Repeat("*", len(secret)-shown) + secret[len(secret)-shown:]
}
