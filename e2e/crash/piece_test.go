package crash

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"

	"millrace/bench/load"
)

// door is where records go in: class-stream, or a delivery stream that takes Direct PUT. A book's entry has its kind.
type door struct {
	kind   kind
	stream string // of Kinesis; empty: Direct PUT
	name   string // of the delivery stream
	joined bool   // a record is several documents
	large  bool   // of largePiece each
}

// largePiece is the size of large documents: some hundred of them fill what a node has for buffers.
const largePiece = 60_000

// doorKinds is where the kinds of doors begin.
const doorKinds kind = 64

var (
	streamDoor       = door{kind: doorKinds, stream: "class-stream", joined: true}
	columnsDoor      = door{kind: doorKinds + 1, name: "columns"}
	moodyDoor        = door{kind: doorKinds + 2, name: "moody"}
	moodyColumnsDoor = door{kind: doorKinds + 3, name: "moody-columns"}
	hookDoor         = door{kind: doorKinds + 4, name: "hook"}
	moodyHookDoor    = door{kind: doorKinds + 5, name: "moody-hook"}
)

// flow is a delivery stream under test: which records it takes, and what becomes of them.
type flow struct {
	door
	name     string
	bucket   string
	backup   string // bucket of source records; empty: none
	function bool   // moody changes its records
	columns  bool   // they become rows of Parquet files
	posted   bool   // to the HTTP endpoint
}

var flows = []flow{
	{door: streamDoor, name: "parted", bucket: "parted-events"},
	{door: streamDoor, name: "moody-parted", bucket: "moody-parted-events", function: true},
	{door: columnsDoor, name: "columns", bucket: "columns-events", columns: true},
	{door: moodyDoor, name: "moody", bucket: "moody-events", backup: "moody-source", function: true},
	{door: moodyColumnsDoor, name: "moody-columns", bucket: "moody-columns-events", function: true, columns: true},
	{door: hookDoor, name: "hook", bucket: "hook-events", posted: true},
	{door: moodyHookDoor, name: "moody-hook", bucket: "moody-hook-events", function: true, posted: true},
}

// processingLoad is little enough that a hundred rounds can be judged in seconds.
var processingLoad = []group{
	{3, streamDoor.put, nil},
	{1, columnsDoor.put, nil},
	{1, moodyDoor.put, nil},
	{1, moodyColumnsDoor.put, nil},
	{1, hookDoor.put, nil},
	{1, moodyHookDoor.put, nil},
}

// piecesMost bounds the documents in a record.
const piecesMost = 3

// piece is a document in a record.
type piece struct {
	id, s  int
	key    string // the value that partitions it; empty in what is broken
	text   string
	broken bool // it is no JSON; then it is the whole record
	unfit  bool // it does not fit the table
}

// pieces gives what a door's record of a number holds; the same each time.
func (d door) pieces(id int) []piece {
	rng := rand.New(rand.NewPCG(uint64(id), uint64(d.kind)))
	end := "\n"
	if d.joined {
		end = ""
	}
	if rng.IntN(20) == 0 {
		return []piece{{id: id, text: `{"id":"` + idText(id) + `","broken: ` + text(rng, 3) + end, broken: true, unfit: true}}
	}
	all := make([]piece, 1)
	if d.joined {
		all = make([]piece, 1+rng.IntN(piecesMost))
	}
	for s := range all {
		p := piece{id: id, s: s, key: string(rune('a' + rng.IntN(4))), unfit: rng.IntN(20) == 0}
		n := strconv.Itoa(rng.IntN(1e9))
		if p.unfit {
			n = `"many"`
		}
		t := text(rng, 1+rng.IntN(8))
		if d.large {
			b := bytes.NewBufferString(t)
			pad(b, rng, largePiece)
			t = b.String()
		}
		p.text = document(id, s, p.key, n, t) + end
		all[s] = p
	}
	return all
}

func document(id, s int, key, n, t string) string {
	return fmt.Sprintf(`{"id":"%s","s":%d,"k":"%s","n":%s,"t":"%s"}`, idText(id), s, key, n, t)
}

// record is what a door is given under a number.
func (d door) record(id int) []byte {
	var b bytes.Buffer
	for i, p := range d.pieces(id) {
		if i > 0 && id%2 == 0 {
			b.WriteString(" \n")
		}
		b.WriteString(p.text)
	}
	return b.Bytes()
}

// idRule finds a document's number in whatever became of it.
var (
	idRule   = regexp.MustCompile(`^\{"id":"e(\d{10})","(?:s":(\d)|broken)`)
	moodRule = regexp.MustCompile(`,"mood":"(m\d)","call":(\d+)\}\n?$`)
)

// identify reads which piece a text was made of.
func identify(text []byte) (id, s int, ok bool) {
	m := idRule.FindSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	id, _ = strconv.Atoi(string(m[1])) // digits
	s, _ = strconv.Atoi(string(m[2]))  // or nothing
	return id, s, true
}

// put sends some records to a door at once.
func (d door) put(w *worker, c *conn, _ int) error {
	count := 1 + w.rng.IntN(batchMost)
	first := w.book.sendsTo(w.number, d.kind, count)
	var b bytes.Buffer
	if d.stream != "" {
		fmt.Fprintf(&b, `{"StreamName":%q,"Records":[`, d.stream)
	} else {
		fmt.Fprintf(&b, `{"DeliveryStreamName":%q,"Records":[`, d.name)
	}
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		data := base64.StdEncoding.EncodeToString(d.record(first + i))
		if d.stream != "" {
			fmt.Fprintf(&b, `{"PartitionKey":"k%d","Data":%q}`, first+i, data)
		} else {
			fmt.Fprintf(&b, `{"Data":%q}`, data)
		}
	}
	b.WriteString(`]}`)
	request := load.KinesisCall(c.aws.host, "PutRecords", b.Bytes())
	if d.stream == "" {
		request = load.Request("POST", c.aws.host, "/", "application/x-amz-json-1.1", b.Bytes(), "X-Amz-Target: Firehose_20150804.PutRecordBatch")
	}
	a, err := c.aws.call(request)
	if err != nil {
		return err
	}
	return w.batch(first, count, a, func(p *putAnswer) (place, seq string) {
		if d.stream != "" {
			return d.stream + " " + p.ShardId, p.SequenceNumber
		}
		if place = pushPlace(p.RecordId); place == "" {
			return "", ""
		}
		return d.name + " " + strings.TrimPrefix(place, pushDelivery), p.RecordId
	})
}
