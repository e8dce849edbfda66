package app

import (
	"millrace/internal/api/firehose"
	"millrace/internal/api/kinesis"
	"millrace/internal/gateway"
)

// NewActions gives what a node's integrations call, on services that are no node's: for tests of definitions.
func NewActions(kinesis *kinesis.Service, firehose *firehose.Service) gateway.Actions {
	return actions{kinesis: kinesis, firehose: firehose}
}
