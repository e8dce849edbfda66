package objecttest

import (
	"maps"
	"slices"
	"strings"

	"millrace/internal/fault"
	"millrace/internal/object"
)

var bucketRules = []rule{
	{name: "a bucket is found by its name", check: func(b *bench) {
		got, err := b.Bucket(b.ctx, b.bucket)
		if err != nil || got.Name != b.bucket || got.Created.IsZero() {
			b.Errorf("%+v, %v", got, err)
		}
	}},
	{name: "a bucket that is not there is NotFound and named everywhere", check: func(b *bench) {
		const none = "objecttest-none"
		ref := object.UploadRef{Bucket: none, Key: "k", ID: "x"}
		for name, call := range map[string]func() error{
			"Bucket":        func() error { _, err := b.Bucket(b.ctx, none); return err },
			"DeleteBucket":  func() error { return b.DeleteBucket(b.ctx, none) },
			"TagBucket":     func() error { return b.TagBucket(b.ctx, none, nil) },
			"SetBucket":     func() error { return b.SetBucket(b.ctx, none, "policy", "{}") },
			"Put":           func() error { _, err := b.Put(b.ctx, none, "k", empties{}, 0, object.PutOptions{}); return err },
			"Get":           func() error { _, err := b.Get(b.ctx, none, "k"); return err },
			"Head":          func() error { _, err := b.Head(b.ctx, none, "k"); return err },
			"Delete":        func() error { return b.Delete(b.ctx, none, "k") },
			"DeleteIfMatch": func() error { return b.DeleteIfMatch(b.ctx, none, "k", "*") },
			"Tag":           func() error { return b.Tag(b.ctx, none, "k", nil) },
			"List":          func() error { _, err := b.List(b.ctx, none, object.ListOptions{Max: 1}); return err },
			"CreateUpload":  func() error { _, err := b.CreateUpload(b.ctx, none, "k", object.UploadOptions{}); return err },
			"PutPart":       func() error { _, err := b.PutPart(b.ctx, ref, 1, empties{}, 0, object.PartOptions{}); return err },
			"Uploads":       func() error { _, err := b.Uploads(b.ctx, none, ""); return err },
			"Parts":         func() error { _, err := b.Parts(b.ctx, ref); return err },
			"AbortUpload":   func() error { return b.AbortUpload(b.ctx, ref) },
		} {
			err := call()
			b.Logf("%s: %v", name, err)
			b.wantMissing(err, object.MissingBucket)
		}
	}},
	{name: "creating a bucket twice is InUse and changes nothing", check: func(b *bench) {
		b.put("k", "text")
		b.wantCause(b.CreateBucket(b.ctx, object.Bucket{Name: b.bucket}), fault.InUse, object.ErrBucketExists)
		b.wantText("k", "text")
	}},
	{name: "a name that breaks the rules is Invalid", check: func(b *bench) {
		for _, name := range []string{"", "ab", "Upper", ".millrace", "..", "a/b", "192.168.0.1", "under_score"} {
			b.wantKind(b.CreateBucket(b.ctx, object.Bucket{Name: name}), fault.Invalid)
		}
	}},
	{name: "buckets are listed in byte order", check: func(b *bench) {
		other := b.newBucket()
		list, err := b.Buckets(b.ctx)
		if err != nil {
			b.Fatal(err)
		}
		var all []string
		for _, x := range list {
			all = append(all, x.Name)
		}
		if !slices.IsSorted(all) || !slices.Contains(all, b.bucket) || !slices.Contains(all, other) {
			b.Errorf("%q", all)
		}
	}},
	{name: "a bucket that holds an object is not deleted", check: func(b *bench) {
		b.put("k", "text")
		b.wantCause(b.DeleteBucket(b.ctx, b.bucket), fault.InUse, object.ErrBucketNotEmpty)
		b.wantText("k", "text")
	}},
	{name: "a bucket that holds an upload is not deleted", check: func(b *bench) {
		if _, err := b.CreateUpload(b.ctx, b.bucket, "k", object.UploadOptions{}); err != nil {
			b.Fatal(err)
		}
		b.wantCause(b.DeleteBucket(b.ctx, b.bucket), fault.InUse, object.ErrBucketNotEmpty)
	}},
	{name: "a deleted bucket is gone and its name is free", check: func(b *bench) {
		b.put("a/b/c", "text")
		if err := b.Delete(b.ctx, b.bucket, "a/b/c"); err != nil {
			b.Fatal(err)
		}
		if err := b.DeleteBucket(b.ctx, b.bucket); err != nil {
			b.Fatal(err)
		}
		_, err := b.Bucket(b.ctx, b.bucket)
		b.wantMissing(err, object.MissingBucket)
		if err := b.CreateBucket(b.ctx, object.Bucket{Name: b.bucket}); err != nil {
			b.Fatal(err)
		}
		b.wantGone("a/b/c")
	}},
	{name: "settings of a bucket are kept one by one, beside its tags", check: func(b *bench) {
		if b.KeepsSettings() == b.options.NoSettings {
			b.Errorf("it says that it keeps settings: %v", b.KeepsSettings())
		}
		if b.options.NoSettings {
			b.wantKind(b.SetBucket(b.ctx, b.bucket, "policy", "{}"), fault.Unsupported)
			return
		}
		if err := b.TagBucket(b.ctx, b.bucket, map[string]string{"team": "data"}); err != nil {
			b.Fatal(err)
		}
		for _, step := range []struct {
			setting, text string
			want          map[string]string
		}{
			{"policy", "{}", map[string]string{"policy": "{}"}},
			{"versioning", "Suspended", map[string]string{"policy": "{}", "versioning": "Suspended"}},
			{"policy", "[]", map[string]string{"policy": "[]", "versioning": "Suspended"}},
			{"policy", "", map[string]string{"versioning": "Suspended"}},
			{"policy", "", map[string]string{"versioning": "Suspended"}},
		} {
			if err := b.SetBucket(b.ctx, b.bucket, step.setting, step.text); err != nil {
				b.Fatal(err)
			}
			got, err := b.Bucket(b.ctx, b.bucket)
			if err != nil || !maps.Equal(got.Settings, step.want) || got.Tags["team"] != "data" || b.BucketSetting(b.bucket, step.setting) != step.text {
				b.Errorf("%+v, %v; want %v", got, err, step.want)
			}
		}
		b.wantKind(b.SetBucket(b.ctx, b.bucket, "policy", strings.Repeat("x", object.MaxSettingBytes+1)), fault.Invalid)
		for i := range object.MaxSettings {
			err := b.SetBucket(b.ctx, b.bucket, strings.Repeat("s", i+1), "x")
			if i < object.MaxSettings-1 && err != nil {
				b.Error(err)
			} else if i == object.MaxSettings-1 {
				b.wantKind(err, fault.LimitExceeded)
			}
		}
	}},
	{name: "tags of a bucket are replaced as a whole", check: func(b *bench) {
		for _, tags := range []map[string]string{{"team": "data", "cost": "7"}, {"team": "ops"}, nil} {
			if err := b.TagBucket(b.ctx, b.bucket, tags); err != nil {
				b.Fatal(err)
			}
			got, err := b.Bucket(b.ctx, b.bucket)
			if err != nil || !maps.Equal(got.Tags, tags) {
				b.Errorf("tags %v, %v; want %v", got.Tags, err, tags)
			}
		}
	}},
}
