package kinesis

import (
	"strings"

	"millrace/internal/awsmodel/kinesiswire"
)

// operation is one call of the API. Each is declared in its own file.
type operation struct {
	name string
	run  func(*Service, *call) error // nil: not served
	// borrows: nothing of the request outlives the call, so that it may point into the body.
	borrows bool
	pages   bool   // it answers with many records
	note    string // what of it is left out
}

// served holds the operations that are served; the rest of the model is refused by name.
var served = []operation{
	addTagsToStream,
	createStream,
	decreaseStreamRetentionPeriod,
	deleteResourcePolicy,
	deleteStream,
	deregisterStreamConsumer,
	describeAccountSettings,
	describeLimits,
	describeStream,
	describeStreamConsumer,
	describeStreamSummary,
	disableEnhancedMonitoring,
	enableEnhancedMonitoring,
	getRecords,
	getResourcePolicy,
	getShardIterator,
	increaseStreamRetentionPeriod,
	listShards,
	listStreamConsumers,
	listStreams,
	listTagsForResource,
	listTagsForStream,
	mergeShards,
	putRecord,
	putRecords,
	putResourcePolicy,
	registerStreamConsumer,
	removeTagsFromStream,
	splitShard,
	startStreamEncryption,
	stopStreamEncryption,
	subscribeToShard,
	tagResource,
	untagResource,
	updateAccountSettings,
	updateMaxRecordSize,
	updateShardCount,
	updateStreamMode,
	updateStreamWarmThroughput,
}

// table holds all operations of the model by name.
var table = func() map[string]*operation {
	m := make(map[string]*operation, len(kinesiswire.Operations))
	for _, name := range kinesiswire.Operations {
		m[name] = &operation{name: name}
	}
	for i := range served {
		m[served[i].name] = &served[i]
	}
	return m
}()

func find(name string) *operation { return table[name] }

// Supported tells of one operation of the service's model whether it is served.
type Supported struct {
	Operation string
	Served    bool
	Note      string
}

// Support lists all operations of the service's model, in alphabetical order.
func Support() []Supported {
	all := make([]Supported, len(kinesiswire.Operations))
	for i, name := range kinesiswire.Operations {
		op := table[name]
		all[i] = Supported{name, op.run != nil, op.note}
		if r := rates[name].text(); r != "" && op.run != nil {
			all[i].Note = strings.TrimPrefix(op.note+"; "+r, "; ")
		}
	}
	return all
}
