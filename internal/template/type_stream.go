package template

import (
	"time"

	"millrace/internal/stream"
)

type streamSpec struct {
	*resource
	name      string
	mode      stream.Mode
	shards    int
	retention time.Duration
	tags      map[string]string
}

var streamType = &resourceType{
	name: "AWS::Kinesis::Stream", nameProperty: "Name",
	properties: map[string]string{
		"Name": served, "ShardCount": served, "RetentionPeriodHours": served, "StreamModeDetails": served, "Tags": served,
		"StreamEncryption":         "encryption at rest is the disk's",
		"DesiredShardLevelMetrics": "metrics are at /_millrace/metrics",
	},
	attributes: map[string]func(*build, *resource, string) string{
		"Arn": func(b *build, _ *resource, name string) string { return b.t.opts.Account.Stream(name) },
	},
	make: func(b *build, r *resource, p *properties) bool {
		name, ok := b.physical(r)
		if !ok {
			return true
		}
		s := &streamSpec{resource: r, name: name, mode: stream.Provisioned, tags: p.tags("Tags")}
		if m := p.nested("StreamModeDetails"); m != nil {
			m.only("StreamMode")
			s.mode = stream.Mode(m.text("StreamMode"))
		}
		s.shards = p.integer("ShardCount", 0)
		switch {
		case s.mode != stream.Provisioned && s.mode != stream.OnDemand:
			p.tell("StreamModeDetails", "StreamMode is PROVISIONED or ON_DEMAND")
		case s.mode == stream.OnDemand && p.has("ShardCount"):
			p.tell("ShardCount", "an ON_DEMAND stream counts its shards itself")
		case p.has("ShardCount") && (s.shards < 1 || s.shards > maxShards):
			p.tell("ShardCount", "is between 1 and %d", maxShards)
		}
		s.retention = time.Duration(p.integer("RetentionPeriodHours", int(stream.DefaultRetention/time.Hour))) * time.Hour
		if s.retention < stream.MinRetention || s.retention > stream.MaxRetention {
			p.tell("RetentionPeriodHours", "is between %d and %d", stream.MinRetention/time.Hour, stream.MaxRetention/time.Hour)
		}
		if !streamName.MatchString(name) {
			p.tell("Name", "%q is no name of a stream: up to 128 of a-z, A-Z, 0-9, _, . and -", name)
		}
		b.streams = append(b.streams, s)
		return true
	},
}

// maxShards bounds what a file may ask for.
const maxShards = 10_000
