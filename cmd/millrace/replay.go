package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"millrace/internal/app"
	"millrace/internal/replay"
)

var replayCommand = &command{name: "replay", args: "redrive DELIVERY | objects s3://BUCKET/PREFIX --into STREAM | stream STREAM --delivery NAME --prefix FOLDER/ [OPTIONS]",
	summary: "put error objects, objects or a range of a stream through again, once", run: runReplay}

const replayHelp = `
redrive DELIVERY                      the records of the delivery stream's error objects go through it again: into the stream
                                      that it reads, which other readers see, or as if they were put
objects s3://BUCKET/PREFIX --into S   the records of objects go into stream S, or into delivery stream S that takes Direct PUT,
                                      in the order of the keys; gzip, ZIP and Snappy are read, Parquet is not
stream S --delivery D --prefix P/     what stream S took between --from and --to is written again as delivery stream D
                                      would, below P/ before its own prefixes; D must have no function

What was replayed is not replayed twice, however often the command is run and wherever it was interrupted or killed: markers
below .millrace/replay/ in the bucket say what has been. Run it again to go on, or to replay what has come since. --dry-run
tells what would be done. The work is done by the node, for as long as this command listens. docs/replay.md tells more.`

// replayOptions is what the command line says of replay.
type replayOptions struct {
	node                   node
	from, to               moment
	errorType              string
	into, split            string
	keep                   bool
	name                   string
	delivery, prefix       string
	dryRun, asJSON, silent bool
}

// moment is a flag with a time.
type moment struct{ time.Time }

func (m *moment) String() string { return "" }

func (m *moment) Set(text string) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			m.Time = t
			return nil
		}
	}
	return errors.New("it is no time such as 2026-01-31T08:00:00Z, 2026-01-31T08:00 or 2026-01-31 (UTC)")
}

func (o *replayOptions) bind(fs *flag.FlagSet) {
	o.node.bind(fs)
	fs.Var(&o.from, "from", "objects stored, or records that arrived, at or after this `TIME`")
	fs.Var(&o.to, "to", "and before this one (`TIME`)")
	fs.StringVar(&o.errorType, "type", "", "redrive: error objects of this `TYPE` only, such as processing-failed (default: all)")
	fs.StringVar(&o.into, "into", "", "objects: the `STREAM` that they go into")
	fs.StringVar(&o.split, "split", "lines", "objects: what the records are (`HOW`): lines, json (values in a row), or the text that ends each")
	fs.BoolVar(&o.keep, "keep-delimiter", false, "objects: leave the line feed, or the text that ends a record, with it")
	fs.StringVar(&o.name, "name", "", "redrive, objects: a `NAME` that sets this replay apart: it knows nothing of what others have done")
	fs.StringVar(&o.delivery, "delivery", "", "stream: the delivery stream that says how (`NAME`)")
	fs.StringVar(&o.prefix, "prefix", "", "stream: the `FOLDER/` that goes before its prefixes")
	fs.BoolVar(&o.dryRun, "dry-run", false, "tell what would be done, and do nothing")
	fs.BoolVar(&o.asJSON, "json", false, "print JSON lines as the node sends them")
	fs.BoolVar(&o.silent, "quiet", false, "print no progress")
}

func runReplay(ctx context.Context, e *env, args []string) error {
	c := find("replay")
	var o replayOptions
	fs := e.flags(c, replayHelp)
	o.bind(fs)
	rest, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	req, err := o.request(rest, given)
	if err != nil {
		return e.misuse(c, "%v", err)
	}
	resp, err := o.node.post(ctx, "/_millrace/replay", req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return o.follow(ctx, e, resp.Body)
}

// kinds says which options each kind of replay takes beside those that all take.
var replayKinds = map[string][]string{
	"redrive": {"type", "name"}, "objects": {"into", "split", "keep-delimiter", "name"}, "stream": {"delivery", "prefix"},
}

func (o *replayOptions) request(rest []string, given map[string]bool) (*app.ReplayRequest, error) {
	if len(rest) != 2 || replayKinds[rest[0]] == nil {
		return nil, errors.New("say what: redrive DELIVERY, objects s3://BUCKET/PREFIX, or stream STREAM")
	}
	kind, what := rest[0], rest[1]
	for other, names := range replayKinds {
		for _, name := range names {
			if given[name] && other != kind && !strings.Contains(" "+strings.Join(replayKinds[kind], " ")+" ", " "+name+" ") {
				return nil, fmt.Errorf("--%s does not go with %s", name, kind)
			}
		}
	}
	req := &app.ReplayRequest{From: o.from.Time, To: o.to.Time, Name: o.name, DryRun: o.dryRun}
	switch kind {
	case "redrive":
		req.Redrive = &app.RedriveRequest{DeliveryStream: what, Type: o.errorType}
	case "objects":
		bucket, prefix, err := parseS3(what)
		if err != nil {
			return nil, fmt.Errorf("%q is not s3://BUCKET/PREFIX", what)
		}
		if o.into == "" {
			return nil, errors.New("--into STREAM is needed")
		}
		req.Objects = &app.ObjectsRequest{Bucket: bucket, Prefix: prefix, Into: o.into, Split: o.splitBy()}
	case "stream":
		if o.delivery == "" || o.prefix == "" || o.from.IsZero() || o.to.IsZero() {
			return nil, errors.New("--delivery, --prefix, --from and --to are needed")
		}
		req.Rewrite = &app.RewriteRequest{Stream: what, DeliveryStream: o.delivery, Prefix: o.prefix}
	}
	return req, nil
}

func (o *replayOptions) splitBy() replay.Split {
	switch o.split {
	case "lines":
		return replay.Split{Kind: replay.Delimited, Delimiter: []byte("\n"), Keep: o.keep}
	case "json":
		return replay.Split{Kind: replay.Values, Keep: o.keep}
	}
	return replay.Split{Kind: replay.Delimited, Delimiter: []byte(escapes.Replace(o.split)), Keep: o.keep}
}

// escapes are those that shells make hard to type.
var escapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00")

// follow prints what the node tells, until it ends.
func (o *replayOptions) follow(ctx context.Context, e *env, answer io.Reader) error {
	lines := json.NewDecoder(bufio.NewReader(answer))
	var last app.ReplayLine
	for {
		var l app.ReplayLine
		if err := lines.Decode(&l); err != nil {
			if ctx.Err() != nil {
				o.sum(e, &last)
				fmt.Fprintln(e.stderr, "stopped; the same command goes on from here")
				return errFailed
			}
			return fmt.Errorf("the node has gone; the same command goes on from here (%w)", err)
		}
		if o.asJSON {
			doc, err := json.Marshal(&l)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s\n", doc)
		}
		if l.End || l.Error != "" {
			return o.ended(e, &last, &l)
		}
		if l.ID == "" {
			last = l
		}
		o.show(e, &l)
	}
}

func (o *replayOptions) ended(e *env, last, l *app.ReplayLine) error {
	o.sum(e, last)
	if l.Error != "" {
		return fmt.Errorf("%s\nthe same command goes on from here", l.Error)
	}
	if last.Records != nil && last.Records.Failed > 0 {
		return errFailed // they were named
	}
	return nil
}

func (o *replayOptions) show(e *env, l *app.ReplayLine) {
	switch {
	case l.Records != nil && l.Records.Problem != "":
		fmt.Fprintf(e.stderr, "%s: not replayed: %s\n", l.Records.Object, l.Records.Problem)
	case o.asJSON || o.silent:
	case l.Records != nil && l.Records.Object != "" && o.dryRun:
		fmt.Fprintf(e.stdout, "%s: %d records\n", l.Records.Object, l.Records.ObjectRecords)
	case l.Records != nil && l.Records.Object != "":
		fmt.Fprintf(e.stderr, "%s: %d records\n", l.Records.Object, l.Records.ObjectRecords)
	case l.Records != nil:
		fmt.Fprintf(e.stderr, "%d objects, %d records, %s\n", l.Records.Objects, l.Records.Records, size(l.Records.Bytes))
	case l.Rewrite != nil:
		fmt.Fprintf(e.stderr, "%d of %d shards, %d records, %d objects, %s\n", l.Rewrite.Shards, l.Rewrite.Of, l.Rewrite.Records, l.Rewrite.Objects, size(l.Rewrite.Bytes))
	}
}

// sum prints the counts at the end.
func (o *replayOptions) sum(e *env, l *app.ReplayLine) {
	if o.asJSON {
		return
	}
	done := "replayed"
	if o.dryRun {
		done = "to replay"
	}
	switch {
	case l.Records != nil:
		p := l.Records
		fmt.Fprintf(e.stdout, "%d objects %s: %d records, %s; %d objects were replayed before, %d can't be\n", p.Objects, done, p.Records+p.Found, size(p.Bytes), p.Before, p.Failed)
	case l.Rewrite != nil:
		p := l.Rewrite
		fmt.Fprintf(e.stdout, "%d records read, %d dropped, %d dead-lettered, %d expired before; %d objects and %d error objects %s\n",
			p.Records, p.Dropped, p.DeadLettered, p.Expired, p.Objects, p.ErrorObjects, map[bool]string{false: "are there", true: "to write"}[o.dryRun])
	}
}
