package awswire

import (
	"net/http"
	"time"
)

// ISOLayout is the form of timestamps in XML: "2006-02-03T16:45:09.000Z".
const ISOLayout = "2006-01-02T15:04:05.000Z"

// BasicLayout is the form of timestamps in signatures: "20060203T164509Z".
const BasicLayout = "20060102T150405Z"

// AppendISO appends ISO 8601 in UTC with milliseconds.
func AppendISO(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, ISOLayout) }

// ParseISO reads ISO 8601, with or without a fraction; a date alone is its midnight.
func ParseISO(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, BasicLayout, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// HTTPTime writes the date form of headers: "Fri, 03 Feb 2006 16:45:09 GMT".
func HTTPTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
