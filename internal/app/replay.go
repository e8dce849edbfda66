package app

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"sync"
	"time"

	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/replay"
)

// ReplayRequest is the body of POST /_millrace/replay. Exactly one of Redrive, Objects and Rewrite is given.
type ReplayRequest struct {
	Redrive *RedriveRequest `json:"redrive,omitempty"`
	Objects *ObjectsRequest `json:"objects,omitempty"`
	Rewrite *RewriteRequest `json:"rewrite,omitempty"`

	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Name   string    `json:"name,omitempty"`
	DryRun bool      `json:"dryRun,omitempty"`
}

// RedriveRequest puts the records of error objects through their delivery stream again.
type RedriveRequest struct {
	DeliveryStream string `json:"deliveryStream"`
	Type           string `json:"type,omitempty"` // error-output-type; empty: all
}

// ObjectsRequest puts the records of objects into a stream, or into a delivery stream that takes Direct PUT.
type ObjectsRequest struct {
	Bucket string       `json:"bucket"`
	Prefix string       `json:"prefix"`
	Into   string       `json:"into"`
	Split  replay.Split `json:"split"`
}

// RewriteRequest writes a range of a stream again, below another prefix.
type RewriteRequest struct {
	Stream         string `json:"stream"`
	DeliveryStream string `json:"deliveryStream"`
	Prefix         string `json:"prefix"`
}

// ReplayLine is one line of the answer, which is JSON lines. The last one has End or Error.
type ReplayLine struct {
	ID      string                    `json:"id,omitempty"`
	Records *replay.Progress          `json:"records,omitempty"` // of redrive and objects
	Rewrite *delivery.RewriteProgress `json:"rewrite,omitempty"`
	End     bool                      `json:"end,omitempty"`
	Error   string                    `json:"error,omitempty"`
}

// Bounds of replays.
const (
	maxReplays     = 4                      // at work at a time: each has batches in memory
	replayReports  = 500 * time.Millisecond // between two reports of progress, so that slow callers do not hold up the work much
	maxReplayBytes = 64 << 10               // of a request
)

// replays are those at work.
type replays struct {
	mu   sync.Mutex
	ids  map[string]bool
	free int
}

// begin admits one, or says why not.
func (r *replays) begin(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil {
		r.ids, r.free = map[string]bool{}, maxReplays
	}
	switch {
	case r.ids[id]:
		return fault.New(fault.InUse, "app.Replay", id, "this replay is at work on this node already")
	case r.free == 0:
		return fault.New(fault.Throttled, "app.Replay", id, "%d replays are at work on this node; wait for one to end", maxReplays)
	}
	r.free--
	r.ids[id] = true
	return nil
}

func (r *replays) end(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free++
	delete(r.ids, id)
}

// serveReplay runs a replay for as long as its caller listens; who asks again goes on where it stopped.
func (n *Node) serveReplay(w http.ResponseWriter, r *http.Request) {
	// A page of another origin can't send this type without asking first.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		n.json(w, http.StatusUnsupportedMediaType, map[string]string{"error": "the body is application/json"})
		return
	}
	var req ReplayRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReplayBytes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		n.json(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	defer context.AfterFunc(n.stopping, stop)()
	out := &replayWriter{w: w, rc: http.NewResponseController(w), cancel: stop}
	err := n.replay(ctx, &req, out)
	if err != nil && !out.began {
		n.answer(w, nil, err)
		return
	}
	last := ReplayLine{End: err == nil}
	if err != nil {
		last.Error = err.Error()
	}
	out.line(&last)
}

func (n *Node) replay(ctx context.Context, req *ReplayRequest, out *replayWriter) error {
	given := 0
	for _, is := range []bool{req.Redrive != nil, req.Objects != nil, req.Rewrite != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return fault.New(fault.Invalid, "app.Replay", "", "exactly one of redrive, objects and rewrite is to be given")
	case req.Rewrite != nil:
		return n.rewrite(ctx, req, out)
	}
	o := replay.Options{Store: n.objects, Stream: n.streams, From: req.From, To: req.To, Name: req.Name, DryRun: req.DryRun, Now: time.Now,
		Failpoint: n.opts.Failpoint}
	if n.engineIs.Kind != config.Local {
		o.Settle = settle
	}
	// What is in this node's folder no other process can reach.
	o.Alone = n.engineIs.Kind == config.Local || !n.opts.Config.Objects.Remote()
	if err := n.aim(req, &o); err != nil {
		return err
	}
	var began time.Time
	o.Report = func(p replay.Progress) {
		// Every object is a line; of what happens within one, some.
		if p.Object == "" && time.Since(began) < replayReports {
			return
		}
		began = time.Now()
		out.line(&ReplayLine{Records: &p})
	}
	run, err := replay.New(o)
	if err != nil {
		return err
	}
	id := o.Bucket + " " + run.ID()
	if err := n.replays.begin(id); err != nil {
		return err
	}
	defer n.replays.end(id)
	out.line(&ReplayLine{ID: run.ID()})
	p, err := run.Run(ctx)
	out.line(&ReplayLine{Records: &p})
	return err
}

// aim fills in what is read and where it goes.
func (n *Node) aim(req *ReplayRequest, o *replay.Options) error {
	if c := req.Objects; c != nil {
		o.Bucket, o.Prefix, o.Split = c.Bucket, c.Prefix, c.Split
		into, err := n.replayTarget(c.Into)
		o.Into = into
		return err
	}
	c := req.Redrive
	r, err := n.engine.Redrive(c.DeliveryStream)
	if err != nil {
		return err
	}
	known := c.Type == ""
	for _, t := range delivery.ErrorTypes() {
		known = known || t == c.Type
	}
	if !known {
		return fault.New(fault.Invalid, "app.Replay", c.Type, "%q is none of the types %v", c.Type, delivery.ErrorTypes())
	}
	o.Bucket, o.Prefix, o.Into, o.Split = r.Bucket, r.Prefix, r.Into, replay.Split{Kind: replay.Errors}
	o.Wanted = func(key string, head func() (object.Info, error)) (bool, error) {
		return n.engine.IsErrorObject(c.DeliveryStream, c.Type, key, head)
	}
	return nil
}

// replayTarget gives the stream that is meant: one of that name, or the hidden one of a Direct PUT delivery stream.
func (n *Node) replayTarget(name string) (string, error) {
	if st, ok := n.streams.Stream(name); ok && !st.Hidden() {
		return name, nil
	}
	def, err := n.engine.Describe(name)
	if err != nil || def.Type != delivery.DirectPut {
		return "", fault.New(fault.NotFound, "app.Replay", name, "there is no stream %s, and no delivery stream of that name that takes records by Direct PUT", name)
	}
	return def.SourceStream(), nil
}

func (n *Node) rewrite(ctx context.Context, req *ReplayRequest, out *replayWriter) error {
	c := req.Rewrite
	if req.Name != "" {
		return fault.New(fault.Invalid, "app.Replay", req.Name, "a range that is written again has no name: another prefix sets it apart")
	}
	id := "rewrite " + c.DeliveryStream + " " + c.Prefix
	if err := n.replays.begin(id); err != nil {
		return err
	}
	defer n.replays.end(id)
	var began time.Time
	p, err := n.engine.Rewrite(ctx, delivery.RewriteOptions{Stream: c.Stream, Delivery: c.DeliveryStream, From: req.From, To: req.To, Prefix: c.Prefix,
		At: n.streams.At, DryRun: req.DryRun, Report: func(p delivery.RewriteProgress) {
			if time.Since(began) < replayReports {
				return
			}
			began = time.Now()
			out.line(&ReplayLine{Rewrite: &p})
		}})
	if p.Of > 0 {
		out.line(&ReplayLine{Rewrite: &p})
	}
	return err
}

// replayWriter writes lines to a caller. When he is gone the replay ends, at the end of a batch.
type replayWriter struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	cancel func()
	began  bool
}

func (o *replayWriter) line(l *ReplayLine) {
	if !o.began {
		o.began = true
		o.w.Header().Set("Content-Type", "application/x-ndjson")
		o.w.Header().Set("Cache-Control", "no-store")
	}
	doc, err := json.Marshal(l)
	if err == nil {
		_, err = o.w.Write(append(doc, '\n'))
	}
	if err == nil {
		err = o.rc.Flush()
	}
	if err != nil {
		o.cancel()
	}
}
