package delivery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// A record leads to its object and the object to its records, also after a restart, with the journal's own index and with
// what rows keep.
func TestRecordLeadsToItsObject(t *testing.T) {
	for _, indexed := range []bool{true, false} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, Options{})
			n.inRows = !indexed
			n.start()
			defer func() { n.close() }()
			n.stream("s", 1)
			n.create(request("d", "s", nil))
			st, _ := n.source.Stream("s")
			place := func(position uint64) stream.SequenceNumber {
				return stream.NewSequenceNumber(st.Shards[0].Created, 0, position)
			}
			find := func(position uint64) RecordLine {
				t.Helper()
				lines, err := n.engine.FindRecord(background, "s", place(position))
				if err != nil || len(lines) != 1 {
					t.Fatal(lines, err)
				}
				return lines[0]
			}
			for i := range 3 {
				for j := range 4 {
					n.append("s", "k", fmt.Sprintf("%d-%d ", i, j))
				}
				time.Sleep(61 * time.Minute)
			}
			n.append("s", "k", "waits")
			time.Sleep(time.Second)
			equal(t, "state of one that waits", find(12).State, RecordInFlight)
			equal(t, "state of one that is not there", find(13).State, RecordUnknown)
			n.restart()
			for i := range uint64(12) {
				line := find(i)
				if line.State != RecordDelivered || len(line.Objects) != 1 || !line.Certain {
					t.Fatalf("record %d: %+v", i, line)
				}
				text := content(t, n.sink.get("events", line.Objects[0].ObjectKey))
				if !strings.Contains(text, fmt.Sprintf("%d-%d ", i/4, i%4)) {
					t.Errorf("record %d is not in %q", i, text)
				}
				object, err := n.engine.FindObject(background, "events", line.Objects[0].ObjectKey)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "first", object.First, place(i/4*4))
				equal(t, "last", object.Last, place(i/4*4+3))
				equal(t, "records", object.Records, 4)
				equal(t, "of", object.DeliveryStream+" "+object.Stream+" "+object.Shard, "d s "+stream.ShardID(0))
			}
			all, err := n.engine.Hours(background, "d")
			if err != nil || len(all) != 1 || len(all[0].Hours) != 4 {
				t.Fatal(all, err)
			}
			for _, h := range all[0].Hours[:3] {
				equal(t, "accepted and delivered in an hour", fmt.Sprint(h.Accepted, h.Delivered, h.Objects), "4 4 1")
			}
			_, err = n.engine.FindRecord(background, "nobody", place(0))
			equal(t, "no such stream", fault.KindOf(err), fault.NotFound)
			_, err = n.engine.Hours(background, "nobody")
			equal(t, "no such delivery stream", fault.KindOf(err), fault.NotFound)
			_, err = n.engine.FindObject(background, "events", "nothing")
			equal(t, "no such object", fault.KindOf(err), fault.NotFound)
		})
	}
}
