package apigateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// The files of testdata are conversations: a call, then status, error type and body as they leave. as=NAME keeps
// the id of an answer, and of its root resource as NAME.root; $NAME stands for it from then on.
func TestConversations(t *testing.T) {
	datadriven.Walk(t, "testdata/wire", func(t *testing.T, path string) {
		s := newService(t)
		names := map[string]string{} // $api: "1a2b3c4d5e"
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			method, path, _ := strings.Cut(d.CmdArgs[0].String(), ":")
			a := s.call(t, method, expand(names, path), expand(names, d.Input))
			if a.requestID == "" {
				d.Fatalf(t, "no request id")
			}
			if d.HasArg("as") {
				var as string
				d.ScanArgs(t, "as", &as)
				remember(t, names, as, a.body)
			}
			text := fmt.Sprintf("%d %s\n", a.status, a.errorType)
			if a.errorType == "" {
				text = fmt.Sprintf("%d\n", a.status)
			}
			if a.body != "" {
				text += contract(names, a.body) + "\n"
			}
			return text
		})
	})
}

func remember(t *testing.T, names map[string]string, as, body string) {
	t.Helper()
	var ids struct{ ID, RootResourceID string }
	if err := json.Unmarshal([]byte(body), &ids); err != nil || ids.ID == "" {
		t.Fatalf("no id in %s", body)
	}
	names["$"+as] = ids.ID
	if ids.RootResourceID != "" {
		names["$"+as+".root"] = ids.RootResourceID
	}
}

func expand(names map[string]string, s string) string {
	// The longer names first: $api.root holds $api.
	for _, root := range []bool{true, false} {
		for name, id := range names {
			if strings.HasSuffix(name, ".root") == root {
				s = strings.ReplaceAll(s, name, id)
			}
		}
	}
	return s
}

func contract(names map[string]string, s string) string {
	for name, id := range names {
		s = strings.ReplaceAll(s, id, name)
	}
	return s
}
