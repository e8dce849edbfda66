// Package seal encrypts records at rest: a stream.Backend before another one.
//
//	Append ─ the stream has an EncryptionKey ─> seal each record's data ─┐
//	       └ it has none ────────────────────────────────────────────────┴─> Backend
//	Read  <─ open those that are marked as sealed <────────────────────────── Backend
//
// A record is sealed with AES-256-GCM; its partition key and its stream are bound
// to it, so that who can write the disk can't move data from one record to
// another. The keys come from one secret of the operator's ([Options.Secret]),
// which is asked for when the first record needs it:
//
//	key    = HKDF-SHA256(secret, salt: the writer's, info: "millrace record" and the stream's EncryptionKey)
//	record = version 1 | salt 16 | name 16 | count 8 | cipher text | tag 16
//
// Each process takes salts of its own, and under a salt it counts, so that no
// nonce comes twice however many records there are. The name is a hash of the
// EncryptionKey: records stay readable after the stream has another key, or none.
//
// Partition keys, hash keys and arrival times are not encrypted: the backend needs
// them.
package seal

import (
	"container/list"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// SecretBytes is how long the secret is.
const SecretBytes = 32

// Options make a [Backend].
type Options struct {
	// Secret gives the operator's secret, of SecretBytes, or says why there is none. It is asked when a stream is first to
	// be encrypted, or a sealed record first to be read, and again after an error. With first, no stream is encrypted yet:
	// a new secret may be made. Otherwise there must be one, and a new one would hide that it is lost.
	Secret func(first bool) ([]byte, error)
}

// Backend is a stream.Backend that encrypts before another one, which must keep the mark (Capabilities.Seals).
type Backend struct {
	stream.Backend
	opts Options

	mu      sync.Mutex
	secret  []byte
	writers map[string]*writer // by EncryptionKey
	readers map[readerID]*list.Element
	recent  *list.List // of *reader, the one used last in front
}

// Of puts encryption before a backend.
func Of(b stream.Backend, o Options) *Backend {
	return &Backend{Backend: b, opts: o, writers: map[string]*writer{}, readers: map[readerID]*list.Element{}, recent: list.New()}
}

const (
	version  = 1
	saltSize = 16
	nameSize = 16
	head     = 1 + saltSize + nameSize + 8
	tagSize  = 16
	// Overhead is how much longer a sealed record is.
	Overhead = head + tagSize

	// maxReaders bounds the keys that are at hand for reading: one for each start of a process that wrote the records. Who
	// reads across more derives them anew, which takes microseconds.
	maxReaders = 256
	// maxWriters bounds the keys that are at hand for writing; EncryptionKeys are few.
	maxWriters = 1024
)

// writer seals under one salt.
type writer struct {
	aead  cipher.AEAD
	head  [1 + saltSize + nameSize]byte
	count atomic.Uint64
}

type readerID struct {
	salt [saltSize]byte
	name [nameSize]byte
}

type reader struct {
	id   readerID
	aead cipher.AEAD
}

// Capabilities tells that the work is done here.
func (b *Backend) Capabilities() stream.Capabilities {
	c := b.Backend.Capabilities()
	c.Seals = false
	return c
}

// Healthy is Unavailable when a stream is to be encrypted and there is no secret to do it with.
func (b *Backend) Healthy(ctx context.Context) error {
	for _, def := range b.Streams() {
		if def.EncryptionKey == "" {
			continue
		}
		if _, err := b.writer(def.EncryptionKey, false); err != nil {
			return fault.New(fault.Unavailable, "seal.Healthy", def.Name, "its records are to be encrypted: %w", err)
		}
	}
	return b.Backend.Healthy(ctx)
}

// UpdateStream refuses to begin encryption when there is no secret: Denied.
func (b *Backend) UpdateStream(ctx context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	return b.Backend.UpdateStream(ctx, name, func(set *stream.Settings) error {
		before := set.EncryptionKey
		if err := edit(set); err != nil || set.EncryptionKey == before || set.EncryptionKey == "" {
			return err
		}
		_, err := b.writer(set.EncryptionKey, !b.encrypts())
		return err
	})
}

// encrypts reports whether any stream is encrypted.
func (b *Backend) encrypts() bool {
	return slices.ContainsFunc(b.Streams(), func(def *stream.Stream) bool { return def.EncryptionKey != "" })
}

// Append seals the entries of a stream that is encrypted, and appends them.
func (b *Backend) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	def, ok := b.Stream(name)
	if !ok || def.EncryptionKey == "" {
		return b.Backend.Append(ctx, name, entries, results)
	}
	w, err := b.writer(def.EncryptionKey, false)
	if err != nil {
		// The operator's trouble, not the caller's: the same call succeeds when the secret is back.
		return fault.New(fault.Unavailable, "seal.Append", name, "%w", err)
	}
	c := calls.Get().(*call)
	defer c.release()
	c.seal(w, def.ID, entries)
	return b.Backend.Append(ctx, name, c.entries, results)
}

// call is what an append or a read borrows: entries and their cipher text, and what goes into the cipher beside it.
type call struct {
	entries []stream.Entry
	text    []byte
	bound   []byte
	nonce   [12]byte
}

var calls = sync.Pool{New: func() any { return new(call) }}

// maxKeptBytes and maxKeptEntries bound what the pool keeps of one call.
const (
	maxKeptBytes   = 1 << 20
	maxKeptEntries = 1 << 10
)

func (c *call) release() {
	if cap(c.text) > maxKeptBytes || cap(c.entries) > maxKeptEntries {
		return
	}
	clear(c.entries)
	calls.Put(c)
}

func (c *call) seal(w *writer, incarnation string, entries []stream.Entry) {
	size := 0
	for i := range entries {
		size += len(entries[i].Data) + Overhead
	}
	if cap(c.text) < size {
		c.text = make([]byte, 0, size) // no entry's text may move when the next is added
	}
	text := c.text[:0]
	c.entries = append(c.entries[:0], entries...)
	// Counts are taken for the whole call at once; they only have to differ.
	count := w.count.Add(uint64(len(entries))) - uint64(len(entries))
	for i := range entries {
		at := len(text)
		text = append(text, w.head[:]...)
		text = binary.BigEndian.AppendUint64(text, count+uint64(i))
		copy(c.nonce[4:], text[head-8+at:])
		c.bound = appendBound(c.bound[:0], incarnation, entries[i].PartitionKey)
		text = w.aead.Seal(text, c.nonce[:], entries[i].Data, c.bound)
		c.entries[i].Data, c.entries[i].Sealed = text[at:len(text):len(text)], true
	}
	c.text = text
}

// appendBound appends what is bound to a record beside its data. Its stream is a number's worth of letters that never
// holds a zero byte.
func appendBound[K string | []byte](dst []byte, incarnation string, partitionKey K) []byte {
	return append(append(append(dst, incarnation...), 0), partitionKey...)
}

// Read reads, and opens what is sealed. A record that can't be opened ends the batch before it; as the first one it is
// an error.
func (b *Backend) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	if err := b.Backend.Read(ctx, req, batch); err != nil {
		return err
	}
	var last *reader
	c := calls.Get().(*call)
	defer c.release()
	for i := range batch.Records {
		r := &batch.Records[i]
		if !r.Sealed {
			continue
		}
		var err error
		if last, err = b.readerOf(last, r.Data); err == nil {
			err = c.open(last, r, req.Shard.ID)
		}
		switch {
		case err == nil:
		case i > 0:
			cut(batch, i)
			return nil
		default:
			return fault.New(fault.Corrupt, "seal.Read", req.Shard.String(), "record %s can't be decrypted: %w", r.Sequence, err)
		}
	}
	return nil
}

// cut ends a batch before its i-th record: who reads on comes to that one first.
func cut(batch *stream.Batch, i int) {
	batch.Next = batch.Records[i].Sequence
	batch.Records = batch.Records[:i]
	batch.MillisBehind, batch.End = max(batch.MillisBehind, 1), false
}

// open replaces a record's data by what was sealed, in its place.
func (c *call) open(k *reader, r *stream.Record, incarnation string) error {
	copy(c.nonce[4:], r.Data[head-8:head])
	c.bound = appendBound(c.bound[:0], incarnation, r.PartitionKey)
	plain, err := k.aead.Open(r.Data[head:head], c.nonce[:], r.Data[head:], c.bound)
	if err != nil {
		return errors.New("the secret is another than it was sealed with, or the record has been changed")
	}
	r.Data = plain[:len(plain):len(plain)]
	return nil
}

// writer gives the key that new records are sealed with.
func (b *Backend) writer(encryptionKey string, first bool) (*writer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w, ok := b.writers[encryptionKey]; ok {
		return w, nil
	}
	var id readerID
	_, _ = rand.Read(id.salt[:]) // never fails: the runtime ends the process first
	id.name = nameOf(encryptionKey)
	aead, err := b.derive(id, first)
	if err != nil {
		return nil, err
	}
	if len(b.writers) >= maxWriters {
		clear(b.writers) // the next of each takes a new salt
	}
	w := &writer{aead: aead}
	w.head[0] = version
	copy(w.head[1:], id.salt[:])
	copy(w.head[1+saltSize:], id.name[:])
	b.writers[encryptionKey] = w
	return w, nil
}

// nameOf is what a record tells of the key's name.
func nameOf(encryptionKey string) [nameSize]byte {
	sum := sha256.Sum256([]byte("millrace encryption key\x00" + encryptionKey))
	return [nameSize]byte(sum[:nameSize])
}

// readerOf gives the key of a sealed record; last is the one before it, which mostly is the same.
func (b *Backend) readerOf(last *reader, sealed []byte) (*reader, error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return last, errors.New("it is marked as sealed, and is not")
	}
	var id readerID
	copy(id.salt[:], sealed[1:])
	copy(id.name[:], sealed[1+saltSize:])
	if last != nil && last.id == id {
		return last, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.readers[id]; ok {
		b.recent.MoveToFront(e)
		return e.Value.(*reader), nil
	}
	aead, err := b.derive(id, false)
	if err != nil {
		return last, err
	}
	if b.recent.Len() >= maxReaders {
		oldest := b.recent.Back()
		delete(b.readers, b.recent.Remove(oldest).(*reader).id)
	}
	k := &reader{id, aead}
	b.readers[id] = b.recent.PushFront(k)
	return k, nil
}

// derive makes a key. The caller holds mu.
func (b *Backend) derive(id readerID, first bool) (cipher.AEAD, error) {
	const op = "seal"
	if b.secret == nil {
		secret, err := b.opts.Secret(first)
		if err != nil {
			return nil, fault.New(fault.Denied, op, "", "there is no key to encrypt with: %w", err)
		}
		if len(secret) != SecretBytes {
			return nil, fault.New(fault.Denied, op, "", "there is no key to encrypt with: the secret has %d bytes, not %d", len(secret), SecretBytes)
		}
		b.secret = secret
	}
	key, err := hkdf.Key(sha256.New, b.secret, id.salt[:], "millrace record\x00"+string(id.name[:]), 32)
	if err != nil {
		return nil, fault.New(fault.Internal, op, "", "%w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.New(fault.Internal, op, "", "%w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fault.New(fault.Internal, op, "", "%w", err)
	}
	return aead, nil
}
