package app

import (
	"context"
	"path/filepath"
	"time"

	"millrace/internal/object/dir"
)

// openObjects opens where objects lie: plain files in the data folder, or a service that answers like S3. Nodes that
// deliver together need the latter.
func (n *Node) openObjects(ctx context.Context) error {
	if n.opts.Config.Objects.Remote() {
		return n.openRemoteObjects(ctx)
	}
	objects, err := dir.Open(dir.Options{
		Root: filepath.Join(n.folder.path, objectFolder), DB: n.meta, Prefix: objectPrefix,
		Now: time.Now, IDs: n.ids, Low: n.space.Low, Log: n.log, Failpoint: n.opts.Failpoint,
	})
	if err != nil {
		return err
	}
	n.objects = objects
	n.onClose("objects", func(context.Context) error { return objects.Close() })
	n.checks = append(n.checks, check{"objects", objects.Healthy})
	return nil
}
