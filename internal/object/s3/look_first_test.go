package s3

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// A service that does not know If-None-Match is served without it, if that is allowed: puts look first. The store says
// so from then on.
func TestLookFirst(t *testing.T) {
	without := func(_ string, _ int, w http.ResponseWriter, r *http.Request) bool {
		return r.Header.Get("If-None-Match") != "" && drained(r) && refuse(w, http.StatusNotImplemented, "NotImplemented")
	}
	small, large := []byte("small"), bytes.Repeat([]byte("large "), 2<<20)
	for _, text := range [][]byte{small, large} {
		s, service := troubledStore(t, func(o *Options) { o.LookFirst = true })
		service.begin(without)
		if s.Shortcomings() != "" {
			t.Error(s.Shortcomings())
		}
		if _, err := s.Put(t.Context(), "bkt", "k", bytes.NewReader(text), -1, ifAbsent); err != nil {
			t.Fatal(err)
		}
		wantObject(t, s, "k", text)
		if !strings.Contains(s.Shortcomings(), "If-None-Match") {
			t.Error(s.Shortcomings())
		}
		service.begin(without)
		_, err := s.Put(t.Context(), "bkt", "k", bytes.NewReader(text), -1, ifAbsent)
		wantKind(t, err, fault.PreconditionFailed)
		if n := service.count("put") + service.count("create"); n != 0 {
			t.Errorf("%d puts over what is there", n)
		}
	}
	// A body that can be read once is put at the next attempt.
	s, service := troubledStore(t, func(o *Options) { o.LookFirst = true })
	service.begin(without)
	digested := ifAbsent
	digested.Compute = object.CRC64NVME
	put := func() error {
		_, err := s.Put(t.Context(), "bkt", "k", bytes.NewReader(large), int64(len(large)), digested)
		return err
	}
	wantKind(t, put(), fault.Unavailable)
	if err := put(); err != nil {
		t.Fatal(err)
	}
	wantObject(t, s, "k", large)
}

// What nodes share is never put so: the condition is what keeps them apart.
func TestConditionsAreNotDoneWithout(t *testing.T) {
	s, service := troubledStore(t, nil)
	service.begin(func(_ string, _ int, w http.ResponseWriter, r *http.Request) bool {
		return r.Header.Get("If-None-Match") != "" && drained(r) && refuse(w, http.StatusNotImplemented, "NotImplemented")
	})
	for range 2 {
		_, err := s.Put(t.Context(), "bkt", "k", strings.NewReader("x"), 1, ifAbsent)
		wantKind(t, err, fault.Unsupported)
	}
	if s.Shortcomings() != "" {
		t.Error(s.Shortcomings())
	}
}
