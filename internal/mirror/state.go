package mirror

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// The state file, whole in every version of it: written beside, fsynced, renamed.
//
//	"millrace-mirror 1 " | SHA-256 of the rest, hexadecimal | "\n" | JSON of stateDoc
//
// FILE.lock is held by the process that uses FILE.
const (
	stateMagic   = "millrace-mirror"
	stateVersion = "1"
	// maxStateBytes bounds a state file that is read: 10,000 shards and 16 intents over as many stay far below.
	maxStateBytes = 256 << 20
)

// State is how far a mirror has come, in memory and on disk.
type State struct {
	file string
	lock *os.File

	mu      sync.Mutex // of all below and of what doc points to
	doc     stateDoc
	changed uint64 // counts changes

	writing sync.Mutex // taken before mu
	saved   uint64     // changes that are on disk; under writing
	broken  error      // a write failed: what is on disk is known no more; under writing
}

type stateDoc struct {
	From    string                `json:"from"` // endpoints, for people
	To      string                `json:"to"`
	Notes   map[string][]byte     `json:"notes,omitempty"` // of who opens the endpoints
	Streams map[string]*streamDoc `json:"streams"`         // by "SRC=DST"
}

// streamDoc is one pair.
type streamDoc struct {
	FromID string    `json:"fromId"` // incarnations
	ToID   string    `json:"toId"`
	Began  time.Time `json:"began"`
	Start  string    `json:"start"`
	// Places has where the destination's open shards ended when the pair began, Written where our last acknowledged record
	// ends in each. A shard above Newest was made later; all that it holds came later.
	Places  places               `json:"places"`
	Newest  uint32               `json:"newest"`
	Written places               `json:"written"`
	Shards  map[uint32]*shardDoc `json:"shards"` // of the source
}

// shardDoc is how far a source shard is copied: all before Position is at the destination, but for what Intent says.
type shardDoc struct {
	Start    stream.SequenceNumber `json:"start"`
	Position stream.SequenceNumber `json:"position"`
	Ended    bool                  `json:"ended,omitempty"`   // read to its end
	Omitted  bool                  `json:"omitted,omitempty"` // closed before a copy from the latest record began

	Counts
	Intent *intent `json:"intent,omitempty"`
}

// Counts are of records before a position. They add up: Records = Copied + Found.
type Counts struct {
	Records int64 `json:"records"` // read from the source
	Copied  int64 `json:"copied"`  // appended, and acknowledged
	Found   int64 `json:"found"`   // there already: a run before had appended them and not come to know
	Bytes   int64 `json:"bytes"`   // of keys and data of Records
	Gone    int64 `json:"gone"`    // the source had removed them before they were read; not in Records
	// Assumed are records in doubt that Options.Doubt decided about; they are in Copied or Found.
	Assumed int64 `json:"assumed,omitempty"`
	// Reordered are records that were appended behind a later one of their key: see reconcile.
	Reordered int64 `json:"reordered,omitempty"`
	// Moved are records whose shard an ExplicitHashKey or a foreign partitioner had chosen.
	Moved int64 `json:"moved,omitempty"`
}

func (c *Counts) add(d *Counts) {
	c.Records += d.Records
	c.Copied += d.Copied
	c.Found += d.Found
	c.Bytes += d.Bytes
	c.Gone += d.Gone
	c.Assumed += d.Assumed
	c.Reordered += d.Reordered
	c.Moved += d.Moved
}

// intent says that the records from the shard's Position on, before Next, may be on their way: they lie behind Places in
// the destination's shards, or nowhere. A shard that is not in Places did not exist, or holds nothing of ours before.
type intent struct {
	Next    stream.SequenceNumber `json:"next"`
	Records int                   `json:"records"`
	Places  places                `json:"places"`
}

// places are by shard.
type places map[uint32]stream.SequenceNumber

// raise moves a place up.
func (p places) raise(shard uint32, to stream.SequenceNumber) {
	if p[shard].Before(to) {
		p[shard] = to
	}
}

// begin gives the place behind which a shard of the destination may hold records of ours; false: nowhere.
func (d *streamDoc) begin(shard uint32, since places) (at stream.SequenceNumber, ok bool) {
	at, known := since[shard]
	return at, known || shard > d.Newest
}

// merged gives for each shard the later place.
func merged(a, b places) places {
	all := maps.Clone(a)
	if all == nil {
		all = places{}
	}
	for shard, at := range b {
		all.raise(shard, at)
	}
	return all
}

// OpenState opens a state file for this process, or begins a new one for the named endpoints.
//
// Errors: InUse when another process has it, Corrupt, Unsupported for another version, Invalid when it is of other
// endpoints.
func OpenState(file, from, to string) (*State, error) {
	const op = "mirror.OpenState"
	s := &State{file: file, doc: stateDoc{From: from, To: to, Notes: map[string][]byte{}, Streams: map[string]*streamDoc{}}}
	var err error
	if s.lock, err = os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fault.New(fault.Unavailable, op, file, "%w", err)
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fault.New(fault.InUse, op, file, "another process uses this state file"), s.lock.Close())
	}
	if err := s.load(op); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	return s, nil
}

func (s *State) load(op string) error {
	f, err := os.Open(s.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, op, s.file, "%w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxStateBytes+1))
	if err != nil {
		return fault.New(fault.Unavailable, op, s.file, "%w", err)
	}
	doc, err := decodeState(text)
	if err != nil {
		return fault.New(fault.KindOf(err), op, s.file, "%w; another --state begins anew, and copies all again", err)
	}
	if doc.From != s.doc.From || doc.To != s.doc.To {
		return fault.New(fault.Invalid, op, s.file, "the state is of a mirror from %s to %s, not from %s to %s; name another with --state",
			doc.From, doc.To, s.doc.From, s.doc.To)
	}
	s.doc = *doc
	return nil
}

func encodeState(doc *stateDoc) ([]byte, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s %s %x\n%s", stateMagic, stateVersion, sum, body), nil
}

func decodeState(text []byte) (*stateDoc, error) {
	corrupt := func(format string, args ...any) error {
		return &fault.Error{Kind: fault.Corrupt, Err: fmt.Errorf(format, args...)}
	}
	if len(text) > maxStateBytes {
		return nil, corrupt("more than %d bytes, which no mirror has written", maxStateBytes)
	}
	head, body, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(head)
	if len(fields) < 2 || string(fields[0]) != stateMagic {
		return nil, corrupt("it begins %.40q, which no mirror has written", text)
	}
	if string(fields[1]) != stateVersion {
		return nil, &fault.Error{Kind: fault.Unsupported, Err: fmt.Errorf("state version %.20q; this build knows %s", fields[1], stateVersion)}
	}
	sum := sha256.Sum256(body)
	if len(fields) != 3 || string(fields[2]) != hex.EncodeToString(sum[:]) {
		return nil, corrupt("its checksum does not match its content")
	}
	doc := &stateDoc{}
	if err := json.Unmarshal(body, doc); err != nil {
		return nil, corrupt("%w", err)
	}
	if doc.Notes == nil {
		doc.Notes = map[string][]byte{}
	}
	if doc.Streams == nil {
		doc.Streams = map[string]*streamDoc{}
	}
	for name, d := range doc.Streams {
		if d == nil || d.Shards == nil || slices.Contains(slices.Collect(maps.Values(d.Shards)), nil) {
			return nil, corrupt("stream %.80q has no shards", name)
		}
		if d.Written == nil {
			d.Written = places{}
		}
	}
	return doc, nil
}

// Note gives what [State.SetNote] has kept under a name.
func (s *State) Note(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doc.Notes[name]
}

// SetNote keeps something for who opens the endpoints again; it is on disk with the next save.
func (s *State) SetNote(name string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doc.Notes[name] = value
	s.changed++
}

// Resumes tells whether a run before has left something.
func (s *State) Resumes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.doc.Streams) > 0
}

// edit changes the state in memory.
func (s *State) edit(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	s.changed++
}

// view looks at the state in memory.
func (s *State) view(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *State) dirty() { s.edit(func() {}) }

// save returns when all changes made before the call are on disk. Callers that come together share a write.
func (s *State) save(failpoint func(string)) error {
	s.mu.Lock()
	mine := s.changed
	s.mu.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken != nil {
		return s.broken
	}
	if s.saved >= mine {
		return nil
	}
	s.mu.Lock()
	now := s.changed
	text, err := encodeState(&s.doc)
	s.mu.Unlock()
	if err == nil {
		err = s.write(text, failpoint)
	}
	if err != nil {
		s.broken = fault.New(fault.Unavailable, "mirror.Save", s.file, "the state can't be written: %w", err)
		return s.broken
	}
	s.saved = now
	return nil
}

// write replaces the file, whole or not at all.
func (s *State) write(text []byte, failpoint func(string)) error {
	temp, err := os.OpenFile(s.file+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	failpoint("mirror-state-written")
	if err := os.Rename(s.file+".tmp", s.file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(s.file))
	if err != nil {
		return err
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return err
	}
	failpoint("mirror-state-renamed")
	return nil
}

// Close gives the file back. What was not saved is not.
func (s *State) Close() error { return s.lock.Close() }
