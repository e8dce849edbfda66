package objecttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing/iotest"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// empties is a body without bytes.
type empties struct{}

func (empties) Read([]byte) (int, error) { return 0, io.EOF }

// hostileKeys are what a file system dislikes; all are good keys and all are different.
var hostileKeys = []string{
	"a", "a/b", "a/", "a/b/", "a//b", "//", "/", "/a", "a/b/c", ".", "..", "./a", "../a", "a/../b", "a/./b", "../../../../etc/passwd",
	".millrace/x", ".tmp", "%", "%2F", "a%2Fb", "%_", "a%d", "a%f", "a%d/b", "%-", "A", "a ", " ", "a.", "a\\b", "a:b", "a*?\"<>|",
	"nul\x00byte", "\x00", "new\nline", "tab\t", "del\x7f", "\u00e4", "a\u0308", "日本語/キー", "😀", "CON", "con.txt", "-rf", "~",
	strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("x", 1024), strings.Repeat("é", 512), strings.Repeat("%", 300),
	strings.Repeat("x", 240) + ".", strings.Repeat("x", 240) + "..", strings.Repeat("x", 240) + "../y", strings.Repeat("a/", 500),
	strings.Repeat("x", 239) + "%%%", strings.Repeat("x", 256) + "/y", strings.Repeat("/", 1024), strings.Repeat("../", 300),
}

var objectRules = []rule{
	{name: "a put object is read back with all that belongs to it", check: func(b *bench) {
		attrs := object.Attributes{ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentDisposition: "inline",
			ContentLanguage: "de", CacheControl: "no-cache", Expires: "Thu, 01 Dec 1994 16:00:00 GMT",
			Metadata: map[string]string{"manifest": "m-1", "empty": "", "umlaut": "ä"}, Tags: map[string]string{"k": "v"}}
		put := b.putWith("dir/file", "hello", object.PutOptions{Attributes: attrs})
		head, err := b.Head(b.ctx, b.bucket, "dir/file")
		if err != nil {
			b.Fatal(err)
		}
		o, err := b.Get(b.ctx, b.bucket, "dir/file")
		if err != nil {
			b.Fatal(err)
		}
		if text := b.read(o); text != "hello" {
			b.Errorf("read %q", text)
		}
		for name, i := range map[string]object.Info{"put": put, "head": head, "get": o.Info} {
			if i.Bucket != b.bucket || i.Key != "dir/file" || i.Size != 5 || i.ETag != md5Hex("hello") || i.Modified.IsZero() ||
				!i.Modified.Equal(head.Modified) && (name != "put" || !b.about(i.Modified, head.Modified)) || i.Parts != 0 {
				b.Errorf("%s: %+v", name, i)
			}
			a := i.Attributes
			if !maps.Equal(a.Metadata, attrs.Metadata) || !maps.Equal(a.Tags, attrs.Tags) {
				b.Errorf("%s: metadata %v, tags %v", name, a.Metadata, a.Tags)
			}
			if a.ContentType != attrs.ContentType || a.ContentEncoding != "gzip" || a.ContentDisposition != "inline" ||
				a.ContentLanguage != "de" || a.CacheControl != "no-cache" || a.Expires != attrs.Expires {
				b.Errorf("%s: %+v", name, a)
			}
		}
	}},
	{name: "an empty object is an object", check: func(b *bench) {
		if info := b.put("empty", ""); info.ETag != md5Hex("") || info.Size != 0 {
			b.Errorf("%+v", info)
		}
		b.wantText("empty", "")
	}},
	{name: "a body of unknown length is read to its end", check: func(b *bench) {
		text := large("unknown", 300_000)
		info, err := b.Put(b.ctx, b.bucket, "k", iotest.HalfReader(strings.NewReader(text)), -1, object.PutOptions{})
		if err != nil || info.Size != int64(len(text)) {
			b.Fatalf("%+v, %v", info, err)
		}
		b.wantText("k", text)
	}},
	{name: "content is read from any offset", check: func(b *bench) {
		b.put("k", "0123456789")
		o, err := b.Get(b.ctx, b.bucket, "k")
		if err != nil {
			b.Fatal(err)
		}
		defer o.Body.Close()
		var p [4]byte
		if _, err := o.Body.ReadAt(p[:], 3); err != nil || string(p[:]) != "3456" {
			b.Errorf("%q, %v", p, err)
		}
	}},
	{name: "overwriting replaces content and attributes", check: func(b *bench) {
		b.putWith("k", "old text", object.PutOptions{Attributes: object.Attributes{Metadata: map[string]string{"a": "1"}}})
		b.put("k", "new")
		b.wantText("k", "new")
		if i, _ := b.Head(b.ctx, b.bucket, "k"); len(i.Metadata) != 0 || i.Size != 3 {
			b.Errorf("%+v", i)
		}
	}},
	{name: "an open object keeps its content when it is overwritten and deleted", check: func(b *bench) {
		b.put("k", "first")
		first, err := b.Get(b.ctx, b.bucket, "k")
		if err != nil {
			b.Fatal(err)
		}
		b.put("k", "second!")
		second, err := b.Get(b.ctx, b.bucket, "k")
		if err != nil {
			b.Fatal(err)
		}
		if err := b.Delete(b.ctx, b.bucket, "k"); err != nil {
			b.Fatal(err)
		}
		if one, two := b.read(first), b.read(second); one != "first" || two != "second!" {
			b.Errorf("%q, %q", one, two)
		}
	}},
	{name: "a deleted key is gone, and deleting what is not there is no error", check: func(b *bench) {
		b.put("k", "text")
		for range 2 {
			if err := b.Delete(b.ctx, b.bucket, "k"); err != nil {
				b.Fatal(err)
			}
			b.wantGone("k")
			_, err := b.Get(b.ctx, b.bucket, "k")
			b.wantMissing(err, object.MissingKey)
		}
	}},
	{name: "keys that file systems dislike are all different objects", check: checkHostileKeys},
	{name: "a key that is no key is Invalid", check: func(b *bench) {
		for _, key := range []string{"", strings.Repeat("x", object.MaxKeyBytes+1), "\xff"} {
			b.wantKind(b.putErr(key, "text", object.PutOptions{}), fault.Invalid)
		}
	}},
	{name: "too much metadata is refused", check: func(b *bench) {
		big := object.PutOptions{Attributes: object.Attributes{Metadata: map[string]string{"k": strings.Repeat("v", object.MaxMetadataBytes)}}}
		b.wantCause(b.putErr("k", "text", big), fault.Invalid, object.ErrMetadataTooLarge)
	}},
	{name: "a body of another length than announced stores nothing", check: func(b *bench) {
		b.put("k", "old")
		for _, text := range []string{"", "1234", "123456"} {
			_, err := b.Put(b.ctx, b.bucket, "k", strings.NewReader(text), 5, object.PutOptions{})
			b.wantCause(err, fault.Invalid, object.ErrIncompleteBody)
		}
		b.wantText("k", "old")
	}},
	{name: "a body that breaks off stores nothing, and its error is found", check: func(b *bench) {
		b.put("k", "old")
		gone := errors.New("the caller is gone")
		_, err := b.Put(b.ctx, b.bucket, "k", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(gone)), -1, object.PutOptions{})
		b.wantCause(err, fault.Unavailable, gone)
		refused := fault.New(fault.Invalid, "test", "", "refused")
		_, err = b.Put(b.ctx, b.bucket, "k", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(refused)), 3, object.PutOptions{})
		b.wantKind(err, fault.Invalid)
		b.wantText("k", "old")
	}},
	{name: "a put that is cancelled stores nothing", check: func(b *bench) {
		ctx, cancel := context.WithCancel(b.ctx)
		cancel()
		if _, err := b.Put(ctx, b.bucket, "k", strings.NewReader("text"), 4, object.PutOptions{}); err == nil {
			b.Error("no error")
		}
		b.wantGone("k")
	}},
	{name: "digests are compared, and a wrong one stores nothing", check: checkDigests},
	{name: "checksums are kept and given back", check: func(b *bench) {
		for _, a := range object.Algorithms {
			b.putWith(a, "text", object.PutOptions{Want: object.Digests{Checksums: []object.Checksum{sum(a, "text")}}})
			if i, err := b.Head(b.ctx, b.bucket, a); err != nil || len(i.Checksums) != 1 || i.Checksums[0] != sum(a, "text") {
				b.Errorf("%s: %+v, %v", a, i.Checksums, err)
			}
		}
		b.putWith("computed", "text", object.PutOptions{Compute: object.CRC64NVME})
		if i, err := b.Head(b.ctx, b.bucket, "computed"); err != nil || len(i.Checksums) != 1 || i.Checksums[0] != sum(object.CRC64NVME, "text") {
			b.Errorf("%+v, %v", i.Checksums, err)
		}
	}},
	{name: "digests that come behind the body are compared", check: func(b *bench) {
		late := func(c object.Checksum, err error) object.PutOptions {
			return object.PutOptions{Compute: object.CRC32, Trailer: func() (object.Digests, error) {
				return object.Digests{Checksums: []object.Checksum{c}}, err
			}}
		}
		b.wantDigest(b.putErr("k", "text", late(sum(object.CRC32, "test"), nil)), object.CRC32)
		broken := fault.New(fault.Invalid, "test", "", "trailer is broken")
		b.wantKind(b.putErr("k", "text", late(object.Checksum{}, broken)), fault.Invalid)
		b.wantGone("k")
		if err := b.putErr("k", "text", late(sum(object.CRC32, "text"), nil)); err != nil {
			b.Error(err)
		}
	}},
	{name: "tags of an object are replaced and nothing else changes", check: func(b *bench) {
		b.putWith("k", "text", object.PutOptions{Attributes: object.Attributes{ContentType: "a/b", Tags: map[string]string{"a": "1"}}})
		before, err := b.Head(b.ctx, b.bucket, "k")
		if err != nil {
			b.Fatal(err)
		}
		if err := b.Tag(b.ctx, b.bucket, "k", map[string]string{"b": "2"}); err != nil {
			b.Fatal(err)
		}
		i, err := b.Head(b.ctx, b.bucket, "k")
		if err != nil || !maps.Equal(i.Tags, map[string]string{"b": "2"}) || i.ETag != before.ETag || !i.Modified.Equal(before.Modified) || i.ContentType != "a/b" {
			b.Errorf("%+v, %v", i, err)
		}
		b.wantMissing(b.Tag(b.ctx, b.bucket, "none", nil), object.MissingKey)
	}},
	{name: "readers see one version or another, never a mixture", check: checkNoMixture},
}

func checkHostileKeys(b *bench) {
	for _, key := range hostileKeys {
		b.put(key, "content of "+key)
	}
	for _, key := range hostileKeys {
		b.wantText(key, "content of "+key)
		b.put(key, "again "+key)
	}
	page, err := b.List(b.ctx, b.bucket, object.ListOptions{Max: 1000})
	if err != nil || len(page.Objects) != len(hostileKeys) {
		b.Fatalf("%d keys are listed, want %d, %v", len(page.Objects), len(hostileKeys), err)
	}
	for i, key := range hostileKeys {
		if i%2 == 0 {
			if err := b.Delete(b.ctx, b.bucket, key); err != nil {
				b.Errorf("delete %q: %v", key, err)
			}
		}
	}
	for i, key := range hostileKeys {
		if i%2 == 0 {
			b.wantGone(key)
		} else {
			b.wantText(key, "again "+key)
		}
	}
	for _, key := range hostileKeys { // where names of the other half have become free
		b.put(key, "third "+key)
	}
	for _, key := range hostileKeys {
		b.wantText(key, "third "+key)
	}
}

func checkDigests(b *bench) {
	const text = "digest me"
	sum5, sum256 := md5.Sum([]byte(text)), sha256.Sum256([]byte(text))
	good := object.Digests{MD5: sum5[:], SHA256: sum256[:]}
	for _, a := range object.Algorithms {
		good.Checksums = append(good.Checksums, sum(a, text))
	}
	if err := b.putErr("k", text, object.PutOptions{Want: good}); err != nil {
		b.Fatal(err)
	}
	b.put("k", "old")
	wrong := bytes.Repeat([]byte{1}, 32)
	b.wantDigest(b.putErr("k", text, object.PutOptions{Want: object.Digests{MD5: wrong[:16]}}), "MD5")
	b.wantDigest(b.putErr("k", text, object.PutOptions{Want: object.Digests{SHA256: wrong}}), object.PayloadSHA256)
	for _, a := range object.Algorithms {
		b.wantDigest(b.putErr("k", text, object.PutOptions{Want: object.Digests{Checksums: []object.Checksum{sum(a, "other")}}}), a)
	}
	b.wantText("k", "old")
}

// checkNoMixture has writers, readers and deleters meet on one key.
func checkNoMixture(b *bench) {
	var wait sync.WaitGroup
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("%03d.", i), 2000+i) }
	b.put("k", text(0))
	for w := range 4 {
		wait.Go(func() {
			for i := range 15 {
				version := text(w*15 + i)
				if err := b.putErr("k", version, object.PutOptions{}); err != nil {
					b.Error(err)
				}
			}
		})
		wait.Go(func() {
			for range 40 {
				o, err := b.Get(b.ctx, b.bucket, "k")
				if err != nil {
					b.Error(err)
					continue
				}
				got, err := io.ReadAll(o.Body)
				o.Body.Close()
				if err != nil || int64(len(got)) != o.Size || md5Hex(string(got)) != o.ETag {
					b.Errorf("%d bytes of version %s with %d, %v", len(got), o.ETag, o.Size, err)
				}
			}
		})
	}
	wait.Wait()
}
