package dir

import (
	"context"
	"encoding/hex"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

// uploadIDLetters is the length of an upload's id; all have it, so that one is no prefix of another.
const uploadIDLetters = 64

// CreateUpload begins a multipart upload.
func (s *Store) CreateUpload(_ context.Context, bucket, key string, o object.UploadOptions) (object.Upload, error) {
	const op = "object.CreateUpload"
	if err := s.checkPut(op, bucket, key, &o.Attributes, object.Conditions{}); err != nil {
		return object.Upload{}, err
	}
	if o.ChecksumAlgorithm != "" {
		if object.NewHash(o.ChecksumAlgorithm) == nil {
			return object.Upload{}, fault.New(fault.Unsupported, op, key, "checksum algorithm %q", o.ChecksumAlgorithm)
		}
		if !o.ChecksumComposite && !object.ComposesFully(o.ChecksumAlgorithm) {
			return object.Upload{}, fault.New(fault.Invalid, op, key, "a multipart object has no %s over all its bytes", o.ChecksumAlgorithm)
		}
	}
	b, err := s.share(op, bucket)
	if err != nil {
		return object.Upload{}, err
	}
	defer s.bucketsMu.RUnlock()
	if b.uploads.Add(1) > MaxUploads {
		b.uploads.Add(-1)
		return object.Upload{}, fault.New(fault.LimitExceeded, op, bucket, "%d uploads are in progress", MaxUploads)
	}
	up := object.Upload{UploadRef: object.UploadRef{Bucket: bucket, Key: key, ID: s.opts.IDs.String(ids.Alnum, uploadIDLetters)},
		UploadOptions: o, Initiated: s.now()}
	if err := s.set(op, key, s.uploadKey(up.UploadRef), appendUpload(nil, &up)); err != nil {
		b.uploads.Add(-1)
		return object.Upload{}, err
	}
	return up, nil
}

// Upload describes an upload in progress.
func (s *Store) Upload(_ context.Context, ref object.UploadRef) (object.Upload, error) {
	return s.upload("object.Upload", ref)
}

func missingUpload(op, id string) error {
	return fault.New(fault.NotFound, op, object.MissingUpload+id, "no such upload")
}

func (s *Store) upload(op string, ref object.UploadRef) (object.Upload, error) {
	if _, err := s.share(op, ref.Bucket); err != nil {
		return object.Upload{}, err
	}
	defer s.bucketsMu.RUnlock()
	if len(ref.ID) != uploadIDLetters {
		return object.Upload{}, missingUpload(op, ref.ID)
	}
	value, err := s.get(s.uploadKey(ref))
	if errors.Is(err, pebble.ErrNotFound) {
		return object.Upload{}, missingUpload(op, ref.ID)
	}
	if err != nil {
		return object.Upload{}, s.unavailable(op, ref.Key, err)
	}
	up, err := decodeUpload(value)
	if err != nil {
		return object.Upload{}, fault.New(fault.Corrupt, op, "upload "+ref.ID, "%w", err)
	}
	return up, nil
}

// PutPart stores a part; one of the same number is replaced.
func (s *Store) PutPart(ctx context.Context, ref object.UploadRef, number int, body io.Reader, size int64, o object.PartOptions) (object.Part, error) {
	const op = "object.PutPart"
	if err := s.writable(op); err != nil {
		return object.Part{}, err
	}
	if number < 1 || number > object.MaxParts {
		return object.Part{}, fault.New(fault.Invalid, op, ref.Key, "a part has a number from 1 to %d", object.MaxParts)
	}
	up, err := s.upload(op, ref)
	if err != nil {
		return object.Part{}, err
	}
	t, err := s.receive(ctx, op, ref.Key, content{body, size, o.Want, o.Trailer, []string{up.ChecksumAlgorithm, o.Compute}})
	if err != nil {
		return object.Part{}, err
	}
	defer t.discard()
	p := part{file: t.name, Part: object.Part{Number: number, Size: t.size, Modified: s.now(),
		ETag: hex.EncodeToString(t.sums.md5.Sum(nil)), Checksums: t.sums.checksums()}}
	old, err := s.commitPart(op, ref, &p, &t.kept)
	if err != nil {
		return object.Part{}, err
	}
	if old != "" {
		s.removeTemp(old)
	}
	return p.Part, nil
}

// commitPart puts a part into the index and gives the file that it replaces. kept is set once the index may name it.
func (s *Store) commitPart(op string, ref object.UploadRef, p *part, kept *bool) (old string, err error) {
	upload := s.uploads.of(ref.ID)
	upload.RLock()
	defer upload.RUnlock()
	if _, err := s.upload(op, ref); err != nil {
		return "", err // completed or aborted while the body came
	}
	if _, err := s.share(op, ref.Bucket); err != nil {
		return "", err
	}
	defer s.bucketsMu.RUnlock()
	key := s.partKey(ref.ID, p.Number)
	lock := s.parts.of(string(key))
	lock.Lock()
	defer lock.Unlock()
	value, err := s.get(key)
	if err == nil {
		before, err := decodePart(p.Number, value)
		if err != nil {
			return "", fault.New(fault.Corrupt, op, "part of "+ref.ID, "%w", err)
		}
		old = before.file
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return "", s.unavailable(op, ref.Key, err)
	}
	*kept = true
	if err := s.set(op, ref.Key, key, p.append(nil)); err != nil {
		return "", err
	}
	if err := s.at(stepPart); err != nil {
		return "", s.unavailable(op, ref.Key, err)
	}
	return old, nil
}

// Parts lists the parts of an upload.
func (s *Store) Parts(_ context.Context, ref object.UploadRef) ([]object.Part, error) {
	const op = "object.Parts"
	if _, err := s.upload(op, ref); err != nil {
		return nil, err
	}
	if _, err := s.share(op, ref.Bucket); err != nil {
		return nil, err
	}
	defer s.bucketsMu.RUnlock()
	stored, err := s.storedParts(op, ref)
	if err != nil {
		return nil, err
	}
	list := make([]object.Part, len(stored))
	for i := range stored {
		list[i] = stored[i].Part
	}
	return list, nil
}

func (s *Store) storedParts(op string, ref object.UploadRef) (list []part, err error) {
	err = s.scan(s.key(rowPart, ref.ID), func(key, value []byte) error {
		if len(key) != 2 {
			return fault.New(fault.Corrupt, op, "part of "+ref.ID, "%w", errValue)
		}
		p, err := decodePart(int(key[0])<<8|int(key[1]), value)
		if err != nil {
			return fault.New(fault.Corrupt, op, "part of "+ref.ID, "%w", err)
		}
		list = append(list, p)
		return nil
	})
	return list, err
}

// Uploads lists uploads in progress.
func (s *Store) Uploads(_ context.Context, bucket, prefix string) ([]object.Upload, error) {
	const op = "object.Uploads"
	if _, err := s.share(op, bucket); err != nil {
		return nil, err
	}
	defer s.bucketsMu.RUnlock()
	var list []object.Upload
	err := s.scan(s.key(rowUpload, bucket, "\x00", ordered(prefix)), func(_, value []byte) error {
		up, err := decodeUpload(value)
		if err != nil {
			return fault.New(fault.Corrupt, op, bucket, "%w", err)
		}
		list = append(list, up)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sortUploads(list)
	return list, nil
}

// AbortUpload forgets an upload and removes its parts.
func (s *Store) AbortUpload(_ context.Context, ref object.UploadRef) error {
	const op = "object.AbortUpload"
	if s.closed.Load() || s.broken.Load() != nil {
		return s.writable(op)
	}
	upload := s.uploads.of(ref.ID)
	upload.Lock()
	defer upload.Unlock()
	if _, err := s.upload(op, ref); err != nil {
		return err
	}
	parts, err := s.storedParts(op, ref)
	if err != nil {
		return err
	}
	b, err := s.share(op, ref.Bucket)
	if err != nil {
		return err
	}
	defer s.bucketsMu.RUnlock()
	batch := s.opts.DB.NewBatch()
	defer batch.Close()
	if err := s.forgetUpload(batch, ref); err != nil {
		return s.unavailable(op, ref.Key, err)
	}
	if err := s.commit(op, ref.Key, batch); err != nil {
		return err
	}
	b.uploads.Add(-1)
	if s.at(stepAborted) != nil {
		return nil
	}
	s.removeParts(parts, "")
	return nil
}

// forgetUpload adds the removal of an upload's rows to a batch.
func (s *Store) forgetUpload(batch *pebble.Batch, ref object.UploadRef) error {
	parts := s.key(rowPart, ref.ID)
	return errors.Join(batch.Delete(s.uploadKey(ref), nil), batch.DeleteRange(parts, after(parts), nil))
}

func (s *Store) removeParts(parts []part, but string) {
	for i := range parts {
		if parts[i].file != but {
			s.removeTemp(parts[i].file)
		}
	}
}
