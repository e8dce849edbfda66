// Package kafka opens clients of Apache Kafka, or of anything that speaks its
// protocol, as a node's settings say, and owns what all users of Kafka in the
// house share: the names of our own topics, the settings of topics, the
// translation of Kafka's errors, and the report of what is weaker than it should
// be.
//
//	stream/kafka   records          one topic a stream, one partition a shard
//	catalog        definitions      PREFIX.catalog, compacted
//	catalog        who is alive     PREFIX.nodes
//	delivery       rows, manifests  PREFIX.journal, compacted
//
// A success of a produce means that all in-sync replicas have the records; how many
// those are is the topic's setting ([Settings.Replication], [Settings.MinInSync]).
package kafka

import (
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/internal/fault"
)

// Settings say where the brokers are and what is asked of them.
type Settings struct {
	Brokers []string    // "host:port", at least one
	TLS     *tls.Config // nil: plain text
	SASL    SASL
	// Prefix begins the names of the topics that are ours: "millrace" gives "millrace.catalog".
	Prefix string
	// Replication and MinInSync are those of topics that are made.
	Replication int
	MinInSync   int
	ClientID    string
	Log         *slog.Logger
}

// SASL says who we are. An empty Mechanism: nobody.
type SASL struct {
	Mechanism string // "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"
	User      string
	Password  string
}

// Defaults of Settings.
const (
	DefaultPrefix      = "millrace"
	DefaultReplication = 3
	DefaultMinInSync   = 2
)

// Bounds of every client, each with its reason.
const (
	// dialTimeout: a broker that does not answer a connection by then is one to leave for another.
	dialTimeout = 3 * time.Second
	// requestOverhead is added to a request's own time-out before the connection is given up. A broker that hangs, and
	// leads the controllers at that, holds a client up several times as long; the lease must outlive it.
	requestOverhead = 3 * time.Second
	// retryTimeout bounds the retries of a request that is not a produce; our callers have deadlines of their own.
	retryTimeout = 10 * time.Second
	// metadataMinAge lets a client ask for a new leader soon after it has lost one.
	metadataMinAge = 100 * time.Millisecond
	metadataMaxAge = 5 * time.Second
)

// Client opens a client. Options that are given last win.
func (s *Settings) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	const op = "kafka.Client"
	all := []kgo.Opt{
		kgo.SeedBrokers(s.Brokers...),
		kgo.ClientID(s.ClientID),
		kgo.Dialer((&net.Dialer{Timeout: dialTimeout}).DialContext),
		kgo.RequestTimeoutOverhead(requestOverhead),
		kgo.RetryTimeout(retryTimeout),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.MetadataMaxAge(metadataMaxAge),
	}
	if s.TLS != nil {
		all = append(all, kgo.Dialer((&tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: s.TLS}).DialContext))
	}
	mechanism, err := s.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		all = append(all, kgo.SASL(mechanism))
	}
	if s.Log != nil {
		all = append(all, kgo.WithLogger(logger{s.Log}))
	}
	client, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "", "%w", err)
	}
	return client, nil
}

func (s *SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism(), nil
	}
	return nil, fault.New(fault.Unsupported, "kafka.Client", s.Mechanism, "SASL mechanism %s is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", s.Mechanism)
}

// logger passes the client's warnings on. What it says below that is its own affair.
type logger struct{ log *slog.Logger }

func (l logger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	// What the client calls an error it will retry; the one who asked gets an error of its own when that does not help.
	l.log.Warn("kafka client", append([]any{"says", msg}, keyvals...)...)
}
