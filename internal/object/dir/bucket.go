package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// loadBuckets reads the buckets and counts their uploads.
func (s *Store) loadBuckets(op string) error {
	err := s.scan(s.key(rowBucket), func(key, value []byte) error {
		b, err := decodeBucket(string(key), value)
		if err != nil {
			return fault.New(fault.Corrupt, op, string(key), "%w", err)
		}
		s.buckets[b.Name] = &bucket{Bucket: b}
		return nil
	})
	if err != nil {
		return err
	}
	return s.scan(s.key(rowUpload), func(key, _ []byte) error {
		name, _, _ := strings.Cut(string(key), "\x00")
		if b := s.buckets[name]; b != nil {
			b.uploads.Add(1)
		}
		return nil
	})
}

func missingBucket(op, name string) error {
	return fault.New(fault.NotFound, op, object.MissingBucket+name, "no such bucket")
}

// set makes one row durable.
func (s *Store) set(op, resource string, key, value []byte) error {
	if err := s.opts.DB.Set(key, value, pebble.Sync); err != nil {
		return fault.New(fault.Unavailable, op, resource, "commit to the index: %w", err)
	}
	return nil
}

// CreateBucket makes a bucket and its folder.
func (s *Store) CreateBucket(_ context.Context, b object.Bucket) error {
	const op = "object.CreateBucket"
	if err := s.writable(op); err != nil {
		return err
	}
	if !object.ValidBucketName(b.Name) {
		return fault.New(fault.Invalid, op, b.Name, "not a bucket name")
	}
	s.bucketsMu.Lock()
	defer s.bucketsMu.Unlock()
	if s.buckets[b.Name] != nil {
		return fault.New(fault.InUse, op, b.Name, "%w", object.ErrBucketExists)
	}
	if len(s.buckets) >= MaxBuckets {
		return fault.New(fault.LimitExceeded, op, b.Name, "there are %d buckets", MaxBuckets)
	}
	if b.Created.IsZero() {
		b.Created = s.now()
	}
	if err := s.makeFolder(b.Name); err != nil {
		return s.unavailable(op, b.Name, err)
	}
	if err := s.syncFolder("."); err != nil {
		return s.unavailable(op, b.Name, err)
	}
	b.Tags, b.Settings = maps.Clone(b.Tags), maps.Clone(b.Settings)
	if err := s.set(op, b.Name, s.key(rowBucket, b.Name), appendBucket(nil, &b)); err != nil {
		return err
	}
	s.buckets[b.Name] = &bucket{Bucket: b}
	return nil
}

// makeFolder makes the folder of a bucket. One that is there already will do; a file will not.
func (s *Store) makeFolder(name string) error {
	err := s.root.Mkdir(name, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, statErr := s.root.Lstat(name)
	if statErr != nil {
		return statErr
	}
	if !info.IsDir() {
		return fmt.Errorf("a file that is no bucket has the name: %w", err)
	}
	return nil
}

// DeleteBucket removes an empty bucket. Of its folder stays what was put there by hand.
func (s *Store) DeleteBucket(_ context.Context, name string) error {
	const op = "object.DeleteBucket"
	if s.closed.Load() || s.broken.Load() != nil {
		return s.writable(op)
	}
	s.bucketsMu.Lock()
	defer s.bucketsMu.Unlock()
	b := s.buckets[name]
	if b == nil {
		return missingBucket(op, name)
	}
	empty := b.uploads.Load() == 0
	err := s.scan(s.objectKey(name, ""), func(_, _ []byte) error {
		empty = false
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return s.unavailable(op, name, err)
	}
	if !empty {
		return fault.New(fault.InUse, op, name, "%w", object.ErrBucketNotEmpty)
	}
	if err := s.opts.DB.Delete(s.key(rowBucket, name), pebble.Sync); err != nil {
		return fault.New(fault.Unavailable, op, name, "commit to the index: %w", err)
	}
	delete(s.buckets, name)
	s.places.pruneBucket(name)
	return nil
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// bucket finds a bucket.
func (s *Store) bucket(op, name string) (*bucket, error) {
	s.bucketsMu.RLock()
	defer s.bucketsMu.RUnlock()
	b := s.buckets[name]
	if b == nil {
		return nil, missingBucket(op, name)
	}
	return b, nil
}

// share keeps a bucket from being deleted, and the store from being closed, until the caller unlocks bucketsMu, which
// is held unless there is an error.
func (s *Store) share(op, name string) (*bucket, error) {
	s.bucketsMu.RLock()
	b := s.buckets[name]
	switch {
	case s.closed.Load():
		s.bucketsMu.RUnlock()
		return nil, s.writable(op)
	case b == nil:
		s.bucketsMu.RUnlock()
		return nil, missingBucket(op, name)
	}
	return b, nil
}

// Bucket describes a bucket.
func (s *Store) Bucket(_ context.Context, name string) (object.Bucket, error) {
	s.bucketsMu.RLock()
	defer s.bucketsMu.RUnlock()
	b := s.buckets[name]
	if b == nil {
		return object.Bucket{}, missingBucket("object.Bucket", name)
	}
	return b.describe(), nil
}

func (b *bucket) describe() object.Bucket {
	d := b.Bucket
	d.Tags, d.Settings = maps.Clone(d.Tags), maps.Clone(d.Settings)
	return d
}

// Buckets lists all buckets.
func (s *Store) Buckets(context.Context) ([]object.Bucket, error) {
	s.bucketsMu.RLock()
	defer s.bucketsMu.RUnlock()
	list := make([]object.Bucket, 0, len(s.buckets))
	for _, name := range slices.Sorted(maps.Keys(s.buckets)) {
		list = append(list, s.buckets[name].describe())
	}
	return list, nil
}

// TagBucket replaces the tags of a bucket.
func (s *Store) TagBucket(_ context.Context, name string, tags map[string]string) error {
	return s.changeBucket("object.TagBucket", name, func(b *object.Bucket) error {
		b.Tags = maps.Clone(tags)
		return nil
	})
}

// SetBucket keeps a text with a bucket.
func (s *Store) SetBucket(_ context.Context, name, setting, text string) error {
	const op = "object.SetBucket"
	return s.changeBucket(op, name, func(b *object.Bucket) error {
		if text == "" {
			b.Settings = maps.Clone(b.Settings)
			delete(b.Settings, setting)
			return nil
		}
		if len(text) > object.MaxSettingBytes {
			return fault.New(fault.Invalid, op, name, "the setting %s has %d bytes, more than %d", setting, len(text), object.MaxSettingBytes)
		}
		settings := make(map[string]string, len(b.Settings)+1)
		maps.Copy(settings, b.Settings)
		settings[setting] = text
		if len(settings) > object.MaxSettings {
			return fault.New(fault.LimitExceeded, op, name, "a bucket has %d settings at most", object.MaxSettings)
		}
		b.Settings = settings
		return nil
	})
}

// KeepsSettings says yes.
func (s *Store) KeepsSettings() bool { return true }

// BucketSetting gives one setting of a bucket.
func (s *Store) BucketSetting(name, setting string) string {
	s.bucketsMu.RLock()
	defer s.bucketsMu.RUnlock()
	if b := s.buckets[name]; b != nil {
		return b.Settings[setting]
	}
	return ""
}

// changeBucket changes the row of a bucket. change must not write to maps that it finds.
func (s *Store) changeBucket(op, name string, change func(*object.Bucket) error) error {
	if err := s.writable(op); err != nil {
		return err
	}
	s.bucketsMu.Lock()
	defer s.bucketsMu.Unlock()
	b := s.buckets[name]
	if b == nil {
		return missingBucket(op, name)
	}
	changed := b.Bucket
	if err := change(&changed); err != nil {
		return err
	}
	if err := s.set(op, name, s.key(rowBucket, name), appendBucket(nil, &changed)); err != nil {
		return err
	}
	b.Bucket = changed
	return nil
}
