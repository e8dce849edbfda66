// Package safety holds tests only: the built binary among callers who ask for too
// much, are too slow, too many, speak no proper HTTP, or come from where they should
// not; before a backend that never answers; and on a disk that has no space left. What
// it must do is in the answers: the errors that clients know how to retry; its memory
// has a bound; and others must not notice.
package safety
