package s3

import (
	"context"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// refusesConditions reports whether a put failed because the service does not know If-None-Match, and whether the store
// may do without. From then on it does.
func (s *Store) refusesConditions(cond object.Conditions, err error) bool {
	if !s.opts.LookFirst || cond.IfNoneMatch == "" || !fault.Is(err, fault.Unsupported) {
		return false
	}
	if !s.unconditional.Swap(true) {
		s.opts.Log.Warn("the service does not know If-None-Match; puts look for the key first", "endpoint", s.opts.Endpoint, "error", err)
	}
	return true
}

// lookFirst takes If-None-Match from the conditions of a put and looks for the key, where the service is known not to
// have it.
func (s *Store) lookFirst(ctx context.Context, op string, at place, cond *object.Conditions) error {
	if cond.IfNoneMatch == "" || !s.unconditional.Load() {
		return nil
	}
	_, err := s.head(ctx, op, place{bucket: at.bucket, key: at.key})
	switch {
	case err == nil:
		return fault.New(fault.PreconditionFailed, op, at.String(), "the key exists")
	case !missesKey(err):
		return err
	}
	cond.IfNoneMatch = ""
	return nil
}
