package kinesis

import "time"

// MaxBodyBytes bounds a request. A PutRecords of 10 MiB of payload is about 13.4 MiB as base64 in JSON.
const MaxBodyBytes = 16 << 20

// The service's limits; Source: Kinesis Data Streams developer guide, quotas, and API reference.
const (
	// DefaultShardLimit is the service's default quota of shards in its large regions.
	DefaultShardLimit = 500

	maxShardCount        = 100_000  // of one CreateStream; a constraint
	maxTargetShards      = 10_000   // of one UpdateShardCount
	maxPutBytes          = 10 << 20 // of one PutRecords, partition keys included
	maxReadBytes         = 10 << 20 // of one GetRecords
	maxReadRecords       = 10_000
	maxTags              = 50
	maxPolicyBytes       = 20 << 10
	defaultListShards    = 1000
	maxListShards        = 10_000
	maxDescribeShards    = 100
	maxListStreams       = 100
	maxConsumers         = 20 // of a stream
	defaultListConsumers = 100
	defaultTagPage       = 50
	maxOnDemandStreams   = 50
	maxCreating          = 5 // streams at one time
	minRetentionHours    = 24
	maxRetentionHours    = 8760
	iteratorLife         = 5 * time.Minute
	nextTokenLife        = 5 * time.Minute
	unsetMaxRecordInKiB  = 1024
)
