package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var built struct {
	sync.Mutex
	folder string
	byTags map[string]string
}

// Main runs a package's tests and removes the binaries that they have built. For TestMain.
func Main(m *testing.M) {
	code := m.Run()
	built.Lock()
	defer built.Unlock()
	if built.folder != "" {
		_ = os.RemoveAll(built.folder) // of the machine's temporary folder: what stays there does no harm
	}
	os.Exit(code)
}

// Binary builds the binary with the given tags, once per test process, and gives its path.
func Binary(tags ...string) (string, error) {
	built.Lock()
	defer built.Unlock()
	set := strings.Join(tags, ",")
	if path := built.byTags[set]; path != "" {
		return path, nil
	}
	if built.folder == "" {
		folder, err := os.MkdirTemp("", "millrace-e2e-")
		if err != nil {
			return "", err
		}
		built.folder, built.byTags = folder, map[string]string{}
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	// Each set has its folder, so that the binary is called millrace in any case.
	path := filepath.Join(built.folder, "bin-"+strings.ReplaceAll(set, ",", "-"), "millrace")
	cmd := exec.Command("go", "build", "-tags", set, "-o", path, "./cmd/millrace")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build -tags %q ./cmd/millrace: %w\n%s", set, err, out)
	}
	built.byTags[set] = path
	return path, nil
}

// Root is the folder of go.mod.
func Root() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := at; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no go.mod above %s", at)
		}
	}
}
