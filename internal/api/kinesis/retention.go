package kinesis

import (
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

// increaseStreamRetentionPeriod keeps records for longer. The same period as now is accepted: Terraform asks for
// 24 hours right after it has created a stream.
//
// Source: Kinesis Data Streams API Reference, IncreaseStreamRetentionPeriod.
var increaseStreamRetentionPeriod = operation{name: "IncreaseStreamRetentionPeriod", run: func(s *Service, c *call) error {
	var in kinesiswire.IncreaseStreamRetentionPeriodInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.changeRetention(c, in.StreamName, in.StreamARN, in.RetentionPeriodHours, func(st *stream.Stream, now int) error {
		if in.RetentionPeriodHours < now {
			return failure(kinesiswire.ErrInvalidArgument, "Requested retention period (%d hours) for stream %s can not be shorter than existing "+
				"retention period (%d hours). Use DecreaseRetentionPeriod API.", in.RetentionPeriodHours, st.Name, now)
		}
		return nil
	})
}}

// decreaseStreamRetentionPeriod keeps records for less long.
//
// Source: Kinesis Data Streams API Reference, DecreaseStreamRetentionPeriod.
var decreaseStreamRetentionPeriod = operation{name: "DecreaseStreamRetentionPeriod", run: func(s *Service, c *call) error {
	var in kinesiswire.DecreaseStreamRetentionPeriodInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.changeRetention(c, in.StreamName, in.StreamARN, in.RetentionPeriodHours, func(st *stream.Stream, now int) error {
		if in.RetentionPeriodHours > now {
			return failure(kinesiswire.ErrInvalidArgument, "Requested retention period (%d hours) for stream %s can not be longer than existing "+
				"retention period (%d hours). Use IncreaseRetentionPeriod API.", in.RetentionPeriodHours, st.Name, now)
		}
		return nil
	})
}}

// changeRetention sets a stream's retention; allowed compares with what it is now, in hours.
func (s *Service) changeRetention(c *call, name, arn string, hours int, allowed func(st *stream.Stream, now int) error) error {
	st, err := s.stream(name, arn)
	if err != nil {
		return err
	}
	switch {
	case hours < minRetentionHours:
		return failure(kinesiswire.ErrInvalidArgument, "Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.", minRetentionHours, hours)
	case hours > maxRetentionHours:
		return failure(kinesiswire.ErrInvalidArgument, "Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.", maxRetentionHours, hours)
	}
	_, err = s.update(c, st, func(set *stream.Settings) error {
		if err := allowed(st, int(set.Retention/time.Hour)); err != nil {
			return err
		}
		set.Retention = time.Duration(hours) * time.Hour
		return nil
	})
	return err
}
