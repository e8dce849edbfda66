package kinesis

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

// registerStreamConsumer registers a reader with a throughput of its own. It can be used at once: the answer says
// CREATING, as the service's does, and every later one ACTIVE, so that its bound of five that are being made at one
// time has nothing to bound.
//
// Source: Kinesis Data Streams API Reference, RegisterStreamConsumer.
var registerStreamConsumer = operation{name: "RegisterStreamConsumer", note: "a consumer is ACTIVE at once; the answer says CREATING",
	run: func(s *Service, c *call) error {
		var in kinesiswire.RegisterStreamConsumerInput
		if err := c.decode(&in); err != nil {
			return err
		}
		st, err := s.stream("", in.StreamARN)
		if err != nil {
			return err
		}
		if st.Status == stream.Creating || st.Status == stream.Deleting {
			return s.notActive(st)
		}
		con, err := s.register(c, st, in.ConsumerName, in.Tags)
		if err != nil {
			return err
		}
		shown := s.consumer(st, con)
		shown.ConsumerStatus = kinesiswire.ConsumerStatusCreating
		out := kinesiswire.RegisterStreamConsumerOutput{Consumer: &shown}
		c.reply(&out)
		return nil
	}}

func (s *Service) register(c *call, st *stream.Stream, name string, tags map[string]string) (*stream.Consumer, error) {
	if err := s.checkTags(st.Name, tags); err != nil {
		return nil, err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	created := s.born(st.ID, name)
	st, err := s.update(c, st, func(set *stream.Settings) error {
		at, found := slices.BinarySearchFunc(set.Consumers, name, func(con stream.Consumer, name string) int { return strings.Compare(con.Name, name) })
		switch {
		case found:
			return failure(kinesiswire.ErrResourceInUse, "Consumer %s under stream %s already exists.", name, st.Name)
		case len(set.Consumers) >= maxConsumers:
			return failure(kinesiswire.ErrLimitExceeded, "Consumers under stream %s under account %s exceed the limit of %d.", st.Name, s.Account.ID, maxConsumers)
		}
		set.Consumers = slices.Insert(set.Consumers, at, stream.Consumer{Name: name, Created: created, Tags: maps.Clone(tags)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	con, ok := st.Consumer(name)
	if !ok { // removed again by now
		con = &stream.Consumer{Name: name, Created: created}
	}
	return con, nil
}

// born gives the second in which a consumer is made. It is part of the ARN: a name that is registered again in the
// second in which it was given up gets the next one. The caller holds s.changes.
func (s *Service) born(streamID, name string) time.Time {
	now := s.Now().Unix()
	for gone, created := range s.gone {
		if created < now {
			delete(s.gone, gone)
		}
	}
	if created, ok := s.gone[consumerName{streamID, name}]; ok {
		now = created + 1
	}
	return time.Unix(now, 0).UTC()
}

// consumerName is a name among the consumers of a stream.
type consumerName struct{ stream, name string }

// describeStreamConsumer describes a consumer, which its ARN names, or the stream's ARN with its name.
//
// Source: Kinesis Data Streams API Reference, DescribeStreamConsumer.
var describeStreamConsumer = operation{name: "DescribeStreamConsumer", run: func(s *Service, c *call) error {
	var in kinesiswire.DescribeStreamConsumerInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, con, err := s.consumerOf(in.ConsumerARN, in.StreamARN, in.ConsumerName)
	if err != nil {
		return err
	}
	shown := s.consumer(st, con)
	out := kinesiswire.DescribeStreamConsumerOutput{ConsumerDescription: &kinesiswire.ConsumerDescription{
		ConsumerName:              shown.ConsumerName,
		ConsumerARN:               shown.ConsumerARN,
		ConsumerStatus:            shown.ConsumerStatus,
		ConsumerCreationTimestamp: shown.ConsumerCreationTimestamp,
		StreamARN:                 s.Account.Stream(st.Name),
	}}
	c.reply(&out)
	return nil
}}

// listStreamConsumers lists a stream's consumers by name, page by page.
//
// Source: Kinesis Data Streams API Reference, ListStreamConsumers.
var listStreamConsumers = operation{name: "ListStreamConsumers", run: func(s *Service, c *call) error {
	var in kinesiswire.ListStreamConsumersInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := s.stream("", in.StreamARN)
	if err != nil {
		return err
	}
	if t := in.StreamCreationTimestamp; !t.IsZero() && t.Unix() != st.Created.Unix() {
		return s.noStream(st.Name) // the caller means an earlier stream of this name
	}
	t := token{kind: tokenConsumers, stream: st.Name, id: st.ID}
	if in.NextToken != "" {
		if t, err = s.openPage(in.NextToken, tokenConsumers); err != nil {
			return err
		}
		if t.stream != st.Name || t.id != st.ID {
			return failure(kinesiswire.ErrInvalidArgument, "NextToken does not belong to StreamARN %s.", in.StreamARN)
		}
	}
	limit := defaultListConsumers
	if in.MaxResults > 0 {
		limit = in.MaxResults
	}
	out := kinesiswire.ListStreamConsumersOutput{Consumers: []kinesiswire.Consumer{}}
	for i := range st.Consumers {
		con := &st.Consumers[i]
		if con.Name <= t.name {
			continue
		}
		if len(out.Consumers) == limit {
			t.name, t.at = out.Consumers[limit-1].ConsumerName, s.Now()
			out.NextToken = s.tokens.seal(t)
			break
		}
		out.Consumers = append(out.Consumers, s.consumer(st, con))
	}
	c.reply(&out)
	return nil
}}

// deregisterStreamConsumer removes a consumer, and ends its subscriptions: on this node at once, on others of a cluster
// with the next event.
//
// Source: Kinesis Data Streams API Reference, DeregisterStreamConsumer.
var deregisterStreamConsumer = operation{name: "DeregisterStreamConsumer", run: func(s *Service, c *call) error {
	var in kinesiswire.DeregisterStreamConsumerInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, con, err := s.consumerOf(in.ConsumerARN, in.StreamARN, in.ConsumerName)
	if err != nil {
		return err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	_, err = s.update(c, st, func(set *stream.Settings) error {
		at := slices.IndexFunc(set.Consumers, func(other stream.Consumer) bool { return keyOf(&other) == keyOf(con) })
		if at < 0 {
			return s.noConsumer(s.consumerARN(st, con))
		}
		set.Consumers = slices.Delete(set.Consumers, at, at+1)
		return nil
	})
	if err != nil {
		return err
	}
	s.gone[consumerName{st.ID, con.Name}] = con.Created.Unix()
	s.subscriptions.end(st.ID, keyOf(con), s.noConsumer(s.consumerARN(st, con)))
	return nil
}}

// consumerOf finds the consumer that a request names, by its own ARN, or by its stream's ARN and its name.
func (s *Service) consumerOf(arn, streamARN, name string) (*stream.Stream, *stream.Consumer, error) {
	if arn == "" {
		if streamARN == "" || name == "" {
			return nil, nil, failure(kinesiswire.ErrInvalidArgument, "Either ConsumerARN, or StreamARN and ConsumerName should be provided.")
		}
		st, err := s.stream("", streamARN)
		if err != nil {
			return nil, nil, err
		}
		con, ok := st.Consumer(name)
		if !ok {
			return nil, nil, s.noConsumer(streamARN + "/consumer/" + name)
		}
		return st, con, nil
	}
	st, con, err := s.resource(arn)
	if err != nil {
		return nil, nil, err
	}
	if con == nil || streamARN != "" && streamARN != s.Account.Stream(st.Name) || name != "" && name != con.Name {
		return nil, nil, failure(kinesiswire.ErrInvalidArgument, "ConsumerARN %s does not name the consumer that StreamARN and ConsumerName name.", arn)
	}
	return st, con, nil
}

func keyOf(con *stream.Consumer) consumerKey { return consumerKey{con.Name, con.Created.Unix()} }

func (s *Service) consumerARN(st *stream.Stream, con *stream.Consumer) string {
	return s.Account.Stream(st.Name) + "/consumer/" + con.Name + ":" + strconv.FormatInt(con.Created.Unix(), 10)
}

// consumer gives what lists show of a consumer.
func (s *Service) consumer(st *stream.Stream, con *stream.Consumer) kinesiswire.Consumer {
	return kinesiswire.Consumer{
		ConsumerName:              con.Name,
		ConsumerARN:               s.consumerARN(st, con),
		ConsumerStatus:            kinesiswire.ConsumerStatusActive,
		ConsumerCreationTimestamp: con.Created,
	}
}
