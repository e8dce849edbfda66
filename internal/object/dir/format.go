package dir

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"millrace/internal/object"
)

// The index. Every key begins with Options.Prefix, then a letter:
//
//	F                                   format version, byte; flags, byte (1: portable names)
//	b NAME                              bucket
//	o BUCKET 00 KEY                     object
//	u BUCKET 00 ordered(KEY) 00 01 ID   upload in progress
//	p ID NUMBER(2, big-endian)          part of an upload
//	r NAME                              what is not settled: bucket, key, path, and the temporary file called NAME
//
// ordered() writes 00 as 00 FF, so that uploads sort by key and keys may hold any byte. Values begin with the version
// of their layout; numbers are varints, texts have their length before them, maps are sorted by name.
//
// Version 2 adds the settings of buckets, and number and checksums of the parts of objects. Version 1 is read.
const (
	rowFormat = 'F'
	rowBucket = 'b'
	rowObject = 'o'
	rowUpload = 'u'
	rowPart   = 'p'
	rowUnset  = 'r'
)

// formatVersion is the version of the whole index; valueVersion that of each value. Both are read from 1 on: the first
// change of a value by this build comes after the index bears its version, so that an older build refuses it whole.
const (
	formatVersion = 2
	valueVersion  = 2
)

func (s *Store) key(row byte, parts ...string) []byte {
	n := len(s.opts.Prefix) + 1
	for _, p := range parts {
		n += len(p)
	}
	k := make([]byte, 0, n)
	k = append(append(k, s.opts.Prefix...), row)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func (s *Store) objectKey(bucket, key string) []byte { return s.key(rowObject, bucket, "\x00", key) }

func (s *Store) uploadKey(ref object.UploadRef) []byte {
	return s.key(rowUpload, ref.Bucket, "\x00", ordered(ref.Key), "\x00\x01", ref.ID)
}

func (s *Store) partKey(id string, number int) []byte {
	return binary.BigEndian.AppendUint16(s.key(rowPart, id), uint16(number))
}

// ordered writes a text so that 00 can end it without changing the order.
func ordered(text string) string {
	var out []byte
	for i := range len(text) {
		if out == nil && text[i] == 0 {
			out = append(make([]byte, 0, len(text)+8), text[:i]...)
		}
		if out != nil {
			if out = append(out, text[i]); text[i] == 0 {
				out = append(out, 0xff)
			}
		}
	}
	if out == nil {
		return text
	}
	return string(out)
}

// after is the first key behind all keys that begin with prefix.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// row is what the index holds of an object.
type row struct {
	version   string // name of the temporary file that the content came from; unique
	path      string // of the content below the root
	size      int64
	modified  time.Time
	etag      string
	uploadID  string // of the upload that made it, else empty
	checksums []object.Checksum
	attrs     object.Attributes
	partCount int
	parts     []object.Part // number, size and checksums; nil in a brief row
}

func (r *row) info(bucket, key string) object.Info {
	return object.Info{Bucket: bucket, Key: key, Size: r.size, ETag: r.etag, Modified: r.modified, Attributes: r.attrs,
		Checksums: r.checksums, Parts: r.partCount, PartList: r.parts}
}

func (r *row) append(b []byte) []byte {
	b = append(b, valueVersion)
	b = appendText(b, r.version)
	b = appendText(b, r.path)
	b = binary.AppendVarint(b, r.size)
	b = appendTime(b, r.modified)
	b = appendText(b, r.etag)
	b = appendText(b, r.uploadID)
	b = appendChecksums(b, r.checksums)
	b = binary.AppendUvarint(b, uint64(len(r.parts)))
	// A listing reads up to here.
	b = appendAttributes(b, &r.attrs)
	for i := range r.parts {
		p := &r.parts[i]
		b = binary.AppendVarint(b, p.Size)
		b = binary.AppendVarint(b, int64(p.Number))
		b = appendChecksums(b, p.Checksums)
	}
	return b
}

// decodeRow reads a value; brief leaves out what a listing does not show.
func decodeRow(value []byte, brief bool) (*row, error) {
	d := decoder{b: value}
	d.checkVersion()
	r := &row{version: d.text(), path: d.text(), size: d.int(), modified: d.time(), etag: d.text(), uploadID: d.text(),
		checksums: d.checksums()}
	r.partCount = d.count()
	if brief {
		return r, d.err
	}
	r.attrs = d.attributes()
	if d.err == nil && r.partCount > 0 {
		r.parts = make([]object.Part, r.partCount)
	}
	for i := range r.parts {
		r.parts[i] = d.partOfObject(i)
	}
	return r, d.close()
}

func appendBucket(b []byte, v *object.Bucket) []byte {
	b = append(b, valueVersion)
	b = appendText(b, v.Region)
	b = appendTime(b, v.Created)
	return appendMap(appendMap(b, v.Tags), v.Settings)
}

func decodeBucket(name string, value []byte) (object.Bucket, error) {
	d := decoder{b: value}
	d.checkVersion()
	v := object.Bucket{Name: name, Region: d.text(), Created: d.time(), Tags: d.texts()}
	if d.version >= 2 {
		v.Settings = d.texts()
	}
	return v, d.close()
}

func appendUpload(b []byte, v *object.Upload) []byte {
	b = append(b, valueVersion)
	b = appendText(b, v.Bucket)
	b = appendText(b, v.Key)
	b = appendText(b, v.ID)
	b = appendTime(b, v.Initiated)
	b = appendText(b, v.ChecksumAlgorithm)
	b = appendBool(b, v.ChecksumComposite)
	return appendAttributes(b, &v.Attributes)
}

func decodeUpload(value []byte) (object.Upload, error) {
	d := decoder{b: value}
	d.checkVersion()
	var v object.Upload
	v.Bucket, v.Key, v.ID = d.text(), d.text(), d.text()
	v.Initiated = d.time()
	v.ChecksumAlgorithm, v.ChecksumComposite = d.text(), d.bool()
	v.Attributes = d.attributes()
	return v, d.close()
}

// part is what the index holds of a part.
type part struct {
	object.Part
	file string // its temporary file
}

func (p *part) append(b []byte) []byte {
	b = append(b, valueVersion)
	b = appendText(b, p.file)
	b = binary.AppendVarint(b, p.Size)
	b = appendText(b, p.ETag)
	b = appendTime(b, p.Modified)
	return appendChecksums(b, p.Checksums)
}

func decodePart(number int, value []byte) (part, error) {
	d := decoder{b: value}
	d.checkVersion()
	p := part{file: d.text()}
	p.Number, p.Size, p.ETag, p.Modified, p.Checksums = number, d.int(), d.text(), d.time(), d.checksums()
	return p, d.close()
}

// unset is a change that is committed, but whose work on files is perhaps not done or not durable. A put names the
// temporary file in its row; a deletion has a name that no file bears.
type unset struct {
	name              string
	bucket, key, path string
}

func (u *unset) append(b []byte) []byte {
	b = append(b, valueVersion)
	b = appendText(b, u.bucket)
	b = appendText(b, u.key)
	return appendText(b, u.path)
}

func decodeUnset(name string, value []byte) (unset, error) {
	d := decoder{b: value}
	d.checkVersion()
	u := unset{name: name, bucket: d.text(), key: d.text(), path: d.text()}
	return u, d.close()
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendTime(b []byte, t time.Time) []byte { return binary.AppendVarint(b, t.UnixNano()) }

func appendMap(b []byte, m map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	if len(m) == 0 {
		return b
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		b = appendText(appendText(b, name), m[name])
	}
	return b
}

func appendChecksums(b []byte, list []object.Checksum) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, c := range list {
		b = appendBool(appendText(appendText(b, c.Algorithm), c.Value), c.Composite)
	}
	return b
}

func appendAttributes(b []byte, a *object.Attributes) []byte {
	for _, text := range []string{a.ContentType, a.ContentEncoding, a.ContentDisposition, a.ContentLanguage, a.CacheControl, a.Expires} {
		b = appendText(b, text)
	}
	return appendMap(appendMap(b, a.Metadata), a.Tags)
}

// errValue: a value of the index can't be read. Pebble checks its blocks, so this build and the value disagree.
var errValue = errors.New("a row of the index is not laid out as this build writes it")

// decoder reads a value. The first error sticks.
type decoder struct {
	b       []byte
	err     error
	version byte // of the value's layout
}

func (d *decoder) fail() { d.b, d.err = nil, errValue }

func (d *decoder) close() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail()
	}
	return d.err
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) checkVersion() {
	if d.version = d.byte(); d.version < 1 || d.version > valueVersion {
		d.fail()
	}
}

// partOfObject reads a part of a multipart object. Version 1 did not keep its number.
func (d *decoder) partOfObject(index int) object.Part {
	p := object.Part{Number: index + 1, Size: d.int()}
	if d.version >= 2 {
		p.Number, p.Checksums = int(d.int()), d.checksums()
	}
	return p
}

func (d *decoder) bool() bool { return d.byte() == 1 }

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things follow; each takes a byte at least, except the parts of a brief row, which are bounded.
func (d *decoder) count() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(max(len(d.b), object.MaxParts)) {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) text() string {
	n := d.count()
	if n > len(d.b) {
		d.fail()
		return ""
	}
	v := string(d.b[:n])
	d.b = d.b[n:]
	return v
}

func (d *decoder) time() time.Time {
	v := d.int()
	if d.err != nil {
		return time.Time{}
	}
	return time.Unix(0, v).UTC()
}

func (d *decoder) texts() map[string]string {
	n := d.count()
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		name := d.text()
		m[name] = d.text()
	}
	return m
}

func (d *decoder) checksums() []object.Checksum {
	n := d.count()
	var list []object.Checksum
	for range n {
		if d.err != nil {
			break
		}
		list = append(list, object.Checksum{Algorithm: d.text(), Value: d.text(), Composite: d.bool()})
	}
	return list
}

func (d *decoder) attributes() object.Attributes {
	return object.Attributes{ContentType: d.text(), ContentEncoding: d.text(), ContentDisposition: d.text(),
		ContentLanguage: d.text(), CacheControl: d.text(), Expires: d.text(), Metadata: d.texts(), Tags: d.texts()}
}
