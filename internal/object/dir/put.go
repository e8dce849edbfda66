package dir

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// Put stores an object; see [object.Store]. A condition that can't hold any more is refused before the body is read.
func (s *Store) Put(ctx context.Context, bucket, key string, body io.Reader, size int64, opts object.PutOptions) (object.Info, error) {
	const op = "object.Put"
	if err := s.checkPut(op, bucket, key, &opts.Attributes, opts.Conditions); err != nil {
		return object.Info{}, err
	}
	t, err := s.receive(ctx, op, key, content{body, size, opts.Want, opts.Trailer, []string{opts.Compute}})
	if err != nil {
		return object.Info{}, err
	}
	defer t.discard()
	r := &row{version: t.name, size: t.size, modified: s.now(), etag: hex.EncodeToString(t.sums.md5.Sum(nil)),
		checksums: t.sums.checksums(), attrs: opts.Attributes}
	kept, err := s.replace(op, bucket, key, r, opts.Conditions, nil)
	t.kept = kept
	if err != nil {
		return object.Info{}, err
	}
	return r.info(bucket, key), nil
}

// now is the time of a change, with the milliseconds that the wire can carry.
func (s *Store) now() time.Time { return s.opts.Now().UTC().Truncate(time.Millisecond) }

// checkPut finds what is wrong before the body is read.
func (s *Store) checkPut(op, bucket, key string, attrs *object.Attributes, cond object.Conditions) error {
	if err := s.writable(op); err != nil {
		return err
	}
	s.settling.bound(s)
	if err := s.checkNames(op, bucket, key); err != nil {
		return err
	}
	n := 0
	for name, value := range attrs.Metadata {
		n += len(name) + len(value)
	}
	if n > object.MaxMetadataBytes {
		return fault.New(fault.Invalid, op, key, "%w: %d bytes, more than %d", object.ErrMetadataTooLarge, n, object.MaxMetadataBytes)
	}
	if cond == (object.Conditions{}) {
		return nil
	}
	if _, err := s.share(op, bucket); err != nil {
		return err
	}
	defer s.bucketsMu.RUnlock()
	lock := s.keys.of(bucket, key)
	lock.RLock()
	defer lock.RUnlock()
	old, err := s.find(op, bucket, key)
	if err != nil {
		return err
	}
	return checkConditions(op, key, old, cond)
}

// checkNames finds the bucket and looks at the key.
func (s *Store) checkNames(op, bucket, key string) error {
	if err := checkKey(op, key); err != nil {
		return err
	}
	_, err := s.bucket(op, bucket)
	return err
}

func checkKey(op, key string) error {
	if !object.ValidKey(key) {
		return fault.New(fault.Invalid, op, key, "a key is 1 to %d bytes of UTF-8", object.MaxKeyBytes)
	}
	return nil
}

func checkConditions(op, key string, old *row, cond object.Conditions) error {
	switch {
	case cond.IfNoneMatch == "" && cond.IfMatch == "":
		return nil
	case cond.IfNoneMatch != "" && cond.IfNoneMatch != "*":
		return fault.New(fault.Unsupported, op, key, "If-None-Match of a write other than *")
	case cond.IfNoneMatch == "*" && old != nil:
		return fault.New(fault.PreconditionFailed, op, key, "the key exists")
	case cond.IfMatch != "" && old == nil:
		return missingKey(op, key)
	case cond.IfMatch != "" && cond.IfMatch != "*" && old.etag != cond.IfMatch:
		return fault.New(fault.PreconditionFailed, op, key, "the object has ETag %s", old.etag)
	}
	return nil
}

func missingKey(op, key string) error {
	return fault.New(fault.NotFound, op, object.MissingKey+key, "no such key")
}

// find reads the row of an object; nil when there is none. The caller holds the key's lock.
func (s *Store) find(op, bucket, key string) (*row, error) {
	value, closer, err := s.opts.DB.Get(s.objectKey(bucket, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.unavailable(op, key, err)
	}
	defer closer.Close()
	r, err := decodeRow(value, false)
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, bucket+"/"+key, "%w", err)
	}
	return r, nil
}

// replace makes the durable temporary file r.version the object of a key, if the conditions hold. also adds to the
// batch that does it. kept: the index may name the file, even when err is not nil.
func (s *Store) replace(op, bucket, key string, r *row, cond object.Conditions, also func(*pebble.Batch) error) (kept bool, err error) {
	if _, err := s.share(op, bucket); err != nil {
		return false, err
	}
	defer s.bucketsMu.RUnlock()
	lock := s.keys.of(bucket, key)
	lock.Lock()
	defer lock.Unlock()
	old, err := s.find(op, bucket, key)
	if err != nil {
		return false, err
	}
	if err := checkConditions(op, key, old, cond); err != nil {
		return false, err
	}
	if old != nil {
		r.path = old.path
	} else {
		if r.path, err = s.places.place(op, bucket, key); err != nil {
			return false, err
		}
		defer s.places.release(r.path)
	}
	u := unset{r.version, bucket, key, r.path}
	if err := s.commitRow(op, r, &u, also); err != nil {
		return true, err // perhaps it is committed: the file has to stay
	}
	if old != nil {
		s.settling.superseded(s, old.version)
	}
	s.moveIntoPlace(&u)
	return true, nil
}

func (s *Store) commitRow(op string, r *row, u *unset, also func(*pebble.Batch) error) error {
	batch := s.opts.DB.NewBatch()
	defer batch.Close()
	err := errors.Join(
		batch.Set(s.objectKey(u.bucket, u.key), r.append(nil), nil),
		batch.Set(s.key(rowUnset, u.name), u.append(nil), nil))
	if err == nil && also != nil {
		err = also(batch)
	}
	if err != nil {
		return s.unavailable(op, u.key, err)
	}
	return s.commit(op, u.key, batch)
}

// moveIntoPlace renames the file of a committed object. The object exists whether this succeeds or not: until it does,
// it is read where it is.
func (s *Store) moveIntoPlace(u *unset) {
	err := s.at(stepCommitted)
	if err == nil {
		err = s.rename(u)
	}
	if err != nil {
		s.settling.displace(s, u, err)
		return
	}
	_ = s.at(stepRenamed) // nothing can fail here any more
	s.settling.add(s, u)
}

func (s *Store) rename(u *unset) error {
	err := s.root.Rename(tempPath(u.name), u.path)
	if err == nil {
		return nil
	}
	if again := s.places.again(u.path); again != nil {
		return errors.Join(err, again)
	}
	return s.root.Rename(tempPath(u.name), u.path)
}
