package objecttest

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"millrace/internal/fault"
	"millrace/internal/object"
)

func (b *bench) begin(key string, o object.UploadOptions) object.UploadRef {
	b.Helper()
	up, err := b.CreateUpload(b.ctx, b.bucket, key, o)
	if err != nil {
		b.Fatal(err)
	}
	return up.UploadRef
}

func (b *bench) part(up object.UploadRef, number int, text string) object.Part {
	b.Helper()
	p, err := b.PutPart(b.ctx, up, number, strings.NewReader(text), int64(len(text)), object.PartOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bench) complete(up object.UploadRef, parts ...object.Part) (object.Info, error) {
	return b.CompleteUpload(b.ctx, up, parts, object.CompleteOptions{})
}

func (b *bench) mustComplete(up object.UploadRef, parts ...object.Part) object.Info {
	b.Helper()
	info, err := b.complete(up, parts...)
	if err != nil {
		b.Fatal(err)
	}
	return info
}

// multipartETag is the ETag of an object of these parts.
func multipartETag(texts ...string) string {
	h := md5.New()
	for _, text := range texts {
		s := md5.Sum([]byte(text))
		h.Write(s[:])
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(h.Sum(nil)), len(texts))
}

var uploadRules = []rule{
	{name: "an upload of one part becomes an object with its attributes", check: func(b *bench) {
		up := b.begin("dir/k", object.UploadOptions{Attributes: object.Attributes{ContentType: "text/csv",
			Metadata: map[string]string{"m": "1"}, Tags: map[string]string{"t": "2"}}})
		info := b.mustComplete(up, b.part(up, 7, "only part"))
		head, err := b.Head(b.ctx, b.bucket, "dir/k")
		if err != nil || head.ETag != multipartETag("only part") || head.ETag != info.ETag || head.Parts != 1 ||
			len(head.PartList) != 1 || head.PartList[0].Size != 9 || head.ContentType != "text/csv" || head.Metadata["m"] != "1" || head.Tags["t"] != "2" {
			b.Errorf("%+v, %v", head, err)
		}
		b.wantText("dir/k", "only part")
	}},
	{name: "parts are joined by number, whatever their order of arrival", large: true, check: func(b *bench) {
		one, two, three := large("one", object.MinPartBytes), large("two", object.MinPartBytes+17), "the end"
		up := b.begin("k", object.UploadOptions{})
		var wait sync.WaitGroup
		parts := make([]object.Part, 3)
		for i, text := range []string{one, two, three} {
			wait.Go(func() { parts[i] = b.part(up, 10*(i+1), text) })
		}
		wait.Wait()
		info := b.mustComplete(up, parts...)
		if info.ETag != multipartETag(one, two, three) || info.Parts != 3 || info.Size != int64(len(one+two+three)) {
			b.Errorf("%+v", info)
		}
		b.wantText("k", one+two+three)
	}},
	{name: "an object tells the numbers and checksums of its parts, if the store knows them", large: true, check: func(b *bench) {
		one, two := large("one", object.MinPartBytes), "two"
		up := b.begin("k", object.UploadOptions{ChecksumAlgorithm: object.CRC32, ChecksumComposite: true})
		var parts []object.Part
		for number, text := range map[int]string{2: one, 5: two} {
			p, err := b.PutPart(b.ctx, up, number, strings.NewReader(text), int64(len(text)), object.PartOptions{Compute: object.CRC32})
			if err != nil {
				b.Fatal(err)
			}
			parts = append(parts, p)
		}
		slices.SortFunc(parts, func(a, b object.Part) int { return a.Number - b.Number })
		b.mustComplete(up, parts...)
		head, err := b.Head(b.ctx, b.bucket, "k")
		if err != nil || head.Parts != 2 {
			b.Fatalf("%+v, %v", head, err)
		}
		if len(head.PartList) == 0 {
			return
		}
		want := []object.Part{{Number: 2, Size: int64(len(one)), Checksums: []object.Checksum{sum(object.CRC32, one)}},
			{Number: 5, Size: 3, Checksums: []object.Checksum{sum(object.CRC32, two)}}}
		if !reflect.DeepEqual(head.PartList, want) {
			b.Errorf("%+v, want %+v", head.PartList, want)
		}
	}},
	{name: "parts that are not named are left out and removed", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		b.part(up, 1, "left out")
		b.mustComplete(up, b.part(up, 2, "taken"))
		b.wantText("k", "taken")
	}},
	{name: "a part is replaced by one of the same number", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		old := b.part(up, 1, "old")
		b.part(up, 1, "newer")
		_, err := b.complete(up, old)
		b.wantCause(err, fault.Invalid, object.ErrInvalidPart)
		list, err := b.Parts(b.ctx, up)
		if err != nil || len(list) != 1 || list[0].Size != 5 || list[0].Number != 1 || list[0].ETag != md5Hex("newer") {
			b.Fatalf("%+v, %v", list, err)
		}
		b.mustComplete(up, list...)
		b.wantText("k", "newer")
	}},
	{name: "completion refuses wrong lists of parts, and the upload stays", large: true, check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		one, two := b.part(up, 1, "small"), b.part(up, 2, "last")
		_, err := b.complete(up, two, one)
		b.wantCause(err, fault.Invalid, object.ErrPartOrder)
		_, err = b.complete(up, one, one)
		b.wantCause(err, fault.Invalid, object.ErrPartOrder)
		_, err = b.complete(up, one, object.Part{Number: 3, ETag: two.ETag})
		b.wantCause(err, fault.Invalid, object.ErrInvalidPart)
		_, err = b.complete(up, object.Part{Number: 1, ETag: two.ETag})
		b.wantCause(err, fault.Invalid, object.ErrInvalidPart)
		_, err = b.complete(up)
		b.wantKind(err, fault.Invalid)
		_, err = b.complete(up, one, two)
		b.wantCause(err, fault.Invalid, object.ErrPartTooSmall)
		b.wantGone("k")
		one = b.part(up, 1, large("big", object.MinPartBytes))
		b.mustComplete(up, one, two)
	}},
	{name: "a part number outside 1 to 10000 is Invalid", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		for _, n := range []int{0, -1, object.MaxParts + 1} {
			_, err := b.PutPart(b.ctx, up, n, strings.NewReader("x"), 1, object.PartOptions{})
			b.wantKind(err, fault.Invalid)
		}
	}},
	{name: "digests of a part are compared", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{ChecksumAlgorithm: object.CRC32})
		_, err := b.PutPart(b.ctx, up, 1, strings.NewReader("x"), 1, object.PartOptions{Want: object.Digests{Checksums: []object.Checksum{sum(object.CRC32, "y")}}})
		b.wantDigest(err, object.CRC32)
		if list, err := b.Parts(b.ctx, up); err != nil || len(list) != 0 {
			b.Errorf("%+v, %v", list, err)
		}
	}},
	{name: "a composite checksum is over the parts' digests", large: true, check: func(b *bench) {
		one, two := large("one", object.MinPartBytes), "two"
		for _, a := range object.Algorithms {
			if a == object.CRC64NVME {
				continue // the service has it over all bytes only
			}
			up := b.begin(a, object.UploadOptions{ChecksumAlgorithm: a, ChecksumComposite: true})
			p1, p2 := b.part(up, 1, one), b.part(up, 2, two)
			if len(p1.Checksums) != 1 || p1.Checksums[0] != sum(a, one) {
				b.Errorf("%s: part %+v", a, p1)
			}
			info := b.mustComplete(up, p1, p2)
			h := object.NewHash(a)
			for _, text := range []string{one, two} {
				raw, _ := base64.StdEncoding.DecodeString(sum(a, text).Value)
				h.Write(raw)
			}
			want := object.Checksum{Algorithm: a, Value: base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-2", Composite: true}
			if len(info.Checksums) != 1 || info.Checksums[0] != want {
				b.Errorf("%s: %+v, want %+v", a, info.Checksums, want)
			}
		}
	}},
	{name: "a full checksum is over the bytes, and only CRCs have it", large: true, check: func(b *bench) {
		one, two := large("one", object.MinPartBytes), "two"
		for _, a := range object.Algorithms {
			o := object.UploadOptions{ChecksumAlgorithm: a}
			if !object.ComposesFully(a) {
				_, err := b.CreateUpload(b.ctx, b.bucket, a, o)
				b.wantKind(err, fault.Invalid)
				continue
			}
			up := b.begin(a, o)
			parts := []object.Part{b.part(up, 1, one), b.part(up, 2, two)}
			_, err := b.CompleteUpload(b.ctx, up, parts, object.CompleteOptions{Want: []object.Checksum{sum(a, "other")}})
			b.wantDigest(err, a)
			b.wantGone(a)
			info, err := b.CompleteUpload(b.ctx, up, parts, object.CompleteOptions{Want: []object.Checksum{sum(a, one+two)}, Size: int64(len(one + two))})
			if err != nil || len(info.Checksums) != 1 || info.Checksums[0] != sum(a, one+two) {
				b.Errorf("%s: %+v, %v", a, info.Checksums, err)
			}
		}
		up := b.begin("single", object.UploadOptions{ChecksumAlgorithm: object.CRC32C})
		if info := b.mustComplete(up, b.part(up, 1, two)); len(info.Checksums) != 1 || info.Checksums[0] != sum(object.CRC32C, two) {
			b.Errorf("%+v", info.Checksums)
		}
	}},
	{name: "completing again gives the object again", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		p := b.part(up, 1, "text")
		first := b.mustComplete(up, p)
		again, err := b.complete(up, p)
		if err != nil || again.ETag != first.ETag || !again.Modified.Equal(first.Modified) {
			b.Errorf("%+v, %v", again, err)
		}
		b.put("k", "newer")
		_, err = b.complete(up, p)
		b.wantMissing(err, object.MissingUpload)
	}},
	{name: "an aborted upload is gone", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		p := b.part(up, 1, "text")
		if err := b.AbortUpload(b.ctx, up); err != nil {
			b.Fatal(err)
		}
		_, err := b.complete(up, p)
		b.wantMissing(err, object.MissingUpload)
		_, err = b.PutPart(b.ctx, up, 2, strings.NewReader("x"), 1, object.PartOptions{})
		b.wantMissing(err, object.MissingUpload)
		_, err = b.Parts(b.ctx, up)
		b.wantMissing(err, object.MissingUpload)
		b.wantMissing(b.AbortUpload(b.ctx, up), object.MissingUpload)
		b.wantGone("k")
	}},
	{name: "an upload belongs to its key", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		p := b.part(up, 1, "text")
		up.Key = "other"
		_, err := b.complete(up, p)
		b.wantMissing(err, object.MissingUpload)
	}},
	{name: "uploads are listed by key, then by when they began", check: func(b *bench) {
		var want []object.UploadRef
		for _, key := range []string{"a", "a", "a\x00", "a/b", "b"} {
			want = append(want, b.begin(key, object.UploadOptions{ChecksumAlgorithm: object.CRC32}))
		}
		list, err := b.Uploads(b.ctx, b.bucket, "")
		if err != nil || len(list) != len(want) {
			b.Fatalf("%+v, %v", list, err)
		}
		for i := range list {
			if list[i].Key != want[i].Key || list[i].ChecksumAlgorithm != object.CRC32 || list[i].Initiated.IsZero() {
				b.Errorf("%d: %+v, want %+v", i, list[i], want[i])
			}
		}
		if list, err := b.Uploads(b.ctx, b.bucket, "a/"); err != nil || len(list) != 1 || list[0].UploadRef != want[3] {
			b.Errorf("%+v, %v", list, err)
		}
		if one, err := b.Upload(b.ctx, want[3]); err != nil || one.UploadRef != want[3] {
			b.Errorf("%+v, %v", one, err)
		}
	}},
}
