package kinesis

import (
	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// createStream makes a stream. Without a mode it is provisioned when a count of shards is given, else on-demand.
// Warm throughput needs a commitment that no account here has, so it is refused.
//
// Source: Kinesis Data Streams API Reference, CreateStream.
var createStream = operation{name: "CreateStream", note: createNote, run: func(s *Service, c *call) error {
	var in kinesiswire.CreateStreamInput
	if err := c.decode(&in, func(found *awswire.Violations) {
		found.Int(nil, "shardCount", int64(in.ShardCount), &awswire.Range{Min: awswire.AnyMin, Max: maxShardCount})
	}); err != nil {
		return err
	}
	spec, err := specOf(&in)
	if err != nil {
		return err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	exists := failure(kinesiswire.ErrResourceInUse, "Stream %s under account %s already exists.", in.StreamName, s.Account.ID)
	if _, ok := s.Backend.Stream(in.StreamName); ok {
		return exists
	}
	if err := s.checkTags(in.StreamName, in.Tags); err != nil {
		return err
	}
	if err := s.checkShardLimit(spec); err != nil {
		return err
	}
	if err := s.checkCreating(); err != nil {
		return err
	}
	_, err = s.Backend.CreateStream(c.ctx, spec)
	return worded(err, fault.InUse, exists)
}}

const createNote = "on-demand streams grow only with --aws-exact=limits: else a shard takes what the machine does; " + warmNote

// specOf decides the mode and what follows from it.
func specOf(in *kinesiswire.CreateStreamInput) (stream.CreateStream, error) {
	spec := stream.CreateStream{
		Name:           in.StreamName,
		Mode:           stream.Provisioned,
		Shards:         in.ShardCount,
		MaxRecordBytes: in.MaxRecordSizeInKiB << 10,
		Tags:           in.Tags,
	}
	switch {
	case in.StreamModeDetails != nil:
		spec.Mode = stream.Mode(in.StreamModeDetails.StreamMode)
	case in.ShardCount == 0:
		spec.Mode = stream.OnDemand
	}
	switch {
	case awswire.Value(in.WarmThroughputMiBps) > 0:
		return spec, failure(kinesiswire.ErrInvalidArgument,
			"WarmThroughputMiBps needs an account with a minimum throughput billing commitment, which Millrace does not have.")
	case spec.Mode == stream.OnDemand && in.ShardCount != 0:
		return spec, failure(kinesiswire.ErrValidation, "ShardCount is not expected when StreamMode=ON_DEMAND")
	case spec.Mode == stream.Provisioned && in.ShardCount == 0:
		return spec, failure(kinesiswire.ErrValidation, "ShardCount is required when StreamMode=PROVISIONED")
	}
	if spec.Mode == stream.OnDemand {
		spec.Shards = stream.OnDemandShards
	}
	return spec, nil
}

// checkShardLimit bounds the open shards of all provisioned streams, and the number of on-demand ones.
func (s *Service) checkShardLimit(spec stream.CreateStream) error {
	shards, onDemand := s.openShards()
	if spec.Mode == stream.OnDemand {
		if onDemand >= maxOnDemandStreams {
			return failure(kinesiswire.ErrLimitExceeded, "This request would exceed the limit of %d on-demand streams for the account %s in %s.",
				maxOnDemandStreams, s.Account.ID, s.Account.Region)
		}
		return nil
	}
	if shards+spec.Shards > s.ShardLimit {
		return failure(kinesiswire.ErrLimitExceeded, "This request would exceed the shard limit for the account %s in %s. "+
			"Current shard count for the account: %d. Limit: %d. Number of additional shards that would have resulted from this request: %d. "+
			"Refer to the AWS Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) "+
			"for current limits and how to request higher limits.", s.Account.ID, s.Account.Region, shards, s.ShardLimit, spec.Shards)
	}
	return nil
}

// checkCreating bounds the streams that are being created at one time.
func (s *Service) checkCreating() error {
	creating := 0
	for _, st := range s.visible() {
		if st.Status == stream.Creating {
			creating++
		}
	}
	if creating >= maxCreating {
		return failure(kinesiswire.ErrLimitExceeded, "This request would exceed the limit of %d streams in state CREATING for the account %s in %s.",
			maxCreating, s.Account.ID, s.Account.Region)
	}
	return nil
}

// openShards counts what the limits count: open shards of provisioned streams, and on-demand streams.
func (s *Service) openShards() (shards, onDemand int) {
	for _, st := range s.visible() {
		if st.Mode == stream.OnDemand {
			onDemand++
			continue
		}
		shards += st.OpenShards()
	}
	return shards, onDemand
}

// deleteStream removes a stream and its records. One that has registered consumers goes, and they with it, only when
// EnforceConsumerDeletion says so. Their subscriptions end.
//
// Source: Kinesis Data Streams API Reference, DeleteStream.
var deleteStream = operation{name: "DeleteStream", run: func(s *Service, c *call) error {
	var in kinesiswire.DeleteStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return err
	}
	if st.Status == stream.Deleting {
		return s.notActive(st)
	}
	if len(st.Consumers) > 0 && !awswire.Value(in.EnforceConsumerDeletion) {
		return failure(kinesiswire.ErrResourceInUse, "DeleteStream can't delete %s because there are consumers associated with this data stream. "+
			"To delete %s anyway, set the EnforceConsumerDeletion parameter to true to force the deletion of all the consumers that are associated with it.",
			s.Account.Stream(st.Name), st.Name)
	}
	if err := s.Backend.DeleteStream(c.ctx, st.Name); err != nil {
		return worded(err, fault.NotFound, s.noStream(st.Name))
	}
	for i := range st.Consumers {
		s.subscriptions.end(st.ID, keyOf(&st.Consumers[i]), s.noStream(st.Name))
	}
	return nil
}}

// describeLimits tells the limits of the account and how much of them is used.
//
// Source: Kinesis Data Streams API Reference, DescribeLimits.
var describeLimits = operation{name: "DescribeLimits", run: func(s *Service, c *call) error {
	var in kinesiswire.DescribeLimitsInput
	if err := c.decode(&in); err != nil {
		return err
	}
	shards, onDemand := s.openShards()
	out := kinesiswire.DescribeLimitsOutput{ShardLimit: s.ShardLimit, OpenShardCount: shards,
		OnDemandStreamCount: onDemand, OnDemandStreamCountLimit: maxOnDemandStreams}
	c.reply(&out)
	return nil
}}
