package front

import (
	"log"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
)

// faults logs what should not happen.
type faults struct {
	log   *slog.Logger
	stats *stats
}

// maxStack bounds how much of a stack is logged: the part below the panic comes first.
const maxStack = 8 << 10

// panicked logs a panic of a handler, and counts it. An answer that has begun can't be taken back: its connection
// is cut, so that the caller does not take it for whole. http.ErrAbortHandler asks for just that and is no fault.
// When panicked returns, the caller answers 500.
func (f *faults) panicked(p any, r *http.Request, begun bool) {
	if p == http.ErrAbortHandler {
		panic(p)
	}
	stack := debug.Stack()
	f.stats.panics.Add(1)
	f.log.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(stack[:min(len(stack), maxStack)]))
	if begun {
		panic(http.ErrAbortHandler)
	}
}

// serverLog takes what net/http has to say. What a caller can bring about at will is told at debug level only.
func serverLog(to *slog.Logger, listener string) *log.Logger {
	return log.New(logWriter{to.With("listener", listener)}, "", 0)
}

type logWriter struct{ to *slog.Logger }

// ours begin the lines that are about this program or this machine, not about a caller.
var ours = []string{"http: Accept error", "http: superfluous", "http: panic", "http: response.", "http: Server"}

func (w logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	for _, prefix := range ours {
		if strings.HasPrefix(text, prefix) {
			w.to.Warn("the HTTP server reports a fault", "error", text)
			return len(line), nil
		}
	}
	w.to.Debug("the HTTP server reports a caller's fault", "error", text)
	return len(line), nil
}
