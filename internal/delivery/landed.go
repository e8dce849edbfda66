package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// DefaultLedgerKeep is how long it is known which object holds which records, unless said otherwise.
const DefaultLedgerKeep = 7 * 24 * time.Hour

// pruneEvery is how often the index forgets: an hour is its finest unit.
const pruneEvery = time.Hour

// describe adds to an object's metadata whose records it holds.
func describe(meta map[string]string, m *journal.Manifest, p *journal.Part) {
	name := m.Key.Shard.Stream
	if _, topic, ok := stream.ParseTopicStream(name); ok {
		meta[metaSource] = topic
	} else if !strings.HasPrefix(name, stream.HiddenPrefix) {
		meta[metaSource] = name
	}
	if p.Lane.Error != "" {
		meta[metaError] = p.Lane.Error
	}
}

// landed lists the objects of a task, for the index; row is the one after the commit. The caller holds shard.mu.
func (t *task) landed(row *journal.Row) []journal.Landed {
	var all []journal.Landed
	m := t.manifest
	selects := t.shard.d.selects(m)
	add := func(p *journal.Part, records, outputs int64) {
		l := journal.Landed{Ordinal: m.Ordinal, ID: p.ID, Bucket: p.Bucket, ObjectKey: p.ObjectKey, Error: p.Lane.Error,
			First: p.First, Last: p.Last, Records: records, Outputs: outputs, Processed: selects,
			Next: row.Checkpoint, Ahead: len(row.Ahead) > 0, At: t.shard.d.engine.opts.Now().UTC()}
		if !p.Lane.IsZero() {
			l.Lane = p.Lane.ID()
		}
		if p.Format == journal.HTTP && p.Failure == nil {
			l.Bucket, l.ObjectKey = "", ""
		}
		all = append(all, l)
	}
	for i := range m.Parts {
		p, result := &m.Parts[i], t.parts[i].result
		if result.objects > 0 {
			add(p, result.delivered, result.outputs)
		}
		if result.errorObjects == 0 {
			continue
		}
		switch p.Format {
		case journal.Errors:
			add(p, result.deadLettered, p.Outputs)
		case journal.Parquet:
			q := failedPart(p, conversionFailed)
			add(&q, result.deadLettered, p.Outputs-result.outputs)
		default:
			q := failedPart(p, httpFailed)
			add(&q, result.deadLettered, p.Outputs)
		}
	}
	return all
}

// index completes a change of a row's counts, which were before, by what the index is to know of it. Where the journal has
// an index the change bears it; else the row does.
func (d *delivery) index(ctx context.Context, row *journal.Row, before *journal.Counts, change *journal.Change) {
	e := d.engine
	inRow := e.landed == nil
	row.AddLanded(change.Landed, inRow)
	accepted := row.Counts.Settled()
	if d.dense() {
		accepted = max(accepted, between(row, row.Start, d.tip(ctx, row)))
	}
	ended, ok := row.CountHour(journal.HourOf(e.opts.Now()), *before, accepted)
	switch {
	case inRow:
		change.Landed = nil
		if ok {
			row.AddHours(ended)
		}
	case ok:
		change.Hours = append(change.Hours, journal.RowHour{Key: row.Key, HourCounts: ended})
	}
}

// keepHours keeps the hours of a row that is dropped.
func (e *Engine) keepHours(row, sums *journal.Row, change *journal.Change) {
	open, ok := row.Open()
	if e.landed == nil {
		sums.AddHours(row.Hours...)
		if ok {
			sums.AddHours(open)
		}
		return
	}
	if ok {
		change.Hours = append(change.Hours, journal.RowHour{Key: row.Key, HourCounts: open})
	}
}

func (e *Engine) pruneIndex(ctx context.Context) {
	if e.landed == nil {
		return
	}
	now := e.opts.Now()
	if err := e.landed.Prune(ctx, now.Add(-e.opts.LedgerKeep), journal.HourOf(now)-journal.MaxHours); err != nil && ctx.Err() == nil {
		e.opts.Log.Warn("the index of delivered objects could not be pruned; it is tried again", "error", err)
	}
}

// RecordState says where a record is.
type RecordState string

// The states.
const (
	RecordDelivered RecordState = "delivered" // it is in the objects, or in one of them when there are several
	RecordPlanned   RecordState = "planned"   // its objects are named, and not known to be stored yet
	RecordInFlight  RecordState = "in flight" // read or not; no object is named yet
	RecordSettled   RecordState = "settled"   // in no object: a processor has dropped it, or it has expired
	RecordForgotten RecordState = "forgotten" // settled; the index does not reach back to it
	RecordBefore    RecordState = "before"    // it came before the delivery stream began to read the shard
	RecordUnknown   RecordState = "unknown"   // the shard has no such record, as far as can be told
)

// RecordLine says where one delivery stream has put a record.
type RecordLine struct {
	DeliveryStream string           `json:"deliveryStream"`
	Shard          string           `json:"shard"`
	State          RecordState      `json:"state"`
	Objects        []journal.Landed `json:"objects,omitempty"`
	// Certain: the record is in the one object. Else it is in one of the objects, in several when it was de-aggregated, or
	// in none when a processor has dropped it.
	Certain bool `json:"certain"`
	// Before and After are the nearest objects when it is in none.
	Before *journal.Landed `json:"before,omitempty"`
	After  *journal.Landed `json:"after,omitempty"`
}

// FindRecord tells in which objects the record of a stream landed, for every delivery stream that reads it. The name may
// also be that of a topic, or of a Direct PUT delivery stream, whose RecordIds are sequence numbers.
func (e *Engine) FindRecord(ctx context.Context, name string, at stream.SequenceNumber) ([]RecordLine, error) {
	all := []RecordLine{}
	found := false
	for _, d := range e.deliveries() {
		def := d.definition.Load()
		if !def.reads(name) {
			continue
		}
		found = true
		lines, err := d.findRecord(ctx, at)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	if !found {
		return nil, fault.New(fault.NotFound, "delivery.FindRecord", name, "no delivery stream reads a stream %s, and none of that name takes records by Direct PUT", name)
	}
	return all, nil
}

// reads reports whether that is the name of the stream or topic that a delivery stream reads, as operators know it; one that
// takes Direct PUT reads what bears its own.
func (d *Definition) reads(name string) bool {
	switch {
	case d.Type == DirectPut:
		return d.Name == name
	case d.MSKSource != nil && d.MSKSource.TopicName == name:
		return true
	}
	return d.SourceStream() == name
}

func (d *delivery) findRecord(ctx context.Context, at stream.SequenceNumber) ([]RecordLine, error) {
	e := d.engine
	rows, manifests, err := e.opts.Journal.Load(ctx, d.id)
	if err != nil {
		return nil, err
	}
	known := map[journal.Key]bool{}
	for i := range rows {
		known[rows[i].Key] = true
	}
	if e.landed != nil { // shards that have left their stream are remembered there
		keys, err := e.landed.LandedShards(ctx, d.id)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if !known[k] {
				rows = append(rows, journal.Row{Key: k, Done: true, Checkpoint: at.Next()})
			}
		}
	}
	var lines []RecordLine
	for i := range rows {
		if rows[i].IsSums() || !d.mayHold(&rows[i], at) {
			continue
		}
		line, err := d.findInRow(ctx, &rows[i], manifests, at)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return pickLines(lines), nil
}

// pickLines leaves out what says nothing, where sequence numbers do not tell their shard and another line says more.
func pickLines(lines []RecordLine) []RecordLine {
	says := func(l RecordLine) bool { return l.State == RecordDelivered || l.State == RecordPlanned }
	if slices.ContainsFunc(lines, says) {
		lines = slices.DeleteFunc(lines, func(l RecordLine) bool { return !says(l) })
	}
	return lines
}

// mayHold reports whether a sequence number may be of a row's shard. Where positions are dense a number says whose it is.
func (d *delivery) mayHold(row *journal.Row, at stream.SequenceNumber) bool {
	dense := d.dense()
	created, shard, _, ok := at.Parts()
	if !ok {
		return !dense
	}
	return shard == row.Shard.Shard && (row.Created == 0 || !dense || created == row.Created)
}

func (d *delivery) findInRow(ctx context.Context, row *journal.Row, manifests []*journal.Manifest, at stream.SequenceNumber) (RecordLine, error) {
	e := d.engine
	line := RecordLine{DeliveryStream: d.name, Shard: stream.ShardID(row.Shard.Shard)}
	if at.Before(row.Start) {
		line.State = RecordBefore
		return line, nil
	}
	all, complete, err := e.around(ctx, row, at)
	if err != nil {
		return line, err
	}
	for i := range all {
		switch l := &all[i]; {
		case l.Holds(at):
			line.Objects = append(line.Objects, *l)
		case l.Last.Before(at) && (line.Before == nil || line.Before.Last.Before(l.Last)):
			line.Before = l
		case at.Before(l.First) && (line.After == nil || l.First.Before(line.After.First)):
			line.After = l
		}
	}
	line.State = RecordDelivered
	if len(line.Objects) == 0 {
		line.Objects = d.plannedAt(row, manifests, at)
		line.State = RecordPlanned
	}
	switch {
	case len(line.Objects) > 0:
		line.Certain = len(line.Objects) == 1 && !line.Objects[0].Processed
		line.Before, line.After = nil, nil
	case !at.Before(row.Checkpoint):
		line.State = RecordInFlight
		if d.dense() && !row.Done && !at.Before(d.tip(ctx, row)) {
			line.State = RecordUnknown
		}
	case !complete:
		line.State = RecordForgotten
	default:
		line.State = RecordSettled
	}
	return line, nil
}

func (e *Engine) around(ctx context.Context, row *journal.Row, at stream.SequenceNumber) ([]journal.Landed, bool, error) {
	if e.landed != nil {
		return e.landed.Landed(ctx, row.Key, at)
	}
	return journal.Around(len(row.Recent), func(i int) (journal.Landed, error) { return row.Recent[i], nil }, at)
}

// selects reports whether the processing of a manifest may leave out a record, or give it to one object of several.
func (d *delivery) selects(m *journal.Manifest) bool {
	p, err := d.processing(m)
	if err != nil || p == nil {
		return err != nil
	}
	r := &p.recipe
	return r.Function != "" || r.Process.SubRecordType != "" || r.Process.Query != "" || r.Parquet != nil || len(r.Keys) > 0
}

// plannedAt lists the objects that are planned for a place.
func (d *delivery) plannedAt(row *journal.Row, manifests []*journal.Manifest, at stream.SequenceNumber) []journal.Landed {
	var all []journal.Landed
	for _, m := range manifests {
		if m.Key != row.Key {
			continue
		}
		for i := range m.Parts {
			p := &m.Parts[i]
			l := journal.Landed{Ordinal: m.Ordinal, ID: p.ID, Bucket: p.Bucket, ObjectKey: p.ObjectKey, Error: p.Lane.Error,
				First: p.First, Last: p.Last, Records: p.Records, Outputs: p.Outputs, Processed: d.selects(m)}
			if p.Outputs > 0 && l.Holds(at) {
				all = append(all, l)
			}
		}
	}
	return all
}

// ObjectLine says what an object of a delivery stream holds.
type ObjectLine struct {
	Bucket         string                `json:"bucket"`
	Key            string                `json:"key"`
	DeliveryStream string                `json:"deliveryStream,omitempty"` // empty: written by a version that did not say
	Stream         string                `json:"stream,omitempty"`         // or topic; empty: Direct PUT
	Shard          string                `json:"shard"`
	First          stream.SequenceNumber `json:"first"`
	Last           stream.SequenceNumber `json:"last"`
	Records        int64                 `json:"records"`
	Error          string                `json:"error,omitempty"` // error-output-type
	Manifest       string                `json:"manifest"`
	Bytes          int64                 `json:"bytes"` // as stored
	Stored         time.Time             `json:"stored"`
}

// FindObject reads from an object's metadata which records it holds.
func (e *Engine) FindObject(ctx context.Context, bucket, key string) (*ObjectLine, error) {
	const op = "delivery.FindObject"
	info, err := e.opts.Sink.Head(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	meta := info.Metadata
	first, ok1 := stream.ParseSequenceNumber(meta[metaFirst])
	last, ok2 := stream.ParseSequenceNumber(meta[metaLast])
	if !ok1 || !ok2 || meta[metaManifest] == "" {
		return nil, fault.New(fault.Invalid, op, bucket+"/"+key, "the object was written by no delivery stream: it has no metadata %s, %s, %s", metaManifest, metaFirst, metaLast)
	}
	line := &ObjectLine{Bucket: bucket, Key: key, DeliveryStream: meta[metaName], Stream: meta[metaSource], Shard: meta[metaShard],
		First: first, Last: last, Error: meta[metaError], Manifest: meta[metaManifest], Bytes: info.Size, Stored: info.Modified.UTC()}
	if _, err := fmt.Sscan(meta[metaRecords], &line.Records); err != nil {
		return nil, fault.New(fault.Invalid, op, bucket+"/"+key, "metadata %s is %q", metaRecords, meta[metaRecords])
	}
	return line, nil
}

// HourLine is what one hour has added to a delivery stream.
//
// Delivered, dead-lettered, dropped and expired records count in the hour of the commit that settled them. When each record
// arrived is not known any more by then, so that accepted is taken from the positions of the source: what its shards had
// taken at the last commit of this hour, beyond what they had at the last one of the hours before. An hour without a commit
// has no line, and what came in meanwhile is accepted in the next that has one.
type HourLine struct {
	Hour         time.Time `json:"hour"` // its beginning, UTC
	Accepted     int64     `json:"accepted"`
	Delivered    int64     `json:"delivered"`
	DeadLettered int64     `json:"deadLettered"`
	Dropped      int64     `json:"dropped"`
	Expired      int64     `json:"expired"`
	Bytes        int64     `json:"deliveredBytes"`
	Objects      int64     `json:"objects"`
	ErrorObjects int64     `json:"errorObjects"`
	Open         bool      `json:"open,omitempty"` // it may grow
}

// HoursLedger is that of one delivery stream.
type HoursLedger struct {
	DeliveryStream string     `json:"deliveryStream"`
	Hours          []HourLine `json:"hours"` // oldest first
}

// Hours gives what every hour has added, of one delivery stream or, without a name, of all.
func (e *Engine) Hours(ctx context.Context, name string) ([]HoursLedger, error) {
	all := []HoursLedger{}
	for _, d := range e.deliveries() {
		if name != "" && d.name != name {
			continue
		}
		hours, err := d.hours(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, HoursLedger{d.name, hours})
	}
	if name != "" && len(all) == 0 {
		return nil, e.notFound("delivery.Hours", name)
	}
	return all, nil
}

func (d *delivery) hours(ctx context.Context) ([]HourLine, error) {
	e := d.engine
	rows, _, err := e.opts.Journal.Load(ctx, d.id)
	if err != nil {
		return nil, err
	}
	var all []journal.HourCounts
	if e.landed != nil {
		if all, err = e.landed.Hours(ctx, d.id); err != nil {
			return nil, err
		}
	}
	for i := range rows {
		all = append(all, rows[i].Hours...)
		if open, ok := rows[i].Open(); ok {
			all = append(all, open)
		}
	}
	all = journal.SumHours(all)
	now := journal.HourOf(e.opts.Now())
	lines := []HourLine{}
	for _, h := range all {
		lines = append(lines, HourLine{Hour: time.Unix(h.Hour*3600, 0).UTC(), Accepted: h.Accepted, Delivered: h.Delivered,
			DeadLettered: h.DeadLettered, Dropped: h.Dropped, Expired: h.Expired, Bytes: h.Bytes, Objects: h.Objects,
			ErrorObjects: h.ErrorObjects, Open: h.Hour >= now})
	}
	return lines, nil
}
