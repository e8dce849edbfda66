package main

import (
	"encoding/json"
	"maps"
	"runtime"

	"millrace/bench/load"
)

// testCase is a destination, and the plain programs that it is compared with: the first is its limit.
type testCase struct {
	name, what  string
	destination map[string]any
	limits      []string
	target      float64 // MB of records a second of processor time; 0: none is set
	// memory is what the process may hold at most, in MiB.
	memory int
}

// Memory that the design allows, in MiB: what a node has at full load, and what an open Parquet writer may add. A node has two
// of them open beside those that it can encode at a time, which is one core less than there are.
const (
	nodeMemory   = 250
	writerMemory = 96
)

func parquetMemory() int { return nodeMemory + writerMemory*(max(1, runtime.NumCPU()-1)+2) }

var cases = []testCase{
	{name: "uncompressed", what: "none, objects of 5 MiB", destination: compressed("UNCOMPRESSED"), limits: []string{"uncompressed"}, memory: nodeMemory},
	{name: "gzip", what: "GZIP, objects of 5 MiB", destination: compressed("GZIP"), limits: []string{"gzip"}, target: 150, memory: nodeMemory},
	{name: "snappy", what: "Snappy, objects of 5 MiB", destination: compressed("Snappy"), limits: []string{"snappy"}, memory: nodeMemory},
	{name: "parquet", what: "Parquet with Snappy, objects of 64 MiB of records", destination: parquet, limits: []string{"parquet", "parquet-structs"},
		target: 80, memory: parquetMemory()},
	{name: "partitions", what: "GZIP in 100 dynamic partitions by a jq query, objects of 64 MiB of records",
		destination: partitions, limits: []string{"partitions"}, memory: nodeMemory},
}

func names() (all []string) {
	for i := range cases {
		all = append(all, cases[i].name)
	}
	return all
}

// interval is how long a buffer waits for more. The backlog is older before it is delivered, so that its last buffers wait for
// nothing.
const interval = 60

func hints(size int) map[string]any {
	return map[string]any{"SizeInMBs": size, "IntervalInSeconds": interval}
}

func compressed(format string) map[string]any {
	return map[string]any{"BufferingHints": hints(5), "CompressionFormat": format}
}

var parquet = map[string]any{
	"BufferingHints": hints(64),
	"DataFormatConversionConfiguration": map[string]any{
		"Enabled":                   true,
		"SchemaConfiguration":       map[string]any{"RoleARN": role, "DatabaseName": "bench", "TableName": "events"},
		"InputFormatConfiguration":  map[string]any{"Deserializer": map[string]any{"OpenXJsonSerDe": map[string]any{}}},
		"OutputFormatConfiguration": map[string]any{"Serializer": map[string]any{"ParquetSerDe": map[string]any{}}},
	},
}

var partitions = map[string]any{
	"BufferingHints": hints(64), "CompressionFormat": "GZIP",
	"DynamicPartitioningConfiguration": map[string]any{"Enabled": true},
	"Prefix":                           "tenant=!{partitionKeyFromQuery:tenant}/",
	"ErrorOutputPrefix":                "errors/!{firehose:error-output-type}/",
	"ProcessingConfiguration": map[string]any{"Enabled": true, "Processors": []any{map[string]any{
		"Type": "MetadataExtraction",
		"Parameters": []any{
			map[string]any{"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{tenant:.tenant}"},
			map[string]any{"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
		},
	}}},
}

const (
	streamName = "backlog"
	bucketName = "backlog"
	role       = "arn:aws:iam::000000000000:role/bench"
)

// definition is a file for `millrace up`: the stream, and the delivery streams of some cases; the bucket, too, or they have
// nowhere to deliver to.
func definition(bucket bool, of []testCase) ([]byte, error) {
	resources := map[string]any{
		"Stream": resource("AWS::Kinesis::Stream", map[string]any{"Name": streamName, "ShardCount": shards}),
		"Database": resource("AWS::Glue::Database", map[string]any{"CatalogId": map[string]any{"Ref": "AWS::AccountId"},
			"DatabaseInput": map[string]any{"Name": "bench"}}),
		"Table": resource("AWS::Glue::Table", map[string]any{"CatalogId": map[string]any{"Ref": "AWS::AccountId"},
			"DatabaseName": map[string]any{"Ref": "Database"},
			"TableInput":   map[string]any{"Name": "events", "StorageDescriptor": map[string]any{"Columns": columns()}}}),
	}
	if bucket {
		resources["Bucket"] = resource("AWS::S3::Bucket", map[string]any{"BucketName": bucketName})
	}
	for _, c := range of {
		all := map[string]any{"BucketARN": "arn:aws:s3:::" + bucketName, "RoleARN": role}
		maps.Copy(all, c.destination)
		r := resource("AWS::KinesisFirehose::DeliveryStream", map[string]any{
			"DeliveryStreamName": c.name, "DeliveryStreamType": "KinesisStreamAsSource",
			"KinesisStreamSourceConfiguration": map[string]any{
				"KinesisStreamARN": map[string]any{"Fn::GetAtt": []string{"Stream", "Arn"}}, "RoleARN": role},
			"ExtendedS3DestinationConfiguration": all,
		})
		r["DependsOn"] = []string{"Table"}
		resources["Delivery"+c.name] = r
	}
	return json.Marshal(map[string]any{"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
}

func resource(kind string, properties map[string]any) map[string]any {
	return map[string]any{"Type": kind, "Properties": properties}
}

func columns() (all []any) {
	for _, c := range load.EventColumns {
		all = append(all, map[string]any{"Name": c[0], "Type": c[1]})
	}
	return all
}
