package kinesis

import (
	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/stream"
)

// updateStreamMode makes an on-demand stream of a provisioned one, and back. Shards and records stay as they are.
//
// Source: Kinesis Data Streams API Reference, UpdateStreamMode.
var updateStreamMode = operation{name: "UpdateStreamMode", note: warmNote, run: func(s *Service, c *call) error {
	var in kinesiswire.UpdateStreamModeInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := s.idle("", in.StreamARN)
	if err != nil {
		return err
	}
	if awswire.Value(in.WarmThroughputMiBps) > 0 {
		return errNoCommitment("WarmThroughputMiBps needs")
	}
	mode := stream.Mode(in.StreamModeDetails.StreamMode)
	s.changes.Lock()
	defer s.changes.Unlock()
	if mode != st.Mode {
		spec := stream.CreateStream{Mode: mode}
		if mode == stream.Provisioned {
			spec.Shards = st.OpenShards()
		}
		if err := s.checkShardLimit(spec); err != nil {
			return err
		}
	}
	_, err = s.update(c, st, func(set *stream.Settings) error {
		set.Mode = mode
		return nil
	})
	return err
}}

const warmNote = "WarmThroughputMiBps is refused: there is no commitment to a bill"

// updateMaxRecordSize changes how large a record of a stream may be.
//
// Source: Kinesis Data Streams API Reference, UpdateMaxRecordSize.
var updateMaxRecordSize = operation{name: "UpdateMaxRecordSize", run: func(s *Service, c *call) error {
	var in kinesiswire.UpdateMaxRecordSizeInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := s.idle("", in.StreamARN)
	if err != nil {
		return err
	}
	_, err = s.update(c, st, func(set *stream.Settings) error {
		set.MaxRecordBytes = in.MaxRecordSizeInKiB << 10
		return nil
	})
	return err
}}

// updateStreamWarmThroughput is what an account without the commitment gets: a refusal.
//
// Source: Kinesis Data Streams API Reference, UpdateStreamWarmThroughput.
var updateStreamWarmThroughput = operation{name: "UpdateStreamWarmThroughput",
	note: "answers as for an account without a minimum throughput billing commitment: ValidationException",
	run: func(s *Service, c *call) error {
		var in kinesiswire.UpdateStreamWarmThroughputInput
		if err := c.decode(&in); err != nil {
			return err
		}
		st, err := s.idle(in.StreamName, in.StreamARN)
		if err != nil {
			return err
		}
		if st.Mode != stream.OnDemand {
			return failure(kinesiswire.ErrValidation, "Request is invalid. Stream %s under account %s is in Provisioned mode.", st.Name, s.Account.ID)
		}
		return errNoCommitment("UpdateStreamWarmThroughput needs")
	}}

func errNoCommitment(what string) error {
	return failure(kinesiswire.ErrValidation, "%s an account with a minimum throughput billing commitment, which Millrace does not have.", what)
}

// describeAccountSettings tells that there is no commitment to a bill.
//
// Source: Kinesis Data Streams API Reference, DescribeAccountSettings.
var describeAccountSettings = operation{name: "DescribeAccountSettings", run: func(s *Service, c *call) error {
	var in kinesiswire.DescribeAccountSettingsInput
	if err := c.decode(&in); err != nil {
		return err
	}
	out := kinesiswire.DescribeAccountSettingsOutput{MinimumThroughputBillingCommitment: noCommitment()}
	c.reply(&out)
	return nil
}}

// updateAccountSettings leaves the commitment off.
//
// Source: Kinesis Data Streams API Reference, UpdateAccountSettings.
var updateAccountSettings = operation{name: "UpdateAccountSettings", note: "nothing is billed here: a commitment can't be enabled (ValidationException)",
	run: func(s *Service, c *call) error {
		var in kinesiswire.UpdateAccountSettingsInput
		if err := c.decode(&in); err != nil {
			return err
		}
		if in.MinimumThroughputBillingCommitment.Status != kinesiswire.MinimumThroughputBillingCommitmentInputStatusDisabled {
			return failure(kinesiswire.ErrValidation, "A minimum throughput billing commitment can't be enabled: Millrace bills nothing.")
		}
		out := kinesiswire.UpdateAccountSettingsOutput{MinimumThroughputBillingCommitment: noCommitment()}
		c.reply(&out)
		return nil
	}}

func noCommitment() *kinesiswire.MinimumThroughputBillingCommitmentOutput {
	return &kinesiswire.MinimumThroughputBillingCommitmentOutput{Status: kinesiswire.MinimumThroughputBillingCommitmentOutputStatusDisabled}
}
