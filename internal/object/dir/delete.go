package dir

import (
	"context"
	"errors"
	"io/fs"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

// Delete removes a key from the index, then its file. It needs no space to speak of, so that a full disk can be
// emptied: the low-space mark does not hold for it.
func (s *Store) Delete(_ context.Context, bucket, key string) error {
	return s.remove("object.Delete", bucket, key, "")
}

// DeleteIfMatch removes a key if its object has the ETag.
func (s *Store) DeleteIfMatch(_ context.Context, bucket, key, etag string) error {
	return s.remove("object.DeleteIfMatch", bucket, key, etag)
}

// remove removes a key; match is the ETag that its object must have, if it is not empty.
func (s *Store) remove(op, bucket, key, match string) error {
	if s.closed.Load() || s.broken.Load() != nil {
		return s.writable(op)
	}
	if err := s.checkNames(op, bucket, key); err != nil {
		return err
	}
	s.settling.bound(s)
	if _, err := s.share(op, bucket); err != nil {
		return err
	}
	defer s.bucketsMu.RUnlock()
	lock := s.keys.of(bucket, key)
	lock.Lock()
	defer lock.Unlock()
	old, err := s.find(op, bucket, key)
	switch {
	case fault.Is(err, fault.Corrupt) && match == "":
		old = &row{} // a row that can't be read can at least be removed
	case err != nil:
		return err
	case old == nil && match == "":
		return nil
	case old == nil:
		return fault.New(fault.PreconditionFailed, op, key, "there is no object")
	case match != "" && match != "*" && old.etag != match:
		return fault.New(fault.PreconditionFailed, op, key, "the object has ETag %s", old.etag)
	}
	u := unset{s.opts.IDs.String(ids.LowerAlnum, 24), bucket, key, old.path}
	if err := s.commitRemoval(op, &u); err != nil {
		return err
	}
	s.removeContent(old, &u)
	return nil
}

func (s *Store) commitRemoval(op string, u *unset) error {
	batch := s.opts.DB.NewBatch()
	defer batch.Close()
	err := errors.Join(
		batch.Delete(s.objectKey(u.bucket, u.key), nil),
		batch.Set(s.key(rowUnset, u.name), u.append(nil), nil))
	if err != nil {
		return s.unavailable(op, u.key, err)
	}
	return s.commit(op, u.key, batch)
}

// removeContent removes the file of an object that the index has forgotten. When that fails, the next start does it.
func (s *Store) removeContent(old *row, u *unset) {
	err := s.at(stepRemoving)
	if s.settling.isDisplaced(old.version) {
		s.settling.superseded(s, old.version)
	} else if err == nil && u.path != "" {
		err = s.root.Remove(u.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opts.Log.Warn("the file of a deleted object can't be removed; the next start does it", "file", u.path, "error", err)
		return
	}
	s.places.prune(u.path)
	_ = s.at(stepRemoved)
	s.settling.add(s, u)
}

// Tag replaces the tags of an object.
func (s *Store) Tag(_ context.Context, bucket, key string, tags map[string]string) error {
	const op = "object.Tag"
	if err := s.writable(op); err != nil {
		return err
	}
	if err := s.checkNames(op, bucket, key); err != nil {
		return err
	}
	if _, err := s.share(op, bucket); err != nil {
		return err
	}
	defer s.bucketsMu.RUnlock()
	lock := s.keys.of(bucket, key)
	lock.Lock()
	defer lock.Unlock()
	r, err := s.find(op, bucket, key)
	if err != nil {
		return err
	}
	if r == nil {
		return missingKey(op, key)
	}
	r.attrs.Tags = tags
	return s.set(op, key, s.objectKey(bucket, key), r.append(nil))
}

var _ object.Store = (*Store)(nil)
