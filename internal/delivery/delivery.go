// Package delivery runs delivery streams as Amazon Data Firehose defines them: it
// reads each shard of a source stream on from its checkpoint, buffers, plans,
// encodes, puts objects into a bucket, and commits.
//
//	Source ──read──> process ──> lanes ──plan──> manifest ──encode, put──> Sink
//	                    │                  │ journal              │ journal
//	                    │                  └ durable, before      └ commit: checkpoint, counts,
//	                    └ take apart,        anything is put        manifest gone, in one step
//	                      call a function,
//	                      find the partition
//
// It promises exactly once: every source record is in exactly one object, through
// crashes and outages. The manifest names the object's key and every random value,
// so that it can be finished by whoever finds it; a put is refused when the key
// exists, and the object's metadata tells whether it is ours. Within a shard, keys
// sort in the order of the records, unless the user's own settings break it: a
// Prefix with random-string or with an order of its own, a CustomTimeZone when
// summer ends, the tenth version of a definition. And it promises to add up: see
// [Ledger].
//
// # Structure
//
//	Engine ── delivery (one delivery stream) ── shard: row, outstanding manifests, in order
//	   │                                          └ worker: the one goroutine that reads and plans
//	   │                                              └ gathering ── lanes: what becomes one object each
//	   ├ putter: a bounded set of goroutines that encode, put, post and commit for all
//	   ├ budget, spools: the memory that all lanes share, and the files for what has no room there
//	   └ supervisor: finds new shards, starts children when their parents are drained
//
// A backup of source records is a delivery within the delivery stream, with rows and
// checkpoints of its own.
//
// # Lanes
//
// A lane is a dynamic partition, a kind of error, or all that there is. Each leaves
// when it is full or old, so that some are delivered beyond the checkpoint, which
// stays at the oldest record that is not. The row names these lanes, and the recipe
// that records were processed by: whoever reads on from the checkpoint passes over
// what they have, even if an update has made other lanes since.
//
// What is computed from a record alone is computed again after a crash, by the
// manifest's recipe. What is not (answers of a function, which records were of one
// partition too many, what an update has moved to other lanes) makes a gathering
// unrepeatable: all its lanes leave together, and are staged in the bucket before
// they are planned.
//
// Lock order: Engine.control, delivery.discovering, shard.mu, putter.mu,
// Engine.reconciling, Engine.mu, delivery.mu. The last four are never held over I/O.
//
// # Several nodes
//
// Nodes that share definitions, journal, source and bucket are a group. Each row of
// the journal belongs to a slot, and each slot to one node at a time
// ([journal.Member]): a node makes rows, reads and delivers only shards whose slot
// it owns. Definitions are the same on all nodes, and every node serves every call.
//
//	Gained(slot)   load rows and manifests; finish what is planned; then find shards, and read
//	Lost(slot)     stop reading, cancel puts, forget: the next owner has it all from the journal
//
// A node that does not know yet that it lost a slot may go on encoding and putting,
// but what it puts is planned: the next owner's put of the same manifest finds the
// object, or is found by it. It can't plan or commit: the journal refuses.
//
// A deletion is settled by every owner for its own slots, in one step each: all rows
// of the delivery stream become one row of sums that is Done. When every slot has
// one, the owner of the home slot adds them up to the final counts, and the rows of
// sums go. Each step can be found done, or be done again.
//
// # What is taken and what is run
//
// A definition may say all that the service's API has for S3 and HTTP endpoints; it
// is checked in two steps. [CreateRequest.Definition] says what is wrong with it in
// the service's words, and refuses by name what is not built (other destinations,
// ORC, Decompression). Engine.admit then asks the node: is there a URL for the
// function, a table for the schema, encryption on this engine? All that passes is
// run.
//
// A table's columns are copied into the definition when it is created, updated or
// applied, so that nothing that is planned depends on the catalog.
//
// Who links this package should import time/tzdata, so that CustomTimeZone works on
// machines without a time zone database.
package delivery

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/parquet"
	"millrace/internal/delivery/transform"
	"millrace/internal/fault"
	"millrace/internal/glue"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// Source is where records come from; every stream.Backend is one.
type Source interface {
	Capabilities() stream.Capabilities
	CreateStream(ctx context.Context, spec stream.CreateStream) (*stream.Stream, error)
	DeleteStream(ctx context.Context, name string) error
	UpdateStream(ctx context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error)
	Stream(name string) (*stream.Stream, bool)
	Streams() []*stream.Stream
	Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error
	Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error
	Wait(ctx context.Context, shard stream.ShardRef, from stream.SequenceNumber) error
	Tip(ctx context.Context, shard stream.ShardRef) (stream.SequenceNumber, error)
	Hold(holder string, shard stream.ShardRef, from stream.SequenceNumber)
	Release(holder string)
}

// Sink is where objects go; every object.Store is one.
type Sink interface {
	Put(ctx context.Context, bucket, key string, body io.Reader, size int64, opts object.PutOptions) (object.Info, error)
	Head(ctx context.Context, bucket, key string) (object.Info, error)

	CreateUpload(ctx context.Context, bucket, key string, attrs object.UploadOptions) (object.Upload, error)
	PutPart(ctx context.Context, upload object.UploadRef, number int, body io.Reader, size int64, opts object.PartOptions) (object.Part, error)
	CompleteUpload(ctx context.Context, upload object.UploadRef, parts []object.Part, opts object.CompleteOptions) (object.Info, error)
	AbortUpload(ctx context.Context, upload object.UploadRef) error
	Uploads(ctx context.Context, bucket, prefix string) ([]object.Upload, error)

	Get(ctx context.Context, bucket, key string) (*object.Object, error)
	Delete(ctx context.Context, bucket, key string) error
	List(ctx context.Context, bucket string, opts object.ListOptions) (object.Page, error)
}

// Definitions keeps the documents of delivery streams, for all nodes of a group. What Update did when it returns nil
// survives a crash, and all nodes that live know it.
type Definitions interface {
	// Update replaces the definition of a name by what fn makes of the newest state: have is nil when there is none, and
	// is not changed. A result of nil deletes. An error of fn is given back, nothing changed; fn may run more than once,
	// and only its last run counts. After an error of kind Unavailable or Internal the change may have happened.
	Update(ctx context.Context, name string, fn func(have *Definition) (*Definition, error)) (*Definition, error)
	// All lists the definitions that this process knows, at least what its own updates did. It does no I/O. A definition
	// that has not changed since the last call should be the same pointer.
	All(ctx context.Context) ([]*Definition, error)
	// Follow calls fn after every change that All shows, of whatever node. fn is quick. Stop ends it.
	Follow(fn func()) (stop func())
}

// Transformer calls functions; transform.Client is one.
type Transformer interface {
	Invoke(ctx context.Context, call *transform.Call, results []transform.Result) error
}

// Poster posts to HTTP endpoints; httpendpoint.Client is one.
type Poster interface {
	Post(ctx context.Context, e *httpendpoint.Endpoint, b *httpendpoint.Body) (httpendpoint.Answer, error)
}

// Bounds of the engine, each with its reason.
const (
	// DefaultBufferBudget bounds the record bytes that all buffers hold in memory together. Beyond it a buffer
	// keeps positions only, and its records are read again when they are encoded.
	DefaultBufferBudget = 64 << 20
	// slabBytes is the unit of the budget: small enough that the lanes of some thousand partitions and quiet shards fit, large
	// enough to encode from.
	slabBytes = 8 << 10
	// stagePartBytes is the size of the parts of staged uploads: S3 wants at least 5 MiB of all but the last. stagers bounds
	// the objects of a node that are staged at a time, each with a buffer of that size.
	stagePartBytes = object.MinPartBytes
	stagers        = 6
	// unstageTimeout bounds how long the removal of what is staged and not needed may take: a later sweep tries again.
	unstageTimeout = 5 * time.Second
	// sweepUploadsEvery is how often uploads are looked for that no plan came of, and uploadAge how old they must be:
	// longer than any staging takes.
	sweepUploadsEvery = 30 * time.Minute
	uploadAge         = 2 * time.Hour
	// MaxSpoolBytes bounds the files that take outputs for which memory has no room; see spools.
	MaxSpoolBytes = 4 << 30
	// spoolFileBytes is when the next file is begun: a file is freed when nothing in it is needed any more.
	spoolFileBytes = 64 << 20
	// spoolReadBytes is how much of a spool is read at a time, spoolWriteBytes how much is written.
	spoolReadBytes  = 32 << 10
	spoolWriteBytes = 256 << 10
	// maxParts bounds the objects of a flush, and with them the manifest: a kilobyte each.
	maxParts = 256
	// flushTogether is how much before its time a lane leaves with others that are due.
	flushTogether = time.Second
	// DefaultActivePartitions is the service's bound of dynamic partitions that gather records, for a delivery stream; what
	// would be one more goes to an error object. MaxActivePartitions is to what the service raises it on request.
	DefaultActivePartitions = 500
	MaxActivePartitions     = 5000
	// maxOutstanding bounds the manifests of a shard that are planned and not committed: enough to hide the time of
	// a put and a commit, few enough to finish quickly after a crash.
	maxOutstanding = 4
	// putSlots bounds the puts under way on a node; each holds an encoder of about 1 MiB and a batch.
	putSlots = 16
	// postSlots bounds the requests to endpoints under way on a node, beside putSlots: an endpoint may take minutes to
	// answer, which no bucket should have to wait for. Their bodies share httpMemory.
	postSlots = 16
	// partSlots bounds on a node what is put beside the first put of each task: a flush of many partitions has many objects, and one
	// after the other they would take as many round trips to a store that is far away. partsAtOnce bounds it for one task.
	partSlots   = 16
	partsAtOnce = 8
	// spareWriters is how many Parquet files are open beside those that can be encoded at a time: they wait for their store. Each
	// writer holds up to writerMemory.
	spareWriters = 2
	writerMemory = parquet.WriterMemory + pieceBytes
	// putSlotsPerBucket leaves slots to the other buckets, or endpoints, when one is slow; a failing bucket gets a single one.
	putSlotsPerBucket = 8
	// readSlots bounds the batches that workers fill at a time, and with them their memory.
	readSlots = 4
	// readBatchBytes and readBatchRecords bound a batch.
	readBatchBytes   = 1 << 20
	readBatchRecords = 10000
	// readLeastBytes is the least that is read at once for several lanes, however near to its end one of them is.
	readLeastBytes = 64 << 10
	// readPause is how long a worker at the tip lets records gather before it reads again, so that a busy shard costs
	// twenty reads a second and not one for every group commit.
	readPause = 50 * time.Millisecond
	// idleWait is after how long an idle worker reads without having been woken: records that were trimmed before they
	// could be read wake nobody, and must be counted.
	idleWait = 30 * time.Second
	// zeroBufferingAge stands for IntervalInSeconds 0, "delivery within seconds": it bounds the rate of tiny objects.
	zeroBufferingAge = 500 * time.Millisecond
	// superviseEvery is how often new shards are looked for; the look costs no I/O, and retention is a day at least.
	superviseEvery = time.Second
	// retryMin and retryMax bound the wait before a failed step is tried again; it doubles, with jitter, for ever.
	retryMin = 100 * time.Millisecond
	retryMax = 10 * time.Second
	// stallTimeout ends a put whose body was not read, or whose end was not acknowledged, for so long.
	stallTimeout = 60 * time.Second
	// drainTimeout bounds how long Close waits for planned objects to be put.
	drainTimeout = 5 * time.Second
	// letGoTimeout bounds how long the loss of slots waits for what runs on them. It was told to stop; what does not is
	// refused by the journal.
	letGoTimeout = 5 * time.Second
	// deleteTimeout bounds how long Delete waits for the other nodes to settle what they own. Then it goes on alone.
	deleteTimeout = 20 * time.Second
	// groupGrace is how long a node of a group waits before it takes what it sees for final (a hidden stream without a
	// delivery stream, a shard that has left its stream): longer than the views of two nodes may be apart.
	groupGrace = 10 * time.Minute
	// MaxDeliveryStreams is the service's limit for an account and region.
	MaxDeliveryStreams = 5000
)

// DefaultGzipLevel is klauspost's fastest. For JSON of events, level 6 takes more than twice the time for objects that
// are a twentieth smaller (BenchmarkGzipLevels).
const DefaultGzipLevel = 1

const maxKeyBytes = object.MaxKeyBytes

// Options make an [Engine]. Fields without a default are required.
type Options struct {
	Source      Source
	Sink        Sink
	Definitions Definitions
	Journal     journal.Journal
	Account     ids.Account
	IDs         *ids.Source
	Now         func() time.Time // of data: wall clock; default time.Now
	Log         *slog.Logger     // default: discard

	// Function gives where a function is called by its ARN; nil: the configuration of the node has no URL for it, and delivery
	// streams that it should transform records for are refused. Default: none. Transform is who calls.
	Function  func(arn string) *transform.Endpoint
	Transform Transformer
	// HTTP posts to HTTP endpoints; nil: such destinations are refused.
	HTTP Poster
	// Table finds the table that a SchemaConfiguration names, or is NotFound. Default: there are none.
	Table func(database, name string) (*glue.Table, error)
	// PlainEndpoints allows HTTP endpoints with http:// URLs, which the service refuses.
	PlainEndpoints bool

	// DirectPutShards is how many shards the hidden stream of a Direct PUT delivery stream has that is made from now on; default
	// 1. More of them let several nodes deliver, and make as many objects in each interval.
	DirectPutShards int

	// LedgerKeep is how long it is known which object holds which records; default DefaultLedgerKeep.
	LedgerKeep time.Duration
	// Allow is told how many more bytes the engine may use from now on than it did, or less when negative: whoever bounds the
	// memory of the process allows for them. That is when Parquet files are opened and closed. It is called concurrently.
	Allow func(more int64)

	BufferBudget int64 // default DefaultBufferBudget
	// SpoolDir is where partitions and transformed records wait for which the budget has no room; default os.TempDir.
	SpoolDir string
	// LowSpace reports that space is low where SpoolDir lies: nothing more is written there. Default: it never is.
	LowSpace func() bool
	// Errors takes what delivery streams with CloudWatchLoggingOptions log; nil: it is forgotten.
	Errors ErrorLog
	// ActivePartitions bounds the dynamic partitions of a delivery stream on this node; default DefaultActivePartitions.
	ActivePartitions int
	Encoders         int // encoders that run at a time; default GOMAXPROCS-1, at least 1
	GzipLevel        int // 1 to 9; default DefaultGzipLevel

	// Failpoint, when set, is called with the name of each step that a crash test wants to die at: see [Failpoints]. [Engine.Rewrite] has
	// rewrite-planned and rewrite-saved beside.
	Failpoint func(name string)
}

// Failpoints lists the names that Options.Failpoint is called with.
var Failpoints = []string{
	"plan-before", "plan-after", "put-before", "put-after", "commit-before", "commit-after",
	"recover-before", "recover-head", "recover-after", "stage",
}

func (o *Options) setDefaults() error {
	if o.Source == nil || o.Sink == nil || o.Definitions == nil || o.Journal == nil || o.IDs == nil {
		return fault.New(fault.Internal, "delivery.New", "", "Source, Sink, Definitions, Journal and IDs are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Table == nil {
		o.Table = func(database, name string) (*glue.Table, error) {
			return nil, fault.New(fault.NotFound, "delivery.Table", glue.Key(database, name), "there are no tables")
		}
	}
	if o.DirectPutShards == 0 {
		o.DirectPutShards = 1
	}
	if o.DirectPutShards < 0 {
		return fault.New(fault.Internal, "delivery.New", "", "%d shards for Direct PUT", o.DirectPutShards)
	}
	if o.LedgerKeep == 0 {
		o.LedgerKeep = DefaultLedgerKeep
	}
	if o.BufferBudget == 0 {
		o.BufferBudget = DefaultBufferBudget
	}
	if o.SpoolDir == "" {
		o.SpoolDir = os.TempDir()
	}
	if o.LowSpace == nil {
		o.LowSpace = func() bool { return false }
	}
	if o.Errors == nil {
		o.Errors = noErrorLog{}
	}
	if o.ActivePartitions == 0 {
		o.ActivePartitions = DefaultActivePartitions
	}
	if o.ActivePartitions < 1 || o.ActivePartitions > MaxActivePartitions {
		return fault.New(fault.Invalid, "delivery.New", "", "%d active partitions are not 1 to %d", o.ActivePartitions, MaxActivePartitions)
	}
	if o.Encoders == 0 {
		o.Encoders = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if o.GzipLevel == 0 {
		o.GzipLevel = DefaultGzipLevel
	}
	if o.GzipLevel < 1 || o.GzipLevel > 9 {
		return fault.New(fault.Invalid, "delivery.New", "", "gzip level %d is not 1 to 9", o.GzipLevel)
	}
	if o.Function == nil {
		o.Function = func(string) *transform.Endpoint { return nil }
	}
	if o.Allow == nil {
		o.Allow = func(int64) {}
	}
	if o.Failpoint == nil {
		o.Failpoint = func(string) {}
	}
	return nil
}
