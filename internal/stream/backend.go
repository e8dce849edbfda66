package stream

import (
	"context"
	"time"
)

// Backend keeps streams and their records. All methods may be called concurrently.
//
// What survives a crash: a method that returned nil is durable, as the backend
// defines it (fsync, or all in-sync replicas). What returned an error may or may
// not have happened when the error's kind is Unavailable or Internal; with any
// other kind nothing has happened.
//
// Errors are fault.Error: NotFound for an unknown or hidden-and-gone stream or
// shard, InUse for a name that exists or a state that forbids the call,
// Unavailable when durability can't be had now (full disk, low-space mark,
// stopping), Throttled, Invalid.
//
// Nothing here assumes a local disk: trimming may be the engine's, sequence
// numbers are opaque and not dense. Differences are data: [Capabilities].
type Backend interface {
	Capabilities() Capabilities

	// CreateStream makes a stream, durably, ACTIVE at return or soon after.
	CreateStream(ctx context.Context, spec CreateStream) (*Stream, error)
	// DeleteStream removes a stream and its records; its name is free at return, or soon after where an engine takes its
	// time: until then the stream is described as DELETING.
	DeleteStream(ctx context.Context, name string) error
	// UpdateStream changes a stream's settings: edit gets those of this moment, of its own to change, and what it leaves in
	// them is stored, unless it returns an error, which UpdateStream then returns as it is. No other change comes between;
	// where others may have been quicker, edit is called again. A setting that an engine can't change is Unsupported.
	UpdateStream(ctx context.Context, name string, edit func(*Settings) error) (*Stream, error)
	// Reshard splits, merges or scales. Each closed parent's records end where its children's begin: whoever reads the
	// parents to their ends and then the children sees every key in order. The stream that it returns may be UPDATING; it
	// is ACTIVE soon after, with the children in place, and the parents' End is set. Until then another Reshard is InUse;
	// writes and reads go on throughout. Errors beside the usual ones: those of [Stream.Resharded].
	//
	// A closed shard stays until its last record has left retention and no holder needs it; then it leaves the stream.
	Reshard(ctx context.Context, name string, change Reshard) (*Stream, error)
	// Stream describes a stream; ok is false when there is none. It does no I/O.
	Stream(name string) (s *Stream, ok bool)
	// Streams lists all streams, hidden ones included, in byte order of their names. It does no I/O.
	Streams() []*Stream

	// Append adds entries to the open shards that hold their hash keys; results[i] is for entries[i], and both
	// have the same length. It is not atomic: entries fail one by one in results; a returned error means that
	// none was written. Entries of one call that go to one shard get rising numbers in their order
	// (Capabilities.OrderedCalls), and an entry that follows the answer to another gets the higher number, also in a child.
	//
	// A result without error is durable. Append keeps no reference to entries or results after it returns, and
	// returns only when it needs them no more. Cancelling ctx gives up waiting to be admitted, not a write in
	// flight: that is waited for, or goes on by itself and its result is Unavailable.
	Append(ctx context.Context, stream string, entries []Entry, results []Result) error

	// Read fills batch from the first record at or after req.From, as far as is at hand: it may return fewer records than
	// the bounds allow, and none before the tip; MillisBehind tells. See [Batch] for who owns the bytes.
	// At the tip the batch is empty and that is no error.
	Read(ctx context.Context, req ReadRequest, batch *Batch) error
	// Wait returns nil when a record at or after from can be read, or the shard is closed; else ctx's error.
	// An unknown shard is NotFound, also when it goes while waiting.
	Wait(ctx context.Context, shard ShardRef, from SequenceNumber) error
	// Tip gives the place after the newest durable record. Where an engine can't name it for an idle shard it is a moment
	// ([Since]) that no record has arrived after; no record that is appended from then on is missed either way.
	Tip(ctx context.Context, shard ShardRef) (SequenceNumber, error)
	// Horizon gives the place of the oldest record that retention still shows.
	Horizon(ctx context.Context, shard ShardRef) (SequenceNumber, error)
	// At gives the place of the first record that arrived at or after t (milliseconds matter).
	At(ctx context.Context, shard ShardRef, t time.Time) (SequenceNumber, error)

	// Hold keeps the records of a shard from the given place on from being trimmed, for as long as the process
	// runs: the holder (a delivery stream) says how far it has committed. It says so again after a start and
	// before [Backend.StartTrimming]. Backends whose engine trims ignore it (Capabilities.Holds).
	Hold(holder string, shard ShardRef, from SequenceNumber)
	// Release drops all holds of a holder.
	Release(holder string)
	// StartTrimming begins to delete what retention no longer shows and nothing holds.
	StartTrimming()

	// Healthy returns nil when an append could be made durable now.
	Healthy(ctx context.Context) error
	// Close finishes appends in flight and stops. Later calls fail as Unavailable.
	Close(ctx context.Context) error
}

// Capabilities says how a backend differs from others.
type Capabilities struct {
	// DensePositions: SequenceNumber.Parts gives positions that count records without gaps, so that the
	// difference of two is a count.
	DensePositions bool
	// Holds: the backend honours Hold.
	Holds bool
	// HidesAtAge: a record is hidden at its age, by the backend's clock, and closed shards leave when the backend trims.
	// Else the engine does both when it sees fit.
	HidesAtAge bool
	// OrderedCalls: entries of one call that go to one shard get rising numbers in their order. Else only what one call
	// was told before the next began is in order.
	OrderedCalls bool
	// OrderedFailures: of the entries of one call that go to one shard, none is written behind one that was not. Else who
	// needs the order of a key, come what may, appends one entry of it at a time.
	OrderedFailures bool
	// ForeignNumbers: sequence numbers are another service's. SequenceNumber.Parts tells nothing about them, also where
	// one happens to have our layout; that service judges which are valid.
	ForeignNumbers bool
	// Seals: the backend keeps the mark of sealed records, so that stream/seal can encrypt before it. Else encryption is
	// the engine's own, and Record.Sealed tells of it.
	Seals bool
}

// CreateStream says what to make. The zero value of a field means the default.
type CreateStream struct {
	Name           string
	Mode           Mode // default Provisioned
	Shards         int  // default 1; OnDemandShards for OnDemand
	Retention      time.Duration
	MaxRecordBytes int
	Tags           map[string]string
}

// Entry is a record to append.
type Entry struct {
	PartitionKey    string
	ExplicitHashKey *HashKey // nil: the MD5 of PartitionKey decides
	Data            []byte
	// Sealed says that Data is cipher text. Backends keep the mark and ask no more; stream/seal sets it and reads it.
	Sealed bool
}

// HashKey gives the point that decides the entry's shard.
func (e *Entry) HashKey() HashKey {
	if e.ExplicitHashKey != nil {
		return *e.ExplicitHashKey
	}
	return HashPartitionKey(e.PartitionKey)
}

// Result tells where an entry went.
type Result struct {
	Shard    uint32
	Sequence SequenceNumber
	Err      error // kinds Throttled, Unavailable, Internal; Denied where the engine does not let us write
}

// ReadRequest asks for records.
type ReadRequest struct {
	Shard      ShardRef
	From       SequenceNumber
	MaxRecords int // at least 1
	MaxBytes   int // of data and keys; the first record is returned whatever its size
	// Held also shows records that retention hides but a hold keeps: for delivery.
	Held bool
	// Consumer names the registered consumer who reads, with a throughput of its own; "": one who shares the shard's.
	Consumer string
}

// Batch is what Read fills. Records and the bytes that they point to belong to
// the batch and are overwritten by the next Read into it; a caller that keeps one
// copies it. The zero value is ready for use, and reusing one saves allocations.
type Batch struct {
	Records []Record
	// Next is where to go on reading: above every returned record, never below From.
	Next SequenceNumber
	// Skipped counts the records between From and the first returned one that are gone (trimmed): exactly with dense
	// positions, else as many as the backend knows of, an upper bound where it can only say how many there may have been.
	Skipped int64
	// Resumed is where reading goes on behind records that are gone; zero: there is no gap. At most the first returned
	// record's number, at most Next, and above From.
	Resumed SequenceNumber
	// MillisBehind is 0 at the tip, else the age of the last returned record, and positive while more follow.
	MillisBehind int64
	// End is set when the shard is closed and Next lies behind its last record; its children are listed by then.
	End bool

	Buf []byte // the backend's: memory that Records point to
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Records = b.Records[:0]
	b.Buf = b.Buf[:0]
	b.Next, b.Resumed = SequenceNumber{}, SequenceNumber{}
	b.Skipped, b.MillisBehind, b.End = 0, 0, false
}
