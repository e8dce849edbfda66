// Package kinesisengine tests nodes that keep streams in Kinesis and are one cluster
// in a bucket, as processes: another node, on the local engine, serves them Kinesis
// and S3. They are killed and frozen under load, and every event that was answered must be in
// exactly one object.
//
//	load ─> node a ─┐                 ┌─> Kinesis ┐
//	load ─> node b ─┴─ kinesis:// ────┴─> S3      ┴─ the node "service", engine local
package kinesisengine
