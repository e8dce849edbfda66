package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"millrace/internal/app"
	"millrace/internal/delivery"
	"millrace/internal/delivery/journal"
)

var ledgerCommand = &command{name: "ledger", args: "[--hours [DELIVERY] | --record STREAM SEQUENCE | --object s3://BUCKET/KEY] [OPTIONS]",
	summary: "show that what came in has gone out, or where it is", run: runLedger}

const ledgerHelp = `
For each delivery stream, in source records since it was created:

  accepted = delivered + dead-lettered + dropped + expired + discarded + in flight

The command fails when a sum is wrong, and when records expired undelivered or were discarded.

With --hours it shows what every hour (UTC) has added, for 31 days: delivered, dead-lettered, dropped and expired records in
the hour that settled them. Accepted is what the source had taken by the last commit of the hour, beyond what it had by the
last one before it; an hour without a commit has no line.

With --record it shows in which objects the record of a stream landed; STREAM may also be a Direct PUT delivery stream,
SEQUENCE then a RecordId. The node knows that for --ledger-keep and at most the 100,000 newest objects of a shard. In a group
of nodes that share a journal it is the 16 newest objects of a shard, and 24 hours. With --object it shows which records an
object holds, which the object itself says for as long as it exists.`

func runLedger(ctx context.Context, e *env, args []string) error {
	c := find("ledger")
	fs := e.flags(c, ledgerHelp)
	var n node
	n.bind(fs)
	asJSON := fs.Bool("json", false, "print JSON; the ledger with a line for each shard")
	hours := fs.Bool("hours", false, "show every hour, of one delivery stream or of all")
	record := fs.Bool("record", false, "show in which objects a record landed")
	object := fs.String("object", "", "show which records an object holds (`URL`: s3://BUCKET/KEY)")
	rest, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	q := &query{ctx, e, &n, *asJSON}
	asked := 0
	for _, is := range []bool{*hours, *record, *object != ""} {
		if is {
			asked++
		}
	}
	switch {
	case asked > 1:
		return e.misuse(c, "--hours, --record and --object do not go together")
	case *record && len(rest) != 2:
		return e.misuse(c, "--record takes a stream and a sequence number")
	case *record:
		return q.record(rest[0], rest[1])
	case *hours && len(rest) > 1:
		return e.misuse(c, "--hours takes one delivery stream, or none for all")
	case *hours:
		return q.hours(strings.Join(rest, ""))
	case len(rest) > 0:
		return e.misuse(c, "without --hours or --record it takes no arguments")
	case *object != "":
		bucket, key, err := parseS3(*object)
		if err != nil || key == "" {
			return e.misuse(c, "--object %q is not s3://BUCKET/KEY", *object)
		}
		return q.object(bucket, key)
	}
	return q.sums()
}

// parseS3 reads s3://BUCKET/KEY; the key may be empty.
func parseS3(text string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(text, "s3://")
	bucket, key, _ = strings.Cut(rest, "/")
	if !ok || bucket == "" {
		return "", "", errors.New("not s3://BUCKET/KEY")
	}
	return bucket, key, nil
}

// query is a question to a node about its ledger.
type query struct {
	ctx    context.Context
	e      *env
	n      *node
	asJSON bool
}

// ask reads an answer, and prints it when it is to be JSON.
func (q *query) ask(path string, into any) (printed bool, err error) {
	if err := q.n.decode(q.ctx, path, into); err != nil || !q.asJSON {
		return false, err
	}
	doc, err := json.MarshalIndent(into, "", "  ")
	if err != nil {
		return false, err
	}
	fmt.Fprintf(q.e.stdout, "%s\n", doc)
	return true, nil
}

func (q *query) sums() error {
	e := q.e
	var l app.LedgerAnswer
	printed, err := q.ask("/_millrace/ledger", &l)
	if err != nil {
		return err
	}
	if !printed {
		printLedger(e, &l)
	}
	if !l.AddsUp {
		fmt.Fprintf(e.stderr, "millrace ledger: it does not add up: %s\n", l.Problem)
		return errFailed
	}
	for _, d := range l.DeliveryStreams {
		if d.Expired+d.Discarded > 0 {
			fmt.Fprintf(e.stderr, "millrace ledger: ALARM: %s lost records: %d expired undelivered, %d discarded\n", d.Name, d.Expired, d.Discarded)
			return errFailed
		}
	}
	return nil
}

func printLedger(e *env, l *app.LedgerAnswer) {
	w := e.stdout
	if len(l.DeliveryStreams) == 0 {
		fmt.Fprintln(w, "There is no delivery stream.")
	} else {
		fmt.Fprintf(w, "%-28s %12s = %12s + %8s + %8s + %8s + %9s + %9s\n", "DELIVERY STREAM", "ACCEPTED", "DELIVERED", "DEAD-L.", "DROPPED", "EXPIRED", "DISCARDED", "IN FLIGHT")
	}
	for _, d := range l.DeliveryStreams {
		fmt.Fprintf(w, "%-28s %12d = %12d + %8d + %8d + %8d + %9d + %9d\n", d.Name, d.Accepted, d.Delivered, d.DeadLettered, d.Dropped, d.Expired, d.Discarded, d.InFlight)
	}
	printOutputs(w, l.DeliveryStreams)
	if len(l.Deleted) > 0 {
		fmt.Fprintln(w, "\nDeleted delivery streams:")
	}
	for _, d := range l.Deleted {
		fmt.Fprintf(w, "  %s\n", d)
	}
	if len(l.Streams) > 0 {
		fmt.Fprintf(w, "\n%-28s %12s\n", "STREAM", "RECORDS")
	}
	for _, s := range l.Streams {
		fmt.Fprintf(w, "%-28s %12d\n", s.Name, s.Accepted)
	}
	if l.AddsUp {
		fmt.Fprintln(w, "\nIt adds up.")
	}
}

func (q *query) hours(name string) error {
	var answer struct {
		DeliveryStreams []delivery.HoursLedger `json:"deliveryStreams"`
	}
	path := "/_millrace/ledger/hours?" + url.Values{"delivery": {name}}.Encode()
	if printed, err := q.ask(path, &answer); err != nil || printed {
		return err
	}
	w := q.e.stdout
	if len(answer.DeliveryStreams) == 0 {
		fmt.Fprintln(w, "There is no delivery stream.")
	}
	for i, d := range answer.DeliveryStreams {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\n%-18s %12s %12s %9s %9s %9s %14s %9s\n", d.DeliveryStream, "HOUR (UTC)", "ACCEPTED", "DELIVERED", "DEAD-L.", "DROPPED", "EXPIRED", "BYTES", "OBJECTS")
		for _, h := range d.Hours {
			open := ""
			if h.Open {
				open = "  so far"
			}
			fmt.Fprintf(w, "%-18s %12d %12d %9d %9d %9d %14d %9d%s\n", h.Hour.Format("2006-01-02 15:04"), h.Accepted, h.Delivered,
				h.DeadLettered, h.Dropped, h.Expired, h.Bytes, h.Objects+h.ErrorObjects, open)
		}
	}
	return nil
}

func (q *query) object(bucket, key string) error {
	var l delivery.ObjectLine
	path := "/_millrace/ledger/object?" + url.Values{"bucket": {bucket}, "key": {key}}.Encode()
	if printed, err := q.ask(path, &l); err != nil || printed {
		return err
	}
	w := q.e.stdout
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-16s %s\n", name, value)
		}
	}
	line("object", "s3://"+l.Bucket+"/"+l.Key)
	line("delivery stream", l.DeliveryStream)
	line("stream", l.Stream)
	line("shard", l.Shard)
	line("first", l.First.String())
	line("last", l.Last.String())
	line("records", fmt.Sprint(l.Records))
	line("error", l.Error)
	line("stored", fmt.Sprintf("%s, %d bytes", l.Stored.Format(time.RFC3339), l.Bytes))
	return nil
}

func (q *query) record(stream, sequence string) error {
	var answer app.RecordAnswer
	path := "/_millrace/ledger/record?" + url.Values{"stream": {stream}, "sequence": {sequence}}.Encode()
	if printed, err := q.ask(path, &answer); err != nil || printed {
		return err
	}
	if len(answer.Lines) == 0 {
		fmt.Fprintf(q.e.stdout, "No delivery stream reads a shard of %s that the number may be of.\n", stream)
	}
	for i := range answer.Lines {
		printRecordLine(q.e.stdout, &answer.Lines[i])
	}
	return nil
}

func printRecordLine(w io.Writer, l *delivery.RecordLine) {
	said := map[delivery.RecordState]string{
		delivery.RecordDelivered: "delivered", delivery.RecordPlanned: "planned, not known to be stored yet",
		delivery.RecordInFlight:  "in flight, in no object yet",
		delivery.RecordSettled:   "in no object: dropped by a processor, or expired",
		delivery.RecordForgotten: "settled before what the node still remembers (--ledger-keep)",
		delivery.RecordBefore:    "not read: it came before the delivery stream",
		delivery.RecordUnknown:   "there is no such record yet",
	}[l.State]
	switch {
	case len(l.Objects) > 1:
		said += "; it is in one of these objects, or in several if it was de-aggregated"
	case len(l.Objects) == 1 && !l.Certain:
		said += ", unless a processor has dropped it"
	}
	fmt.Fprintf(w, "%s %s: %s\n", l.DeliveryStream, l.Shard, said)
	for i := range l.Objects {
		printLanded(w, "", &l.Objects[i])
	}
	if l.Before != nil {
		printLanded(w, "the nearest before: ", l.Before)
	}
	if l.After != nil {
		printLanded(w, "the nearest after: ", l.After)
	}
}

func printLanded(w io.Writer, head string, l *journal.Landed) {
	place := "an HTTP endpoint, request " + l.ID
	if l.Bucket != "" {
		place = "s3://" + l.Bucket + "/" + l.ObjectKey
	}
	if l.Error != "" {
		place += " (" + l.Error + ")"
	}
	when := ""
	if !l.At.IsZero() {
		when = ", " + l.At.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "  %s%s\n    records %d, from %s to %s%s\n", head, place, l.Records, l.First, l.Last, when)
}
