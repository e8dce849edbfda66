package app

import (
	"context"

	"millrace/internal/fault"
)

func (n *Node) openKafka(context.Context) error {
	return fault.New(fault.Unsupported, "app.Start", "", "the engine kafka is not built yet")
}

func (n *Node) openKinesis(context.Context) error {
	return fault.New(fault.Unsupported, "app.Start", "", "the engine kinesis is not built yet")
}

func (n *Node) openRemoteObjects(context.Context) error {
	return fault.New(fault.Unsupported, "app.Start", "", "objects on another service are not built yet")
}
