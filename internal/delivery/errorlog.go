package delivery

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/delivery/errorline"
	"millrace/internal/fault"
)

// ErrorLog takes the errors of delivery streams whose CloudWatchLoggingOptions are enabled, which the service writes to
// CloudWatch.
type ErrorLog interface {
	// Check says why a log group of that name can't be written; nil: it can.
	Check(group string) error
	// Log takes a line. It does not wait, and keeps nothing of it.
	Log(line *ErrorLine)
}

// ErrorLine is an event of a log stream.
type ErrorLine struct {
	Group, Stream string
	Time          time.Time
	errorline.Log
}

// Append appends the line as it stands in a file: time and log stream, which the service keeps beside its events, and the event.
func (l *ErrorLine) Append(dst []byte) []byte {
	dst = l.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	dst = append(append(append(dst, ' '), l.Stream...), ' ')
	return errorline.AppendLog(dst, &l.Log)
}

type noErrorLog struct{}

func (noErrorLog) Check(string) error { return nil }
func (noErrorLog) Log(*ErrorLine)     {}

const (
	// maxErrorLines bounds the lines of a log stream in a second. The service takes samples, too.
	maxErrorLines = 10
	// maxErrorMessage bounds the message of a line.
	maxErrorMessage = 2 << 10
)

// destinationLog is one of the two logs that a delivery stream may have: of the bucket, and of all else. To a bucket alone both
// are the same.
type destinationLog int

const (
	bucketLog destinationLog = iota
	stepLog
)

var destinationLogs = [...]destinationLog{bucketLog, stepLog}

// logging gives the options of a log, and what it calls the destination.
func (d *Definition) logging(l destinationLog) (o *CloudWatchLoggingOptions, destination string) {
	if d.HTTPEndpoint != nil && l == stepLog {
		return d.HTTPEndpoint.CloudWatchLoggingOptions, ""
	}
	return d.Destination.CloudWatchLoggingOptions, d.Destination.BucketARN
}

// logError writes an error to the log that is of its kind, unless there are too many in this second.
func (d *delivery) logError(l destinationLog, code, message, processor string) {
	def := d.definition.Load()
	o, destination := def.logging(l)
	if o == nil || !on(o.Enabled) {
		return
	}
	now := d.engine.opts.Now()
	if !d.watch.lines[l].take(now) {
		return
	}
	if destination == "" {
		destination = d.endpointName() // scheme and host: the rest of a URL may hold a key
	}
	if len(message) > maxErrorMessage {
		message = strings.ToValidUTF8(message[:maxErrorMessage], "")
	}
	d.engine.opts.Errors.Log(&ErrorLine{Group: o.LogGroupName, Stream: o.LogStreamName, Time: now, Log: errorline.Log{
		DeliveryStreamARN: def.ARN(d.engine.opts.Account), Destination: destination, VersionID: def.VersionID,
		Message: message, Code: code, Processor: processor}})
}

// lineBudget bounds the lines of a log in a second.
type lineBudget struct {
	mu      sync.Mutex
	second  int64
	written int
	left    atomic.Int64 // lines that were not written
}

func (b *lineBudget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if second := now.Unix(); second != b.second {
		b.second, b.written = second, 0
	}
	if b.written == maxErrorLines {
		b.left.Add(1)
		return false
	}
	b.written++
	return true
}

// Codes of errors of buckets, and what is none of a destination, as the service's logs have them.
const (
	codeNoSuchBucket = "S3.NoSuchBucket"
	codeAccessDenied = "S3.AccessDenied"
	codeInternal     = "InternalError"
)

// messageNoSuchBucket is documented.
const messageNoSuchBucket = "The specified bucket does not exist. Create the bucket or use a different bucket that does exist."

// logFailure writes that a step failed and is tried again.
func (d *delivery) logFailure(err error) {
	var sink sinkError
	var logged loggedError
	var retry *retryError
	var refused *refusedError
	switch {
	case errors.As(err, &logged), errors.As(err, &retry), errors.As(err, &refused):
	case !errors.As(err, &sink):
		d.logError(stepLog, codeInternal, err.Error(), "")
	case missingBucket(err):
		d.logError(bucketLog, codeNoSuchBucket, messageNoSuchBucket, "")
	case fault.Is(sink.err, fault.Denied):
		d.logError(bucketLog, codeAccessDenied, "Access was denied: "+err.Error(), "")
	default:
		d.logError(bucketLog, codeInternal, err.Error(), "")
	}
}

// loggedError has its line in the log already.
type loggedError struct{ err error }

func (e loggedError) Error() string { return e.err.Error() }
func (e loggedError) Unwrap() error { return e.err }

// admitLogs refuses log groups that can't be written.
func (e *Engine) admitLogs(op string, def *Definition) error {
	all := []*CloudWatchLoggingOptions{def.Destination.CloudWatchLoggingOptions}
	if def.HTTPEndpoint != nil {
		all = append(all, def.HTTPEndpoint.CloudWatchLoggingOptions)
	}
	if b := def.Destination.S3BackupConfiguration; b != nil {
		all = append(all, b.CloudWatchLoggingOptions)
	}
	for _, o := range all {
		if o == nil || !on(o.Enabled) {
			continue
		}
		if err := e.opts.Errors.Check(o.LogGroupName); err != nil {
			return fault.New(fault.Invalid, op, def.Name, "cloudWatchLoggingOptions.logGroupName: %w", err)
		}
	}
	return nil
}
