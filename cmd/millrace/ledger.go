package main

import (
	"context"
	"encoding/json"
	"fmt"

	"millrace/internal/app"
)

var ledgerCommand = &command{name: "ledger", args: "[OPTIONS]", summary: "show that what came in has gone out, or where it is", run: runLedger}

func runLedger(ctx context.Context, e *env, args []string) error {
	c := find("ledger")
	fs := e.flags(c, `
For each delivery stream, in source records since it was created:

  accepted = delivered + dead-lettered + dropped + expired + discarded + in flight

The command fails when a sum is wrong, and when records expired undelivered or were discarded.`)
	var n node
	n.bind(fs)
	asJSON := fs.Bool("json", false, "print the ledger as JSON, with a line for each shard")
	if rest, err := e.parse(fs, args); err != nil {
		return err
	} else if len(rest) > 0 {
		return e.misuse(c, "it takes no arguments")
	}
	var l app.LedgerAnswer
	if err := n.decode(ctx, "/_millrace/ledger", &l); err != nil {
		return err
	}
	if *asJSON {
		doc, err := json.MarshalIndent(l, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "%s\n", doc)
	} else {
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
