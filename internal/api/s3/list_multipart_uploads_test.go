package s3

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"millrace/internal/object"
)

// texts gives the content of all elements of a name, in order.
func texts(body, name string) (list []string) {
	for {
		_, rest, ok := strings.Cut(body, "<"+name+">")
		if !ok {
			return list
		}
		var text string
		text, body, _ = strings.Cut(rest, "</"+name+">")
		list = append(list, text)
	}
}

// Uploads in progress are paged to their end, one at a time, with common prefixes rolled up.
func TestUploadPages(t *testing.T) {
	s := service(t, nil)
	if err := s.Store.CreateBucket(t.Context(), object.Bucket{Name: "bkt"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"c", "b/2", "a", "b/1", "a", "b"} {
		if _, err := s.Store.CreateUpload(t.Context(), "bkt", key, object.UploadOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f := func(delimiter string, want ...string) {
		t.Helper()
		var got []string
		q := url.Values{"uploads": {""}, "max-uploads": {"1"}, "delimiter": {delimiter}}
		for range 20 {
			body := answer(s, httptest.NewRequest("GET", "http://localhost/bkt?"+q.Encode(), nil)).Body.String()
			for _, upload := range texts(body, "Upload") {
				got = append(got, texts(upload, "Key")...)
			}
			for _, common := range texts(body, "CommonPrefixes") {
				got = append(got, texts(common, "Prefix")...)
			}
			if texts(body, "IsTruncated")[0] != "true" {
				break
			}
			q.Set("key-marker", texts(body, "NextKeyMarker")[0])
			q.Set("upload-id-marker", strings.Join(texts(body, "NextUploadIdMarker"), ""))
		}
		if !slices.Equal(got, want) {
			t.Errorf("delimiter %q: %q, want %q", delimiter, got, want)
		}
	}
	f("", "a", "a", "b", "b/1", "b/2", "c")
	f("/", "a", "a", "b", "b/", "c")
}
