package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"

	"millrace/internal/gateway"
	"millrace/internal/offline"
)

// traceOptions are what vtl render takes with --trace.
type traceOptions struct {
	trace        bool
	request      string
	api, stage   string
	parameters   list
	streams      list
	answerStatus int
	answerBody   string
}

func (o *traceOptions) bind(fs *flag.FlagSet) {
	fs.BoolVar(&o.trace, "trace", false, "show the way of --request through a definition file")
	fs.StringVar(&o.request, "request", "", "method and path, `'METHOD /STAGE/PATH'`; what follows is for --trace, too")
	fs.StringVar(&o.api, "api", "", "the `NAME` of the API, when the file has several")
	fs.StringVar(&o.stage, "stage", "", "the stage to deploy an OpenAPI file to (`NAME`; default prod)")
	fs.Var(&o.parameters, "parameter", "a parameter of the definition, `NAME=VALUE`; can be repeated")
	fs.Var(&o.streams, "stream", "the `NAME` of a stream that is there beside those of the file; can be repeated")
	fs.IntVar(&o.answerStatus, "answer-status", 0, "let the backend answer with this `STATUS` (default: what the service would answer)")
	fs.StringVar(&o.answerBody, "answer-body", "", "the body of that answer: a `FILE`, or -")
}

// given names an option that was given and needs --trace.
func (o *traceOptions) given(fs *flag.FlagSet) (name string) {
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "request", "api", "stage", "parameter", "stream", "answer-status", "answer-body":
			name = f.Name
		}
	})
	return name
}

func (o *traceOptions) run(ctx context.Context, e *env, c *command, rest []string, headers, query pairs, bodyFile string) error {
	method, target, ok := strings.Cut(o.request, " ")
	switch {
	case len(rest) != 1:
		return e.misuse(c, "name one definition file")
	case !ok || method == "" || !strings.HasPrefix(target, "/"):
		return e.misuse(c, "--request is a method and a path, 'POST /prod/orders', not %q", o.request)
	case o.answerStatus != 0 && (o.answerStatus < 100 || o.answerStatus > 599):
		return e.misuse(c, "--answer-status is a status from 100 to 599, not %d", o.answerStatus)
	}
	text, err := readText(e, rest[0])
	if err != nil {
		return err
	}
	d, err := offline.Load(rest[0], []byte(text), offline.Options{Parameters: named(o.parameters), Stage: o.stage, Streams: o.streams})
	if err != nil {
		return err
	}
	req := offline.Request{API: o.api, Method: method, Target: target}
	for _, h := range headers {
		req.Header = append(req.Header, gateway.Field(h))
	}
	for _, q := range query {
		separator := "?"
		if strings.Contains(req.Target, "?") {
			separator = "&"
		}
		req.Target += separator + url.QueryEscape(q.Name) + "=" + url.QueryEscape(q.Value)
	}
	if bodyFile != "" {
		body, err := readText(e, bodyFile)
		if err != nil {
			return err
		}
		req.Body = []byte(body)
	}
	answer, err := o.answer(e)
	if err != nil {
		return err
	}
	out, err := d.Run(ctx, req, answer)
	if err != nil {
		return err
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(e.stderr, "warning: %s\n", w)
	}
	if err := offline.WriteTrail(e.stdout, &out.Trail); err != nil {
		return err
	}
	for _, r := range out.Records {
		place := "stream " + r.Stream + ", partition key " + r.PartitionKey
		if r.Stream == "" {
			place = "delivery stream " + r.DeliveryStream
		}
		fmt.Fprintf(e.stdout, "record of %s\n      %s\n", place, strings.ReplaceAll(strings.TrimSuffix(string(r.Data), "\n"), "\n", "\n      "))
	}
	return nil
}

func (o *traceOptions) answer(e *env) (*offline.Answer, error) {
	if o.answerStatus == 0 && o.answerBody == "" {
		return nil, nil
	}
	a := &offline.Answer{Status: o.answerStatus}
	if a.Status == 0 {
		a.Status = 200
	}
	if o.answerBody == "" {
		return a, nil
	}
	var err error
	a.Body, err = readText(e, o.answerBody)
	return a, err
}

// named makes a map of NAME=VALUE.
func named(pairs list) map[string]string {
	all := map[string]string{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		all[name] = value
	}
	return all
}

// writeFile writes what a command was told to write, whole or not at all as far as the caller sees.
func writeFile(name string, write func(*os.File) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
