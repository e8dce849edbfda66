package kinesis

import (
	"bytes"
	"fmt"
	"testing"

	"millrace/internal/stream"
)

// An answer holds 10,000 records or 10 MiB of data and keys, and says by MillisBehindLatest that more follow.
func TestPagesOfRecords(t *testing.T) {
	f := func(what string, records, size int, want ...int) {
		t.Helper()
		w := newWorld(t)
		invoke := func(operation, body string) []byte {
			t.Helper()
			r := w.Invoke(t.Context(), operation, []byte(body), nil)
			if r.Status != 200 {
				t.Fatalf("%s: %s answered %s", what, operation, r.Body)
			}
			return r.Body
		}
		member := func(answer []byte, name, end string) string {
			_, rest, _ := bytes.Cut(answer, []byte(`"`+name+`":`))
			value, _, _ := bytes.Cut(rest, []byte(end))
			return string(value)
		}
		invoke("CreateStream", `{"StreamName":"s","ShardCount":1}`)
		entries := make([]stream.Entry, records)
		for i := range entries {
			entries[i] = stream.Entry{PartitionKey: "k", Data: make([]byte, size)}
		}
		if err := w.backend.Append(t.Context(), "s", entries, make([]stream.Result, records)); err != nil {
			t.Fatal(err)
		}
		var got []int
		at := invoke("GetShardIterator", `{"StreamName":"s","ShardId":"0","ShardIteratorType":"TRIM_HORIZON"}`)
		place := member(at, "ShardIterator", "}")
		for range want {
			page := invoke("GetRecords", `{"ShardIterator":`+place+`}`)
			n := bytes.Count(page, []byte(`"SequenceNumber"`))
			got = append(got, n)
			records -= n
			tail := page[max(0, len(page)-1000):] // what stands behind the records
			if behind := member(tail, "MillisBehindLatest", "}"); (behind != "0") != (records > 0) {
				t.Errorf("%s: %s ms behind, and %d records follow", what, behind, records)
			}
			place = member(tail, "NextShardIterator", ",")
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: pages of %v records; want %v", what, got, want)
		}
	}
	f("tiny records", 10_001, 0, 10_000, 1, 0)
	f("keys count", 11, 1<<20, 9, 2, 0)
	f("10 MiB to the byte", 10, 1<<20-1, 10, 0)
	f("records of 10 MiB, keys beside", 2, 10<<20, 1, 1, 0)
}
