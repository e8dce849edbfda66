package mirror

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/e2e/node"
)

func TestMain(m *testing.M) { node.Main(m) }

// patience bounds what a test waits for.
const patience = 60 * time.Second

// A mirror that is killed again and again, at any moment, copies each record once: what it says it copied and found adds up
// to what the node took, and both sides hold the same.
func TestMirrorSurvivesKill(t *testing.T) {
	if testing.Short() {
		return // the mirror is another process: a short run, as with the race detector, learns nothing here
	}
	r := newRig(t)
	taken := r.fill(t)
	r.killedOften(t, taken, "local:copy")
	r.copied(t, "class-stream", taken, "--from", "local:data", "--to", "local:copy", "--state", "state", "--verify")
}

// rig is the binary and a folder to run it in.
type rig struct{ binary, folder string }

func newRig(t *testing.T) *rig {
	t.Helper()
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return &rig{binary, t.TempDir()}
}

func (r *rig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.binary, args...)
	cmd.Dir = r.folder
	return cmd
}

// fill runs a node on the folder data for a while under load and tells how many records its stream took.
func (r *rig) fill(t *testing.T) int {
	t.Helper()
	n, err := node.Start(t.Context(), node.Options{Binary: r.binary, Data: filepath.Join(r.folder, "data"), Dir: r.folder})
	if n != nil {
		defer n.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.command("bench", "--kind", "putrecords", "--url", n.AWS, "--connections", "2", "--warmup", "0s", "--duration", "200ms").CombinedOutput()
	if err != nil {
		t.Fatalf("bench: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := n.Settled(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	return int(l.Streams[0].Accepted)
}

// killedOften mirrors data to a place, so slowly that it can't come to its end, and kills it at random moments.
func (r *rig) killedOften(t *testing.T, taken int, to string) {
	t.Helper()
	const seed, kills = 7, 8
	rng := rand.New(rand.NewPCG(seed, seed))
	rate := strconv.Itoa(max(2, taken/10)) // a batch is half a second of it
	for n := range kills {
		args := []string{"mirror", "--from", "local:data", "--to", to, "--state", "state", "--progress", "10ms", "--rate", rate}
		ended, out := r.killed(t, time.Duration(rng.IntN(400))*time.Millisecond, args...)
		if ended && n == 0 {
			t.Fatalf("it came to its end before it was killed\n%s", out)
		}
		if ended {
			return
		}
	}
}

// killed starts a mirror, waits until it copies, and kills it a while later.
func (r *rig) killed(t *testing.T, later time.Duration, args ...string) (ended bool, out string) {
	t.Helper()
	cmd := r.command(args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	lines := bufio.NewScanner(stderr)
	armed := false
	for lines.Scan() { // until it is gone
		fmt.Fprintln(&text, lines.Text())
		if !armed && strings.Contains(lines.Text(), "shards done") {
			armed = true
			time.AfterFunc(later, func() { _ = cmd.Process.Kill() }) // it may have ended by itself
		}
	}
	err = cmd.Wait()
	if err != nil && cmd.ProcessState.Exited() {
		t.Fatalf("it ended before it was killed: %v\n%s", err, text.String())
	}
	return err == nil, text.String()
}

// copied runs a mirror to its end and checks what it says: so many records, which add up and are the same on both sides.
func (r *rig) copied(t *testing.T, row string, records int, args ...string) {
	t.Helper()
	out, err := r.command(append([]string{"mirror"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	t.Logf("%v\n%s", args, out)
	m := regexp.MustCompile(`(?m)^` + row + ` +(\d+) = +(\d+) \+ +(\d+) `).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no row of %s:\n%s", row, out)
	}
	if n := number(t, m[1]); n != records || n != number(t, m[2])+number(t, m[3]) {
		t.Errorf("%s = %s + %s records; want %d", m[1], m[2], m[3], records)
	}
	if !strings.Contains(string(out), fmt.Sprintf("%s: verified: %d records", row, records)) {
		t.Errorf("not verified:\n%s", out)
	}
}

func number(t *testing.T, digits []byte) int {
	t.Helper()
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
