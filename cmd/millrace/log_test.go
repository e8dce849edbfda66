package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestStandardLogGoesToTheNodes(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		var out bytes.Buffer
		l := standardLog{slog.New(slog.NewTextHandler(&out, nil))}
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%d %v", n, err)
		}
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f("Unsolicited response received on idle HTTP channel starting with \"secret\"; err=<nil>\n", "level=WARN msg=\"a backend of an HTTP integration sent bytes")
	f("http2: something\n", "msg=\"a library reports\" text=\"http2: something\"")
}
