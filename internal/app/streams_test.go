package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/config"
	"millrace/internal/fault"
	"millrace/internal/mirror"
	"millrace/internal/stream"
)

func TestPlacesAreRead(t *testing.T) {
	f := func(ref, want string) {
		t.Helper()
		c := config.Default()
		if strings.HasPrefix(ref, "kinesis:") {
			c.Kinesis.Endpoint = "http://127.0.0.1:1/"
		}
		r, err := ParseStreams(ref, c)
		if want == "" {
			if err == nil {
				t.Errorf("%q is read as %s", ref, r.String())
			}
			return
		}
		if err != nil || r.String() != want {
			t.Errorf("%q: %s, %v; want %s", ref, r.String(), err, want)
		}
	}
	f("local:/a/../b", "local:/b")
	f("kafka://b:1,a:2", "kafka://a:2,b:1")
	f("kinesis://eu-west-1", "kinesis://eu-west-1 at http://127.0.0.1:1")
	f("local:", "")
	f("local", "")
	f("local://x", "")
	f("kafka://a", "")
	f("/data", "")
}

func TestSourceFolderIsNotMade(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "none")
	r, _ := ParseStreams("local:"+folder, config.Default())
	_, err := OpenStreams(t.Context(), StreamsOptions{Ref: r, Read: true, Log: slog.New(slog.DiscardHandler)})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("opened: %v", err)
	}
}

// brokers starts a cluster of three, and a client of it.
func brokers(t *testing.T) (ref string, client *kgo.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	if client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return "kafka://" + strings.Join(cluster.ListenAddrs(), ","), client
}

func topicOf(t *testing.T, client *kgo.Client, name string, partitions int32) {
	t.Helper()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 3, nil, name); err != nil {
		t.Fatal(err)
	}
}

// produce writes records of some keys, and some of none, as strangers do.
func produce(t *testing.T, client *kgo.Client, topic string, from, to int) {
	t.Helper()
	var records []*kgo.Record
	for i := from; i < to; i++ {
		r := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i)}
		if i%5 != 0 {
			r.Key = fmt.Appendf(nil, "key-%d", i%7)
		}
		records = append(records, r)
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// copied mirrors between two places, as the command does, and gives the report.
func copied(t *testing.T, state, from, to string, pairs ...mirror.Pair) (mirror.Report, error) {
	t.Helper()
	var refs [2]StreamsRef
	for i, ref := range []string{from, to} {
		var err error
		if refs[i], err = ParseStreams(ref, config.Default()); err != nil {
			t.Fatal(err)
		}
	}
	st, err := mirror.OpenState(state, refs[0].String(), refs[1].String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	log := slog.New(slog.DiscardHandler)
	var topics []string
	for _, p := range pairs {
		topics = append(topics, p.From)
	}
	src, err := OpenStreams(t.Context(), StreamsOptions{Ref: refs[0], Read: true, Topics: topics, Saved: st.Note("topics"), Log: log})
	if err != nil {
		return mirror.Report{}, err
	}
	defer end(t, src)
	st.SetNote("topics", src.Saved)
	dst, err := OpenStreams(t.Context(), StreamsOptions{Ref: refs[1], Log: log})
	if err != nil {
		return mirror.Report{}, err
	}
	defer end(t, dst)
	m := mirror.New(mirror.Options{From: src.Backend, To: dst.Backend, Pairs: pairs, State: st, Note: func(text string) { t.Log(text) }})
	if err := errors.Join(m.Prepare(t.Context())); err != nil {
		return mirror.Report{}, err
	}
	if err := m.Run(t.Context()); err != nil {
		return mirror.Report{}, err
	}
	all, err := m.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if len(v.Problems) > 0 {
			t.Errorf("%s to %s: %v", v.From, v.To, v.Problems)
		}
	}
	r := m.Report()
	if p := r.Problem(); p != "" {
		t.Error(p)
	}
	return r, nil
}

func end(t *testing.T, s *Streams) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// A stranger's topics are copied and nothing is written to their cluster, also when the mirror goes on later.
func TestMirrorFromForeignKafka(t *testing.T) {
	ref, client := brokers(t)
	topicOf(t, client, "orders", 3)
	topicOf(t, client, "clicks", 1)
	produce(t, client, "orders", 0, 500)
	produce(t, client, "clicks", 0, 10)
	folder := t.TempDir()
	state, to := filepath.Join(folder, "state"), "local:"+filepath.Join(folder, "data")
	r, err := copied(t, state, ref, to)
	if err != nil || r.Run.Records != 510 {
		t.Fatalf("%+v, %v", r.Run, err)
	}
	produce(t, client, "orders", 500, 600)
	if r, err = copied(t, state, ref, to, mirror.Pair{From: "orders", To: "orders"}); err != nil || r.Run.Records != 100 {
		t.Fatalf("later: %+v, %v", r.Run, err)
	}
	if r, err = copied(t, state, ref, to); err != nil || r.Run.Records != 0 || len(r.Streams) != 2 {
		t.Fatalf("once more: %+v, %v", r, err)
	}
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil || !slices.Equal(topics.Names(), []string{"clicks", "orders"}) {
		t.Errorf("the cluster has %v, %v", topics.Names(), err)
	}

	// A topic that changes in between is told of.
	if _, err := kadm.NewClient(client).UpdatePartitions(t.Context(), 4, "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := copied(t, state, ref, to); !fault.Is(err, fault.InUse) || !strings.Contains(err.Error(), "had 3 partitions") {
		t.Errorf("with another partition: %v", err)
	}
	adm := kadm.NewClient(client)
	if _, err := adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	topicOf(t, client, "orders", 3)
	if _, err := copied(t, state, ref, to); !fault.Is(err, fault.InUse) || !strings.Contains(err.Error(), "not the one that was copied before") {
		t.Errorf("made again: %v", err)
	}
	if _, err := copied(t, filepath.Join(folder, "other"), ref, to, mirror.Pair{From: "none", To: "none"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such topic: %v", err)
	}
}

// To a Kafka cluster, which becomes one of Millrace's, and from there back.
func TestMirrorThroughKafka(t *testing.T) {
	ref, _ := brokers(t)
	folder := t.TempDir()
	in := "local:" + filepath.Join(folder, "in")
	r, _ := ParseStreams(in, config.Default())
	s, err := OpenStreams(t.Context(), StreamsOptions{Ref: r, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateStream(t.Context(), stream.CreateStream{Name: "orders", Shards: 3}); err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		entries := make([]stream.Entry, 100)
		for i := range entries {
			entries[i] = stream.Entry{PartitionKey: fmt.Sprint("key-", i%9), Data: bytes.Repeat([]byte{byte(i), byte(round)}, 20)}
		}
		if err := s.Append(t.Context(), "orders", entries, make([]stream.Result, len(entries))); err != nil {
			t.Fatal(err)
		}
		if round == 5 {
			if _, err := s.Reshard(t.Context(), "orders", stream.Reshard{Count: 2}); err != nil {
				t.Fatal(err)
			}
		}
	}
	end(t, s)
	for _, step := range []struct{ from, to string }{{in, ref}, {ref, "local:" + filepath.Join(folder, "out")}} {
		r, err := copied(t, filepath.Join(folder, "state-"+step.to[:5]), step.from, step.to)
		if err != nil || r.Run.Records != 1000 || r.Run.Copied != 1000 || r.Run.Moved != 0 {
			t.Fatalf("from %s: %+v, %v", step.from, r.Run, err)
		}
	}
}
