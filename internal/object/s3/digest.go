package s3

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"hash"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// digester computes what a caller wants to be compared or kept, while the bytes go by. They are compared here, before
// the last of them is sent, because a service takes one checksum at most and stores first.
type digester struct {
	want    object.Digests
	trailer func() (object.Digests, error)
	compute string

	md5, sha256 hash.Hash
	sums        map[string]hash.Hash // by algorithm
}

func newDigester(op, key string, want object.Digests, trailer func() (object.Digests, error), compute string) (*digester, error) {
	d := &digester{want: want, trailer: trailer, compute: compute}
	if want.MD5 != nil {
		d.md5 = md5.New()
	}
	if want.SHA256 != nil {
		d.sha256 = sha256.New()
	}
	algorithms := make([]string, 0, 1+len(want.Checksums))
	for _, c := range want.Checksums {
		algorithms = append(algorithms, c.Algorithm)
	}
	if compute != "" {
		algorithms = append(algorithms, compute)
	}
	for _, a := range algorithms {
		h := object.NewHash(a)
		if h == nil {
			return nil, fault.New(fault.Unsupported, op, key, "the checksum algorithm %q", a)
		}
		if d.sums == nil {
			d.sums = make(map[string]hash.Hash)
		}
		d.sums[a] = h
	}
	return d, nil
}

// wanted reports whether the caller asks for any digest.
func (d *digester) wanted() bool {
	return d.md5 != nil || d.sha256 != nil || len(d.sums) > 0 || d.trailer != nil
}

func (d *digester) write(p []byte) {
	if d.md5 != nil {
		d.md5.Write(p)
	}
	if d.sha256 != nil {
		d.sha256.Write(p)
	}
	for _, h := range d.sums {
		h.Write(p)
	}
}

// check compares the digests once all bytes have gone by.
func (d *digester) check(op, key string) error {
	want := []object.Digests{d.want}
	if d.trailer != nil {
		late, err := d.trailer()
		if err != nil {
			return bodyError(op, key, err)
		}
		want = append(want, late)
	}
	for _, w := range want {
		if w.MD5 != nil && (d.md5 == nil || !bytes.Equal(d.md5.Sum(nil), w.MD5)) {
			return mismatch(op, key, "MD5")
		}
		if w.SHA256 != nil && (d.sha256 == nil || !bytes.Equal(d.sha256.Sum(nil), w.SHA256)) {
			return mismatch(op, key, object.PayloadSHA256)
		}
		for _, c := range w.Checksums {
			if h := d.sums[c.Algorithm]; h == nil || encoded(h) != c.Value {
				return mismatch(op, key, c.Algorithm)
			}
		}
	}
	return nil
}

func mismatch(op, key, algorithm string) error {
	return fault.New(fault.Invalid, op, key, "%w", &object.DigestError{Algorithm: algorithm})
}

func encoded(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

// early is a checksum that is known before the bytes are sent.
func (d *digester) early() *object.Checksum {
	if len(d.want.Checksums) == 0 {
		return nil
	}
	return &d.want.Checksums[0]
}

// kept is the checksum that goes with bytes that are all here; nil when the caller asks for none.
func (d *digester) kept() *object.Checksum {
	if c := d.early(); c != nil {
		return c
	}
	if d.compute == "" {
		return nil
	}
	return &object.Checksum{Algorithm: d.compute, Value: encoded(d.sums[d.compute])}
}
