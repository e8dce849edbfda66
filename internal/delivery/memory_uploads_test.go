package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// memoryUpload is a multipart upload in a memorySink.
type memoryUpload struct {
	object.Upload
	parts map[int][]byte
}

func (s *memorySink) CreateUpload(_ context.Context, bucket, key string, attrs object.UploadOptions) (object.Upload, error) {
	defer s.world.change()()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failUpload != nil {
		if err := s.failUpload(bucket, key); err != nil {
			return object.Upload{}, err
		}
	}
	if s.buckets[bucket] == nil {
		return object.Upload{}, fault.New(fault.NotFound, "memory.CreateUpload", object.MissingBucket+bucket, "no such bucket")
	}
	s.nextUpload++
	u := object.Upload{UploadRef: object.UploadRef{Bucket: bucket, Key: key, ID: fmt.Sprint("upload-", s.nextUpload)}, UploadOptions: attrs, Initiated: time.Now()}
	s.uploads[u.ID] = &memoryUpload{u, map[int][]byte{}}
	return u, nil
}

func (s *memorySink) upload(ref object.UploadRef) (*memoryUpload, error) {
	u := s.uploads[ref.ID]
	if u == nil || u.UploadRef != ref {
		return nil, fault.New(fault.NotFound, "memory.Upload", object.MissingUpload+ref.ID, "no such upload")
	}
	return u, nil
}

func (s *memorySink) PutPart(ctx context.Context, ref object.UploadRef, number int, body io.Reader, size int64, _ object.PartOptions) (object.Part, error) {
	data, err := io.ReadAll(body)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return object.Part{}, err
	}
	defer s.world.change()()
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.upload(ref)
	if err != nil {
		return object.Part{}, err
	}
	parts := maps.Clone(u.parts) // a snapshot of the world has the old ones
	parts[number] = data
	s.uploads[ref.ID] = &memoryUpload{u.Upload, parts}
	return object.Part{Number: number, Size: size, ETag: fmt.Sprint(number, "-", len(data))}, nil
}

func (s *memorySink) CompleteUpload(_ context.Context, ref object.UploadRef, parts []object.Part, opts object.CompleteOptions) (object.Info, error) {
	defer s.world.change()()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(ref.Bucket, ref.Key); err != nil {
			return object.Info{}, err
		}
	}
	u, err := s.upload(ref)
	if err != nil {
		return object.Info{}, err
	}
	if opts.IfNoneMatch == "*" && s.buckets[ref.Bucket][ref.Key] != nil {
		return object.Info{}, fault.New(fault.PreconditionFailed, "memory.CompleteUpload", ref.Key, "exists")
	}
	var all [][]byte
	for _, p := range parts {
		if p.ETag != fmt.Sprint(p.Number, "-", len(u.parts[p.Number])) {
			return object.Info{}, fault.New(fault.Invalid, "memory.CompleteUpload", ref.Key, "part %d", p.Number)
		}
		all = append(all, u.parts[p.Number])
	}
	data := bytes.Join(all, nil)
	info := object.Info{Bucket: ref.Bucket, Key: ref.Key, Size: int64(len(data)), Attributes: u.Attributes}
	s.buckets[ref.Bucket][ref.Key] = &memoryObject{data, info}
	delete(s.uploads, ref.ID)
	if s.lose != nil {
		if err := s.lose(ref.Bucket, ref.Key); err != nil {
			return object.Info{}, err
		}
	}
	return info, nil
}

func (s *memorySink) AbortUpload(_ context.Context, ref object.UploadRef) error {
	defer s.world.change()()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, ref.ID)
	return nil
}

func (s *memorySink) Uploads(_ context.Context, bucket, _ string) (all []object.Upload, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uploads {
		if u.Bucket == bucket {
			all = append(all, u.Upload)
		}
	}
	return all, nil
}

func (s *memorySink) Get(_ context.Context, bucket, key string) (*object.Object, error) {
	o := s.get(bucket, key)
	if o == nil {
		return nil, fault.New(fault.NotFound, "memory.Get", object.MissingKey+key, "no such key")
	}
	return &object.Object{Info: o.info, Body: memoryBody{bytes.NewReader(o.data)}}, nil
}

type memoryBody struct{ *bytes.Reader }

func (memoryBody) Close() error { return nil }

func (s *memorySink) Delete(_ context.Context, bucket, key string) error {
	defer s.world.change()()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.buckets[bucket], key)
	return nil
}

func (s *memorySink) List(_ context.Context, bucket string, opts object.ListOptions) (page object.Page, err error) {
	for _, key := range s.keys(bucket) {
		if strings.HasPrefix(key, opts.Prefix) && key > opts.After {
			page.Objects = append(page.Objects, s.get(bucket, key).info)
		}
	}
	return page, nil
}
