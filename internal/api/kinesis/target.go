package kinesis

import (
	"strconv"
	"strings"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// target gives the name of the stream that a request names by name, ARN or both; StreamId, which newer producers
// send beside them, is ignored.
func (s *Service) target(name, arn string) (string, error) {
	if arn == "" {
		if name == "" {
			var found awswire.Violations
			found.Null(nil, "streamName")
			return "", invalid(&found)
		}
		return name, nil
	}
	named, err := s.nameIn(arn)
	if err != nil {
		return "", err
	}
	if name != "" && name != named {
		return "", failure(kinesiswire.ErrInvalidArgument, "StreamName %s and StreamARN %s do not name the same stream.", name, arn)
	}
	return named, nil
}

// nameIn gives the stream's name in an ARN; another region's or account's stream is not found here.
func (s *Service) nameIn(arn string) (string, error) {
	a, ok := ids.ParseARN(arn)
	name, found := strings.CutPrefix(a.Resource, "stream/")
	if !ok || !found {
		return "", failure(kinesiswire.ErrInvalidArgument, "StreamARN %s names no stream.", arn)
	}
	if a.Region != s.Account.Region || a.Account != s.Account.ID {
		return "", failure(kinesiswire.ErrResourceNotFound, "Stream %s under account %s not found.", name, a.Account)
	}
	return name, nil
}

// stream finds the stream that a request names, in whatever status. Hidden ones do not exist here.
func (s *Service) stream(name, arn string) (*stream.Stream, error) {
	name, err := s.target(name, arn)
	if err != nil {
		return nil, err
	}
	st, ok := s.Backend.Stream(name)
	if !ok || st.Hidden() {
		return nil, s.noStream(name)
	}
	return st, nil
}

// writable finds a stream that takes records.
func (s *Service) writable(name, arn string) (*stream.Stream, error) {
	st, err := s.stream(name, arn)
	if err != nil {
		return nil, err
	}
	if st.Status != stream.Active && st.Status != stream.Updating {
		return nil, s.noStream(st.Name)
	}
	return st, nil
}

// idle finds a stream that takes a change of its settings: one that is ACTIVE.
func (s *Service) idle(name, arn string) (*stream.Stream, error) {
	st, err := s.stream(name, arn)
	if err != nil {
		return nil, err
	}
	if st.Status != stream.Active {
		return nil, s.notActive(st)
	}
	return st, nil
}

// resource finds the stream or the registered consumer that an ARN names; consumer is nil when it is a stream's.
func (s *Service) resource(arn string) (st *stream.Stream, consumer *stream.Consumer, err error) {
	streamARN, ofConsumer, found := cutConsumer(arn)
	if st, err = s.stream("", streamARN); err != nil || !found {
		return st, nil, err
	}
	if consumer = consumerNamed(&st.Settings, ofConsumer); consumer == nil {
		return nil, nil, s.noConsumer(arn)
	}
	return st, consumer, nil
}

// cutConsumer cuts a consumer's ARN behind its stream's. A stream may be called "consumer", too.
func cutConsumer(arn string) (streamARN, consumer string, found bool) {
	const between = "/consumer/"
	i := strings.LastIndex(arn, between)
	if i < 0 {
		return arn, "", false
	}
	return arn[:i], arn[i+len(between):], true
}

// consumerNamed finds the consumer that the end of an ARN names, "name:1700000000"; nil: there is none.
func consumerNamed(set *stream.Settings, end string) *stream.Consumer {
	i := strings.LastIndexByte(end, ':')
	if i < 0 {
		return nil
	}
	consumer, ok := set.Consumer(end[:i])
	if !ok || strconv.FormatInt(consumer.Created.Unix(), 10) != end[i+1:] {
		return nil
	}
	return consumer
}

func (s *Service) noConsumer(arn string) error {
	return failure(kinesiswire.ErrResourceNotFound, "Consumer %s not found.", arn)
}

// changeResource changes what a stream or a registered consumer has: edit gets the settings, and the consumer in them
// that the ARN names, nil when it names the stream.
func (s *Service) changeResource(c *call, arn string, edit func(*stream.Stream, *stream.Settings, *stream.Consumer) error) error {
	st, consumer, err := s.resource(arn)
	if err != nil {
		return err
	}
	_, ofConsumer, _ := cutConsumer(arn)
	_, err = s.update(c, st, func(set *stream.Settings) error {
		var own *stream.Consumer
		if consumer != nil {
			if own = consumerNamed(set, ofConsumer); own == nil {
				return s.noConsumer(arn)
			}
		}
		return edit(st, set, own)
	})
	return err
}

// update changes the settings of a stream.
func (s *Service) update(c *call, st *stream.Stream, edit func(*stream.Settings) error) (*stream.Stream, error) {
	now, err := s.Backend.UpdateStream(c.ctx, st.Name, edit)
	return now, worded(err, fault.NotFound, s.noStream(st.Name))
}

// visible lists the streams that the API shows.
func (s *Service) visible() []*stream.Stream {
	all := s.Backend.Streams()
	shown := make([]*stream.Stream, 0, len(all))
	for _, st := range all {
		if !st.Hidden() {
			shown = append(shown, st)
		}
	}
	return shown
}
