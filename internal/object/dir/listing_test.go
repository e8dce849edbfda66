package dir

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/object"
	"millrace/internal/store"
)

// fillIndex puts rows of objects into the index as a put does, without files: a listing reads rows alone.
func fillIndex(tb testing.TB, s *Store, bucket string, n int, key func(i int) string) {
	tb.Helper()
	if err := s.CreateBucket(context.Background(), object.Bucket{Name: bucket}); err != nil {
		tb.Fatal(err)
	}
	r := row{version: "none", size: 7, modified: time.Unix(1790000000, 0), etag: "9e107d9d372bb6826bd81d3542a419d6",
		attrs: object.Attributes{ContentType: "application/octet-stream", Metadata: map[string]string{"millrace-manifest": "x"}}}
	batch := s.opts.DB.NewBatch()
	for i := range n {
		k := key(i)
		r.path = bucket + "/" + k
		if err := batch.Set(s.objectKey(bucket, k), r.append(nil), nil); err != nil {
			tb.Fatal(err)
		}
		if batch.Len() > 1<<20 || i == n-1 {
			if err := batch.Commit(pebble.NoSync); err != nil {
				tb.Fatal(err)
			}
			batch = s.opts.DB.NewBatch()
		}
	}
}

// manyKeys is the size of a large bucket; a short run, as with the race detector, has a tenth.
func manyKeys() int {
	if testing.Short() {
		return 100_000
	}
	return 1_000_000
}

// delivered is a key as delivery streams make them: n keys of 2026 lie in 8760 hours.
func delivered(i int) string {
	hour := i % 8760
	return fmt.Sprintf("year/%02d/%02d/%02d/stream-1-%08d", hour/744, hour/24%31, hour%24, i)
}

// A page costs what it shows: of a million keys, it seeks over common prefixes and steps over the keys that it lists,
// wherever in the bucket it is.
func TestListingCostsWhatItShows(t *testing.T) {
	n := manyKeys()
	w := newWorld(t)
	s := w.open()
	fillIndex(t, s, "large", n, delivered)
	f := func(o object.ListOptions, objects, prefixes int) object.Page {
		t.Helper()
		page, steps, seeks, err := s.list(context.Background(), "object.List", "large", o)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Objects) != objects || len(page.CommonPrefixes) != prefixes {
			t.Fatalf("%+v: %d keys and %d common prefixes, want %d and %d", o, len(page.Objects), len(page.CommonPrefixes), objects, prefixes)
		}
		// One more of each ends the page; a seek begins it.
		if steps > objects+1 || seeks > prefixes+2 {
			t.Errorf("%+v: %d steps and %d seeks for %d keys and %d common prefixes", o, steps, seeks, objects, prefixes)
		}
		return page
	}
	f(object.ListOptions{Delimiter: "/", Max: 1000}, 0, 1)
	f(object.ListOptions{Prefix: "year/", Delimiter: "/", Max: 1000}, 0, 12)
	f(object.ListOptions{Prefix: "year/03/", Delimiter: "/", Max: 1000}, 0, 31)
	f(object.ListOptions{Prefix: "year/03/05/", Delimiter: "/", Max: 10}, 0, 10)
	f(object.ListOptions{Max: 1000}, 1000, 0)
	f(object.ListOptions{After: "year/07/15/03/stream", Max: 1000}, 1000, 0)
	f(object.ListOptions{Prefix: "year/09/09/09/", Delimiter: "/", Max: 5}, 5, 0)
	f(object.ListOptions{Prefix: "year/09/09/09/none", Max: 1000}, 0, 0)
	f(object.ListOptions{Prefix: "zzz", Max: 1000}, 0, 0)
	f(object.ListOptions{After: "year/11/", Delimiter: "/", Max: 1000}, 0, 0)

	// Every key once, in order, through all pages.
	var got int
	last := ""
	for o := (object.ListOptions{Max: 1000}); ; {
		page := f(o, min(1000, n-got), 0)
		for i := range page.Objects {
			if page.Objects[i].Key <= last {
				t.Fatalf("%q after %q", page.Objects[i].Key, last)
			}
			last = page.Objects[i].Key
		}
		if got += len(page.Objects); !page.Truncated {
			break
		}
		o.After = page.Next
	}
	if got != n {
		t.Errorf("%d of %d keys", got, n)
	}
}

// 100,000 common prefixes are 100 pages of 1000 seeks.
func TestManyCommonPrefixes(t *testing.T) {
	const prefixes, keysOfOne = 100_000, 3
	w := newWorld(t)
	s := w.open()
	fillIndex(t, s, "wide", prefixes*keysOfOne, func(i int) string { return fmt.Sprintf("%06d/%d", i%prefixes, i/prefixes) })
	got := 0
	for o := (object.ListOptions{Delimiter: "/", Max: 1000}); ; {
		page, steps, seeks, err := s.list(context.Background(), "object.List", "wide", o)
		if err != nil {
			t.Fatal(err)
		}
		if steps > 1 || seeks > len(page.CommonPrefixes)+2 {
			t.Fatalf("after %q: %d steps, %d seeks for %d common prefixes", o.After, steps, seeks, len(page.CommonPrefixes))
		}
		for _, p := range page.CommonPrefixes {
			if want := fmt.Sprintf("%06d/", got); p != want {
				t.Fatalf("%q, want %q", p, want)
			}
			got++
		}
		if !page.Truncated {
			break
		}
		o.After = page.Next
	}
	if got != prefixes {
		t.Errorf("%d common prefixes, want %d", got, prefixes)
	}
}

// An index that the first format wrote is read, and its version is raised, so that an older build refuses it whole.
func TestIndexOfVersion1(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	put(t, s, "logs", "k", "text")
	r, err := s.find("test", "logs", "k")
	if err != nil {
		t.Fatal(err)
	}
	old := r.append(nil) // without parts the layouts differ by their version alone
	old[0] = 1
	parted := append([]byte{1}, old[1:]...)
	// The count of parts stands before the attributes, the sizes at the end.
	attrs := appendAttributes(nil, &r.attrs)
	at := len(parted) - len(attrs)
	parted = append(append(append([]byte{}, parted[:at-1]...), 2), attrs...)
	parted = binary.AppendVarint(binary.AppendVarint(parted, 3), 1)
	bucket := append([]byte{}, appendBucket(nil, &s.buckets["logs"].Bucket)...)
	bucket[0] = 1
	bucket = bucket[:len(bucket)-1] // no settings
	for _, set := range []struct{ key, value []byte }{
		{s.objectKey("logs", "k"), old}, {s.objectKey("logs", "parted"), parted}, {s.key(rowBucket, "logs"), bucket}, {s.key(rowFormat), []byte{1, 0}},
	} {
		if err := s.opts.DB.Set(set.key, set.value, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	w.close(s)
	s = w.open()
	if got, err := read(s, "logs", "k"); got != "text" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	info, err := s.Head(context.Background(), "logs", "parted")
	if err != nil || info.Parts != 2 || len(info.PartList) != 2 || info.PartList[0].Size != 3 || info.PartList[1].Size != 1 || info.PartList[1].Number != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	if value, err := s.get(s.key(rowFormat)); err != nil || value[0] != formatVersion {
		t.Errorf("% x, %v", value, err)
	}
	if err := s.opts.DB.Set(s.key(rowFormat), []byte{formatVersion + 1, 0}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	o := s.opts
	w.close(s)
	db, err := store.Open("meta", store.Options{Profile: store.Meta, FS: w.fs})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o.DB = db
	if _, err := Open(o); err == nil {
		t.Error("an unknown version is opened")
	}
}

// Listing a bucket of a million keys: its top, a level of it, a page of keys from its middle.
func BenchmarkList(b *testing.B) {
	s := onDisk(b)
	fillIndex(b, s, "large", manyKeys(), delivered)
	for _, c := range []struct {
		name string
		o    object.ListOptions
	}{
		{"top", object.ListOptions{Delimiter: "/", Max: 1000}},
		{"months", object.ListOptions{Prefix: "year/", Delimiter: "/", Max: 1000}},
		{"page-of-1000", object.ListOptions{After: "year/07/15/03/stream", Max: 1000}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.List(context.Background(), "large", c.o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
