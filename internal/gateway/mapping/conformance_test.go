package mapping_test

import (
	"path/filepath"
	"testing"

	"millrace/internal/gateway/mapping/vtlcase"
)

// Every case was rendered by Apache Velocity 1.7 with the rules of API Gateway; this engine gives the same bytes.
func TestConformance(t *testing.T) {
	files, err := vtlcase.Files([]string{filepath.Join("testdata", "conformance")})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 319 {
		t.Fatalf("only %d cases", len(files))
	}
	for _, file := range files {
		c, err := vtlcase.Load(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := c.Run(); diff != "" {
			t.Errorf("%s (%s): %s\n%s\ntemplate %q", c.Name, c.Basis, c.Note, diff, c.Template)
		}
	}
}
