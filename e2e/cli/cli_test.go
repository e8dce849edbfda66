package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/rogpeppe/go-internal/testscript"

	"millrace/e2e/node"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

func TestMain(m *testing.M) { node.Main(m) }

// patience bounds what a script's command waits for.
const patience = 30 * time.Second

func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	root, err := node.Root()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+string(filepath.ListSeparator)+os.Getenv("PATH"))
			env.Setenv("EXAMPLES", filepath.Join(root, "examples"))
			env.Values[stateKey{}] = &state{binary: binary}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"up": up, "down": down, "kill9": kill9, "post": post, "get": get, "settled": settled, "objects": objects, "capture": capture, "clock": clock,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
	})
}

// state is what a script's commands share.
type state struct {
	binary string
	node   *node.Node
}

type stateKey struct{}

func of(ts *testscript.TestScript) *state { return ts.Value(stateKey{}).(*state) }

func running(ts *testscript.TestScript) *node.Node {
	n := of(ts).node
	if n == nil {
		ts.Fatalf("no node is running: up comes first")
	}
	return n
}

func up(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	opts := node.Options{Binary: s.binary, Data: ts.MkAbs("data"), Dir: ts.MkAbs("."), Args: args}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		opts.File, opts.Args = args[0], args[1:]
	}
	n, err := node.Start(context.Background(), opts)
	if n != nil {
		ts.Defer(n.Kill)
		ts.Check(os.WriteFile(ts.MkAbs("up.out"), []byte(n.Output()), 0o600))
		ts.Logf("%s", n.Output())
	}
	switch {
	case neg && errors.Is(err, node.ErrDied):
		return
	case neg && err == nil:
		ts.Fatalf("up serves, and should not")
	}
	ts.Check(err)
	s.node = n
	ts.Setenv("AWS", n.AWS)
	ts.Setenv("INGEST", n.Ingest)
	ts.Setenv("AWS_ENDPOINT_URL", n.AWS)
}

func down(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 || len(args) == 1 && args[0] != "interrupt" {
		ts.Fatalf("usage: down [interrupt]")
	}
	n := running(ts)
	of(ts).node = nil
	var signal os.Signal = syscall.SIGTERM
	if len(args) == 1 {
		signal = os.Interrupt
	}
	ts.Check(n.StopBy(signal))
	ts.Logf("%s", n.Output())
}

func kill9(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("kill9 always succeeds")
	}
	running(ts).Kill()
	of(ts).node = nil
}

func post(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: post PATH TYPE BODY")
	}
	body := args[2]
	if name, ok := strings.CutPrefix(body, "@"); ok {
		body = ts.ReadFile(name)
	}
	req, err := http.NewRequest(http.MethodPost, running(ts).Ingest+args[0], strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Content-Type", args[1])
	answer(ts, neg, req)
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: get PATH")
	}
	req, err := http.NewRequest(http.MethodGet, running(ts).AWS+args[0], nil)
	ts.Check(err)
	answer(ts, neg, req)
}

var client = &http.Client{Timeout: patience}

func answer(ts *testscript.TestScript, neg bool, req *http.Request) {
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n", body)
	if neg != (resp.StatusCode != http.StatusOK) {
		ts.Fatalf("%s %s: %s: %s", req.Method, req.URL, resp.Status, body)
	}
	fmt.Fprintf(ts.Stderr(), "%s\n", resp.Status)
}

func settled(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("settled can't be negated")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := running(ts).Settled(ctx)
	ts.Check(err)
}

func objects(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: objects BUCKET")
	}
	var names []string
	root := filepath.Join(ts.MkAbs("data"), "s3", args[0])
	ts.Check(filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	}))
	slices.Sort(names)
	for _, name := range names {
		text, err := readObject(name)
		ts.Check(err)
		_, err = ts.Stdout().Write(text)
		ts.Check(err)
	}
}

// clock keeps the time of now in a variable.
func clock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: clock NAME")
	}
	// Arrivals are told in milliseconds: what came in this one is before the next.
	ts.Setenv(args[0], time.Now().UTC().Add(time.Millisecond).Format(time.RFC3339Nano))
}

// capture keeps what a group of a regular expression finds in the output of the last command in a variable.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("nothing found")
	}
	ts.Setenv(args[0], m[1])
}

func readObject(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !strings.HasSuffix(name, ".gz") {
		return io.ReadAll(file)
	}
	gz, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(gz)
}
