package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"millrace/internal/gateway"
	"millrace/internal/gateway/mapping/vtlcase"
	"millrace/internal/offline"
)

const vtlTestHelp = `
A case file for a definition is YAML or JSON: it names the definition beside it, and for each case a request and what must
come of it: the integration request, the records, the response. No node is needed, and nothing is kept.

    definition: template.yaml
    cases:
      - name: an order
        request: {path: /prod/orders, headers: {Content-Type: application/json}, json: {id: 7}}
        want:
          records: [{stream: orders, json: {id: 7}}]
          response: {status: 200}

docs/testing-templates.md describes all of it. A case file for a template alone is JSON: template, contentType, body, headers, query,
path, stageVariables, context; want (the rendering, to the byte) or wantError; wantOverrides.

Of a folder all *.json and *.cases.yaml are run. The command ends with 0 when all cases pass, with 1 when one fails or can't be
read, with 2 when the command line is wrong.`

// caseRun is what vtl test does.
type caseRun struct {
	e       *env
	only    string
	verbose bool
	trace   bool
	report  offline.Report
}

func runVTLTest(ctx context.Context, e *env, args []string) error {
	c := vtlCommands["test"]
	r := &caseRun{e: e}
	fs := e.flags(c, vtlTestHelp)
	fs.BoolVar(&r.verbose, "verbose", false, "print the cases that pass, too")
	fs.BoolVar(&r.trace, "trace", false, "show the way of each request of a definition's case that fails, and with --verbose of all")
	fs.StringVar(&r.only, "run", "", "run the cases whose name holds this `TEXT` only")
	junit := fs.String("junit", "", "also write the results to a `FILE` in the XML of JUnit, for CI")
	rest, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return e.misuse(c, "name at least one folder or file")
	}
	files, err := vtlcase.Files(rest)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.file(ctx, file)
	}
	passed, failed := r.report.Count()
	if *junit != "" {
		if err := writeFile(*junit, func(f *os.File) error { return r.report.WriteJUnit(f) }); err != nil {
			return err
		}
	}
	if passed+failed == 0 {
		return fmt.Errorf("no case was run")
	}
	fmt.Fprintf(e.stdout, "%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return errFailed
	}
	return nil
}

func (r *caseRun) file(ctx context.Context, file string) {
	text, err := readText(r.e, file)
	if err != nil {
		r.broken(file, err)
		return
	}
	if offline.IsCaseFile(file, []byte(text)) || !strings.HasSuffix(file, ".json") {
		r.definition(ctx, file, text)
		return
	}
	one, err := vtlcase.Load(file)
	switch {
	case err != nil:
		r.broken(file, err)
	case strings.Contains(one.Name, r.only):
		begun := time.Now()
		r.done(file, offline.Result{Name: one.Name, Failure: one.Run(), Elapsed: time.Since(begun)}, file, nil)
	}
}

func (r *caseRun) definition(ctx context.Context, file, text string) {
	cases, err := offline.LoadCases(file, []byte(text))
	if err != nil {
		r.broken(file, err)
		return
	}
	for _, one := range cases.Cases {
		if !strings.Contains(one.Name, r.only) {
			continue
		}
		begun := time.Now()
		failure, trail := cases.Run(ctx, one)
		r.done(file, offline.Result{Name: one.Name, Failure: failure, Elapsed: time.Since(begun)}, file+": "+one.Name, trail)
	}
}

func (r *caseRun) broken(file string, err error) {
	r.done(file, offline.Result{Name: file, Failure: err.Error(), Broken: true}, file, nil)
}

// done notes a result and tells it.
func (r *caseRun) done(file string, result offline.Result, title string, trail *gateway.Trail) {
	s := &r.report.Suites
	if n := len(*s); n == 0 || (*s)[n-1].Name != file {
		*s = append(*s, offline.Suite{Name: file})
	}
	last := &(*s)[len(*s)-1]
	last.Results = append(last.Results, result)
	switch {
	case result.Failure != "":
		fmt.Fprintf(r.e.stdout, "FAIL %s\n  %s\n", title, strings.ReplaceAll(result.Failure, "\n", "\n  "))
	case r.verbose:
		fmt.Fprintf(r.e.stdout, "pass %s\n", title)
	default:
		return
	}
	if r.trace && trail != nil {
		_ = offline.WriteTrail(r.e.stdout, trail) // what a terminal does not take is lost with the rest
	}
}
