package restapi

import (
	"regexp"
	"strings"
)

// MaxAccessLogFormat is how long the format of an access log may be: a line of it has to fit what the service takes.
const MaxAccessLogFormat = 3 << 10

// firehosePrefix begins the names of delivery streams that take access logs.
const firehosePrefix = "amazon-apigateway-"

var (
	logGroupPattern = regexp.MustCompile(`^arn:[a-z0-9-]+:logs:[a-z0-9-]+:\d{12}:log-group:([A-Za-z0-9_/.#-]+)$`)
	firehosePattern = regexp.MustCompile(`^arn:[a-z0-9-]+:firehose:[a-z0-9-]+:\d{12}:deliverystream/([A-Za-z0-9_.-]{1,64})$`)
	hasRequestID    = regexp.MustCompile(`\$context\.(requestId|extendedRequestId)\b`)
)

// maxLogGroup bounds a log group's name; in the pattern it would take a quarter of a megabyte.
const maxLogGroup = 512

// Destination says where a stage's access log goes: into the log group or the delivery stream that its ARN names. The
// other of the two is empty, and both are when the ARN names neither.
func (l *AccessLog) Destination() (group, deliveryStream string) {
	if m := logGroupPattern.FindStringSubmatch(l.DestinationARN); m != nil && len(m[1]) <= maxLogGroup {
		return m[1], ""
	}
	if m := firehosePattern.FindStringSubmatch(l.DestinationARN); m != nil && strings.HasPrefix(m[1], firehosePrefix) {
		return "", m[1]
	}
	return "", ""
}

func (l *AccessLog) check(op string) error {
	if l == nil {
		return nil
	}
	if l.DestinationARN != "" {
		if group, stream := l.Destination(); group == "" && stream == "" {
			return invalid(op, "Invalid ARN specified in the request. Access logs go to a log group, or to a delivery stream whose name begins with %s: %s",
				firehosePrefix, l.DestinationARN)
		}
	}
	switch {
	case l.Format == "":
	case len(l.Format) > MaxAccessLogFormat:
		return invalid(op, "Access Log format must have at most %d bytes", MaxAccessLogFormat)
	case strings.ContainsAny(strings.TrimRight(l.Format, "\r\n"), "\r\n"):
		return invalid(op, "Access Log format must be single line, new line character is allowed only at end of the format")
	case !hasRequestID.MatchString(l.Format):
		return invalid(op, "Access Log format must include $context.requestId or $context.extendedRequestId")
	}
	return nil
}

// patchAccessLog changes /accessLogSettings/destinationArn and /accessLogSettings/format; both go with
// /accessLogSettings.
func patchAccessLog(op string, s *Stage, p Patch, rest []string) error {
	member := strings.Join(rest, "/")
	if p.Op == OpRemove {
		return removeAccessLog(op, s, p, member)
	}
	next := AccessLog{}
	if s.AccessLog != nil {
		next = *s.AccessLog
	}
	switch {
	case member != "destinationArn" && member != "format":
		return invalid(op, "Invalid accessLogSettings path. Must be one of : [/accessLogSettings/destinationArn, /accessLogSettings/format]")
	case p.Op != OpAdd && p.Op != OpReplace:
		return invalid(op, "Invalid %s operation with path: %s", p.Op, p.Path)
	case p.Value == "":
		return invalid(op, "Access Log value must not be empty")
	case member == "format":
		next.Format = p.Value
	default:
		// A log group's ARN is shown with :* behind it by some tools; that ending names its streams.
		next.DestinationARN = strings.TrimSuffix(p.Value, ":*")
	}
	if err := next.check(op); err != nil {
		return err
	}
	s.AccessLog = &next
	return nil
}

func removeAccessLog(op string, s *Stage, p Patch, member string) error {
	log := s.AccessLog
	if log == nil {
		return noSuchSetting(op, p)
	}
	left := *log
	switch {
	case member == "":
		left = AccessLog{}
	case member == "destinationArn" && log.DestinationARN != "":
		left.DestinationARN = ""
	case member == "format" && log.Format != "":
		left.Format = ""
	default:
		return noSuchSetting(op, p)
	}
	if s.AccessLog = &left; left == (AccessLog{}) {
		s.AccessLog = nil
	}
	return nil
}
