// Package kinesis runs stream/kinesis against servers of others that answer like
// Amazon Kinesis, which e2e/kinesis/run has installed:
//
//	e2e/kinesis/run
//
// Each server is asked for the same life of a stream: puts, reads from anywhere,
// waiting, tip, split, merge, settings, deletion. What a server does not do as the
// service does is listed with it (strangers), and only that is left out.
package kinesis
