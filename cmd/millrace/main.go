// Command millrace runs and inspects a Millrace node.
//
// "millrace up" starts a node with the built-in example or a definition file;
// "millrace help" lists the commands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// command is one subcommand.
type command struct {
	name    string
	args    string // for the usage line
	summary string
	run     func(ctx context.Context, e *env, args []string) error
}

// env is where a command reads and writes.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// cut ends what the first interrupt has begun to drain: it is called at the second one.
	name string
}

var commands []*command

func init() { // a list that helpCommand reads can't be initialized by naming it
	commands = []*command{
		upCommand, ledgerCommand, tailCommand, replayCommand, mirrorCommand, vtlCommand, benchCommand, supportCommand, versionCommand,
		{name: "help", args: "[COMMAND]", summary: "tell what a command does", run: help},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second interrupt ends the process at once; what was acknowledged is on disk
	}()
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, name: "millrace"}
	os.Exit(run(ctx, e, os.Args[1:]))
}

// errUsage says that the command line was wrong and that its user has been told.
var errUsage = errors.New("usage")

// errFailed says that a check found something and that its user has been told.
var errFailed = errors.New("failed")

func run(ctx context.Context, e *env, args []string) int {
	if len(args) == 0 {
		overview(e.stderr)
		return 2
	}
	switch args[0] {
	case "-h", "-help", "--help":
		overview(e.stdout)
		return 0
	case "-version", "--version":
		args = []string{"version"}
	}
	c := find(args[0])
	if c == nil {
		fmt.Fprintf(e.stderr, "millrace: there is no command %q; \"millrace help\" lists them\n", args[0])
		return 2
	}
	err := c.run(ctx, e, args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errFailed):
		return 1
	}
	fmt.Fprintf(e.stderr, "millrace %s: %v\n", c.name, err)
	return 1
}

func find(name string) *command {
	i := slices.IndexFunc(commands, func(c *command) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return commands[i]
}

func overview(w io.Writer) {
	fmt.Fprint(w, `Millrace collects events: REST API -> mapping template -> stream -> S3 objects, in one binary.

Usage: millrace COMMAND [ARGUMENTS]

`)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\n\"millrace up\" is the place to start; \"millrace COMMAND --help\" tells more.\n")
}

func help(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		overview(e.stdout)
		return nil
	}
	c := find(args[0])
	if c == nil {
		return fmt.Errorf("there is no command %q", args[0])
	}
	return c.run(ctx, e, append(args[1:], "--help"))
}

// flags makes the flag set of a command; more describes it beyond its summary.
func (e *env) flags(c *command, more string) *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // parse tells errors itself, once
	fs.Usage = func() {}
	describe := func() {
		w := e.stdout
		fmt.Fprintf(w, "Usage: millrace %s %s\n\n%s.\n", c.name, c.args, upperFirst(c.summary))
		if more != "" {
			fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(more))
		}
		options := 0
		fs.VisitAll(func(*flag.Flag) { options++ })
		if options > 0 {
			fmt.Fprint(w, "\nOptions:\n")
		}
		fs.VisitAll(func(f *flag.Flag) {
			value, usage := flag.UnquoteUsage(f)
			head := "--" + f.Name
			if value != "" {
				head += " " + value
			}
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
				usage += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(w, "  %-28s %s\n", head, usage)
		})
	}
	e.describe(fs, describe)
	return fs
}

// describers hold the help text of each flag set until parse needs it.
var describers = map[*flag.FlagSet]func(){}

func (e *env) describe(fs *flag.FlagSet, fn func()) { describers[fs] = fn }

// parse reads options wherever they stand: "up template.yaml --data x" is what people type.
func (e *env) parse(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				describers[fs]()
				return nil, err
			}
			fmt.Fprintf(e.stderr, "millrace %s: %v; \"millrace %s --help\" lists the options\n", fs.Name(), err, fs.Name())
			return nil, errUsage
		}
		args = fs.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

// misuse tells what is wrong with a command line.
func (e *env) misuse(c *command, format string, args ...any) error {
	fmt.Fprintf(e.stderr, "millrace %s: %s\nUsage: millrace %s %s\n", c.name, fmt.Sprintf(format, args...), c.name, c.args)
	return errUsage
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }
