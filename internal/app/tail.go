package app

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"millrace/internal/stream"
)

// TailRecord is one line of /_millrace/tail/STREAM, which is JSON lines without end.
type TailRecord struct {
	Shard    string    `json:"shard"`
	Sequence string    `json:"sequenceNumber"`
	Key      string    `json:"partitionKey"`
	Arrival  time.Time `json:"arrival"`
	Text     *string   `json:"text,omitempty"` // of data that is UTF-8
	Data     []byte    `json:"data,omitempty"` // of other data, in base64
}

// Bounds of one reader of a tail; a slow one slows nobody else.
const (
	tailRecords = 500
	tailBytes   = 1 << 20
)

// serveTail follows a stream without consuming anything: it reads as a consumer would, and keeps no place.
func (n *Node) serveTail(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("stream")
	def, ok := n.streams.Stream(name)
	if !ok || def.Hidden() {
		n.json(w, http.StatusNotFound, map[string]string{"error": "there is no stream " + name})
		return
	}
	oldest := false
	switch from := r.URL.Query().Get("from"); from {
	case "", "latest":
	case "horizon":
		oldest = true
	default:
		n.json(w, http.StatusBadRequest, map[string]string{"error": "from is latest or horizon, not " + from})
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(n.stopping, cancel)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	t := &tail{n: n, out: &tailWriter{w: w, rc: http.NewResponseController(w)}, ctx: ctx, cancel: cancel,
		stream: def.Name, id: def.ID, shards: map[uint32]tailState{}}
	t.begin(def, oldest) // first: what comes after the caller has seen the head of the answer is newer than the newest
	t.out.head()
	t.readers.Wait()
}

// tail follows the shards of a stream: one reader for each that is open, and for children once their parents are read.
type tail struct {
	n          *Node
	out        *tailWriter
	ctx        context.Context
	cancel     context.CancelFunc
	stream, id string
	readers    sync.WaitGroup

	mu     sync.Mutex
	shards map[uint32]tailState
}

type tailState uint8

const (
	tailing tailState = 1 + iota
	tailed            // to its end, or closed before the tail began
)

// begin starts at the newest records, or at the oldest: then closed shards are read as well, before their children.
func (t *tail) begin(def *stream.Stream, oldest bool) {
	if oldest {
		t.follow(def, t.n.streams.Horizon)
		return
	}
	for i := range def.Shards {
		if !def.Shards[i].Open() {
			t.shards[def.Shards[i].Index] = tailed
		}
	}
	t.follow(def, t.n.streams.Tip)
}

// follow starts to read the shards that are not read yet and whose parents are.
func (t *tail) follow(def *stream.Stream, place func(context.Context, stream.ShardRef) (stream.SequenceNumber, error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range def.Shards {
		sh := &def.Shards[i]
		waits := func(parent uint32) bool { _, listed := def.Shard(parent); return listed && t.shards[parent] != tailed }
		if t.shards[sh.Index] != 0 || slices.ContainsFunc(sh.Parents, waits) {
			continue
		}
		t.shards[sh.Index] = tailing
		ref := stream.ShardRef{Stream: t.stream, ID: t.id, Shard: sh.Index}
		from, err := place(t.ctx, ref)
		t.readers.Go(func() {
			if err != nil || !t.read(ref, from) {
				t.cancel() // one that can't go on ends all: the client begins again
			}
		})
	}
}

// ended goes on with the children of a shard that was read to its end. All that they hold is new to the tail.
func (t *tail) ended(shard uint32) bool {
	t.mu.Lock()
	t.shards[shard] = tailed
	t.mu.Unlock()
	def, ok := t.n.streams.Stream(t.stream)
	if !ok || def.ID != t.id {
		return false
	}
	t.follow(def, t.n.streams.Horizon)
	return true
}

// read copies a shard's records to the caller until the shard ends (true), or the tail does, the stream goes, or the caller is gone.
func (t *tail) read(ref stream.ShardRef, from stream.SequenceNumber) bool {
	var batch stream.Batch
	var err error
	for err == nil {
		if err = t.n.streams.Wait(t.ctx, ref, from); err != nil {
			break
		}
		req := stream.ReadRequest{Shard: ref, From: from, MaxRecords: tailRecords, MaxBytes: tailBytes}
		if err = t.n.streams.Read(t.ctx, req, &batch); err != nil {
			break
		}
		err = t.out.write(ref.Shard, batch.Records)
		from = batch.Next
		if batch.End && err == nil {
			return t.ended(ref.Shard)
		}
	}
	return false
}

// tailWriter lets the readers of several shards write whole lines.
type tailWriter struct {
	mu sync.Mutex
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (t *tailWriter) flush() { _ = t.rc.Flush() } // what can't be flushed can't be written either, and that is seen

// head lets the caller see the head of the answer when there are no records yet.
func (t *tailWriter) head() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flush()
}

func (t *tailWriter) write(shard uint32, records []stream.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	enc := json.NewEncoder(t.w)
	enc.SetEscapeHTML(false)
	for i := range records {
		r := &records[i]
		line := TailRecord{
			Shard: stream.ShardID(shard), Sequence: r.Sequence.String(), Key: string(r.PartitionKey),
			Arrival: time.UnixMilli(r.Arrival).UTC(),
		}
		if utf8.Valid(r.Data) {
			text := string(r.Data)
			line.Text = &text
		} else {
			line.Data = r.Data
		}
		if err := enc.Encode(&line); err != nil {
			return err
		}
	}
	t.flush()
	return nil
}
