package kinesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"millrace/internal/fault"
)

// Pages get smaller as memory gets short, wait when there is none, and are as large as ever when all is given back.
func TestPageMemory(t *testing.T) {
	m := newPageMemory()
	var held []int64
	for {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits here
		n, err := m.take(ctx)
		if err != nil {
			if !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			break
		}
		if len(held) > 0 && n > held[len(held)-1] {
			t.Fatalf("page %d gets %d bytes, more than the %d of the one before", len(held), n, held[len(held)-1])
		}
		held = append(held, n)
	}
	if held[0] != maxReadBytes || held[len(held)-1] > 2*leastPage || len(held) < 20 {
		t.Errorf("%d pages, from %d to %d bytes", len(held), held[0], held[len(held)-1])
	}
	if _, err := m.fit(gone(t), leastPage, maxReadBytes); err == nil || !strings.Contains(err.Error(), "ProvisionedThroughputExceeded") {
		t.Errorf("a record that there is no room for: %v", err)
	}
	for _, n := range held {
		m.give(n)
	}
	if used := m.used.Load(); used != 0 || !m.room.TryAcquire(maxPageMemory) {
		t.Errorf("%d bytes are not given back", used)
	}
}

// Every way out of GetRecords gives its memory back: an answer, an empty page, a refusal, a backend that fails.
func TestGetRecordsGivesMemoryBack(t *testing.T) {
	w := newWorld(t)
	w.invoke(t, "CreateStream", `{"StreamName":"s","ShardCount":1}`)
	w.invoke(t, "PutRecord", `{"StreamName":"s","Data":"eA==","PartitionKey":"k"}`)
	var answer struct{ ShardIterator, NextShardIterator string }
	w.invokeInto(t, &answer, "GetShardIterator", `{"StreamName":"s","ShardId":"0","ShardIteratorType":"TRIM_HORIZON"}`)
	w.invokeInto(t, &answer, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, answer.ShardIterator))
	w.invokeInto(t, &answer, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, answer.NextShardIterator))
	w.invoke(t, "DeleteStream", `{"StreamName":"s"}`)
	w.invoke(t, "GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, answer.NextShardIterator))
	if used := w.pages.used.Load(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
}

// Records without data take memory too: pages of them count, and are short when memory is.
func TestTinyRecordsTakePageMemory(t *testing.T) {
	w := newWorld(t)
	w.invoke(t, "CreateStream", `{"StreamName":"s","ShardCount":1}`)
	const all = 500
	if r := w.invoke(t, "PutRecords", `{"StreamName":"s","Records":[`+strings.Repeat(`{"Data":"","PartitionKey":"k"},`, all-1)+`{"Data":"","PartitionKey":"k"}]}`); r.Status != 200 {
		t.Fatalf("%s", r.Body)
	}
	var start struct{ ShardIterator string }
	w.invokeInto(t, &start, "GetShardIterator", `{"StreamName":"s","ShardId":"0","ShardIteratorType":"TRIM_HORIZON"}`)
	f := func(want int) {
		t.Helper()
		r := w.run(t.Context(), find("GetRecords"), asJSON, false, fmt.Appendf(nil, `{"ShardIterator":%q}`, start.ShardIterator), nil)
		defer w.pages.give(r.held)
		if got := strings.Count(string(r.Body), "PartitionKey"); got != want {
			t.Errorf("%d records, want %d", got, want)
		}
		if r.held < int64(len(r.Body))*3/4 {
			t.Errorf("a page of %d bytes counts as %d", len(r.Body), r.held)
		}
	}
	f(all)
	for w.pages.room.TryAcquire(leastPage) {
		w.pages.used.Add(leastPage)
	}
	w.pages.give(leastPage)
	f(leastPage / recordFrame)
}

func (w *world) invoke(t *testing.T, operation, body string) Result {
	t.Helper()
	return w.Invoke(t.Context(), operation, []byte(body), nil)
}

func (w *world) invokeInto(t *testing.T, answer any, operation, body string) {
	t.Helper()
	r := w.invoke(t, operation, body)
	if r.Status != 200 {
		t.Fatalf("%s: %d %s", operation, r.Status, r.Body)
	}
	if err := json.Unmarshal(r.Body, answer); err != nil {
		t.Fatal(err)
	}
}

// gone is the context of a caller who has left.
func gone(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
