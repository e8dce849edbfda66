// Package safety holds tests only: the built binary among callers who ask for too
// much, are too slow, or come from where they should not; and on a disk that has no
// space left. What it must do is in the answers: the errors that clients know how to
// retry; and others must not notice.
package safety
