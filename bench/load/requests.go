package load

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// Request builds the bytes of an HTTP/1.1 request. Extra holds whole header lines without line ends.
func Request(method, host, path, contentType string, body []byte, extra ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: millrace-bench\r\n", method, path, host)
	if contentType != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", contentType)
	}
	for _, line := range extra {
		b.WriteString(line + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
	return append([]byte(b.String()), body...)
}

// JSONEvent is an event of about 300 bytes, as a web page sends it.
func JSONEvent(n int) []byte {
	s := `{"event":"page_view","id":` + strconv.Itoa(n) + `,"user":{"id":"u-83921","plan":"pro"},` +
		`"page":{"url":"https://shop.example.com/products/4711?ref=mail","title":"Walnut desk, 160 cm"},` +
		`"client":{"ua":"Mozilla/5.0 (X11; Linux x86_64)","lang":"de-DE","width":1440,"height":900},` +
		`"ts":1732400000123,"consent":true}`
	return []byte(s)
}

// FormEvent is a form of 9 fields in about 180 bytes.
func FormEvent(n int) []byte {
	return []byte("event=install&id=" + strconv.Itoa(n) + "&app=com.example.shop&media_source=newsletter&campaign=spring+sale" +
		"&country=DE&device=Pixel%209&os=Android%2016&url=https%3A%2F%2Fshop.example.com%2Fdesk")
}

// signature looks like SigV4 without being valid: servers without credentials accept it, and peers ask that there
// be one.
const signature = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/kinesis/aws4_request, " +
	"SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000"

// KinesisCall builds a call of the Kinesis API in JSON.
func KinesisCall(host, operation string, body []byte) []byte {
	return Request("POST", host, "/", "application/x-amz-json-1.1", body,
		"X-Amz-Target: Kinesis_20131202."+operation, "X-Amz-Date: 20260101T000000Z", signature)
}

// PutRecord builds the body of a PutRecord with a 300 B event.
func PutRecord(stream string, connection, n int) []byte {
	return fmt.Appendf(nil, `{"StreamName":%q,"PartitionKey":"k-%d-%d","Data":%q}`, stream, connection, n,
		base64.StdEncoding.EncodeToString(JSONEvent(n)))
}

// PutRecords builds the body of a PutRecords with count events of 300 B.
func PutRecords(stream string, connection, n, count int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"StreamName":%q,"Records":[`, stream)
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":%q,"PartitionKey":"k-%d-%d-%d"}`, base64.StdEncoding.EncodeToString(JSONEvent(i)), connection, n, i)
	}
	b.WriteString("]}")
	return []byte(b.String())
}
