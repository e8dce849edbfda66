package app

import (
	"context"
	"path/filepath"
	"time"

	"millrace/internal/config"
	"millrace/internal/fault"
	"millrace/internal/object/dir"
	"millrace/internal/object/s3"
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

// openRemoteObjects opens a service that answers like S3. That it can't be reached is no reason not to start: records are
// taken, and delivered when it is back.
func (n *Node) openRemoteObjects(context.Context) error {
	options, err := n.objectService()
	if err != nil {
		return err
	}
	options.LookFirst = true // delivery plans keys that nobody else does; what nodes share has a store of its own
	objects, err := s3.Open(options)
	if err != nil {
		return err
	}
	n.objects = objects
	n.onClose("objects", func(context.Context) error { return objects.Close() })
	n.warnings = append(n.warnings, func(ctx context.Context) map[string]string {
		if err := objects.Healthy(ctx); err != nil {
			return map[string]string{"objects": err.Error()}
		}
		if lacks := objects.Shortcomings(); lacks != "" {
			return map[string]string{"objects": lacks}
		}
		return nil
	})
	return nil
}

// objectService says how the service of objects is reached.
func (n *Node) objectService() (s3.Options, error) {
	c := &n.opts.Config.Objects
	options := s3.Options{Endpoint: c.Endpoint, Region: c.Region, PathStyle: c.InPath(), CAFile: c.CA, Log: n.log}
	if c.CredentialsFile == "" {
		return options, nil
	}
	keys, err := config.LoadCredentials(c.CredentialsFile)
	if err != nil {
		return options, err
	}
	if len(keys) != 1 {
		return options, fault.New(fault.Invalid, "app.Start", c.CredentialsFile, "objects.credentials-file holds %d access keys; it must hold one", len(keys))
	}
	for id, secret := range keys {
		options.AccessKeyID, options.SecretAccessKey = id, secret
	}
	return options, nil
}
