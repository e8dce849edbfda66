package format

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"millrace/internal/fault"
)

func packed(t testing.TB, kind Kind, text []byte) []byte {
	t.Helper()
	var pool Pool
	var out bytes.Buffer
	w, err := pool.New(Options{Kind: kind, Level: 6, Entry: "entry"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	w.Release()
	return out.Bytes()
}

// What the writers make is read back, of every kind; a cut or a changed byte is noticed where the kind can notice it.
func TestReaderReadsEveryKind(t *testing.T) {
	texts := [][]byte{nil, []byte("a"), []byte(strings.Repeat("{\"some\": \"record\"}\n", 20_000))}
	for _, kind := range []Kind{Uncompressed, Gzip, Zip, Snappy, HadoopSnappy} {
		for _, text := range texts {
			object := packed(t, kind, text)
			r, err := NewReader(bytes.NewReader(object), kind.ContentEncoding(), "x")
			if err != nil {
				t.Fatalf("%s of %d bytes: %v", kind, len(text), err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s of %d bytes: %d bytes, %v", kind, len(text), len(got), err)
			}
			if kind == Uncompressed || len(text) < 2 {
				continue
			}
			r, err = NewReader(bytes.NewReader(object[:len(object)/2]), kind.ContentEncoding(), "x")
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !fault.Is(err, fault.Corrupt) {
				t.Errorf("%s, cut: %v", kind, err)
			}
		}
	}
}

func TestReaderRefusesColumns(t *testing.T) {
	for _, head := range []string{"PAR1....", "ORC....."} {
		if _, err := NewReader(strings.NewReader(head), "", "x"); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%q: %v", head, err)
		}
	}
	two := append(packed(t, Zip, []byte("x")), packed(t, Zip, []byte("y"))...)
	local := bytes.Index(two[1:], []byte("PK\x01\x02")) + 1
	several := append(append([]byte(nil), two[:local]...), packed(t, Zip, []byte("y"))...)
	r, err := NewReader(bytes.NewReader(several), "", "x")
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if !fault.Is(err, fault.Unsupported) {
		t.Errorf("two entries: %v", err)
	}
}

// Whatever an object holds, reading it ends, in bounded memory, with data or an error.
func FuzzReader(f *testing.F) {
	for _, kind := range []Kind{Uncompressed, Gzip, Zip, Snappy, HadoopSnappy} {
		f.Add(packed(f, kind, []byte("some records\n")), kind.ContentEncoding())
	}
	f.Fuzz(func(t *testing.T, object []byte, encoding string) {
		r, err := NewReader(bytes.NewReader(object), encoding, "x")
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(r, 8<<20))
	})
}
