package dir

import (
	"errors"
	"io/fs"
	"path"
	"slices"

	"millrace/internal/fault"
)

// recover finishes what is not settled, and removes temporary files that nothing refers to. It looks at what was in
// progress, not at the objects.
func (s *Store) recover(op string) error {
	list, err := s.unsettled()
	if err != nil {
		return fault.New(fault.Unavailable, op, "index", "%w", err)
	}
	folders := map[string]bool{}
	for i := range list {
		if err := s.finish(op, &list[i]); err != nil {
			return err
		}
		if list[i].path != "" {
			folders[path.Dir(list[i].path)] = true
		}
	}
	// The folders may be new, and so may be those above them.
	for dir := range folders {
		for ; dir != "."; dir = path.Dir(dir) {
			if err := s.syncFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return s.unavailable(op, dir, err)
			}
		}
	}
	if err := s.syncFolder("."); err != nil {
		return s.unavailable(op, s.opts.Root, err)
	}
	list = slices.DeleteFunc(list, func(u unset) bool { return s.settling.isDisplaced(u.name) })
	if err := s.clearNotes(list); err != nil {
		return s.unavailable(op, "index", err)
	}
	return s.sweep(op)
}

func (s *Store) unsettled() (list []unset, err error) {
	err = s.scan(s.key(rowUnset), func(key, value []byte) error {
		u, err := decodeUnset(string(key), value)
		list = append(list, u)
		return err
	})
	return list, err
}

// finish does the work on files of one change. The row of the key says which of several changes was the last.
func (s *Store) finish(op string, u *unset) error {
	r, err := s.find(op, u.bucket, u.key)
	if err != nil {
		return err
	}
	switch {
	case r != nil && r.version == u.name:
		return s.finishPut(op, u)
	case r != nil && r.path == u.path:
		return nil // the file is a newer version's, whose own note says what to do
	case u.path == "":
		return nil
	}
	if err := s.root.Remove(u.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opts.Log.Warn("the file of a deleted object can't be removed", "file", u.path, "error", err)
		return nil
	}
	s.places.prune(u.path)
	return nil
}

func (s *Store) finishPut(op string, u *unset) error {
	_, err := s.root.Lstat(tempPath(u.name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := s.root.Lstat(u.path); err != nil {
			s.opts.Log.Error("the file of an object is gone; reading it will say so", "file", u.path, "error", err)
		}
		return nil
	}
	if err != nil {
		return s.unavailable(op, tempPath(u.name), err)
	}
	if err := s.rename(u); err != nil {
		s.settling.displace(s, u, err)
	}
	return nil
}

// sweep removes temporary files that no part refers to. All objects that could have left the private folder by now.
func (s *Store) sweep(op string) error {
	referred := map[string]bool{}
	err := s.scan(s.key(rowPart), func(key, value []byte) error {
		p, err := decodePart(0, value)
		referred[p.file] = true // a name that could not be read is none
		return err
	})
	if err != nil {
		return fault.New(fault.Unavailable, op, "index", "%w", err)
	}
	d, err := s.root.Open(privateDir)
	if err != nil {
		return s.unavailable(op, privateDir, err)
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(sweepBatch)
		for _, e := range entries {
			if !referred[e.Name()] && !e.IsDir() && !s.settling.isDisplaced(e.Name()) {
				s.removeTemp(e.Name())
			}
		}
		if err != nil || len(entries) == 0 {
			return nil // the end, or what can't be listed now and does no harm
		}
	}
}

// sweepBatch is how many names are held at a time.
const sweepBatch = 1000
