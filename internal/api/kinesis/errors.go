package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
)

// exception is an answer that is no success.
type exception struct {
	awswire.ErrorType
	message string
}

func (x *exception) Error() string { return x.Code + ": " + x.message }

func failure(t awswire.ErrorType, format string, args ...any) *exception {
	return &exception{t, fmt.Sprintf(format, args...)}
}

// Errors that the model does not list.
var (
	internalFailure  = awswire.ErrorType{Code: "InternalFailure", Status: http.StatusInternalServerError}
	unknownOperation = awswire.ErrorType{Code: "UnknownOperationException", Status: http.StatusBadRequest}

	errUnknownOperation = &exception{ErrorType: unknownOperation}
)

func errUnsupported(operation string) *exception {
	return failure(unknownOperation, "%s is not supported by Millrace yet", operation)
}

func (x *exception) outcome() Outcome {
	switch {
	case x.Code == kinesiswire.ErrProvisionedThroughputExceeded.Code:
		return Throttled
	case x.Status >= 500:
		return Unavailable
	}
	return Refused
}

// byKind gives the exception for errors of the backend that no operation has words of its own for.
var byKind = map[fault.Kind]awswire.ErrorType{
	fault.Invalid:       kinesiswire.ErrInvalidArgument,
	fault.NotFound:      kinesiswire.ErrResourceNotFound,
	fault.InUse:         kinesiswire.ErrResourceInUse,
	fault.LimitExceeded: kinesiswire.ErrLimitExceeded,
	fault.Throttled:     kinesiswire.ErrProvisionedThroughputExceeded,
	fault.Expired:       kinesiswire.ErrExpiredIterator,
	fault.Denied:        kinesiswire.ErrAccessDenied,
	fault.Unsupported:   kinesiswire.ErrInvalidArgument,
}

// exceptionOf words an error. Low space, a stop in progress and our own faults are all InternalFailure, 500, which
// every SDK retries; their texts stay here.
func (s *Service) exceptionOf(err error) *exception {
	var x *exception
	if errors.As(err, &x) {
		return x
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return &exception{ErrorType: internalFailure}
	}
	t, ok := byKind[f.Kind]
	if !ok {
		return &exception{ErrorType: internalFailure}
	}
	return &exception{t, f.Message()}
}

func (s *Service) noStream(name string) *exception {
	return failure(kinesiswire.ErrResourceNotFound, "Stream %s under account %s not found.", name, s.Account.ID)
}

func (s *Service) noShard(shardID, name string) *exception {
	return failure(kinesiswire.ErrResourceNotFound, "Shard %s in stream %s under account %s does not exist", shardID, name, s.Account.ID)
}

func (s *Service) shardUnreadable(given, name string) *exception {
	return failure(kinesiswire.ErrResourceNotFound, "Could not find shard %s in stream %s under account %s.", given, name, s.Account.ID)
}

// worded gives the operation's own words for a kind of error, and every other error as it is.
func worded(err error, kind fault.Kind, x *exception) error {
	if fault.Is(err, kind) {
		return x
	}
	return err
}

// complaints bounds how often the log tells of failed calls: on a full disk every put fails.
type complaints struct {
	nextAt  atomic.Int64 // millisecond since 1970
	dropped atomic.Int64
}

const complainEveryMillis = 1000

// complain logs a failure of ours; a caller who has gone is none.
func (s *Service) complain(operation string, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	now, next := s.Now().UnixMilli(), s.complained.nextAt.Load()
	if now < next || !s.complained.nextAt.CompareAndSwap(next, now+complainEveryMillis) {
		s.complained.dropped.Add(1)
		return
	}
	s.Log.Error("a Kinesis call failed", "operation", operation, "error", err, "untold", s.complained.dropped.Swap(0))
}
