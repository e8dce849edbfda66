package kinesis

import (
	"slices"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

// enableEnhancedMonitoring adds shard-level metrics to those of a stream.
//
// Source: Kinesis Data Streams API Reference, EnableEnhancedMonitoring.
var enableEnhancedMonitoring = operation{name: "EnableEnhancedMonitoring", note: monitoringNote, run: func(s *Service, c *call) error {
	var in kinesiswire.EnableEnhancedMonitoringInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.monitor(c, in.StreamName, in.StreamARN, func(now []string) []string {
		return append(now, metricNames(in.ShardLevelMetrics)...)
	})
}}

// disableEnhancedMonitoring takes shard-level metrics from those of a stream.
//
// Source: Kinesis Data Streams API Reference, DisableEnhancedMonitoring.
var disableEnhancedMonitoring = operation{name: "DisableEnhancedMonitoring", note: monitoringNote, run: func(s *Service, c *call) error {
	var in kinesiswire.DisableEnhancedMonitoringInput
	if err := c.decode(&in); err != nil {
		return err
	}
	off := metricNames(in.ShardLevelMetrics)
	return s.monitor(c, in.StreamName, in.StreamARN, func(now []string) []string {
		return slices.DeleteFunc(now, func(name string) bool { return slices.Contains(off, name) })
	})
}}

const monitoringNote = "the state is kept and shown; there is no CloudWatch here that it would send metrics to (see /metrics)"

// monitor changes what is monitored, and answers with the metrics before and after.
func (s *Service) monitor(c *call, name, arn string, change func(now []string) []string) error {
	st, err := s.idle(name, arn)
	if err != nil {
		return err
	}
	var before []string
	now, err := s.update(c, st, func(set *stream.Settings) error {
		before = set.Metrics
		set.Metrics = change(slices.Clone(set.Metrics))
		slices.Sort(set.Metrics)
		set.Metrics = slices.Compact(set.Metrics)
		return nil
	})
	if err != nil {
		return err
	}
	out := kinesiswire.EnhancedMonitoringOutput{StreamName: st.Name, StreamARN: s.Account.Stream(st.Name),
		CurrentShardLevelMetrics: shown(before), DesiredShardLevelMetrics: shown(now.Metrics)}
	c.reply(&out)
	return nil
}

// metricNames spells ALL out: it names all the others.
func metricNames(asked []string) []string {
	if !slices.Contains(asked, kinesiswire.MetricsNameAll) {
		return asked
	}
	return []string{
		kinesiswire.MetricsNameIncomingBytes, kinesiswire.MetricsNameIncomingRecords,
		kinesiswire.MetricsNameIteratorAgeMilliseconds,
		kinesiswire.MetricsNameOutgoingBytes, kinesiswire.MetricsNameOutgoingRecords,
		kinesiswire.MetricsNameReadProvisionedThroughputExceeded, kinesiswire.MetricsNameWriteProvisionedThroughputExceeded,
	}
}

// monitoringOf is how Describe answers show a stream's shard-level metrics: one list, which may be empty.
func monitoringOf(st *stream.Stream) []kinesiswire.EnhancedMetrics {
	return []kinesiswire.EnhancedMetrics{{ShardLevelMetrics: shown(st.Metrics)}}
}

// shown gives a list that is written even when it is empty.
func shown(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
