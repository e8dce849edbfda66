package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

const (
	testCluster = "arn:aws:kafka:us-east-1:000000000000:cluster/shop/1"
	testRole    = "arn:aws:iam::000000000000:role/delivery"
)

// withTopics is a source whose own streams have dense positions, and whose topics have not.
type withTopics struct {
	*memorySource
	stamps map[int64]int // place in shard 0 by moment; "At"
}

func (w withTopics) FindTopic(_ context.Context, cluster, topic string) (*stream.Stream, error) {
	if st, ok := w.Stream(stream.TopicStream(cluster, topic)); ok {
		return st, nil
	}
	return nil, fault.New(fault.Invalid, "test", topic, "Topic %s is not found in the MSK cluster %s.", topic, cluster)
}

func (w withTopics) At(_ context.Context, ref stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	st, _ := w.Stream(ref.Stream)
	sh, _ := st.Shard(ref.Shard)
	return stream.NewSequenceNumber(sh.Created, sh.Index, uint64(w.stamps[t.Unix()])), nil
}

func (w withTopics) TopicCapabilities() stream.Capabilities { return stream.Capabilities{} }

// Streams leaves the topics out: they are nobody's to sweep.
func (w withTopics) Streams() []*stream.Stream {
	return slices.DeleteFunc(w.memorySource.Streams(), func(s *stream.Stream) bool { _, _, is := stream.ParseTopicStream(s.Name); return is })
}

func topicNode(t *testing.T, stamps map[int64]int) *node {
	n := newNode(t, Options{})
	n.wrap = func(m *memorySource) Source { return withTopics{m, stamps} }
	return n.start()
}

func topicRequest(name, topic string, from *time.Time) *CreateRequest {
	req := request(name, "", hints(1, 1))
	req.DeliveryStreamType = MSKAsSource
	req.MSKSourceConfiguration = &MSKSource{MSKClusterARN: testCluster, TopicName: topic,
		AuthenticationConfiguration: &AuthenticationConfiguration{RoleARN: testRole, Connectivity: "PRIVATE"}}
	if from != nil {
		req.MSKSourceConfiguration.ReadFromTimestamp = &Timestamp{*from}
	}
	return req
}

// A topic is read from the end that it has at the creation, or from a moment; partitions that are added from their start.
// What it holds is counted when it is read, though the engine's own streams count by positions.
func TestTopicAsSource(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		moment := time.Unix(900_000_000, 0)
		n := topicNode(t, map[int64]int{0: 0, moment.Unix(): 1})
		defer n.close()
		topic := stream.TopicStream(testCluster, "orders")
		n.stream(topic, 1)
		for _, data := range []string{"a", "b"} {
			n.append(topic, "k", data)
		}
		now, epoch := time.Now().UTC(), time.Unix(0, 0)
		def := n.create(topicRequest("tip", "orders", nil))
		equal(t, "start", def.MSKSource.DeliveryStartTimestamp, now)
		n.create(topicRequest("all", "orders", &epoch))
		def = n.create(topicRequest("since", "orders", &moment))
		equal(t, "start", def.MSKSource.DeliveryStartTimestamp, moment.UTC())
		n.create(request("direct", "", nil))
		n.append(topic, "k", "c")
		time.Sleep(3 * time.Second)
		n.restart()
		n.append(topic, "k", "d")
		n.source.addPartition(topic)
		n.append(topic, "k", "e") // to either
		time.Sleep(5 * time.Second)
		delivered := map[string]string{}
		for _, key := range n.sink.keys("events") {
			name, _, _ := strings.Cut(key[strings.LastIndexByte(key, '/')+1:], "-")
			delivered[name] += content(t, n.sink.buckets["events"][key])
		}
		for name, want := range map[string]string{"tip": "cde", "all": "abcde", "since": "bcde"} {
			letters := []byte(delivered[name]) // there is no order between partitions
			slices.Sort(letters)
			equal(t, "delivered by "+name, string(letters), want)
			line := n.ledger(name)
			equal(t, "counted by "+name, line.Accepted, int64(len(want)))
		}
		l, err := n.engine.Ledger(background)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range l.DeliveryStreams {
			equal(t, d.Name+" is counted", d.Counted, d.Name != "direct")
		}
		_, err = n.engine.PutBatch(background, "tip", [][]byte{[]byte("x")}, make([]PutResult, 1))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "This operation is not permitted on MSKAsSource delivery stream type.") {
			t.Errorf("put: %v", err)
		}
		for _, name := range []string{"tip", "all", "since"} {
			if err := n.engine.Delete(background, name); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := n.source.Stream(topic); !ok {
			t.Error("the topic went with its delivery stream")
		}
	})
}

// The backup of a new delivery stream has all that is read of the topic, also what came before.
func TestBackupOfATopic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := topicNode(t, nil)
		defer n.close()
		topic := stream.TopicStream(testCluster, "orders")
		n.stream(topic, 1)
		n.append(topic, "k", "before")
		epoch := time.Unix(0, 0)
		req := topicRequest("d", "orders", &epoch)
		dest := req.ExtendedS3DestinationConfiguration
		backup, prefix := dest.S3Configuration, "backup/"
		backup.Prefix = &prefix
		dest.S3BackupMode, dest.S3BackupConfiguration = "Enabled", &backup
		n.create(req)
		n.append(topic, "k", "after")
		time.Sleep(5 * time.Second)
		var delivered, kept string
		for _, key := range n.sink.keys("events") {
			text := content(t, n.sink.buckets["events"][key])
			if strings.HasPrefix(key, prefix) {
				kept += text
			} else {
				delivered += text
			}
		}
		equal(t, "delivered", delivered, "beforeafter")
		equal(t, "kept", kept, "beforeafter")
	})
}

// addPartition adds a shard beside the others, as a topic gets one.
func (m *memorySource) addPartition(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	s.open(s.Shards[0].Range, s.Shards[0].Created)
	s.Shards[0].Range = stream.HashKeyRange{} // what comes goes to the new one
	m.wake()
}

func TestTopicsThatAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := topicNode(t, nil)
		defer n.close()
		n.stream(stream.TopicStream(testCluster, "orders"), 1)
		refused := func(req *CreateRequest, kind fault.Kind, text string) {
			t.Helper()
			_, err := n.engine.Create(background, req)
			if !fault.Is(err, kind) || !strings.Contains(err.Error(), text) {
				t.Errorf("%v; want kind %v, %q", err, kind, text)
			}
		}
		refused(topicRequest("d", "absent", nil), fault.Invalid, "Topic absent is not found")
		later := time.Now().Add(time.Hour)
		refused(topicRequest("d", "orders", &later), fault.Invalid, "lies in the future")
		if rows, err := n.engine.opts.Journal.Deliveries(background); err != nil || len(rows) != 0 || len(n.defs.all) != 0 {
			t.Errorf("%v, %v, and %d definitions are left", rows, err, len(n.defs.all))
		}
		soon := time.Now().Add(time.Minute) // of a clock that is not quite ours
		n.create(topicRequest("d", "orders", &soon))
		for _, change := range []func(*MSKSource){
			func(s *MSKSource) { s.TopicName = "bills" },
			func(s *MSKSource) { s.AuthenticationConfiguration.Connectivity = "PUBLIC" },
			func(s *MSKSource) { s.ReadFromTimestamp = nil },
			func(s *MSKSource) { s.ReadFromTimestamp = &Timestamp{time.Unix(0, 0)} },
		} {
			req := topicRequest("d", "orders", &soon)
			change(req.MSKSourceConfiguration)
			if _, _, err := n.engine.Apply(background, req); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "MSKSourceConfiguration") {
				t.Errorf("%+v: %v", req.MSKSourceConfiguration, err)
			}
		}
		if _, changed, err := n.engine.Apply(background, topicRequest("d", "orders", &soon)); err != nil || changed {
			t.Errorf("the same again: %v, %v", changed, err)
		}
	})
}

// A source without topics refuses them.
func TestNoTopics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		if _, err := n.engine.Create(background, topicRequest("d", "orders", nil)); !fault.Is(err, fault.Unsupported) {
			t.Errorf("error %v", err)
		}
	})
}

func TestMSKSourceConfiguration(t *testing.T) {
	const auth = `"AuthenticationConfiguration":{"RoleARN":"` + testRole + `","Connectivity":"PUBLIC"}`
	source := func(members string) string {
		return `"DeliveryStreamType":"MSKAsSource","MSKSourceConfiguration":{` + members + `}`
	}
	good := `"MSKClusterARN":"` + testCluster + `","TopicName":"orders",` + auth
	refused := func(members, message string) {
		t.Helper()
		if _, err := decode(t, members, ""); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %q", members, err, message)
		}
	}
	refused(`"DeliveryStreamType":"MSKAsSource"`, "MSKSourceConfiguration must be specified")
	refused(`"MSKSourceConfiguration":{`+good+`}`, "MSKSourceConfiguration is not supported for a DirectPut")
	refused(source(good)+`,"DirectPutSourceConfiguration":{"ThroughputHintInMBs":1}`, "DirectPutSourceConfiguration is not supported for a MSKAsSource")
	refused(source(good)+`,"KinesisStreamSourceConfiguration":{}`, "KinesisStreamSourceConfiguration is not supported for a MSKAsSource")
	refused(source(`"TopicName":"orders",`+auth), "mSKClusterARN")
	refused(source(`"MSKClusterARN":"x","TopicName":"orders",`+auth), "mSKClusterARN")
	refused(source(`"MSKClusterARN":"`+testCluster+`","TopicName":"a b",`+auth), "topicName")
	refused(source(`"MSKClusterARN":"`+testCluster+`","TopicName":"orders"`), "authenticationConfiguration' failed to satisfy constraint: Member must not be null")
	refused(source(strings.Replace(good, testRole, "x", 1)), "authenticationConfiguration.roleARN")
	refused(source(strings.Replace(good, "PUBLIC", "OPEN", 1)), "[PUBLIC, PRIVATE]")
	def, err := decode(t, source(good+`,"ReadFromTimestamp":0.5,"DeliveryStartTimestamp":"2020-01-01T00:00:00Z"`), "")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "stream", def.SourceStream(), stream.TopicStream(testCluster, "orders"))
	if s := def.MSKSource; !s.DeliveryStartTimestamp.IsZero() || s.ReadFromTimestamp.UnixMilli() != 500 || s.AuthenticationConfiguration.Connectivity != "PUBLIC" {
		t.Errorf("source %+v", s)
	}
	raw, err := json.Marshal(def)
	again := new(Definition)
	if err != nil || json.Unmarshal(raw, again) != nil || !def.MSKSource.same(again.MSKSource) {
		t.Errorf("stored as %s: %+v", raw, again.MSKSource)
	}
}

func TestTimestamps(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var ts Timestamp
		got := "refused"
		if err := json.Unmarshal([]byte(text), &ts); err == nil {
			got = fmt.Sprint(ts.UTC().Format(time.RFC3339Nano))
		}
		equal(t, text, got, want)
	}
	f(`0`, "1970-01-01T00:00:00Z")
	f(`1700000000.5`, "2023-11-14T22:13:20.5Z")
	f(`1.7e9`, "2023-11-14T22:13:20Z")
	f(`"1700000000"`, "2023-11-14T22:13:20Z")
	f(`"2023-11-14T23:13:20+01:00"`, "2023-11-14T22:13:20Z")
	f(`null`, "0001-01-01T00:00:00Z")
	f(`""`, "refused")
	f(`"NaN"`, "refused")
	f(`1e300`, "refused")
	f(`{}`, "refused")
	f(`"yesterday"`, "refused")
}
