package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/fault"
)

func produce(t *testing.T, client *kgo.Client, topic string, n int) {
	t.Helper()
	for i := range n {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReaderSeesWhatIsCommittedAndKnowsTheEnd(t *testing.T) {
	s := cluster(t)
	adm := admin(t, s)
	if err := s.Create(t.Context(), adm, Topic{Name: "orders", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	plain, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	transactional, err := s.Client(kgo.TransactionalID("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer transactional.Close()

	r := &Reader{Client: plain, Topic: "orders", MaxBytes: 1 << 20}
	read := func(want ...string) {
		t.Helper()
		var got []string
		for {
			f, err := r.Fetch(t.Context(), 10*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range f.Records {
				got = append(got, string(rec.Value))
			}
			if f.AtEnd {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	read()
	produce(t, plain, "orders", 3)
	read("0", "1", "2")
	in := func(end kgo.TransactionEndTry, value string) {
		t.Helper()
		if err := transactional.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := transactional.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		read() // open: not seen
		if err := transactional.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	in(kgo.TryAbort, "aborted")
	read()
	in(kgo.TryCommit, "committed")
	read("committed")
}

func TestReaderErrors(t *testing.T) {
	s := cluster(t)
	adm := admin(t, s)
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := &Reader{Client: client, Topic: "absent", MaxBytes: 1 << 20}
	if _, err := r.Fetch(t.Context(), 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("absent: %v", err)
	}
	if err := s.Create(t.Context(), adm, Topic{Name: "orders", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	produce(t, client, "orders", 1)
	r = &Reader{Client: client, Topic: "orders", MaxBytes: 1 << 20, Next: 7}
	if _, err := r.Fetch(t.Context(), 0); !fault.Is(err, fault.Expired) {
		t.Errorf("beyond the end: %v", err)
	}
	r = &Reader{Client: client, Topic: "orders", Partition: 9, MaxBytes: 1 << 20}
	if _, err := r.Fetch(t.Context(), 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such partition: %v", err)
	}
}
