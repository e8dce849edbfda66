package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"millrace/internal/delivery"
	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/transform"
)

// spoolFolder is where records of partitions and of functions wait for which the memory of buffers has no room.
const spoolFolder = "spool"

// reach gives the engine what delivery streams reach beyond the store: functions, and HTTP endpoints.
func (n *Node) reach(o *delivery.Options) error {
	out, err := n.outbound()
	if err != nil {
		return err
	}
	functions := map[string]*transform.Endpoint{}
	for arn, f := range n.opts.Config.Functions {
		value, err := f.HeaderValue()
		if err != nil {
			return err
		}
		if functions[arn], err = transform.NewEndpoint(f.URL, f.Header, value); err != nil {
			return err
		}
	}
	o.Function = func(arn string) *transform.Endpoint {
		if e := functions[arn]; e != nil {
			return e
		}
		return functions[strings.TrimSuffix(arn, ":$LATEST")]
	}
	calls, posts := transform.New(transform.Options{Outbound: out, IDs: n.ids, Now: time.Now}), httpendpoint.New(out)
	n.onClose("connections of functions and endpoints", func(context.Context) error { calls.Close(); posts.Close(); return nil })
	o.Transform, o.HTTP = calls, posts
	o.SpoolDir = filepath.Join(n.folder.path, spoolFolder)
	return os.RemoveAll(o.SpoolDir) // nothing in it is of use to another process
}
