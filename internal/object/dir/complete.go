package dir

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// CompleteUpload makes an object of an upload: its only part becomes the object's file, several are copied behind one
// another. The upload stays as it was when anything fails.
func (s *Store) CompleteUpload(ctx context.Context, ref object.UploadRef, want []object.Part, o object.CompleteOptions) (object.Info, error) {
	const op = "object.CompleteUpload"
	if err := s.checkPut(op, ref.Bucket, ref.Key, new(object.Attributes), object.Conditions{}); err != nil {
		return object.Info{}, err
	}
	lock := s.uploads.of(ref.ID)
	lock.Lock()
	defer lock.Unlock()
	up, err := s.upload(op, ref)
	if fault.Is(err, fault.NotFound) {
		if done, found := s.completed(op, ref); found {
			return done, nil
		}
	}
	if err != nil {
		return object.Info{}, err
	}
	stored, err := s.storedParts(op, ref)
	if err != nil {
		return object.Info{}, err
	}
	chosen, err := choose(op, ref.Key, stored, want, o.Size)
	if err != nil {
		return object.Info{}, err
	}
	t, full, err := s.join(ctx, op, ref.Key, &up, chosen)
	if err != nil {
		return object.Info{}, err
	}
	defer t.discard()
	r, err := s.describe(op, &up, chosen, t, full, o.Want)
	if err != nil {
		return object.Info{}, err
	}
	b, err := s.bucket(op, ref.Bucket)
	if err != nil {
		return object.Info{}, err
	}
	kept, err := s.replace(op, ref.Bucket, ref.Key, r, o.Conditions, func(batch *pebble.Batch) error {
		return s.forgetUpload(batch, ref)
	})
	t.kept = t.kept || kept
	if err != nil {
		return object.Info{}, err
	}
	b.uploads.Add(-1)
	s.removeParts(stored, r.version)
	info := r.info(ref.Bucket, ref.Key)
	info.PartList = nil
	return info, nil
}

// completed finds the object that an upload has already become, so that a caller who missed the answer can ask again.
func (s *Store) completed(op string, ref object.UploadRef) (object.Info, bool) {
	opened, err := s.head(op, ref.Bucket, ref.Key, false)
	if err != nil || ref.ID == "" || opened.uploadID != ref.ID {
		return object.Info{}, false
	}
	info := opened.info(ref.Bucket, ref.Key)
	info.PartList = nil
	return info, true
}

// choose finds the stored parts that the caller names.
func choose(op, key string, stored []part, want []object.Part, size int64) ([]part, error) {
	if len(want) == 0 {
		return nil, fault.New(fault.Invalid, op, key, "%w: none is named", object.ErrInvalidPart)
	}
	for i := 1; i < len(want); i++ { // the order first, as the service does
		if want[i].Number <= want[i-1].Number {
			return nil, fault.New(fault.Invalid, op, key, "%w: %d after %d", object.ErrPartOrder, want[i].Number, want[i-1].Number)
		}
	}
	chosen := make([]part, len(want))
	var total int64
	for i, w := range want {
		at, found := slices.BinarySearchFunc(stored, w.Number, func(p part, n int) int { return cmp.Compare(p.Number, n) })
		if !found || stored[at].ETag != w.ETag || !sameChecksums(stored[at].Checksums, w.Checksums) {
			return nil, fault.New(fault.Invalid, op, key, "%w: %d", object.ErrInvalidPart, w.Number)
		}
		chosen[i] = stored[at]
		total += chosen[i].Size
	}
	for i := range chosen[:len(chosen)-1] {
		if chosen[i].Size < object.MinPartBytes {
			return nil, fault.New(fault.Invalid, op, key, "%w: part %d has %d bytes", object.ErrPartTooSmall, chosen[i].Number, chosen[i].Size)
		}
	}
	if size != 0 && size != total {
		return nil, fault.New(fault.Invalid, op, key, "%w: %d bytes, not %d", object.ErrIncompleteBody, total, size)
	}
	return chosen, nil
}

// sameChecksums compares the checksums that a caller gives with those that were computed.
func sameChecksums(have, given []object.Checksum) bool {
	for _, g := range given {
		if !slices.ContainsFunc(have, func(h object.Checksum) bool { return h.Algorithm == g.Algorithm && h.Value == g.Value }) {
			return false
		}
	}
	return true
}

// join gives one durable file with the content of all parts, and the checksum over all bytes if the upload wants one.
func (s *Store) join(ctx context.Context, op, key string, up *object.Upload, parts []part) (*temp, string, error) {
	var sum hash.Hash
	if up.ChecksumAlgorithm != "" && !up.ChecksumComposite {
		sum = object.NewHash(up.ChecksumAlgorithm)
	}
	if len(parts) == 1 {
		t := &temp{s: s, name: parts[0].file, size: parts[0].Size, kept: true} // it stays a part until it is the object
		full := ""
		for _, c := range parts[0].Checksums {
			if sum != nil && c.Algorithm == up.ChecksumAlgorithm {
				full = c.Value
			}
		}
		return t, full, nil
	}
	t, err := s.newTemp(op)
	if err != nil {
		return nil, "", err
	}
	for i := range parts {
		if err := t.appendPart(ctx, op, key, &parts[i], sum); err != nil {
			t.discard()
			return nil, "", err
		}
	}
	err = s.at(stepJoined)
	if err != nil {
		err = s.unavailable(op, t.path(), err)
	} else {
		err = t.makeDurable(op)
	}
	if err != nil {
		t.discard()
		return nil, "", err
	}
	full := ""
	if sum != nil {
		full = encodeSum(sum)
	}
	return t, full, nil
}

func (t *temp) appendPart(ctx context.Context, op, key string, p *part, sum hash.Hash) error {
	if err := ctx.Err(); err != nil {
		return bodyError(op, key, err)
	}
	f, err := t.s.root.Open(tempPath(p.file))
	if err != nil {
		return fault.New(fault.Corrupt, op, tempPath(p.file), "the file of part %d can't be opened; upload it again: %w", p.Number, err)
	}
	defer f.Close()
	n, err := t.copyPart(f, sum)
	t.size += n
	if err != nil {
		return t.s.unavailable(op, t.path(), err)
	}
	if n != p.Size {
		return fault.New(fault.Corrupt, op, tempPath(p.file), "the file of part %d has %d bytes, not %d; upload it again", p.Number, n, p.Size)
	}
	return nil
}

// copyPart copies in the kernel when no checksum has to see the bytes.
func (t *temp) copyPart(f *os.File, sum hash.Hash) (int64, error) {
	if sum == nil {
		return io.Copy(t.file, f)
	}
	buf := buffers.Get().(*[bufferBytes]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(t.file, sum)}, struct{ io.Reader }{f}, buf[:])
}

// describe makes the row of the object.
func (s *Store) describe(op string, up *object.Upload, parts []part, t *temp, full string, want []object.Checksum) (*row, error) {
	r := &row{version: t.name, size: t.size, modified: s.now(), uploadID: up.ID, attrs: up.Attributes}
	sum := md5.New()
	var composite hash.Hash
	if up.ChecksumComposite {
		composite = object.NewHash(up.ChecksumAlgorithm)
	}
	r.partCount, r.parts = len(parts), make([]object.Part, len(parts))
	for i := range parts {
		r.parts[i] = object.Part{Number: parts[i].Number, Size: parts[i].Size}
		digest, err := hex.DecodeString(parts[i].ETag)
		if err != nil {
			return nil, fault.New(fault.Corrupt, op, up.Key, "ETag of part %d: %w", parts[i].Number, err)
		}
		sum.Write(digest)
		for _, c := range parts[i].Checksums {
			if c.Algorithm != up.ChecksumAlgorithm {
				continue
			}
			r.parts[i].Checksums = []object.Checksum{c}
			if composite == nil {
				continue
			}
			raw, err := base64.StdEncoding.DecodeString(c.Value)
			if err != nil {
				return nil, fault.New(fault.Corrupt, op, up.Key, "checksum of part %d: %w", parts[i].Number, err)
			}
			composite.Write(raw)
		}
	}
	r.etag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
	switch {
	case composite != nil:
		value := fmt.Sprintf("%s-%d", encodeSum(composite), len(parts))
		r.checksums = []object.Checksum{{Algorithm: up.ChecksumAlgorithm, Value: value, Composite: true}}
	case full != "":
		r.checksums = []object.Checksum{{Algorithm: up.ChecksumAlgorithm, Value: full}}
	}
	for _, w := range want {
		if !slices.ContainsFunc(r.checksums, func(c object.Checksum) bool { return c.Algorithm == w.Algorithm && c.Value == w.Value }) {
			return nil, fault.New(fault.Invalid, op, up.Key, "%w", &object.DigestError{Algorithm: w.Algorithm})
		}
	}
	return r, nil
}

// sortUploads orders uploads by key, those of one key by when they began.
func sortUploads(list []object.Upload) {
	slices.SortFunc(list, func(a, b object.Upload) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), a.Initiated.Compare(b.Initiated), cmp.Compare(a.ID, b.ID))
	})
}
