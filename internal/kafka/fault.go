package kafka

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/fault"
)

// Fault gives an error of the client or of a broker the kind that its caller can act on. An error that has a kind
// keeps it; nil stays nil.
func Fault(op, resource string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(kindOf(err), op, resource, "%w", err)
}

// kinds of the broker's errors. What is missing here is Unavailable when the protocol calls it retriable, else Internal.
var kinds = map[*kerr.Error]fault.Kind{
	kerr.UnknownTopicOrPartition:            fault.NotFound,
	kerr.UnknownTopicID:                     fault.NotFound,
	kerr.TopicAlreadyExists:                 fault.InUse,
	kerr.InvalidTopicException:              fault.Invalid,
	kerr.InvalidPartitions:                  fault.Invalid,
	kerr.InvalidReplicationFactor:           fault.Unavailable, // too few brokers now
	kerr.InvalidConfig:                      fault.Invalid,
	kerr.InvalidRequest:                     fault.Internal,
	kerr.PolicyViolation:                    fault.Denied,
	kerr.MessageTooLarge:                    fault.LimitExceeded,
	kerr.RecordListTooLarge:                 fault.LimitExceeded,
	kerr.TopicAuthorizationFailed:           fault.Denied,
	kerr.GroupAuthorizationFailed:           fault.Denied,
	kerr.ClusterAuthorizationFailed:         fault.Denied,
	kerr.TransactionalIDAuthorizationFailed: fault.Denied,
	kerr.SaslAuthenticationFailed:           fault.Denied,
	kerr.UnsupportedSaslMechanism:           fault.Denied,
	kerr.IllegalSaslState:                   fault.Denied,
	kerr.ThrottlingQuotaExceeded:            fault.Throttled,
	kerr.UnsupportedVersion:                 fault.Unsupported,
	kerr.KafkaStorageError:                  fault.Unavailable,
	kerr.InvalidProducerEpoch:               fault.PreconditionFailed,
	kerr.ProducerFenced:                     fault.PreconditionFailed,
	kerr.FencedInstanceID:                   fault.PreconditionFailed,
	kerr.IllegalGeneration:                  fault.PreconditionFailed,
	kerr.UnknownMemberID:                    fault.PreconditionFailed,
	kerr.StaleMemberEpoch:                   fault.PreconditionFailed,
	kerr.FencedMemberEpoch:                  fault.PreconditionFailed,
}

func kindOf(err error) fault.Kind {
	var broker *kerr.Error
	if errors.As(err, &broker) {
		if kind, ok := kinds[broker]; ok {
			return kind
		}
		if broker.Retriable {
			return fault.Unavailable
		}
		return fault.Internal
	}
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries), errors.Is(err, kgo.ErrClientClosed),
		errors.Is(err, kgo.ErrMaxBuffered), errors.Is(err, kgo.ErrAborting), errors.As(err, &network):
		return fault.Unavailable
	}
	var lost *kgo.ErrDataLoss
	if errors.As(err, &lost) {
		return fault.Corrupt
	}
	return fault.Unavailable // of the client's own; none of them tells that nothing will help
}
