package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/internal/fault"
)

// Names of our own topics.
func (s *Settings) CatalogTopic() string { return s.Prefix + ".catalog" }

// NodesTopic is where nodes tell that they live.
func (s *Settings) NodesTopic() string { return s.Prefix + ".nodes" }

// JournalTopic keeps rows and manifests of delivery.
func (s *Settings) JournalTopic() string { return s.Prefix + ".journal" }

// Reserved reports whether a topic's name is of those that are ours.
func (s *Settings) Reserved(topic string) bool { return strings.HasPrefix(topic, s.Prefix+".") }

// Topics lists the topics of the cluster in order, but for those that brokers keep for themselves.
func (s *Settings) Topics(ctx context.Context) ([]string, error) {
	client, err := s.Client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	details, err := kadm.NewClient(client).ListTopics(ctx)
	if err != nil {
		return nil, Fault("kafka.Topics", "", err)
	}
	return details.Names(), nil
}

// Topic says what to make.
type Topic struct {
	Name       string
	Partitions int
	Configs    map[string]string // beside those of durability
}

// Compacted are the settings of a topic whose newest record of a key is the truth.
func Compacted() map[string]string {
	return map[string]string{
		"cleanup.policy":            "compact",
		"min.cleanable.dirty.ratio": "0.2",
		"segment.bytes":             strconv.Itoa(16 << 20), // small, so that compaction gets to work: the active segment is left alone
		"segment.ms":                strconv.Itoa(60 * 60 * 1000),
		"delete.retention.ms":       strconv.Itoa(24 * 60 * 60 * 1000),
	}
}

// Create makes a topic, durable as the settings say. InUse: it exists.
func (s *Settings) Create(ctx context.Context, adm *kadm.Client, t Topic) error {
	const op = "kafka.Create"
	configs := map[string]*string{}
	for k, v := range s.durability() {
		configs[k] = kadm.StringPtr(v)
	}
	for k, v := range t.Configs {
		configs[k] = kadm.StringPtr(v)
	}
	answer, err := adm.CreateTopic(ctx, int32(t.Partitions), int16(s.Replication), configs, t.Name)
	if err == nil {
		err = answer.Err
	}
	if errors.Is(err, kerr.InvalidReplicationFactor) {
		return fault.New(fault.Unavailable, op, t.Name, "there are fewer than %d brokers now, and the topic is to have so many replicas (kafka.replication in the configuration): %w", s.Replication, err)
	}
	return Fault(op, t.Name, err)
}

// Ensure makes a topic unless it exists, and returns when all of its partitions have a leader that the brokers tell.
func (s *Settings) Ensure(ctx context.Context, adm *kadm.Client, t Topic) error {
	err := s.Create(ctx, adm, t)
	if err != nil && !fault.Is(err, fault.InUse) {
		return err
	}
	for {
		details, err := adm.ListTopics(ctx, t.Name)
		if err == nil && led(details[t.Name]) {
			return nil
		}
		timer := time.NewTimer(metadataMinAge)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fault.New(fault.Unavailable, "kafka.Ensure", t.Name, "its partitions have no leaders yet: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// led reports whether every partition of a topic can be asked.
func led(t kadm.TopicDetail) bool {
	if t.Err != nil || len(t.Partitions) == 0 {
		return false
	}
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return true
}

func (s *Settings) durability() map[string]string {
	return map[string]string{
		"min.insync.replicas":            strconv.Itoa(s.MinInSync),
		"unclean.leader.election.enable": "false",
	}
}

// Weaknesses names, in sentences, what makes the given topics less durable than the promise: fewer replicas, fewer
// in-sync replicas asked for, unclean elections, a cleanup that deletes what we do not say. Topics that do not exist
// are left out.
func (s *Settings) Weaknesses(ctx context.Context, adm *kadm.Client, topics ...string) ([]string, error) {
	const op = "kafka.Weaknesses"
	if len(topics) == 0 {
		return nil, nil
	}
	details, err := adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, Fault(op, "", err)
	}
	var all []string
	var present []string
	for _, d := range details.Sorted() {
		if d.Err != nil {
			continue
		}
		present = append(present, d.Topic)
		if n := d.Partitions.NumReplicas(); n < DefaultReplication {
			all = append(all, fmt.Sprintf("topic %s has %d replicas of each record; %d are advised", d.Topic, n, DefaultReplication))
		}
	}
	if len(present) == 0 {
		return all, nil
	}
	configs, err := adm.DescribeTopicConfigs(ctx, present...)
	if err != nil {
		return nil, Fault(op, "", err)
	}
	slices.SortFunc(configs, func(a, b kadm.ResourceConfig) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range configs {
		if c.Err != nil {
			return nil, Fault(op, c.Name, c.Err)
		}
		all = append(all, weakSettings(c)...)
	}
	return all, nil
}

func weakSettings(c kadm.ResourceConfig) []string {
	var all []string
	for _, kv := range c.Configs {
		value := kv.MaybeValue()
		switch kv.Key {
		case "min.insync.replicas":
			if n, err := strconv.Atoi(value); err == nil && n < DefaultMinInSync {
				all = append(all, fmt.Sprintf("topic %s acknowledges with %d replica in sync (min.insync.replicas); %d are advised", c.Name, n, DefaultMinInSync))
			}
		case "unclean.leader.election.enable":
			if value == "true" {
				all = append(all, fmt.Sprintf("topic %s may lose acknowledged records: unclean.leader.election.enable is true", c.Name))
			}
		}
	}
	return all
}

// Configs reads the settings of topics.
func Configs(ctx context.Context, adm *kadm.Client, topic string) (map[string]string, error) {
	const op = "kafka.Configs"
	answer, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, Fault(op, topic, err)
	}
	c, err := answer.On(topic, nil)
	if err == nil {
		err = c.Err
	}
	if err != nil {
		return nil, Fault(op, topic, err)
	}
	all := map[string]string{}
	for _, kv := range c.Configs {
		all[kv.Key] = kv.MaybeValue()
	}
	return all, nil
}

// Alter sets settings of a topic.
func Alter(ctx context.Context, adm *kadm.Client, topic string, settings map[string]string) error {
	const op = "kafka.Alter"
	var changes []kadm.AlterConfig
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: kadm.StringPtr(settings[k])})
	}
	answers, err := adm.AlterTopicConfigs(ctx, changes, topic)
	if err != nil {
		return Fault(op, topic, err)
	}
	for _, a := range answers {
		if a.Err != nil {
			return Fault(op, topic, a.Err)
		}
	}
	return nil
}
