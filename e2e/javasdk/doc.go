// Package javasdk runs the asynchronous client of the AWS SDK for Java 2 against the
// built binary, when e2e/javasdk/run has built the program that uses it:
//
//	e2e/javasdk/run
//
// The client speaks CBOR over HTTP/2 unless it is told otherwise, over plain text by
// prior knowledge; the program goes through every operation in each of four ways: with
// TLS and without, in CBOR and in JSON. It says what it found, and this package decides
// whether that is what "millrace support" promises.
package javasdk
