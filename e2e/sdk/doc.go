// Package sdk holds tests only: the AWS SDK for Go, unmodified, against the built
// binary. The SDK decides what an answer of the service looks like; these tests
// decide that the pieces work together: an API made by script, a stream, a delivery
// stream and a bucket, until the event is read back from its object.
package sdk
