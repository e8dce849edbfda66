package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"millrace/internal/api/apigateway"
	"millrace/internal/api/firehose"
	"millrace/internal/api/kinesis"
	"millrace/internal/api/s3"
	"millrace/internal/delivery"
	"millrace/internal/restapi/openapi"
	"millrace/internal/template"
)

var supportCommand = &command{name: "support", args: "[kinesis|firehose|apigateway|openapi|s3|delivery|template]", summary: "list what is implemented, refused, and accepted without effect", run: runSupport}

// row is one line of a support table.
type row struct {
	what, status, note string
}

const (
	served  = "served"
	refused = "refused"
)

func status(isServed bool) string {
	if isServed {
		return served
	}
	return refused
}

// The tables come from the code that does the work: the routers' own lists, and the checks' own tables.
var supportTables = []struct {
	name, title string
	rows        func() []row
}{
	{"kinesis", "Amazon Kinesis Data Streams: operations", func() (rows []row) {
		for _, s := range kinesis.Support() {
			rows = append(rows, row{s.Operation, status(s.Served), s.Note})
		}
		return rows
	}},
	{"firehose", "Amazon Data Firehose: operations", func() (rows []row) {
		for _, s := range firehose.Support() {
			rows = append(rows, row{s.Operation, status(s.Served), s.Note})
		}
		return rows
	}},
	{"apigateway", "Amazon API Gateway, REST APIs: operations", func() (rows []row) {
		for _, s := range apigateway.Support() {
			rows = append(rows, row{s.Operation, status(s.Served), s.Note})
		}
		return rows
	}},
	{"openapi", "OpenAPI and Swagger documents: the extensions of Amazon API Gateway; any other x-amazon-… is refused", func() (rows []row) {
		for _, x := range openapi.Extensions {
			rows = append(rows, row{x.Name + " (" + x.At + ")", string(x.State), x.Note})
		}
		return rows
	}},
	{"s3", "Amazon S3: operations", func() (rows []row) {
		for _, s := range s3.Support() {
			rows = append(rows, row{s.Operation, status(s.Served), s.Note})
		}
		return rows
	}},
	{"template", "Definition files: resource types and their properties; all others are refused", func() (rows []row) {
		for _, p := range template.Support() {
			what, state := p.Type, served
			if p.Property != "" {
				what += "." + p.Property
			}
			if !p.Effect {
				state = "accepted without effect"
			}
			rows = append(rows, row{what, state, strings.TrimPrefix(p.Note, "- ")})
		}
		return rows
	}},
	{"delivery", "Delivery streams: members that differ from the service", func() (rows []row) {
		for _, f := range delivery.Features() {
			rows = append(rows, row{f.Member, string(f.Support), f.Note})
		}
		return rows
	}},
}

// closings say what no row of a table does.
var closings = map[string]string{
	"kinesis": "Operations of later versions of the model (channels, queues) answer UnknownOperationException. Members that came later are passed over, as by\n" +
		"a service that does not know them: DryRun, RecordDistributionStrategy. StreamId is never given and not looked at: name and ARN say which stream.\n",
}

func runSupport(_ context.Context, e *env, args []string) error {
	c := find("support")
	fs := e.flags(c, "Every operation of a service's model, and every property of a definition file, is in one of three states:\n"+
		"served; refused, with an error that names it; or accepted without effect.")
	rest, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if len(rest) > 1 {
		return e.misuse(c, "name one table or none")
	}
	found := false
	for _, t := range supportTables {
		if len(rest) == 1 && rest[0] != t.name {
			continue
		}
		if found {
			fmt.Fprintln(e.stdout)
		}
		found = true
		printTable(e.stdout, t.title, t.rows())
		fmt.Fprint(e.stdout, closings[t.name])
	}
	if !found {
		return e.misuse(c, "there is no table %q", rest[0])
	}
	if len(rest) == 0 {
		fmt.Fprintln(e.stdout, "\nRoles are checked and stored, not evaluated: who may call the AWS APIs is decided by --credentials alone. Who may call deployed APIs\n"+
			"is decided by their methods' authorization and resource policies.")
	}
	return nil
}

func printTable(w io.Writer, title string, rows []row) {
	fmt.Fprintf(w, "%s\n", title)
	width := 0
	for _, r := range rows {
		width = max(width, len(r.what))
	}
	for _, r := range rows {
		fmt.Fprintf(w, "  %-*s  %-8s  %s\n", width, r.what, r.status, r.note)
	}
}
