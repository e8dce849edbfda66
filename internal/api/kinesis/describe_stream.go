package kinesis

import (
	"slices"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

// describeStream describes a stream and a page of its shards.
//
// Source: Kinesis Data Streams API Reference, DescribeStream.
var describeStream = operation{name: "DescribeStream", run: func(s *Service, c *call) error {
	var in kinesiswire.DescribeStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return err
	}
	after := int64(-1)
	if in.ExclusiveStartShardId != "" {
		index, ok := stream.ParseShardID(in.ExclusiveStartShardId)
		if !ok {
			return s.shardUnreadable(in.ExclusiveStartShardId, st.Name)
		}
		after = int64(index)
	}
	limit := maxDescribeShards
	if in.Limit > 0 {
		limit = min(in.Limit, limit)
	}
	shards, more := page(listed(st, s.Now()), after, limit)
	out := kinesiswire.DescribeStreamOutput{StreamDescription: &kinesiswire.StreamDescription{
		StreamName:              st.Name,
		StreamARN:               s.Account.Stream(st.Name),
		StreamStatus:            string(st.Status),
		StreamModeDetails:       modeOf(st),
		Shards:                  shards,
		HasMoreShards:           more,
		RetentionPeriodHours:    int(st.Retention / time.Hour),
		StreamCreationTimestamp: st.Created,
		EnhancedMonitoring:      monitoringOf(st),
	}}
	out.StreamDescription.EncryptionType, out.StreamDescription.KeyId = encryptionOf(st)
	c.reply(&out)
	return nil
}}

// describeStreamSummary describes a stream without its shards.
//
// Source: Kinesis Data Streams API Reference, DescribeStreamSummary.
var describeStreamSummary = operation{name: "DescribeStreamSummary", run: func(s *Service, c *call) error {
	var in kinesiswire.DescribeStreamSummaryInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return err
	}
	maxKiB := st.MaxRecordBytes >> 10
	if maxKiB == 0 {
		maxKiB = unsetMaxRecordInKiB
	}
	out := kinesiswire.DescribeStreamSummaryOutput{StreamDescriptionSummary: &kinesiswire.StreamDescriptionSummary{
		StreamName:              st.Name,
		StreamARN:               s.Account.Stream(st.Name),
		StreamStatus:            string(st.Status),
		StreamModeDetails:       modeOf(st),
		RetentionPeriodHours:    int(st.Retention / time.Hour),
		StreamCreationTimestamp: st.Created,
		EnhancedMonitoring:      monitoringOf(st),
		OpenShardCount:          st.OpenShards(),
		ConsumerCount:           new(len(st.Consumers)),
		MaxRecordSizeInKiB:      maxKiB,
	}}
	out.StreamDescriptionSummary.EncryptionType, out.StreamDescriptionSummary.KeyId = encryptionOf(st)
	c.reply(&out)
	return nil
}}

// listStreams lists streams in byte order of their names.
//
// Source: Kinesis Data Streams API Reference, ListStreams.
var listStreams = operation{name: "ListStreams", run: func(s *Service, c *call) error {
	var in kinesiswire.ListStreamsInput
	if err := c.decode(&in); err != nil {
		return err
	}
	after := in.ExclusiveStartStreamName
	if in.NextToken != "" {
		t, err := s.openPage(in.NextToken, tokenStreams)
		if err != nil {
			return err
		}
		after = t.stream
	}
	limit := maxListStreams
	if in.Limit > 0 {
		limit = min(in.Limit, limit)
	}
	var out kinesiswire.ListStreamsOutput
	for _, st := range s.visible() {
		if st.Name <= after {
			continue
		}
		if len(out.StreamNames) == limit {
			out.HasMoreStreams = true
			out.NextToken = s.tokens.seal(token{kind: tokenStreams, at: s.Now(), stream: out.StreamNames[limit-1]})
			break
		}
		out.StreamNames = append(out.StreamNames, st.Name)
		out.StreamSummaries = append(out.StreamSummaries, kinesiswire.StreamSummary{
			StreamName:              st.Name,
			StreamARN:               s.Account.Stream(st.Name),
			StreamStatus:            string(st.Status),
			StreamModeDetails:       modeOf(st),
			StreamCreationTimestamp: st.Created,
		})
	}
	if out.StreamSummaries == nil {
		out.StreamSummaries = []kinesiswire.StreamSummary{}
	}
	c.reply(&out)
	return nil
}}

func modeOf(st *stream.Stream) *kinesiswire.StreamModeDetails {
	return &kinesiswire.StreamModeDetails{StreamMode: string(st.Mode)}
}

// listed gives the shards that the API shows: none while the stream is being created, and no closed ones whose last record
// has left retention, though a delivery stream that is behind may still keep them.
func listed(st *stream.Stream, now time.Time) []stream.Shard {
	if st.Status == stream.Creating {
		return nil
	}
	gone := func(sh stream.Shard) bool { return expired(st, &sh, now) }
	if !slices.ContainsFunc(st.Shards, gone) {
		return st.Shards
	}
	return slices.DeleteFunc(slices.Clone(st.Shards), gone)
}

// expired reports whether retention has passed all that a closed shard can hold. For the API it is gone then.
func expired(st *stream.Stream, sh *stream.Shard, now time.Time) bool {
	return !sh.Open() && sh.Closed.At.UnixMilli() < now.Add(-st.Retention).UnixMilli()
}

// page shows up to limit shards whose index is above after.
func page(shards []stream.Shard, after int64, limit int) (shown []kinesiswire.Shard, more bool) {
	shown = []kinesiswire.Shard{}
	for i := range shards {
		if int64(shards[i].Index) <= after {
			continue
		}
		if len(shown) == limit {
			return shown, true
		}
		shown = append(shown, shardOf(&shards[i]))
	}
	return shown, false
}

func shardOf(sh *stream.Shard) kinesiswire.Shard {
	out := kinesiswire.Shard{
		ShardId:             sh.ID(),
		HashKeyRange:        rangeOf(sh),
		SequenceNumberRange: &kinesiswire.SequenceNumberRange{StartingSequenceNumber: sh.First.String()},
	}
	if len(sh.Parents) > 0 {
		out.ParentShardId = stream.ShardID(sh.Parents[0])
	}
	if len(sh.Parents) > 1 {
		out.AdjacentParentShardId = stream.ShardID(sh.Parents[1])
	}
	if sh.Closed != nil {
		out.SequenceNumberRange.EndingSequenceNumber = sh.Closed.Sequence.String()
	}
	return out
}

func rangeOf(sh *stream.Shard) *kinesiswire.HashKeyRange {
	return &kinesiswire.HashKeyRange{StartingHashKey: sh.Range.Start.String(), EndingHashKey: sh.Range.End.String()}
}
