package foreign

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestProcess(t *testing.T) {
	p, err := Start(exec.Command("sh", "-c", `echo one; echo "an ERROR" >&2; cat > /dev/null; echo two`))
	if err != nil {
		t.Fatal(err)
	}
	if line := <-p.Lines; line != "one" {
		t.Errorf("%q", line)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if got := p.Log("ERROR", "WARN"); !slices.Equal(got, []string{"an ERROR"}) {
		t.Errorf("%q", got)
	}
}

// A program that ends badly says why; one that does not end is killed.
func TestProcessFails(t *testing.T) {
	p, err := Start(exec.Command("sh", "-c", "echo a reason >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(time.Minute, func(string) {}); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "a reason") {
		t.Error(err)
	}
	p, err = Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(time.Millisecond, func(string) {}); err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Error(err)
	}
}
