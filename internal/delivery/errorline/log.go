package errorline

import (
	"strconv"

	"millrace/internal/awswire"
)

// Log is what the service writes into a delivery stream's log group of an error.
type Log struct {
	DeliveryStreamARN string
	Destination       string // the bucket's ARN, or the endpoint
	VersionID         int64  // of the delivery stream
	Message           string
	Code              string // "S3.NoSuchBucket"
	Processor         string // the function's ARN; empty: it has nothing to do with one
}

// AppendLog appends the event's JSON, without a line feed.
func AppendLog(dst []byte, l *Log) []byte {
	dst = awswire.AppendString(append(dst, `{"deliveryStreamARN":`...), l.DeliveryStreamARN)
	dst = awswire.AppendString(append(dst, `,"destination":`...), l.Destination)
	dst = strconv.AppendInt(append(dst, `,"deliveryStreamVersionId":`...), l.VersionID, 10)
	dst = awswire.AppendString(append(dst, `,"message":`...), l.Message)
	dst = awswire.AppendString(append(dst, `,"errorCode":`...), l.Code)
	if l.Processor != "" {
		dst = awswire.AppendString(append(dst, `,"processor":`...), l.Processor)
	}
	return append(dst, '}')
}
