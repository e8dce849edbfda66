package kinesis

import (
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
