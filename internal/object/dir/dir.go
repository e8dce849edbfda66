package dir

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

// Options of a store. Fields without a default are required.
type Options struct {
	// Root is the folder of the buckets. It is made when it does not exist.
	Root string
	// DB holds the index under keys that begin with Prefix; others may share it. The store does not close it. One DB
	// belongs to one Root: the lock on the DB is what keeps two processes out of a folder.
	DB     *pebble.DB
	Prefix []byte
	Now    func() time.Time
	IDs    *ids.Source
	// Low reports that the disk is below its low-space mark: writes are refused. Default: never.
	Low func() bool
	Log *slog.Logger // default: discard
	// Failpoint is called at each step of a change with its name, see Steps. For tests of crashes.
	Failpoint func(step string)

	fail     func(step string) error // tests: a fault of the file system at a step
	portable bool                    // tests: behave as on a file system that folds case
}

// Bounds of a store.
const (
	// MaxBuckets is how many buckets there may be; they are kept in memory.
	MaxBuckets = 10_000
	// MaxUploads is how many uploads of a bucket may be in progress: their list is answered whole.
	MaxUploads = 10_000
)

// Store is an [object.Store]. It is safe for concurrent use.
type Store struct {
	opts     Options
	root     *os.Root
	portable bool

	// bucketsMu is held shared by all that commits into a bucket, so that a deletion sees an empty one or waits.
	bucketsMu sync.RWMutex
	buckets   map[string]*bucket

	uploads, parts, keys stripes
	temps                folderSync
	places               *placement
	settling             settler
	broken               atomic.Pointer[error] // a folder's fsync has failed: nothing can be promised until a restart
	closed               atomic.Bool
}

type bucket struct {
	object.Bucket
	uploads atomic.Int64
}

// Open opens the store and finishes what a crash has cut.
func Open(opts Options) (*Store, error) {
	const op = "object.Open"
	if opts.Root == "" || opts.DB == nil || opts.Now == nil || opts.IDs == nil {
		return nil, fault.New(fault.Internal, op, opts.Root, "Root, DB, Now and IDs are required")
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Low == nil {
		opts.Low = func() bool { return false }
	}
	if err := os.MkdirAll(opts.Root, 0o755); err != nil {
		return nil, fault.New(fault.Unavailable, op, opts.Root, "%w", err)
	}
	root, err := os.OpenRoot(opts.Root)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, opts.Root, "%w", err)
	}
	s := &Store{opts: opts, root: root, buckets: map[string]*bucket{}}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return s, nil
}

func (s *Store) start() error {
	const op = "object.Open"
	if err := s.root.Mkdir(privateDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return s.unavailable(op, privateDir, err)
	}
	if err := s.checkFormat(op); err != nil {
		return err
	}
	s.places = newPlacement(s.root, s.portable)
	s.temps.sync = func() error { return s.syncFolder(privateDir) }
	if err := s.loadBuckets(op); err != nil {
		return err
	}
	if err := s.recover(op); err != nil {
		return err
	}
	s.settling.run(s)
	return nil
}

// checkFormat reads the version and flags of the index, or writes those of a new one.
func (s *Store) checkFormat(op string) error {
	value, err := s.get(s.key(rowFormat))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		s.portable = s.opts.portable || s.foldsCase()
		flags := byte(0)
		if s.portable {
			flags = 1
		}
		if err := s.opts.DB.Set(s.key(rowFormat), []byte{formatVersion, flags}, pebble.Sync); err != nil {
			return s.unavailable(op, s.opts.Root, err)
		}
		return nil
	case err != nil:
		return s.unavailable(op, s.opts.Root, err)
	case len(value) != 2 || value[0] < 1 || value[0] > formatVersion:
		return fault.New(fault.Unsupported, op, s.opts.Root, "the index of objects has format % x; this build reads versions 1 to %d", value, formatVersion)
	}
	s.portable = value[1]&1 == 1
	if value[0] < formatVersion {
		if err := s.opts.DB.Set(s.key(rowFormat), []byte{formatVersion, value[1]}, pebble.Sync); err != nil {
			return s.unavailable(op, s.opts.Root, err)
		}
	}
	return nil
}

// foldsCase tells by trying whether "a" and "A" are one name here.
func (s *Store) foldsCase() bool {
	f, err := s.root.Create(privateDir + "/case")
	if err != nil {
		return false
	}
	f.Close()
	defer s.root.Remove(privateDir + "/case")
	_, err = s.root.Lstat(privateDir + "/CASE")
	return err == nil
}

// Close settles what is not settled and ends the store. Calls after it are Unavailable.
func (s *Store) Close() error {
	if !s.shut() {
		return nil
	}
	s.settling.stop()
	return s.root.Close()
}

// shut waits for what is being read or committed; what comes later sees closed. False: it was shut before.
func (s *Store) shut() bool {
	s.bucketsMu.Lock()
	defer s.bucketsMu.Unlock()
	return !s.closed.Swap(true)
}

// Healthy makes a small file durable, and the index with it.
func (s *Store) Healthy(ctx context.Context) error {
	const op = "object.Healthy"
	if err := s.writable(op); err != nil {
		return err
	}
	t, err := s.newTemp(op)
	if err != nil {
		return err
	}
	defer t.discard()
	if _, err := t.file.Write([]byte("healthy\n")); err != nil {
		return s.unavailable(op, t.path(), err)
	}
	if err := t.makeDurable(op); err != nil {
		return err
	}
	if err := s.opts.DB.LogData([]byte("healthy"), pebble.Sync); err != nil {
		return s.unavailable(op, "index", err)
	}
	return ctx.Err()
}

// writable says why no change can be made now.
func (s *Store) writable(op string) error {
	if s.closed.Load() {
		return fault.New(fault.Unavailable, op, s.opts.Root, "the store is closed")
	}
	if cause := s.broken.Load(); cause != nil {
		return fault.New(fault.Unavailable, op, s.opts.Root, "an earlier fsync failed; restart to recover: %w", *cause)
	}
	if s.opts.Low() {
		return fault.New(fault.Unavailable, op, s.opts.Root, "%w", fault.ErrLowSpace)
	}
	return nil
}

func (s *Store) unavailable(op, what string, err error) error {
	return fault.New(fault.Unavailable, op, what, "%w", err)
}

// get reads a row of the index.
func (s *Store) get(key []byte) ([]byte, error) {
	value, closer, err := s.opts.DB.Get(key)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte(nil), value...), nil
}

// commit makes a batch durable.
func (s *Store) commit(op, resource string, batch *pebble.Batch) error {
	if err := batch.Commit(pebble.Sync); err != nil {
		return fault.New(fault.Unavailable, op, resource, "commit to the index: %w", err)
	}
	return nil
}

// scan calls f with each row whose key begins with prefix, until f returns an error. Keys are given without prefix.
func (s *Store) scan(prefix []byte, f func(key, value []byte) error) error {
	it, err := s.opts.DB.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = f(it.Key()[len(prefix):], value)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// stripes are locks of names; two names may share one.
type stripes [256]sync.RWMutex

func (l *stripes) of(parts ...string) *sync.RWMutex {
	h := uint32(2166136261) // FNV-1a
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint32(p[i])) * 16777619
		}
		h = (h ^ 0xff) * 16777619
	}
	return &l[(h^h>>16)%uint32(len(l))]
}
