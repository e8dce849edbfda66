package stream

import (
	"maps"
	"slices"
	"time"
)

// Settings are what may change of a stream without changing its shards or records. They live and die with the stream.
type Settings struct {
	Mode           Mode
	Retention      time.Duration
	MaxRecordBytes int // of data; the partition key is counted beside
	Tags           map[string]string
	// EncryptionKey is the KeyId that new records are encrypted with, as the caller gave it; empty: they are not.
	EncryptionKey string `json:",omitempty"`
	// Metrics are the shard-level metrics that are asked for, in the order of their names.
	Metrics []string `json:",omitempty"`
	// Policy is the stream's resource policy, a JSON text; empty: there is none.
	Policy string `json:",omitempty"`
	// Consumers are those that are registered for enhanced fan-out, in the order of their names.
	Consumers []Consumer `json:",omitempty"`
}

// Consumer is a registered reader of a stream with a throughput of its own. Name and Created together name one: who
// registers the name again makes another.
type Consumer struct {
	Name    string
	Created time.Time // whole seconds count
	Tags    map[string]string
	Policy  string `json:",omitempty"`
}

// Clone gives settings that share no memory with s.
func (s *Settings) Clone() Settings {
	c := *s
	c.Tags = maps.Clone(s.Tags)
	c.Metrics = slices.Clone(s.Metrics)
	c.Consumers = slices.Clone(s.Consumers)
	for i := range c.Consumers {
		c.Consumers[i].Tags = maps.Clone(c.Consumers[i].Tags)
	}
	return c
}

// Consumer finds a registered consumer by name.
func (s *Settings) Consumer(name string) (*Consumer, bool) {
	for i := range s.Consumers {
		if s.Consumers[i].Name == name {
			return &s.Consumers[i], true
		}
	}
	return nil, false
}
