package streamtest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// testSettings: all that may change of a stream is changed, described and kept; an edit that fails changes nothing.
func testSettings(t *testing.T, s *Subject) {
	b := s.Backend
	create(t, b, stream.CreateStream{Name: "a", Shards: 2, Tags: map[string]string{"k": "v"}})

	born := time.Unix(1_700_000_000, 0).UTC()
	refused := errors.New("not today")
	if _, err := b.UpdateStream(ctxOf(t), "a", func(set *stream.Settings) error {
		set.Mode, set.Tags["k"] = stream.OnDemand, "other"
		return refused
	}); !errors.Is(err, refused) {
		t.Errorf("an edit that fails: %v", err)
	}
	if def, _ := b.Stream("a"); def.Mode != stream.Provisioned || def.Tags["k"] != "v" {
		t.Errorf("an edit that failed has changed the stream: %+v", def.Settings)
	}

	change := func(what string, edit func(*stream.Settings), done func(*stream.Settings) bool) {
		t.Helper()
		if _, err := b.UpdateStream(ctxOf(t), "a", func(set *stream.Settings) error { edit(set); return nil }); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		eventually(t, b, "a", func(def *stream.Stream) bool { return def.Status == stream.Active && done(&def.Settings) })
	}
	change("mode", func(set *stream.Settings) { set.Mode = stream.OnDemand }, func(set *stream.Settings) bool { return set.Mode == stream.OnDemand })
	change("metrics", func(set *stream.Settings) { set.Metrics = []string{"IncomingBytes", "OutgoingBytes"} },
		func(set *stream.Settings) bool {
			return reflect.DeepEqual(set.Metrics, []string{"IncomingBytes", "OutgoingBytes"})
		})
	change("fewer metrics", func(set *stream.Settings) { set.Metrics = set.Metrics[:1] }, func(set *stream.Settings) bool { return len(set.Metrics) == 1 })
	change("encryption", func(set *stream.Settings) { set.EncryptionKey = "alias/aws/kinesis" },
		func(set *stream.Settings) bool { return set.EncryptionKey == "alias/aws/kinesis" })
	change("no encryption", func(set *stream.Settings) { set.EncryptionKey = "" }, func(set *stream.Settings) bool { return set.EncryptionKey == "" })
	change("a consumer", func(set *stream.Settings) {
		set.Consumers = []stream.Consumer{{Name: "c1", Created: born, Tags: map[string]string{"x": "y"}}}
	}, func(set *stream.Settings) bool { return len(set.Consumers) == 1 && set.Consumers[0].Name == "c1" })
	change("two consumers", func(set *stream.Settings) {
		set.Consumers = append(set.Consumers, stream.Consumer{Name: "c2", Created: born})
	}, func(set *stream.Settings) bool { return len(set.Consumers) == 2 && set.Consumers[1].Name == "c2" })
	change("one consumer less", func(set *stream.Settings) { set.Consumers = set.Consumers[1:] },
		func(set *stream.Settings) bool { return len(set.Consumers) == 1 && set.Consumers[0].Name == "c2" })

	_, err := b.UpdateStream(ctxOf(t), "a", func(set *stream.Settings) error { set.Policy = `{"Version":"2012-10-17"}`; return nil })
	switch {
	case fault.Is(err, fault.Unsupported): // the engine's own, and not ours to set
	case err != nil:
		t.Fatal(err)
	}
	if s.Reopen == nil {
		return
	}
	before, _ := b.Stream("a")
	after, ok := s.Reopen().Stream("a")
	if !ok || !reflect.DeepEqual(before.Settings, after.Settings) {
		t.Errorf("settings before %+v, after %+v", before.Settings, after.Settings)
	}
}

// testSealedRecords: the mark of a sealed record comes back with it, and with no other.
func testSealedRecords(t *testing.T, s *Subject) {
	if !s.Backend.Capabilities().Seals {
		return // the engine encrypts by itself; stream/seal does not stand before it
	}
	def := create(t, s.Backend, stream.CreateStream{Name: "a"})
	zero := stream.HashKey{}
	entries := make([]stream.Entry, 9)
	for i := range entries {
		entries[i] = entry("k", string(rune('a'+i)))
		entries[i].Sealed = i%3 == 0
		if i%2 == 0 {
			entries[i].ExplicitHashKey = &zero
		}
	}
	appendAll(t, s.Backend, "a", entries...)
	check := func(b stream.Backend) {
		got := readAll(t, b, ref(def, 0), stream.SequenceNumber{}, false)
		if len(got) != len(entries) {
			t.Fatalf("%d records of %d", len(got), len(entries))
		}
		for i, r := range got {
			if string(r.Data) != string(entries[i].Data) || r.Sealed != entries[i].Sealed {
				t.Errorf("record %d is %q, sealed %v", i, r.Data, r.Sealed)
			}
		}
	}
	check(s.Backend)
	if s.Reopen != nil {
		check(s.Reopen())
	}
}
