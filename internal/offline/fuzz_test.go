package offline

import (
	"os"
	"strings"
	"testing"
)

// A case file is refused, or its cases run; nothing that it says ends the program, and a failure has a text.
func FuzzLoadCases(f *testing.F) {
	for _, name := range []string{"direct.cases.yaml", "failing.cases.yaml", "refused.cases.yaml"} {
		body, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body))
	}
	f.Add("definition: orders.yaml\ncases: [{name: a, request: {path: /prod/raw, base64: AAA=}, answer: {status: 200}, want: {records: []}}]")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file") || !strings.Contains(text, "definition: orders.yaml") && !strings.Contains(text, "definition: direct.yaml") {
			return // it may name any file of this machine
		}
		cases, err := LoadCases("testdata/fuzz.cases.yaml", []byte(text))
		if err != nil {
			return
		}
		for _, c := range cases.Cases[:min(len(cases.Cases), 4)] {
			if failure, trail := cases.Run(t.Context(), c); failure == "" && trail == nil {
				t.Errorf("%+v passes and was not sent", c)
			}
		}
	})
}
