package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"millrace/bench/load"
	"millrace/e2e/node"
	"millrace/internal/stream"
)

// Shape of the load: enough to keep group commit, several shards and both delivery streams busy, little enough that
// a hundred rounds fit a laptop's disk.
const (
	thinkTime   = 16 * time.Millisecond  // mean pause of a worker between two requests is half of it
	largeEvery  = 200                    // requests of a worker between two bodies of 1 MB
	batchMost   = 20                     // records of a PutRecords or PutRecordBatch
	answerTime  = 30 * time.Second       // an answer of a node by itself that is later than this is none
	answerBytes = 16 << 20               // an answer larger than this is an error; GetRecords gives the largest
	dialPause   = 20 * time.Millisecond  // before a connection that broke is made again
	dialTimeout = 500 * time.Millisecond // to a listener on this machine
	patience    = 200 * time.Millisecond // until a listener is tried again that was not there
)

// worker is one connection and what goes over it.
type worker struct {
	*target
	rng   *rand.Rand
	send  func(w *worker, c *conn, n int) error
	kinds []kind
}

// target is where load goes.
type target struct {
	book    *book
	number  uint8             // of the node, in the book
	node    func() *node.Node // the process that serves at present; nil: none
	patient bool              // goes on when nobody listens: another process will
	think   time.Duration     // the longest pause between two requests of a worker
	answer  time.Duration     // an answer later than this is none
	groups  []group
}

// group is connections of one kind.
type group struct {
	count int
	send  func(w *worker, c *conn, n int) error
	kinds []kind
}

// workers lists the connections to a node by itself: both content types, and the doors that SDKs use.
var workers = []group{
	{16, (*worker).post, []kind{jsonSmall}},
	{8, (*worker).post, []kind{formSmall}},
	{1, (*worker).post, []kind{taggedEmpty, taggedByte, taggedText, taggedForm}},
	{1, (*worker).post, []kind{anonymousJSONEmpty, anonymousJSONByte, anonymousFormEmpty, anonymousFormByte}},
	{1, (*worker).putRecord, []kind{wireRecord}},
	{1, (*worker).putRecords, []kind{wireRecord}},
	{1, (*worker).putRecordBatch, []kind{pushRecord}},
}

// run makes load on one process until ctx ends or it can't be reached any more.
func run(ctx context.Context, b *book, n *node.Node, groups []group, think time.Duration, seed uint64) {
	t := &target{book: b, node: func() *node.Node { return n }, think: think, answer: answerTime, groups: groups}
	t.run(ctx, seed)
}

func (t *target) run(ctx context.Context, seed uint64) {
	var all sync.WaitGroup
	for i, group := range t.groups {
		for j := range group.count {
			w := &worker{target: t, rng: rand.New(rand.NewPCG(seed, uint64(i<<8+j))), send: group.send, kinds: group.kinds}
			all.Go(func() { w.run(ctx) })
		}
	}
	all.Wait()
}

func (w *worker) run(ctx context.Context) {
	for n := w.rng.IntN(largeEvery); ctx.Err() == nil; {
		c, err := w.dial(ctx)
		if err != nil && !w.patient {
			return // nobody listens: the node is dead
		}
		if err != nil {
			time.Sleep(patience)
			continue
		}
		for ; ctx.Err() == nil; n++ {
			if err = w.send(w, c, n); err != nil {
				break // what was under way stays unanswered
			}
			time.Sleep(time.Duration(w.rng.Int64N(int64(w.think))))
		}
		c.close()
		if err != nil {
			time.Sleep(dialPause)
		}
	}
}

// conn is one connection for each listener.
type conn struct {
	ingest, aws *wire
}

type wire struct {
	net.Conn
	in     *bufio.Reader
	host   string
	answer time.Duration
}

func (w *worker) dial(ctx context.Context) (*conn, error) {
	n := w.node()
	if n == nil {
		return nil, errNobody
	}
	ingest, err := dial(ctx, n.Ingest)
	if err != nil {
		return nil, err
	}
	aws, err := dial(ctx, n.AWS)
	if err != nil {
		ingest.Close()
		return nil, err
	}
	ingest.answer, aws.answer = w.answer, w.answer
	return &conn{ingest, aws}, nil
}

var errNobody = errors.New("no process serves")

func dial(ctx context.Context, url string) (*wire, error) {
	host := strings.TrimPrefix(url, "http://")
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &wire{c, bufio.NewReaderSize(c, 16<<10), host, answerTime}, nil
}

func (c *conn) close() {
	c.ingest.Close()
	c.aws.Close()
}

// call sends a request once, and never again: a client that repeats by itself would make the duplicates that are
// looked for.
func (c *wire) call(request []byte) (load.Answer, error) {
	if err := c.SetDeadline(time.Now().Add(c.answer)); err != nil {
		return load.Answer{}, err
	}
	if _, err := c.Write(request); err != nil {
		return load.Answer{}, err
	}
	return load.ReadBody(c.in, answerBytes)
}

// post sends an event to the REST API.
func (w *worker) post(c *conn, n int) error {
	k := w.kinds[n%len(w.kinds)]
	if n%largeEvery == largeEvery-1 {
		switch k {
		case jsonSmall:
			k = jsonLarge
		case formSmall:
			k = formLarge
		}
	}
	id := w.book.sendsTo(w.number, k, 1)
	e := k.event(id)
	var extra []string
	if e.header != "" {
		extra = append(extra, e.header)
	}
	a, err := c.ingest.call(load.Request("POST", c.ingest.host, e.path, e.contentType, e.body, extra...))
	if err != nil {
		return err
	}
	return w.single(id, a)
}

// putAnswer is that of PutRecord, and an entry of those of the batches.
type putAnswer struct {
	ShardId, SequenceNumber, RecordId, ErrorCode, ErrorMessage string
}

// single notes the answer to one record.
func (w *worker) single(id int, a load.Answer) error {
	if a.Status != http.StatusOK {
		w.book.refuses(id, a.Status, a.Body)
		return nil
	}
	var put putAnswer
	if err := json.Unmarshal(a.Body, &put); err != nil || put.ShardId == "" || put.SequenceNumber == "" {
		w.book.refuses(id, a.Status, append([]byte("200, but not the answer of a PutRecord: "), a.Body...))
		return nil
	}
	w.book.answers(id, "class-stream "+put.ShardId, put.SequenceNumber)
	return nil
}

func (w *worker) putRecord(c *conn, n int) error {
	id := w.book.sendsTo(w.number, wireRecord, 1)
	body := fmt.Appendf(nil, `{"StreamName":"class-stream","PartitionKey":"k%d","Data":%q}`, id,
		base64.StdEncoding.EncodeToString(wireRecord.event(id).line))
	a, err := c.aws.call(load.KinesisCall(c.aws.host, "PutRecord", body))
	if err != nil {
		return err
	}
	return w.single(id, a)
}

func (w *worker) putRecords(c *conn, _ int) error {
	count := 1 + w.rng.IntN(batchMost)
	first := w.book.sendsTo(w.number, wireRecord, count)
	var b bytes.Buffer
	b.WriteString(`{"StreamName":"class-stream","Records":[`)
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"PartitionKey":"k%d","Data":%q}`, first+i, base64.StdEncoding.EncodeToString(wireRecord.event(first+i).line))
	}
	b.WriteString(`]}`)
	a, err := c.aws.call(load.KinesisCall(c.aws.host, "PutRecords", b.Bytes()))
	if err != nil {
		return err
	}
	return w.batch(first, count, a, func(p *putAnswer) (place, seq string) { return "class-stream " + p.ShardId, p.SequenceNumber })
}

func (w *worker) putRecordBatch(c *conn, _ int) error {
	count := 1 + w.rng.IntN(batchMost)
	first := w.book.sendsTo(w.number, pushRecord, count)
	var b bytes.Buffer
	b.WriteString(`{"DeliveryStreamName":"push-delivery","Records":[`)
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":%q}`, base64.StdEncoding.EncodeToString(pushRecord.event(first+i).line))
	}
	b.WriteString(`]}`)
	a, err := c.aws.call(load.Request("POST", c.aws.host, "/", "application/x-amz-json-1.1", b.Bytes(),
		"X-Amz-Target: Firehose_20150804.PutRecordBatch"))
	if err != nil {
		return err
	}
	return w.batch(first, count, a, func(p *putAnswer) (place, seq string) { return pushPlace(p.RecordId), p.RecordId })
}

// pushPlace tells in which shard of a hidden stream a record lies. The RecordId is its sequence number, and that holds the
// shard. Empty: it is no such number.
func pushPlace(recordID string) string {
	seq, ok := stream.ParseSequenceNumber(recordID)
	_, index, _, ours := seq.Parts()
	if !ok || !ours {
		return ""
	}
	return pushDelivery + stream.ShardID(index)
}

// pushDelivery begins the places of Direct PUT.
const pushDelivery = "push-delivery "

// batch notes the answers to several records, each of which succeeds or fails by itself.
func (w *worker) batch(first, count int, a load.Answer, where func(*putAnswer) (place, seq string)) error {
	var all struct {
		Records          []putAnswer // Kinesis
		RequestResponses []putAnswer // Firehose
	}
	err := json.Unmarshal(a.Body, &all)
	answers := append(all.Records, all.RequestResponses...)
	if a.Status != http.StatusOK || err != nil || len(answers) != count {
		for i := range count {
			w.book.refuses(first+i, a.Status, a.Body)
		}
		return nil
	}
	for i := range answers {
		place, seq := where(&answers[i])
		if answers[i].ErrorCode != "" || seq == "" || place == "" {
			w.book.refuses(first+i, a.Status, fmt.Appendf(nil, "%+v", answers[i]))
			continue
		}
		w.book.answers(first+i, place, seq)
	}
	return nil
}
