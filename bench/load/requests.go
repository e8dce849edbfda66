package load

import (
	"encoding/base64"
	"encoding/binary"
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

// Encoding is how the bodies of the Kinesis API are written.
type Encoding string

// The encodings of the Kinesis API.
const (
	JSON Encoding = "application/x-amz-json-1.1"
	CBOR Encoding = "application/x-amz-cbor-1.1"
)

// KinesisCall builds a call of the Kinesis API in JSON.
func KinesisCall(host, operation string, body []byte) []byte {
	return KinesisCallAs(host, operation, JSON, body)
}

// KinesisCallAs builds a call whose body is in one of the encodings.
func KinesisCallAs(host, operation string, as Encoding, body []byte) []byte {
	return Request("POST", host, "/", string(as), body, kinesisHeaders(operation)...)
}

func kinesisHeaders(operation string) []string {
	return []string{"X-Amz-Target: Kinesis_20131202." + operation, "X-Amz-Date: 20260101T000000Z", signature}
}

// PutRecord builds the body of a PutRecord with a 300 B event, in JSON.
func PutRecord(stream string, connection, n int) []byte {
	return fmt.Appendf(nil, `{"StreamName":%q,"PartitionKey":"k-%d-%d","Data":%q}`, stream, connection, n,
		base64.StdEncoding.EncodeToString(JSONEvent(n)))
}

// PutRecords builds the body of a PutRecords with count events of 300 B, in JSON.
func PutRecords(stream string, connection, n, count int) []byte {
	b := fmt.Appendf(nil, `{"StreamName":%q,"Records":[`, stream)
	for i := range count {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"Data":"%s","PartitionKey":"k-%d-%d-%d"}`, base64.StdEncoding.EncodeToString(JSONEvent(i)), connection, n, i)
	}
	return append(b, "]}"...)
}

// PutRecordsCBOR is PutRecords in CBOR.
func PutRecordsCBOR(stream string, connection, n, count int) []byte {
	b := cborText(cborText(cborHead(nil, cborMap, 2), "StreamName"), stream)
	b = cborHead(cborText(b, "Records"), cborList, count)
	for i := range count {
		event := JSONEvent(i)
		b = cborText(cborHead(b, cborMap, 2), "Data")
		b = append(cborHead(b, cborBytes, len(event)), event...)
		b = cborText(cborText(b, "PartitionKey"), fmt.Sprintf("k-%d-%d-%d", connection, n, i))
	}
	return b
}

// The major types of CBOR that requests have.
const (
	cborBytes  = 2 << 5
	cborString = 3 << 5
	cborList   = 4 << 5
	cborMap    = 5 << 5
)

// cborHead appends the beginning of a value: its type, and its length or count.
func cborHead(dst []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n < 1<<8:
		return append(dst, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
}

func cborText(dst []byte, text string) []byte {
	return append(cborHead(dst, cborString, len(text)), text...)
}

// cborLength reads what cborHead wrote; -1: it is none such.
func cborLength(b []byte, major byte) (n int, rest []byte) {
	if len(b) == 0 || b[0]&0xe0 != major {
		return -1, nil
	}
	info := int(b[0] & 31)
	if info < 24 {
		return info, b[1:]
	}
	size := 1 << (info - 24)
	if info > 26 || len(b) < 1+size {
		return -1, nil
	}
	for _, c := range b[1 : 1+size] {
		n = n<<8 | int(c)
	}
	return n, b[1+size:]
}
