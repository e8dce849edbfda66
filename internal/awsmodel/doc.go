// Package awsmodel owns the service models and what is generated from them.
//
//	models/kinesis.json … ──> gen ──> kinesiswire, firehosewire, apigatewaywire, s3wire
//
// The models are the published facts of each service's wire: operations, shapes,
// constraints, errors, locations. The generator (package gen, a command) turns a
// model into a package of typed requests and answers, with decoders, append-style
// encoders and constraint checks; README.md here tells how a surface uses one. No
// shape of the wire is written by hand, and a test of gen fails when the packages
// differ from what it makes.
package awsmodel

//go:generate go run ./gen -models models -out .
