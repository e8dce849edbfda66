package delivery

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// MSKAsSource delivers what a topic of a Kafka cluster gets. The node reads it by itself, whatever engine keeps its own
// streams. Value and order of records are delivered; keys and headers are not part of the data, and a null value is empty.
const MSKAsSource Type = "MSKAsSource"

// MSKSource is MSKSourceConfiguration.
type MSKSource struct {
	MSKClusterARN               string
	TopicName                   string
	AuthenticationConfiguration *AuthenticationConfiguration
	// ReadFromTimestamp is where reading begins: the epoch at the oldest record that is kept. Nil: at the creation.
	ReadFromTimestamp *Timestamp `json:",omitempty"`
	// DeliveryStartTimestamp is from when on the topic is read. The engine sets it.
	DeliveryStartTimestamp time.Time `json:",omitzero"`
}

// AuthenticationConfiguration is kept and shown. How a node reaches a cluster is said in its configuration.
type AuthenticationConfiguration struct{ RoleARN, Connectivity string }

// TopicSource is a Source that reads topics of Kafka too.
type TopicSource interface {
	Source
	// FindTopic gives the stream that stands for a topic, as the cluster's brokers tell of it now: Invalid with a text for the
	// caller when nobody knows the cluster or there is no such topic; Denied; Unavailable.
	FindTopic(ctx context.Context, cluster, topic string) (*stream.Stream, error)
	// At gives the place of the first record of a topic's shard with a timestamp at or after t.
	At(ctx context.Context, shard stream.ShardRef, t time.Time) (stream.SequenceNumber, error)
	// TopicCapabilities are those of all topics.
	TopicCapabilities() stream.Capabilities
}

// futureStart is how far ahead of the node's clock a ReadFromTimestamp may be that means now.
const futureStart = 5 * time.Minute

// begin notes where reading begins.
func (s *MSKSource) begin(now time.Time) error {
	s.DeliveryStartTimestamp = now
	if from := s.ReadFromTimestamp; from != nil {
		if from.After(now.Add(futureStart)) {
			return fault.New(fault.Invalid, "delivery.Create", s.TopicName, "ReadFromTimestamp %s lies in the future", from.UTC().Format(time.RFC3339))
		}
		s.DeliveryStartTimestamp = from.UTC()
	}
	return nil
}

// stream names the stream that stands for the topic.
func (s *MSKSource) stream() string { return stream.TopicStream(s.MSKClusterARN, s.TopicName) }

// same compares what is fixed for life.
func (s *MSKSource) same(have *MSKSource) bool {
	return have != nil && s.MSKClusterARN == have.MSKClusterARN && s.TopicName == have.TopicName &&
		*s.AuthenticationConfiguration == *have.AuthenticationConfiguration &&
		(s.ReadFromTimestamp == nil) == (have.ReadFromTimestamp == nil) &&
		(s.ReadFromTimestamp == nil || s.ReadFromTimestamp.Equal(have.ReadFromTimestamp.Time))
}

var topicRule = regexp.MustCompile(`^[a-zA-Z0-9\._\-]+$`)

// The model's bounds of lengths.
const (
	maxClusterARN = 512
	maxTopicName  = 255
)

// msk checks MSKSourceConfiguration, and takes it.
func (r *CreateRequest) msk(op string, def *Definition) error {
	only := func(member string) error {
		return fault.New(fault.Invalid, op, def.Name, "%s is not supported for a MSKAsSource delivery stream type.", member)
	}
	s := r.MSKSourceConfiguration
	switch {
	case r.KinesisStreamSourceConfiguration != nil:
		return only("KinesisStreamSourceConfiguration")
	case r.DirectPutSourceConfiguration != nil:
		return only("DirectPutSourceConfiguration")
	case s == nil:
		return fault.New(fault.Invalid, op, def.Name, "MSKSourceConfiguration must be specified for a MSKAsSource delivery stream type.")
	case !strings.HasPrefix(s.MSKClusterARN, "arn:") || len(s.MSKClusterARN) > maxClusterARN:
		return violated(op, "mSKSourceConfiguration.mSKClusterARN", "Member must satisfy regular expression pattern: arn:.*, "+
			"and have length less than or equal to "+strconv.Itoa(maxClusterARN))
	case !topicRule.MatchString(s.TopicName) || len(s.TopicName) > maxTopicName:
		return violated(op, "mSKSourceConfiguration.topicName", `Member must satisfy regular expression pattern: [a-zA-Z0-9\._\-]+, `+
			"and have length less than or equal to "+strconv.Itoa(maxTopicName))
	}
	who := s.AuthenticationConfiguration
	const path = "mSKSourceConfiguration.authenticationConfiguration"
	switch {
	case who == nil:
		return violated(op, path, "Member must not be null")
	case !roleRule.MatchString(who.RoleARN):
		return pattern(op, path+".roleARN", roleRule)
	case who.Connectivity != "PUBLIC" && who.Connectivity != "PRIVATE":
		return violated(op, path+".connectivity", "Member must satisfy enum value set: [PUBLIC, PRIVATE]")
	}
	taken := *who
	def.MSKSource = &MSKSource{MSKClusterARN: s.MSKClusterARN, TopicName: s.TopicName, AuthenticationConfiguration: &taken,
		ReadFromTimestamp: s.ReadFromTimestamp}
	return nil
}

// findTopic gives the stream that stands for a delivery stream's topic.
func (e *Engine) findTopic(ctx context.Context, def *Definition) (*stream.Stream, error) {
	topics, ok := e.opts.Source.(TopicSource)
	if !ok {
		return nil, notDone("delivery.Create", def.Name, "deliveryStreamType MSKAsSource")
	}
	return topics.FindTopic(ctx, def.MSKSource.MSKClusterARN, def.MSKSource.TopicName)
}

// place gives where an open shard is read from that a delivery stream finds at its creation; from is nil unless it is a topic's.
func (e *Engine) place(ctx context.Context, from *MSKSource, ref stream.ShardRef) (stream.SequenceNumber, error) {
	if topics, ok := e.opts.Source.(TopicSource); ok && from != nil && from.ReadFromTimestamp != nil {
		return topics.At(ctx, ref, from.ReadFromTimestamp.Time)
	}
	return e.opts.Source.Tip(ctx, ref)
}

// backUpWhole lets the backup of a new delivery stream begin where a topic is read from, as it does itself. A backup that is
// switched on later begins then.
func (d *Definition) backUpWhole() {
	if d.MSKSource != nil && d.BackupConfiguration() != nil {
		d.BackupStarts = d.Starts
	}
}

// capabilities are those of the stream that is read.
func (d *delivery) capabilities() stream.Capabilities {
	if topics, ok := d.engine.opts.Source.(TopicSource); ok && d.definition.Load().Type == MSKAsSource {
		return topics.TopicCapabilities()
	}
	return d.engine.opts.Source.Capabilities()
}

// dense reports whether the positions of the stream that is read count its records.
func (d *delivery) dense() bool { return d.capabilities().DensePositions }

// Timestamp is a moment as the API writes it, in seconds since 1970, or as a definition file may: the same as a text, or
// "2006-01-02T15:04:05Z". It is stored as the latter.
type Timestamp struct{ time.Time }

// maxTimestamp is the year 9999.
const maxTimestamp = 253402300799

// UnmarshalJSON reads seconds or a text.
func (t *Timestamp) UnmarshalJSON(raw []byte) error {
	text := strings.Trim(string(raw), `"`)
	if text == "null" {
		return nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) <= maxTimestamp {
		t.Time = time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
		return nil
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%.40q is no timestamp: neither seconds since 1970 nor 2006-01-02T15:04:05Z", text)
	}
	t.Time = moment.UTC()
	return nil
}
