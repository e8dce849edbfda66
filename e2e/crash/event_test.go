package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
)

// kind says what an event looks like and by which door it goes in.
type kind uint8

const (
	jsonSmall kind = iota
	jsonLarge
	formSmall
	formLarge
	taggedEmpty // of /v2: the id is in a header
	taggedByte
	taggedText
	taggedForm
	anonymousJSONEmpty // too short for an id: they are counted
	anonymousJSONByte
	anonymousFormEmpty
	anonymousFormByte
	wireRecord // PutRecord and PutRecords of Kinesis
	pushRecord // PutRecordBatch of Firehose
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// largeBody is the size of the largest bodies: with line break and partition key it fits a record of 1 MiB.
const largeBody = 1_000_000

// event is what is sent, and the line that an object must hold of it.
type event struct {
	path        string
	contentType string
	header      string // a further header line
	body        []byte
	line        []byte // with its line break
}

// idText is how an event bears its number: "e0000004711".
func idText(id int) string { return fmt.Sprintf("e%010d", id) }

// event gives the event of a kind and number; the same each time, so that the check needs no copy of what was sent.
func (k kind) event(id int) event {
	rng := rand.New(rand.NewPCG(uint64(id), uint64(k)))
	switch k {
	case jsonSmall, jsonLarge:
		body := jsonBody(rng, id, k == jsonLarge)
		return event{path: "/prod/v1/class-stream", contentType: jsonType, body: body, line: append(bytes.Clone(body), '\n')}
	case formSmall, formLarge:
		body := formBody(rng, id, k == formLarge)
		return event{path: "/prod/v1/class-stream", contentType: formType, body: body, line: formLine(string(body))}
	case taggedEmpty, taggedByte, taggedText, taggedForm:
		return taggedEvent(rng, k, id)
	case anonymousJSONEmpty:
		return event{path: "/prod/v1/class-stream", contentType: jsonType, line: []byte("{}\n")}
	case anonymousJSONByte:
		return event{path: "/prod/v1/class-stream", contentType: jsonType, body: []byte("7"), line: []byte("7\n")}
	case anonymousFormEmpty:
		return event{path: "/prod/v1/class-stream", contentType: formType, line: []byte("{}\n")}
	case anonymousFormByte:
		return event{path: "/prod/v1/class-stream", contentType: formType, body: []byte("a"), line: []byte("{\"a\" : \"\"}\n")}
	default:
		return event{line: wireLine(rng, id)}
	}
}

// anonymous tells that the event's line does not bear its number.
func (k kind) anonymous() bool { return k >= anonymousJSONEmpty && k <= anonymousFormByte }

// words that go through templates unharmed only when everything is quoted and decoded as it must be.
var words = []string{"walnut", "Tisch", "café", "東京", "서울", "🎉", "naïve", "it's", "a/b", "$input.body", "#set($x = 1)", "100 %", "<b>", "ß", "--"}

func text(rng *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(words[rng.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()
}

// jsonBody is compact, so that what $input.json('$') prints of it is known: the same.
func jsonBody(rng *rand.Rand, id int, large bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"id":%q,"title":"%s","quote":"she said \"%s\", \\ and left\n","price":%d.%d,"tags":["a",null,true,{"n":-%d}]`,
		idText(id), text(rng, 6), words[rng.IntN(len(words))], rng.IntN(1000), 1+rng.IntN(9), 1+rng.IntN(1e9))
	if large {
		b.WriteString(`,"pad":"`)
		pad(&b, rng, largeBody-2)
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.Bytes()
}

// pad fills up to a size with letters that no encoding touches.
func pad(b *bytes.Buffer, rng *rand.Rand, size int) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	for b.Len() < size {
		x := rng.Uint64()
		for i := 0; i < 12 && b.Len() < size; i++ {
			b.WriteByte(letters[x%uint64(len(letters))])
			x /= uint64(len(letters))
		}
	}
}

// formBody holds what browsers send and what the double decoding of the template makes differ: + and %2B, %2522,
// raw UTF-8, a field without value, a second = in a value.
func formBody(rng *rand.Rand, id int, large bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "id=%s&title=%s&quote=%%22%s%%22&plus=a+b%%2Bc&twice=%%2522&raw=é東&empty=&bare&eq=a=b&n=%d", idText(id),
		url.QueryEscape(url.QueryEscape(text(rng, 4))), url.QueryEscape(strings.ReplaceAll(words[rng.IntN(len(words))], "%", "")), rng.IntN(1e9))
	if large {
		b.WriteString("&pad=")
		pad(&b, rng, largeBody)
	}
	return b.Bytes()
}

// formLine is what the reference's form template makes of a body, said in another language.
func formLine(body string) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, token := range strings.Split(body, "&") {
		if i > 0 {
			b.WriteByte(',')
		}
		// Java's split leaves out empty strings at the end, and here only the first two parts count.
		key, value, _ := strings.Cut(token, "=")
		value, _, _ = strings.Cut(value, "=")
		fmt.Fprintf(&b, `"%s" : "%s"`, decodeTwice(key), decodeTwice(value))
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func decodeTwice(s string) string {
	for range 2 {
		decoded, err := url.QueryUnescape(s)
		if err != nil {
			panic("the generator makes forms that can be decoded twice: " + err.Error())
		}
		s = decoded
	}
	return s
}

func taggedEvent(rng *rand.Rand, k kind, id int) event {
	e := event{path: "/prod/v2/class-stream", contentType: jsonType, header: "X-Event-Id: " + idText(id)}
	switch k {
	case taggedByte:
		e.body = []byte{"0123456789"[id%10]}
	case taggedText:
		e.body = []byte(`"` + text(rng, 10) + `" {` + strconv.Itoa(id)) // neither JSON nor a form
	case taggedForm:
		e.contentType = formType
		e.body = []byte("q=%22&" + text(rng, 3))
	}
	shown := string(e.body)
	if shown == "" {
		shown = "{}" // an empty payload reads as that
	}
	e.line = []byte(idText(id) + " " + shown + "\n")
	return e
}

// wireLine is a record of any bytes but line breaks.
func wireLine(rng *rand.Rand, id int) []byte {
	line := []byte(idText(id) + " ")
	for range rng.IntN(500) {
		if c := byte(rng.Uint32()); c != '\n' {
			line = append(line, c)
		}
	}
	return append(line, '\n')
}

// idOf reads the number of the event that a line was made of.
func idOf(line []byte) (id int, ok bool) {
	for _, head := range []string{`{"id":"`, `{"id" : "`, ""} {
		rest, found := bytes.CutPrefix(line, []byte(head))
		if found && len(rest) >= 11 && rest[0] == 'e' {
			id, err := strconv.Atoi(string(rest[1:11]))
			return id, err == nil
		}
	}
	return 0, false
}
