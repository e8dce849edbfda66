package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// LogOptions say how the node logs.
type LogOptions struct {
	Level  string // "debug", "info", "warn", "error"; default "info"
	Format string // "text" or "json"; default "text"
}

// NewLogger makes the node's logger. A warning or error that repeats itself is written once in [repeatWindow] and
// then with the number of its repetitions, so that a bucket that is gone for a day does not fill the disk.
func NewLogger(w io.Writer, opts LogOptions) (*slog.Logger, error) {
	var level slog.Level
	if opts.Level != "" {
		if err := level.UnmarshalText([]byte(opts.Level)); err != nil {
			return nil, fmt.Errorf("log level %q is not one of debug, info, warn, error", opts.Level)
		}
	}
	var h slog.Handler
	switch strings.ToLower(opts.Format) {
	case "", "text":
		h = slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
	case "json":
		h = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	default:
		return nil, fmt.Errorf("log format %q is not one of text, json", opts.Format)
	}
	return slog.New(&quiet{next: h, seen: &repeats{last: map[string]repeat{}}}), nil
}

const (
	// repeatWindow is how long a repeated warning stays silent.
	repeatWindow = 10 * time.Second
	// maxRepeats bounds the messages that are remembered; messages are constant sentences, so that few exist.
	maxRepeats = 1024
)

// quiet drops warnings and errors that repeat themselves too soon. Two are the same when message and the values of
// their identifying attributes (all but "error", numbers and times) are.
type quiet struct {
	next   slog.Handler
	prefix string // attributes given with With
	seen   *repeats
}

type repeats struct {
	mu   sync.Mutex
	last map[string]repeat
}

type repeat struct {
	at      time.Time
	dropped int
}

func (q *quiet) Enabled(ctx context.Context, l slog.Level) bool { return q.next.Enabled(ctx, l) }

func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return q.next.Handle(ctx, r)
	}
	key := q.prefix + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "error" && a.Value.Kind() == slog.KindString {
			key += "\x00" + a.Key + "=" + a.Value.String()
		}
		return true
	})
	dropped, write := q.seen.note(key, r.Time)
	if !write {
		return nil
	}
	if dropped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", dropped))
	}
	return q.next.Handle(ctx, r)
}

func (s *repeats) note(key string, at time.Time) (dropped int, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.last[key]
	if known && at.Sub(before.at) < repeatWindow {
		before.dropped++
		s.last[key] = before
		return 0, false
	}
	if !known && len(s.last) >= maxRepeats {
		clear(s.last)
	}
	s.last[key] = repeat{at: at}
	return before.dropped, true
}

func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	prefix := q.prefix
	for _, a := range attrs {
		prefix += a.String() + "\x00"
	}
	return &quiet{next: q.next.WithAttrs(attrs), prefix: prefix, seen: q.seen}
}

func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{next: q.next.WithGroup(name), prefix: q.prefix + name + ".", seen: q.seen}
}
