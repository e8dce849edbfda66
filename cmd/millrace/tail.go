package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"millrace/internal/app"
)

var tailCommand = &command{name: "tail", args: "STREAM [OPTIONS]", summary: "follow the records of a stream without consuming them", run: runTail}

func runTail(ctx context.Context, e *env, args []string) error {
	c := find("tail")
	fs := e.flags(c, "Prints the data of each record as a line; data that is no text is printed as base64. Interrupt to end.")
	var n node
	n.bind(fs)
	from := fs.String("from", "latest", "where to begin: `latest`, or horizon for all that retention still shows")
	verbose := fs.Bool("verbose", false, "print shard, sequence number, arrival and partition key before the data")
	limit := fs.Int("limit", 0, "end after this `number` of records; 0: never")
	rest, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return e.misuse(c, "name one stream")
	}
	resp, err := n.get(ctx, "/_millrace/tail/"+url.PathEscape(rest[0])+"?from="+url.QueryEscape(*from))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(bufio.NewReader(resp.Body))
	for count := 0; *limit == 0 || count < *limit; count++ {
		var r app.TailRecord
		if err := lines.Decode(&r); err != nil {
			if ctx.Err() != nil {
				return nil // the user has seen enough
			}
			return errors.Join(errors.New("the node or the stream has gone"), err)
		}
		printRecord(e, &r, *verbose)
	}
	return nil
}

func printRecord(e *env, r *app.TailRecord, verbose bool) {
	if verbose {
		fmt.Fprintf(e.stdout, "%s %s %s %q ", r.Shard, r.Sequence, r.Arrival.Format("2006-01-02T15:04:05.000Z"), r.Key)
	}
	if r.Text != nil {
		fmt.Fprintln(e.stdout, strings.TrimSuffix(*r.Text, "\n"))
		return
	}
	fmt.Fprintln(e.stdout, base64.StdEncoding.EncodeToString(r.Data))
}
