package cli

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"millrace/e2e/node"
)

// A mirror that is killed again and again, at any moment, copies each record once: what it says it copied and found adds up
// to what the node took, and both sides hold the same.
func TestMirrorSurvivesKill(t *testing.T) {
	if testing.Short() {
		t.Skip("the mirror is another process: a short run, as with the race detector, learns nothing here")
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	taken := fill(t, binary, filepath.Join(folder, "data"))
	args := []string{
		"mirror", "--from", "local:" + filepath.Join(folder, "data"), "--to", "local:" + filepath.Join(folder, "copy"),
		"--state", filepath.Join(folder, "state"), "--progress", "10ms",
	}
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	kills := 0
	for ; kills < 8; kills++ {
		// So slow that it can't come to its end: a batch is half a second of the rate.
		if !killed(t, binary, append(args, "--rate", strconv.Itoa(max(2, taken/10))), time.Duration(rng.IntN(400))*time.Millisecond) {
			break
		}
	}
	if kills == 0 {
		t.Error("it came to its end before it was killed")
	}
	out, err := exec.Command(binary, append(args, "--verify")...).CombinedOutput()
	if err != nil {
		t.Fatalf("after %d kills: %v\n%s", kills, err, out)
	}
	t.Logf("after %d kills:\n%s", kills, out)
	m := regexp.MustCompile(`(?m)^class-stream +(\d+) = +(\d+) \+ +(\d+) `).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no row of class-stream:\n%s", out)
	}
	if n := number(t, m[1]); n != taken || n != number(t, m[2])+number(t, m[3]) {
		t.Errorf("%s = %s + %s records; the node took %d", m[1], m[2], m[3], taken)
	}
	if !regexp.MustCompile(`class-stream: verified: ` + strconv.Itoa(taken) + ` records`).Match(out) {
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

// fill runs a node for a while under load and tells how many records it took.
func fill(t *testing.T, binary, data string) int {
	t.Helper()
	n, err := node.Start(t.Context(), node.Options{Binary: binary, Data: data})
	if n != nil {
		defer n.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "bench", "--kind", "putrecords", "--url", n.AWS, "--connections", "2", "--warmup", "0s", "--duration", "200ms").CombinedOutput()
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

// killed starts a mirror, waits until it copies, and kills it a while later; false: it had ended.
func killed(t *testing.T, binary string, args []string, later time.Duration) bool {
	t.Helper()
	cmd := exec.Command(binary, args...)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	progress := regexp.MustCompile(`shards done`)
	for lines.Scan() {
		if progress.MatchString(lines.Text()) {
			time.AfterFunc(later, func() { _ = cmd.Process.Kill() }) // it may have ended by itself
			break
		}
	}
	for lines.Scan() { // until it is gone
		continue
	}
	return cmd.Wait() != nil
}
