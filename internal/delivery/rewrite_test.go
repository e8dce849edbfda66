package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// at is [RewriteOptions.At] of a source in memory.
func (m *memorySource) at(_ context.Context, ref stream.ShardRef, when time.Time) (stream.SequenceNumber, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.streams[ref.Stream].logs[ref.Shard]
	for i := range l.records {
		if l.records[i].Arrival >= when.UnixMilli() {
			return l.records[i].Sequence, nil
		}
	}
	if n := len(l.records); n > 0 {
		return l.records[n-1].Sequence.Next(), nil
	}
	return stream.SequenceNumber{}, nil
}

func (n *node) rewrite(ctx context.Context, o RewriteOptions) (RewriteProgress, error) {
	o.Stream, o.Delivery, o.Prefix, o.At = "s", "d", "again/", n.source.at
	return n.engine.Rewrite(ctx, o)
}

// below gives the lines of all objects below a prefix, sorted, and how many objects there are.
func (n *node) below(prefix string) (lines []string, objects int) {
	for _, key := range n.sink.keys("events") {
		if strings.HasPrefix(key, prefix) {
			objects++
			lines = append(lines, strings.Split(strings.TrimSpace(content(n.t, n.sink.get("events", key))), "\n")...)
		}
	}
	slices.Sort(lines)
	return lines, objects
}

// What a range of a stream holds is written below another prefix once, killed at any step and run again, with partitions
// and error objects as the delivery stream has them.
func TestRewriteIsKilledAtAnyStep(t *testing.T) {
	for n := range 22 {
		steps, partitioned := n/2+1, n%2 == 0
		inBubble(t, func(t *testing.T) {
			var left atomic.Int64
			var killed atomic.Bool // nothing is stored any more
			ctx, kill := context.WithCancel(background)
			defer kill()
			n := newNode(t, Options{Failpoint: func(name string) {
				if (strings.HasPrefix(name, "rewrite-") || strings.HasPrefix(name, "put-")) && left.Add(-1) == 0 {
					killed.Store(true)
					kill()
				}
			}}).start()
			n.setFail(func(string, string) error {
				if killed.Load() {
					return errOut
				}
				return nil
			})
			defer n.close()
			n.stream("s", 2)
			shape, data, failures := extended(nil), "again/k=", 1
			if !partitioned { // several rounds
				shape, data, failures = hints(1, 60), "again/", 0
			}
			n.create(request("d", "s", shape))
			n.append("s", "a", event("a", 0))
			time.Sleep(time.Hour)
			from := time.Now()
			pad := strings.Repeat("x", 200<<10)
			var want []string
			for i := 1; i < 40; i++ {
				text := fmt.Sprintf("{\"k\":\"%c\",\"n\":%d,\"pad\":\"%s\"}\n", 'a'+i%3, i, pad)
				n.append("s", fmt.Sprint(i%5), text)
				want = append(want, strings.TrimSpace(text))
			}
			if partitioned {
				n.append("s", "a", "broken")
			}
			time.Sleep(time.Hour)
			to := time.Now()
			n.append("s", "a", event("a", 99))
			time.Sleep(time.Hour)
			slices.Sort(want)

			dry, err := n.rewrite(background, RewriteOptions{From: from, To: to, DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, objects := n.below("again/"); objects > 0 {
				t.Error("a dry run has written")
			}
			left.Store(int64(steps))
			if _, err := n.rewrite(ctx, RewriteOptions{From: from, To: to}); err == nil && steps < 10 || !killed.Load() {
				t.Errorf("it was not killed: %v", err)
			}
			killed.Store(false)
			for run := range 2 {
				p, err := n.rewrite(background, RewriteOptions{From: from, To: to})
				if err != nil {
					t.Fatal(err)
				}
				lines, objects := n.below(data)
				if !slices.Equal(lines, want) {
					t.Errorf("run %d: %d records, want %d", run, len(lines), len(want))
				}
				failed, errorObjects := n.below("again/errors/metadata-extraction-failed/")
				equal(t, "error objects", errorObjects, failures)
				if len(failed) != failures || failures > 0 && !strings.Contains(failed[0], "YnJva2Vu") {
					t.Errorf("failed %q", failed)
				}
				equal(t, "objects", fmt.Sprint(p.Objects, p.ErrorObjects), fmt.Sprint(objects, errorObjects))
				equal(t, "objects as the dry run said", fmt.Sprint(dry.Objects, dry.ErrorObjects), fmt.Sprint(objects, errorObjects))
				equal(t, "records of the dry run", dry.Records, int64(len(want)+failures))
			}
			for _, key := range n.sink.keys("events") {
				is, err := n.engine.IsErrorObject("d", "", key, func() (object.Info, error) { return n.sink.Head(background, "events", key) })
				if err != nil || is != strings.HasPrefix(key, "errors/") {
					t.Errorf("%s: %v, %v", key, is, err)
				}
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{Function: anyFunction, Transform: &moody{}}).start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", nil))
		n.create(request("e", "s", extended(withFunction)))
		time.Sleep(time.Hour)
		good := RewriteOptions{Stream: "s", Delivery: "d", Prefix: "x/", From: time.Now().Add(-time.Hour), To: time.Now(), At: n.source.at}
		f := func(kind fault.Kind, edit func(*RewriteOptions)) {
			t.Helper()
			o := good
			edit(&o)
			if _, err := n.engine.Rewrite(background, o); !fault.Is(err, kind) {
				t.Errorf("got %v", err)
			}
		}
		f(fault.NotFound, func(o *RewriteOptions) { o.Delivery = "x" })
		f(fault.Invalid, func(o *RewriteOptions) { o.Stream = "x" })
		f(fault.Unsupported, func(o *RewriteOptions) { o.Delivery = "e" })
		f(fault.Invalid, func(o *RewriteOptions) { o.Prefix = "x" })
		f(fault.Invalid, func(o *RewriteOptions) { o.Prefix = "" })
		f(fault.Invalid, func(o *RewriteOptions) { o.Prefix = ".millrace/x/" })
		f(fault.Invalid, func(o *RewriteOptions) { o.Prefix = "!{timestamp:yyyy}/" })
		f(fault.Invalid, func(o *RewriteOptions) { o.From = o.To })
		f(fault.Invalid, func(o *RewriteOptions) { o.To = time.Now().Add(time.Second) })
		if _, err := n.engine.Rewrite(background, good); err != nil {
			t.Error(err)
		}
	})
}
