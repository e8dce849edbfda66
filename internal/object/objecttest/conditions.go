package objecttest

import (
	"strings"
	"sync"
	"sync/atomic"

	"millrace/internal/fault"
	"millrace/internal/object"
)

func when(c object.Conditions) object.PutOptions { return object.PutOptions{Conditions: c} }

var ifAbsent = when(object.Conditions{IfNoneMatch: "*"})

var conditionRules = []rule{
	{name: "If-None-Match * stores once", check: func(b *bench) {
		if err := b.putErr("k", "first", ifAbsent); err != nil {
			b.Fatal(err)
		}
		b.wantKind(b.putErr("k", "second", ifAbsent), fault.PreconditionFailed)
		b.wantText("k", "first")
		if err := b.Delete(b.ctx, b.bucket, "k"); err != nil {
			b.Fatal(err)
		}
		if err := b.putErr("k", "third", ifAbsent); err != nil {
			b.Fatal(err)
		}
	}},
	{name: "If-Match stores over the version it names", check: func(b *bench) {
		first := b.put("k", "first")
		if err := b.putErr("k", "second", when(object.Conditions{IfMatch: first.ETag})); err != nil {
			b.Fatal(err)
		}
		b.wantKind(b.putErr("k", "third", when(object.Conditions{IfMatch: first.ETag})), fault.PreconditionFailed)
		b.wantText("k", "second")
	}},
	{name: "If-Match on a key that is not there is NotFound", check: func(b *bench) {
		b.wantMissing(b.putErr("k", "text", when(object.Conditions{IfMatch: md5Hex("x")})), object.MissingKey)
	}},
	{name: "of many who put if absent, one wins, and it is the one that is read", check: func(b *bench) {
		for round := range 5 {
			key := "k" + strings.Repeat("x", round)
			var wait sync.WaitGroup
			var won atomic.Int64
			for i := range 8 {
				wait.Go(func() {
					text := strings.Repeat("w", i+1)
					err := b.putErr(key, text, ifAbsent)
					switch {
					case err == nil:
						won.Add(int64(i + 1))
					case !fault.Is(err, fault.PreconditionFailed):
						b.Error(err)
					}
				})
			}
			wait.Wait()
			if got := len(b.get(key)); int64(got) != won.Load() {
				b.Errorf("version %d is read, %d has won", got, won.Load())
			}
		}
	}},
	{name: "of many who compare and swap, one wins a round", check: func(b *bench) {
		etag := b.put("k", "0").ETag
		for round := range 5 {
			var wait sync.WaitGroup
			var won atomic.Int64
			for i := range 6 {
				wait.Go(func() {
					err := b.putErr("k", strings.Repeat("v", 10*round+i+1), when(object.Conditions{IfMatch: etag}))
					if err == nil {
						won.Add(1)
					} else if !fault.Is(err, fault.PreconditionFailed) {
						b.Error(err)
					}
				})
			}
			wait.Wait()
			if won.Load() != 1 {
				b.Errorf("%d have won", won.Load())
			}
			info, err := b.Head(b.ctx, b.bucket, "k")
			if err != nil {
				b.Fatal(err)
			}
			etag = info.ETag
		}
	}},
	{name: "a deletion with an ETag removes the version that it names", check: func(b *bench) {
		first := b.put("k", "first")
		second := b.put("k", "second")
		b.wantKind(b.DeleteIfMatch(b.ctx, b.bucket, "k", first.ETag), fault.PreconditionFailed)
		b.wantText("k", "second")
		if err := b.DeleteIfMatch(b.ctx, b.bucket, "k", second.ETag); err != nil {
			b.Fatal(err)
		}
		b.wantGone("k")
		for _, etag := range []string{second.ETag, "*"} {
			b.wantKind(b.DeleteIfMatch(b.ctx, b.bucket, "k", etag), fault.PreconditionFailed)
		}
		b.put("k", "third")
		if err := b.DeleteIfMatch(b.ctx, b.bucket, "k", "*"); err != nil {
			b.Fatal(err)
		}
		b.wantGone("k")
	}},
	{name: "of a deletion and a put that name one version, one wins", check: func(b *bench) {
		for round := range 5 {
			etag := b.put("k", strings.Repeat("o", round+1)).ETag
			var wait sync.WaitGroup
			var putErr, deleteErr error
			wait.Go(func() { putErr = b.putErr("k", "new", when(object.Conditions{IfMatch: etag})) })
			wait.Go(func() { deleteErr = b.DeleteIfMatch(b.ctx, b.bucket, "k", etag) })
			wait.Wait()
			switch {
			case putErr == nil && deleteErr != nil:
				b.wantKind(deleteErr, fault.PreconditionFailed)
				b.wantText("k", "new")
			case putErr != nil && deleteErr == nil:
				b.wantMissing(putErr, object.MissingKey)
				b.wantGone("k")
			default:
				b.Errorf("put: %v; delete: %v", putErr, deleteErr)
			}
		}
	}},
	{name: "completing an upload obeys conditions, and the upload stays", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		p := b.part(up, 1, "part")
		b.put("k", "there first")
		_, err := b.CompleteUpload(b.ctx, up, []object.Part{p}, object.CompleteOptions{Conditions: object.Conditions{IfNoneMatch: "*"}})
		b.wantKind(err, fault.PreconditionFailed)
		b.wantText("k", "there first")
		if _, err := b.CompleteUpload(b.ctx, up, []object.Part{p}, object.CompleteOptions{}); err != nil {
			b.Fatal(err)
		}
		b.wantText("k", "part")
	}},
}
