package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"millrace/internal/app"
	"millrace/internal/config"
	"millrace/internal/telemetry"
)

var upCommand = &command{name: "up", args: "[FILE] [OPTIONS]", summary: "start a node with a definition file, or with the built-in example", run: runUp}

const upHelp = `
FILE is CloudFormation, SAM or OpenAPI in YAML or JSON. Without one the built-in example runs: POST /prod/v1/{stream-name}
-> class-stream -> objects in the bucket class-events. The plan is printed before anything is changed. Running it again
after a change of FILE updates in place and keeps all data.

Everything that is acknowledged is on disk in the data folder; stop with Ctrl-C, which drains, or by any other way.`

// exactFlag takes a bare --aws-exact, and --aws-exact=responses,limits.
type exactFlag struct{ c *config.Node }

func (f exactFlag) String() string     { return "" }
func (f exactFlag) Set(v string) error { return f.c.ParseExact(v) }
func (f exactFlag) IsBoolFlag() bool   { return true }

// upOptions is what the command line says of up.
type upOptions struct {
	node       config.Node
	parameters list
	stack      string
	stage      string
	prune      bool
	planOnly   bool
	noExample  bool
	config     string // file; empty: none
	file       string // empty: the example
}

// bind makes the options flags over what node holds.
func (o *upOptions) bind(fs *flag.FlagSet) {
	n := &o.node
	fs.StringVar(&o.config, "config", "", "a `FILE` in YAML with these options by their names, and with what an engine needs; what is said here wins")
	fs.StringVar(&n.Engine, "engine", n.Engine, "what keeps records (`ENGINE`): local, kafka://HOST:PORT,… or kinesis://REGION")
	fs.StringVar(&n.Name, "node", n.Name, "the `NAME` of this node among those of its cluster (default: one that is kept in the data folder)")
	fs.StringVar(&n.Data, "data", n.Data, "the data `FOLDER`; it is made when it does not exist")
	fs.StringVar(&n.Listen, "listen", n.Listen, "the AWS endpoint, `HOST:PORT`, or off")
	fs.StringVar(&n.Ingest, "ingest", n.Ingest, "the listener for events only, `HOST:PORT`, or off; the one to expose")
	fs.Var(&o.parameters, "parameter", "a parameter of FILE, `NAME=VALUE`; can be repeated")
	fs.StringVar(&o.stack, "stack", "", "the `NAME` that FILE's resources belong to (default: FILE's name)")
	fs.StringVar(&o.stage, "stage", "prod", "the stage to deploy an OpenAPI file to (`NAME`)")
	fs.BoolVar(&o.prune, "prune", false, "remove what has left FILE, except where its DeletionPolicy is Retain")
	fs.BoolVar(&o.noExample, "no-example", false, "without FILE: start with what is there already, and not with the built-in example")
	fs.BoolVar(&o.planOnly, "plan", false, "print what would be done, and do nothing")
	fs.StringVar(&n.Credentials, "credentials", n.Credentials, "a `FILE` like ~/.aws/credentials: calls of the AWS endpoint must be signed with its keys")
	fs.Func("allow-host", "a further `HOST` name to trust when there are no credentials; can be repeated", func(v string) error {
		n.AllowHosts = append(n.AllowHosts, v)
		return nil
	})
	fs.Func("trusted-proxy", "`NETWORKS` whose X-Forwarded-For is believed: 10.0.0.0/8,192.0.2.7", n.ParseTrustedProxies)
	fs.StringVar(&n.TLSCert, "tls-cert", n.TLSCert, "certificate `FILE` of the AWS endpoint; taken up again when it changes")
	fs.StringVar(&n.TLSKey, "tls-key", n.TLSKey, "its key `FILE`")
	fs.StringVar(&n.IngestTLSCert, "ingest-tls-cert", n.IngestTLSCert, "certificate `FILE` of the ingest listener")
	fs.StringVar(&n.IngestTLSKey, "ingest-tls-key", n.IngestTLSKey, "its key `FILE`")
	fs.Var(exactFlag{n}, "aws-exact", "do as the service does where that serves callers worse: `responses` (masked errors), limits (of throughput and of calls; see the README); bare: both")
	fs.StringVar(&n.DefaultAPI, "default-api", n.DefaultAPI, "the id or name of the `API` that owns the short address http://INGEST/STAGE/PATH (default: the first created)")
	fs.Func("low-space", "free `BYTES` (1GiB) below which writes are refused (default: the larger of 1GiB and 5 %)", n.LowSpace.Set)
	fs.Func("body-budget", "`BYTES` of bodies held in memory at one time; beyond it 503 (default 64MiB)", n.BodyBudget.Set)
	fs.IntVar(&n.ActivePartitions, "active-partitions", n.ActivePartitions, "how many dynamic partitions (`NUMBER`) of a delivery stream may gather records on this node")
	fs.DurationVar(&n.LedgerKeep, "ledger-keep", n.LedgerKeep, "how long (`TIME`) it is known which object holds which record (\"millrace ledger --record\")")
	fs.StringVar(&n.Region, "region", n.Region, "the `REGION` in ARNs")
	fs.StringVar(&n.Account, "account", n.Account, "the account `ID` in ARNs")
	fs.StringVar(&n.LogLevel, "log-level", n.LogLevel, "`LEVEL`: debug, info, warn or error")
	fs.StringVar(&n.LogFormat, "log-format", n.LogFormat, "`FORMAT`: text or json")
}

func runUp(ctx context.Context, e *env, args []string) error {
	c := find("up")
	o := upOptions{node: config.Default()}
	rest, err := o.parse(e, c, args)
	if err != nil {
		return err
	}
	if o.config != "" {
		// Once more, over what the file says: the command line wins.
		o = upOptions{config: o.config}
		if o.node, err = config.Load(o.config); err != nil {
			return err
		}
		if rest, err = o.parse(e, c, args); err != nil {
			return err
		}
	}
	switch len(rest) {
	case 0:
	case 1:
		o.file = rest[0]
	default:
		return e.misuse(c, "it takes one file; %q is a second one", rest[1])
	}
	if o.noExample && (o.file != "" || o.planOnly) {
		return e.misuse(c, "--no-example goes neither with a file nor with --plan")
	}
	if err := o.node.Check(); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(e.stderr, telemetry.LogOptions{Level: o.node.LogLevel, Format: o.node.LogFormat})
	if err != nil {
		return err
	}
	takeStandardLog(log)
	return o.up(ctx, e, log)
}

// takeStandardLog sends what libraries say by the standard logger, for they know no other, to the node's log: net/http of a
// backend that speaks when nobody has asked it, above all.
func takeStandardLog(to *slog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(standardLog{to})
}

type standardLog struct{ to *slog.Logger }

// unasked begins the line of net/http about such a backend. Behind it stands what the backend has sent, which is nobody's to log.
const unasked = "Unsolicited response received on idle HTTP channel"

func (l standardLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, unasked) {
		l.to.Warn("a backend of an HTTP integration sent bytes that no request had asked for; its connection is closed")
		return len(line), nil
	}
	l.to.Warn("a library reports", "text", text)
	return len(line), nil
}

func (o *upOptions) parse(e *env, c *command, args []string) (rest []string, err error) {
	fs := e.flags(c, upHelp)
	o.bind(fs)
	return e.parse(fs, args)
}

func (o *upOptions) up(ctx context.Context, e *env, log *slog.Logger) error {
	allow := boundMemory(int64(o.node.BodyBudget))
	definition, err := o.definition()
	if err != nil {
		return err // a file that can't be read must not make a data folder
	}
	n, err := app.Start(ctx, app.Options{Config: o.node, Version: version(), Log: log, Allow: allow, Failpoint: failpoint()})
	if err != nil {
		return err
	}
	if definition != nil {
		if err := o.apply(ctx, e, n, definition); err != nil || o.planOnly {
			return joinStop(err, n)
		}
	}
	o.announce(ctx, e.stdout, n)
	shedStart()
	return n.Run(ctx)
}

// relative shows a path as people would type it.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// announce tells where everything is. Scripts wait for the line "ready".
func (o *upOptions) announce(ctx context.Context, w io.Writer, n *app.Node) {
	fmt.Fprintln(w)
	show := func(what, value string) {
		if value == "" {
			value = "off"
		}
		fmt.Fprintf(w, "%-14s %s\n", what, value)
	}
	show("engine", n.Engine())
	show("limits", n.Limits())
	show("AWS endpoint", n.AWSURL())
	show("ingest", n.IngestURL())
	if folder := n.ObjectFolder(); folder != "" {
		show("objects", relative(folder)+string(filepath.Separator)+"BUCKET")
	} else {
		show("objects", n.ObjectService())
	}
	warnings := n.Warnings(ctx)
	for _, about := range slices.Sorted(maps.Keys(warnings)) {
		fmt.Fprintf(w, "warning: %s: %s\n", about, warnings[about])
	}
	fmt.Fprintln(w)
	for _, e := range n.Endpoints() {
		fmt.Fprintf(w, "  %s\n", e)
	}
	if o.file == "" && !o.noExample {
		o.tryIt(w, n)
	}
	fmt.Fprintln(w, "\nready; Ctrl-C stops and drains")
}

// tryIt prints the first commands of a newcomer.
func (o *upOptions) tryIt(w io.Writer, n *app.Node) {
	if n.IngestURL() == "" {
		return
	}
	url := n.IngestURL() + "/prod/v1/class-stream"
	fmt.Fprintf(w, "\nTry it:\n  curl -H 'Content-Type: application/json' -d '{\"hello\": \"world\"}' %s\n  curl -d 'name=Ada&city=London' %s\n", url, url)
	fmt.Fprintln(w, "Objects follow within seconds:")
	if folder := n.ObjectFolder(); folder != "" {
		fmt.Fprintf(w, "  find %s -type f\n", filepath.Join(relative(folder), "class-events"))
	}
	if n.AWSURL() != "" {
		fmt.Fprintf(w, "  aws --endpoint-url %s s3 ls --recursive s3://class-events\n", n.AWSURL())
	}
}
