package delivery

import "context"

// backupSuffix tells the backup of a delivery stream from itself, in names that operators see; no name has a slash.
const backupSuffix = "/backup"

// BackupConfiguration says where source records are kept beside what is delivered; nil: nowhere.
func (d *Definition) BackupConfiguration() *S3Configuration {
	switch {
	case d.HTTPEndpoint != nil && d.HTTPEndpoint.S3BackupMode == "AllData":
		return &d.Destination.S3Configuration
	case d.HTTPEndpoint == nil && d.Destination.BacksUp():
		return d.Destination.S3BackupConfiguration
	}
	return nil
}

// backup is the delivery stream, within this one, that keeps source records; nil: there is none. It reads the same stream
// with checkpoints of its own, so that either goes on when the other's bucket is gone.
func (d *Definition) backup() *Definition {
	c := d.BackupConfiguration()
	if c == nil {
		return nil
	}
	b := d.clone()
	b.ID, b.backupOf, b.Starts, b.BackupStarts = d.ID+"b", d, d.BackupStarts, nil
	b.Destination, b.HTTPEndpoint, b.Schema = S3Destination{S3Configuration: *c, S3BackupMode: "Disabled"}, nil, nil
	return b
}

// deliveryName is how the engine calls it.
func (d *Definition) deliveryName() string {
	if d.backupOf != nil {
		return d.Name + backupSuffix
	}
	return d.Name
}

// definitionIDs gives the ids that rows of a definition may bear.
func (d *Definition) definitionIDs() []string {
	if b := d.backup(); b != nil {
		return []string{d.ID, b.ID}
	}
	return []string{d.ID}
}

// startBackup notes from where a backup reads that is switched on now.
func (e *Engine) startBackup(ctx context.Context, def *Definition) error {
	if def.BackupConfiguration() == nil || def.BackupStarts != nil {
		return nil
	}
	st, ok := e.opts.Source.Stream(def.SourceStream())
	if !ok {
		return e.notFound("delivery.Backup", def.Name)
	}
	var err error
	def.BackupStarts, err = e.starts(ctx, st, def.backup().ID, nil)
	return err
}

// backupConcluded reports whether the deletion of a delivery stream's backup is settled: it reads the same source, which goes last.
func (d *delivery) backupConcluded(ctx context.Context) (bool, error) {
	b := d.definition.Load().backup()
	if b == nil {
		return true, nil
	}
	_, booked, err := d.engine.opts.Journal.Final(ctx, b.ID)
	return booked, err
}

// isBackup reports whether it is the backup within a delivery stream.
func (d *delivery) isBackup() bool { return d.definition.Load().backupOf != nil }
