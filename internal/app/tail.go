package app

import (
	"context"
	"encoding/json"
	"net/http"
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
	out := &tailWriter{w: w, rc: http.NewResponseController(w)}
	out.flush()
	var readers sync.WaitGroup
	for i := range def.Shards {
		ref := stream.ShardRef{Stream: def.Name, ID: def.ID, Shard: def.Shards[i].Index}
		readers.Go(func() {
			defer cancel() // one that can't go on ends all: the client begins again
			n.tailShard(ctx, ref, oldest, out)
		})
	}
	readers.Wait()
}

// tailShard copies a shard's records to out until ctx ends, the stream goes, or the caller is gone.
func (n *Node) tailShard(ctx context.Context, ref stream.ShardRef, oldest bool, out *tailWriter) {
	place := n.streams.Tip
	if oldest {
		place = n.streams.Horizon
	}
	from, err := place(ctx, ref)
	var batch stream.Batch
	for err == nil {
		if err = n.streams.Wait(ctx, ref, from); err != nil {
			break
		}
		req := stream.ReadRequest{Shard: ref, From: from, MaxRecords: tailRecords, MaxBytes: tailBytes}
		if err = n.streams.Read(ctx, req, &batch); err != nil {
			break
		}
		err = out.write(ref.Shard, batch.Records)
		from = batch.Next
		if batch.End {
			<-ctx.Done() // the shard is closed; others go on
			return
		}
	}
}

// tailWriter lets the readers of several shards write whole lines.
type tailWriter struct {
	mu sync.Mutex
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (t *tailWriter) flush() { _ = t.rc.Flush() } // what can't be flushed can't be written either, and that is seen

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
