package app

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/config"
	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
	"millrace/internal/telemetry"
)

// openEngine opens what keeps records, and with it the catalog and the journal of delivery, which lie where all nodes
// that share the engine find them. Nothing above knows which engine it is.
//
//	engine    records       catalog            journal
//	local     DATA/log      DATA/meta          DATA/meta
//	kafka     topics        PREFIX.catalog     PREFIX.journal
//	kinesis   Kinesis       DATA/meta          DATA/meta     (Direct PUT: DATA/log)
//	kinesis   Kinesis       s3://…/catalog     s3://…/journal (with kinesis.cluster; no Direct PUT)
func (n *Node) openEngine(ctx context.Context) error {
	engine, err := config.ParseEngine(n.opts.Config.Engine)
	if err != nil {
		return fault.New(fault.Invalid, "app.Start", "", "%w", err)
	}
	kind := string(engine.Kind)
	if n.inBucket() {
		kind += " in a cluster" // its definitions are elsewhere
	}
	if err := n.folder.bindEngine(kind); err != nil {
		return err
	}
	n.engineIs = engine
	switch engine.Kind {
	case config.OnKafka:
		return n.openKafka(ctx)
	case config.OnKinesis:
		return n.openKinesis(ctx)
	}
	return n.openLocal()
}

func (n *Node) openLocal() error {
	if err := n.openLocalCatalog(); err != nil {
		return err
	}
	streams, err := n.openLog()
	if err != nil {
		return err
	}
	n.serve(sealing(streams, secretOf(&n.opts.Config.Encryption, n.folder)))
	return nil
}

// serve takes a backend as the node's.
func (n *Node) serve(streams stream.Backend) {
	n.streams = streams
	n.onClose("streams", streams.Close)
	n.checks = append(n.checks, check{"streams", streams.Healthy})
}

// openLocalCatalog opens catalog and journal in the node's own store.
func (n *Node) openLocalCatalog() (err error) {
	if n.catalog, err = catalog.Open(n.meta, catalogPrefix); err != nil {
		return err
	}
	n.journal = journal.Open(n.meta, journalPrefix)
	n.tokenKey = n.folder.tokenKey
	return nil
}

// openLog opens the log of records on this machine's disk.
func (n *Node) openLog() (*local.Backend, error) {
	db, err := store.Open(filepath.Join(n.folder.path, logFolder), store.Options{Profile: store.Log, Log: n.log, Fatal: n.fatal})
	if err != nil {
		return nil, err
	}
	log, err := local.Open(local.Options{DB: db, IDs: n.ids, Now: time.Now, Log: n.log, Low: n.space.Low, Fatal: n.fatal})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	n.emitters = append(n.emitters, func(emit telemetry.Emit) { emitLog(emit, log.Stats()) })
	return log, nil
}

func emitLog(emit telemetry.Emit, st local.Stats) {
	emit(telemetry.Fsyncs, float64(st.Groups))
	emit(telemetry.FsyncSeconds, st.GroupTime.Seconds())
	emit(telemetry.AppendQueueBytes, float64(st.QueuedBytes))
	emit(telemetry.AppendQueueBound, float64(st.QueueBound))
	for _, s := range st.Streams {
		emit(telemetry.StreamRecords, float64(s.Records), s.Stream)
		emit(telemetry.StreamBytes, float64(s.Bytes), s.Stream)
	}
}
