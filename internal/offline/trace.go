package offline

import (
	"fmt"
	"io"
	"strings"

	"millrace/internal/gateway"
)

// WriteTrail prints the way of a request: a heading for each step, a line for each fact, bodies below theirs.
func WriteTrail(w io.Writer, t *gateway.Trail) error {
	var b strings.Builder
	for _, s := range t.Steps {
		b.WriteString(s.Name + "\n")
		for _, f := range s.Facts {
			if f.Label == "body" || strings.Contains(f.Value, "\n") {
				fmt.Fprintf(&b, "  %s\n", f.Label)
				for line := range strings.Lines(f.Value) {
					b.WriteString(strings.TrimRight("      "+strings.TrimRight(line, "\r\n"), " ") + "\n")
				}
				continue
			}
			fmt.Fprintf(&b, "  %-14s  %s\n", f.Label, f.Value)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
