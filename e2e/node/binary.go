package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "millrace/examples"     // what the binary is made of, so that a result from before a change is not taken
	_ "millrace/internal/app" // for one of after it; see looksAt
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
	if err := looksAt(filepath.Join(root, "cmd", "millrace")); err != nil {
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

// looksAt reads a folder's files for nothing but to tell the go command of them: it keeps the results of tests by what they
// import and open, and does not see what goes into a binary that they build.
func looksAt(folder string) error {
	files, err := os.ReadDir(folder)
	for _, f := range files {
		if err == nil && !f.IsDir() {
			_, err = os.ReadFile(filepath.Join(folder, f.Name()))
		}
	}
	return err
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
