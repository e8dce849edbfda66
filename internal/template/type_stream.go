package template

import (
	"maps"
	"slices"
	"strings"
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
	// What follows is left as it is when the file does not say it.
	maxRecord  int       // bytes; 0: unsaid
	encryption *string   // KeyId; empty: none
	metrics    *[]string // sorted
}

// settle gives a stream the settings of the file.
func (s *streamSpec) settle(set *stream.Settings) {
	set.Mode, set.Retention, set.Tags = s.mode, s.retention, maps.Clone(s.tags)
	if s.maxRecord > 0 {
		set.MaxRecordBytes = s.maxRecord
	}
	if s.encryption != nil {
		set.EncryptionKey = *s.encryption
	}
	if s.metrics != nil {
		set.Metrics = slices.Clone(*s.metrics)
	}
}

var streamType = &resourceType{
	name: "AWS::Kinesis::Stream", nameProperty: "Name",
	properties: map[string]string{
		"Name": served, "ShardCount": served, "RetentionPeriodHours": served, "StreamModeDetails": served, "Tags": served,
		"StreamEncryption": served, "MaxRecordSizeInKiB": served,
		"DesiredShardLevelMetrics": "kept and shown; the metrics themselves are at /_millrace/metrics",
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
		s.more(p)
		if !streamName.MatchString(name) {
			p.tell("Name", "%q is no name of a stream: up to 128 of a-z, A-Z, 0-9, _, . and -", name)
		}
		b.streams = append(b.streams, s)
		return true
	},
}

// more reads what few files say.
func (s *streamSpec) more(p *properties) {
	if p.has("MaxRecordSizeInKiB") {
		kib := p.integer("MaxRecordSizeInKiB", 0)
		if kib < minRecordKiB || kib > maxRecordKiB {
			p.tell("MaxRecordSizeInKiB", "is between %d and %d", minRecordKiB, maxRecordKiB)
		}
		s.maxRecord = kib << 10
	}
	if e := p.nested("StreamEncryption"); e != nil {
		e.only("EncryptionType", "KeyId")
		if kind := e.text("EncryptionType"); kind != "KMS" {
			e.tell("EncryptionType", "is KMS, not %q", kind)
		}
		key := e.text("KeyId")
		if key == "" {
			e.tell("KeyId", "is needed")
		}
		s.encryption = &key
	}
	if p.has("DesiredShardLevelMetrics") {
		names := p.texts("DesiredShardLevelMetrics")
		if slices.Contains(names, "ALL") {
			names = shardMetrics[:]
		}
		for _, name := range names {
			if !slices.Contains(shardMetrics[:], name) {
				p.tell("DesiredShardLevelMetrics", "%q is none of %s, ALL", name, strings.Join(shardMetrics[:], ", "))
			}
		}
		names = slices.Sorted(slices.Values(names))
		s.metrics = &names
	}
}

// The bounds of MaxRecordSizeInKiB.
const (
	minRecordKiB = 1024
	maxRecordKiB = 10240
)

var shardMetrics = [...]string{"IncomingBytes", "IncomingRecords", "IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords",
	"ReadProvisionedThroughputExceeded", "WriteProvisionedThroughputExceeded"}

// maxShards bounds what a file may ask for.
const maxShards = 10_000
