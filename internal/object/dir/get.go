package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// Get opens an object. Its Body is an *os.File, which the operating system can send by itself.
func (s *Store) Get(_ context.Context, bucket, key string) (*object.Object, error) {
	const op = "object.Get"
	r, err := s.head(op, bucket, key, true)
	if err != nil {
		return nil, err
	}
	return &object.Object{Info: r.info(bucket, key), Body: r.file}, nil
}

// Head describes an object.
func (s *Store) Head(_ context.Context, bucket, key string) (object.Info, error) {
	r, err := s.head("object.Head", bucket, key, false)
	if err != nil {
		return object.Info{}, err
	}
	return r.info(bucket, key), nil
}

type opened struct {
	*row
	file *os.File
}

func (s *Store) head(op, bucket, key string, open bool) (opened, error) {
	if err := checkKey(op, key); err != nil {
		return opened{}, err
	}
	if _, err := s.share(op, bucket); err != nil {
		return opened{}, err
	}
	defer s.bucketsMu.RUnlock()
	lock := s.keys.of(bucket, key)
	lock.RLock()
	defer lock.RUnlock()
	r, err := s.find(op, bucket, key)
	if err != nil {
		return opened{}, err
	}
	if r == nil {
		return opened{}, missingKey(op, key)
	}
	if !open {
		return opened{row: r}, nil
	}
	f, err := s.open(op, r)
	return opened{r, f}, err
}

// open opens the content of an object and compares its size. The caller holds the key's lock.
func (s *Store) open(op string, r *row) (*os.File, error) {
	path := r.path
	if s.settling.isDisplaced(r.version) {
		path = tempPath(r.version)
	}
	f, err := s.root.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Corrupt, op, path, "the file of an object is gone; put it back, or delete the object")
	}
	if err != nil {
		return nil, s.unavailable(op, path, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, s.unavailable(op, path, err)
	}
	if !info.Mode().IsRegular() || info.Size() != r.size {
		f.Close()
		return nil, fault.New(fault.Corrupt, op, path, "the file of an object was changed: it has %d bytes, not %d", info.Size(), r.size)
	}
	return f, nil
}
