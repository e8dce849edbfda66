// Package objecttest is the suite that every [object.Store] passes: each subtest is
// one rule of the contract. Run it on the local folder, on a remote service, and on
// S3 itself where at hand, lest the suite drift from the service.
//
//	objecttest.Run(t, open, objecttest.Options{})
//	├── bucket        create, find, list, delete, tag
//	├── object        put, get, head, delete, tags, digests, concurrency
//	├── condition     put if absent, put if unchanged, also by many at once
//	├── list          order, prefix, delimiter, pages
//	└── upload        parts, completion, checksums, abort
package objecttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// Options fit the suite to a store.
type Options struct {
	// Prefix begins the names of buckets; default "objecttest". Each run must have its own on a shared service.
	Prefix string
	// SkipLarge leaves out what needs parts of 5 MiB.
	SkipLarge bool
	// PutTimesAreAbout is set for a store across a network, where the answer to a put tells no time of the object: the
	// time that Put gives may be up to aboutTime from the one that Head gives.
	PutTimesAreAbout bool
	// NoSettings is set for a store that has no place for settings of buckets: they are Unsupported.
	NoSettings bool
	// Lacks names the rules that a foreign service is known to break. A store has none.
	Lacks []string
}

const aboutTime = 10 * time.Second

// about reports whether a time that Put gave is near enough to the object's.
func (b *bench) about(put, head time.Time) bool {
	return b.options.PutTimesAreAbout && put.Sub(head).Abs() <= aboutTime
}

// Run runs the suite. open gives a store; it may give the same one again, which it closes itself when the test ends.
func Run(t *testing.T, open func(*testing.T) object.Store, o Options) {
	if o.Prefix == "" {
		o.Prefix = "objecttest"
	}
	groups := []struct {
		name  string
		rules []rule
	}{{"bucket", bucketRules}, {"object", objectRules}, {"condition", conditionRules}, {"list", listRules}, {"upload", uploadRules}}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			s := open(t)
			for _, r := range g.rules {
				if r.large && o.SkipLarge || slices.Contains(o.Lacks, r.name) {
					continue
				}
				t.Run(r.name, func(t *testing.T) {
					b := &bench{T: t, Store: s, ctx: t.Context(), options: o}
					b.bucket = b.newBucket()
					r.check(b)
				})
			}
		})
	}
}

// rule is one sentence of the contract.
type rule struct {
	name  string
	check func(*bench)
	large bool
}

// bench is a store with a bucket of one's own, and short words for what the rules do.
type bench struct {
	*testing.T
	object.Store
	ctx     context.Context
	options Options
	bucket  string
}

var bucketCount atomic.Int64

// newBucket makes a bucket that is emptied and removed when the test ends.
func (b *bench) newBucket() string {
	b.Helper()
	name := fmt.Sprintf("%s-%d", b.options.Prefix, bucketCount.Add(1))
	if err := b.CreateBucket(b.ctx, object.Bucket{Name: name, Region: "us-east-1"}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { empty(b, name) })
	return name
}

func empty(b *bench, bucket string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	uploads, err := b.Uploads(ctx, bucket, "")
	if fault.Is(err, fault.NotFound) {
		return
	}
	for _, u := range uploads {
		err = errors.Join(err, b.AbortUpload(ctx, u.UploadRef))
	}
	for {
		page, listErr := b.List(ctx, bucket, object.ListOptions{Max: 1000})
		if err = errors.Join(err, listErr); err != nil {
			b.Error(err)
			return
		}
		for _, o := range page.Objects {
			err = errors.Join(err, b.Delete(ctx, bucket, o.Key))
		}
		if !page.Truncated {
			break
		}
	}
	if err := errors.Join(err, b.DeleteBucket(ctx, bucket)); err != nil {
		b.Error(err)
	}
}

func (b *bench) put(key, text string) object.Info {
	b.Helper()
	return b.putWith(key, text, object.PutOptions{})
}

func (b *bench) putWith(key, text string, o object.PutOptions) object.Info {
	b.Helper()
	info, err := b.Put(b.ctx, b.bucket, key, strings.NewReader(text), int64(len(text)), o)
	if err != nil {
		b.Fatalf("put %q: %v", key, err)
	}
	return info
}

// putErr puts and gives the error.
func (b *bench) putErr(key, text string, o object.PutOptions) error {
	_, err := b.Put(b.ctx, b.bucket, key, strings.NewReader(text), int64(len(text)), o)
	return err
}

func (b *bench) get(key string) string {
	b.Helper()
	o, err := b.Get(b.ctx, b.bucket, key)
	if err != nil {
		b.Fatalf("get %q: %v", key, err)
	}
	return b.read(o)
}

func (b *bench) read(o *object.Object) string {
	b.Helper()
	text, err := io.ReadAll(o.Body)
	if err = errors.Join(err, o.Body.Close()); err != nil {
		b.Fatal(err)
	}
	if int64(len(text)) != o.Size {
		b.Errorf("%q has %d bytes and says %d", o.Key, len(text), o.Size)
	}
	return string(text)
}

func (b *bench) wantText(key, want string) {
	b.Helper()
	if got := b.get(key); got != want {
		b.Errorf("%q holds %.60q, want %.60q", key, got, want)
	}
}

// wantKind checks the kind of an error.
func (b *bench) wantKind(err error, kind fault.Kind) {
	b.Helper()
	if !fault.Is(err, kind) {
		b.Errorf("error %v, want kind %v", err, kind)
	}
}

// wantMissing checks that the error is NotFound and names what is missing.
func (b *bench) wantMissing(err error, what string) {
	b.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.NotFound || !strings.HasPrefix(f.Resource, what) {
		b.Errorf("error %v, want NotFound of a %s", err, what)
	}
}

// wantGone checks that a key does not exist.
func (b *bench) wantGone(key string) {
	b.Helper()
	_, err := b.Head(b.ctx, b.bucket, key)
	b.wantMissing(err, object.MissingKey)
}

// wantCause checks an error's kind and cause.
func (b *bench) wantCause(err error, kind fault.Kind, cause error) {
	b.Helper()
	b.wantKind(err, kind)
	if !errors.Is(err, cause) {
		b.Errorf("error %v, want cause %v", err, cause)
	}
}

// wantDigest checks that a digest of the given algorithm was refused.
func (b *bench) wantDigest(err error, algorithm string) {
	b.Helper()
	var d *object.DigestError
	if !fault.Is(err, fault.Invalid) || !errors.As(err, &d) || d.Algorithm != algorithm {
		b.Errorf("error %v, want Invalid for %s", err, algorithm)
	}
}

// sum is a checksum of a text.
func sum(algorithm, text string) object.Checksum {
	h := object.NewHash(algorithm)
	h.Write([]byte(text))
	return object.Checksum{Algorithm: algorithm, Value: base64.StdEncoding.EncodeToString(h.Sum(nil))}
}

func md5Hex(text string) string {
	s := md5.Sum([]byte(text))
	return hex.EncodeToString(s[:])
}

// large gives n bytes that begin with a seed and are not all alike.
func large(seed string, n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%s line %d\n", seed, i)
	}
	return string(b.Bytes()[:n])
}
