package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"millrace/internal/gateway/mapping"
	"millrace/internal/gateway/mapping/lint"
	"millrace/internal/gateway/mapping/vtlcase"
	"millrace/internal/ids"
	"millrace/internal/restapi/openapi"
	"millrace/internal/template"
	"millrace/internal/yamldoc"
)

var vtlCommand = &command{name: "vtl", args: "render|lint|test ARGUMENTS", summary: "render, check and test mapping templates"}

var vtlCommands map[string]*command

func init() { // the commands look themselves up for their help
	vtlCommand.run = runVTL
	vtlCommands = map[string]*command{
		"render": {name: "vtl render", args: "TEMPLATE|DEFINITION [OPTIONS]", summary: "print what a template makes of a request, or the way of a request through a definition", run: runVTLRender},
		"lint":   {name: "vtl lint", args: "FILE... [OPTIONS]", summary: "find faults in templates, also within definition files", run: runVTLLint},
		"test":   {name: "vtl test", args: "DIR|FILE... [OPTIONS]", summary: "run cases of definitions and of templates through the code that serves live traffic", run: runVTLTest},
	}
}

func runVTL(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 {
		if c := vtlCommands[args[0]]; c != nil {
			return c.run(ctx, e, args[1:])
		}
		if !strings.HasPrefix(args[0], "-") {
			return e.misuse(vtlCommand, "there is no command vtl %q", args[0])
		}
	}
	more := "The commands; each tells more with --help:\n"
	for _, name := range []string{"render", "lint", "test"} {
		c := vtlCommands[name]
		more += fmt.Sprintf("  %s %s\n      %s\n", c.name, c.args, c.summary)
	}
	fs := e.flags(vtlCommand, more)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	_, err := e.parse(fs, args)
	return err
}

// readText reads a file, or standard input for "-".
func readText(e *env, name string) (string, error) {
	if name == "-" {
		text, err := io.ReadAll(io.LimitReader(e.stdin, maxText+1))
		return string(text), err
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		return "", fmt.Errorf("%s is larger than %d bytes", name, maxText)
	}
	return string(text), err
}

const maxText = 10 << 20

// pairs is a flag of NAME=VALUE that can be repeated.
type pairs vtlcase.Params

func (p *pairs) String() string { return "" }

func (p *pairs) Set(v string) error {
	name, value, ok := strings.Cut(v, "=")
	if !ok || name == "" {
		return fmt.Errorf("it is NAME=VALUE, not %q", v)
	}
	*p = append(*p, mapping.Param{Name: name, Value: value})
	return nil
}

func runVTLRender(ctx context.Context, e *env, args []string) error {
	c := vtlCommands["render"]
	fs := e.flags(c, `
TEMPLATE and the body are files; - is standard input. The template sees what the gateway would show it.

With --trace the file is a definition (CloudFormation, SAM, OpenAPI), and --request is sent through it, without a node: what
is printed are the steps from method request to integration request, integration response and method response.
    millrace vtl render --trace template.yaml --request 'POST /prod/orders?test=1' --header Content-Type=application/json --body order.json`)
	body := fs.String("body", "", "the body: a `FILE`, or - (default: none)")
	var headers, query, path, variables, given pairs
	fs.Var(&headers, "header", "a header, `NAME=VALUE`; can be repeated, as those below")
	fs.Var(&query, "query", "a query parameter, `NAME=VALUE`")
	fs.Var(&path, "path", "a path parameter, `NAME=VALUE`")
	fs.Var(&variables, "stage-variable", "a stage variable, `NAME=VALUE`")
	fs.Var(&given, "context", "a member of $context, `NAME=VALUE`: identity.sourceIp=192.0.2.1")
	var t traceOptions
	t.bind(fs)
	rest, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if t.trace {
		if len(path)+len(variables)+len(given) > 0 {
			return e.misuse(c, "--path, --stage-variable and --context are for templates; with --trace the definition and the request say them")
		}
		return t.run(ctx, e, c, rest, headers, query, *body)
	}
	if name := t.given(fs); name != "" {
		return e.misuse(c, "--%s goes with --trace only", name)
	}
	if len(rest) != 1 {
		return e.misuse(c, "name one template")
	}
	text, err := readText(e, rest[0])
	if err != nil {
		return err
	}
	one := &vtlcase.Case{
		Name: rest[0], Template: text, Headers: vtlcase.Params(headers), Query: vtlcase.Params(query), Path: vtlcase.Params(path),
		StageVariables: vtlcase.Params(variables), Context: contextOf(given),
	}
	if *body != "" {
		content, err := readText(e, *body)
		if err != nil {
			return err
		}
		one.Body = &content
	}
	out, overrides, err := one.Render()
	if err != nil {
		return err
	}
	if _, err := e.stdout.Write(out); err != nil {
		return err
	}
	if status, set := overrides.Status(); set {
		fmt.Fprintf(e.stderr, "\nthe template overrides the response's status: %d\n", status)
	}
	return nil
}

// contextOf makes an object of dotted names. What is not given has values that look like the gateway's.
func contextOf(given pairs) json.RawMessage {
	root := map[string]any{}
	set := func(name, value string) {
		at := root
		parts := strings.Split(name, ".")
		for _, part := range parts[:len(parts)-1] {
			inner, ok := at[part].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[part] = inner
			}
			at = inner
		}
		at[parts[len(parts)-1]] = value
	}
	for _, p := range []mapping.Param{
		{Name: "requestId", Value: "00000000-0000-4000-8000-000000000000"}, {Name: "extendedRequestId", Value: "AAAAAAAAAAAAAAA="},
		{Name: "stage", Value: "prod"}, {Name: "apiId", Value: "0123456789"}, {Name: "accountId", Value: "000000000000"},
		{Name: "httpMethod", Value: "POST"}, {Name: "resourcePath", Value: "/"}, {Name: "requestTimeEpoch", Value: "1700000000000"},
		{Name: "requestTime", Value: "14/Nov/2023:22:13:20 +0000"}, {Name: "identity.sourceIp", Value: "127.0.0.1"},
		{Name: "identity.userAgent", Value: "millrace"}, {Name: "protocol", Value: "HTTP/1.1"},
	} {
		set(p.Name, p.Value)
	}
	for _, p := range given {
		set(p.Name, p.Value)
	}
	doc, err := json.Marshal(root)
	if err != nil {
		panic(err) // maps of texts have a form
	}
	return doc
}

func runVTLLint(_ context.Context, e *env, args []string) error {
	c := vtlCommands["lint"]
	more := "FILE is a template, or a definition file (CloudFormation, SAM, OpenAPI), whose templates and integrations are looked at.\nThe rules:\n"
	for _, r := range lint.Rules {
		more += fmt.Sprintf("  %-24s %s\n", r.Name, r.Explanation)
	}
	fs := e.flags(c, more+"\nThe command fails when it finds something.")
	mediaType := fs.String("content-type", "", "the media type that a template is for, for template FILEs (`TYPE`)")
	response := fs.Bool("response", false, "template FILEs are response templates")
	var parameters list
	fs.Var(&parameters, "parameter", "a parameter of definition files, `NAME=VALUE`; can be repeated")
	files, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return e.misuse(c, "name at least one file")
	}
	found := 0
	for _, file := range files {
		text, err := readText(e, file)
		if err != nil {
			return err
		}
		if isDefinition(file, text) {
			n, err := lintDefinition(e, file, text, parameters)
			if err != nil {
				return err
			}
			found += n
			continue
		}
		for _, f := range lint.Lint(text, lint.Context{MediaType: *mediaType, Request: !*response, URI: anyPutRecord}) {
			fmt.Fprintf(e.stdout, "%s:%d:%d: %s [%s]\n", file, f.Line, f.Column, f.Message, f.Rule)
			found++
		}
	}
	fmt.Fprintf(e.stdout, "%d findings in %d files\n", found, len(files))
	if found > 0 {
		return errFailed
	}
	return nil
}

// anyPutRecord stands for the integration of a template that comes alone: what it writes tells.
const anyPutRecord = "kinesis:action/PutRecord"

// isDefinition tells a definition file from a template by what it holds.
func isDefinition(file, text string) bool {
	switch file[strings.LastIndexByte(file, '.')+1:] {
	case "yaml", "yml", "json":
	default:
		return false
	}
	root, err := yamldoc.Parse(file, []byte(text))
	return err != nil || openapi.IsDocument(root) || yamldoc.Get(root, "Resources") != nil
}

func lintDefinition(e *env, file, text string, parameters list) (found int, err error) {
	options := template.Options{Parameters: map[string]string{}, Account: ids.NewAccount("us-east-1", "000000000000")}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		options.Parameters[name] = value
	}
	t, err := template.Load(file, []byte(text), options)
	if err != nil {
		return 0, err
	}
	findings := t.Lint([]byte(text))
	for _, f := range findings {
		fmt.Fprintln(e.stdout, f)
	}
	return len(findings), nil
}
