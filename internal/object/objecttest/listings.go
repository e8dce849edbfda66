package objecttest

import (
	"fmt"
	"slices"
	"strings"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// pages lists all with pages of the given size, common prefixes marked by '>'.
func (b *bench) pages(o object.ListOptions, size int) []string {
	b.Helper()
	var all []string
	o.Max = size
	for range 10_000 {
		page, err := b.List(b.ctx, b.bucket, o)
		if err != nil {
			b.Fatal(err)
		}
		n := len(page.Objects) + len(page.CommonPrefixes)
		if n > size || page.Truncated && n != size || page.Truncated != (page.Next != "") {
			b.Fatalf("a page of %d has %d, truncated %v, next %q", size, n, page.Truncated, page.Next)
		}
		var merged []string
		for _, i := range page.Objects {
			merged = append(merged, i.Key)
		}
		for _, p := range page.CommonPrefixes {
			merged = append(merged, p+">")
		}
		slices.SortFunc(merged, func(x, y string) int {
			return strings.Compare(strings.TrimSuffix(x, ">"), strings.TrimSuffix(y, ">"))
		})
		all = append(all, merged...)
		if !page.Truncated {
			return all
		}
		o.After = page.Next
	}
	b.Fatal("the listing does not end")
	return nil
}

// wantList lists with pages of several sizes.
func (b *bench) wantList(o object.ListOptions, want ...string) {
	b.Helper()
	for _, size := range []int{1000, 3, 2, 1} {
		if got := b.pages(o, size); !slices.Equal(got, want) {
			b.Errorf("%+v in pages of %d: %q, want %q", o, size, got, want)
		}
	}
}

var listRules = []rule{
	{name: "keys are listed in byte order with size, ETag and time", check: func(b *bench) {
		keys := []string{"b", "a", "a/b", "a b", "é", "B", "a\x00", "😀", "~"}
		for _, k := range keys {
			b.put(k, k)
		}
		slices.Sort(keys)
		b.wantList(object.ListOptions{}, keys...)
		page, err := b.List(b.ctx, b.bucket, object.ListOptions{Max: 1, Prefix: "é"})
		if err != nil || len(page.Objects) != 1 {
			b.Fatal(page, err)
		}
		if o := page.Objects[0]; o.Size != 2 || o.ETag != md5Hex("é") || o.Modified.IsZero() {
			b.Errorf("%+v", o)
		}
	}},
	{name: "an empty bucket lists nothing", check: func(b *bench) { b.wantList(object.ListOptions{}) }},
	{name: "a bucket lists its own keys only", check: func(b *bench) {
		other := &bench{T: b.T, Store: b.Store, ctx: b.ctx, options: b.options}
		other.bucket = b.newBucket()
		other.put("theirs", "x")
		b.put("ours", "x")
		b.wantList(object.ListOptions{}, "ours")
	}},
	{name: "a prefix is any text", check: func(b *bench) {
		for _, k := range []string{"log", "logs", "logs/1", "logs/2", "logt"} {
			b.put(k, "x")
		}
		b.wantList(object.ListOptions{Prefix: "logs"}, "logs", "logs/1", "logs/2")
		b.wantList(object.ListOptions{Prefix: "logs/"}, "logs/1", "logs/2")
		b.wantList(object.ListOptions{Prefix: "none"})
	}},
	{name: "a delimiter rolls keys up", check: func(b *bench) {
		for _, k := range []string{"a/1", "a/2", "a/b/3", "b", "c/", "c/1", "d//e", "a"} {
			b.put(k, "x")
		}
		b.wantList(object.ListOptions{Delimiter: "/"}, "a", "a/>", "b", "c/>", "d/>")
		b.wantList(object.ListOptions{Delimiter: "/", Prefix: "a/"}, "a/1", "a/2", "a/b/>")
		b.wantList(object.ListOptions{Delimiter: "/", Prefix: "a"}, "a", "a/>")
		b.wantList(object.ListOptions{Delimiter: "/", Prefix: "c/"}, "c/", "c/1")
		b.wantList(object.ListOptions{Delimiter: "/", Prefix: "d/"}, "d//>")
		b.wantList(object.ListOptions{Delimiter: "b/"}, "a", "a/1", "a/2", "a/b/>", "b", "c/", "c/1", "d//e")
	}},
	{name: "a page begins strictly after a key or a common prefix", check: func(b *bench) {
		for _, k := range []string{"a", "b/1", "b/2", "c", "d"} {
			b.put(k, "x")
		}
		b.wantList(object.ListOptions{After: "a"}, "b/1", "b/2", "c", "d")
		b.wantList(object.ListOptions{After: "b"}, "b/1", "b/2", "c", "d")
		b.wantList(object.ListOptions{After: "b/", Delimiter: "/"}, "c", "d")
		b.wantList(object.ListOptions{After: "zzz"})
		b.wantList(object.ListOptions{After: "a", Prefix: "c"}, "c")
		b.wantList(object.ListOptions{After: "d", Prefix: "c"})
	}},
	{name: "a page bound outside 1 to 1000 is Invalid", check: func(b *bench) {
		for _, n := range []int{0, -1, 1001} {
			_, err := b.List(b.ctx, b.bucket, object.ListOptions{Max: n})
			b.wantKind(err, fault.Invalid)
		}
	}},
	{name: "a listing shows a change at once", check: func(b *bench) {
		for i := range 20 {
			k := fmt.Sprintf("k%02d", i)
			b.put(k, "x")
			if got := b.pages(object.ListOptions{Prefix: k}, 10); len(got) != 1 {
				b.Errorf("%q after the put of %s", got, k)
			}
			if err := b.Delete(b.ctx, b.bucket, k); err != nil {
				b.Fatal(err)
			}
		}
		b.wantList(object.ListOptions{})
	}},
	{name: "uploads and parts are not listed", check: func(b *bench) {
		up := b.begin("k", object.UploadOptions{})
		b.part(up, 1, "part")
		b.wantList(object.ListOptions{})
		b.wantGone("k")
	}},
}
