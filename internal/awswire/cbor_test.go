package awswire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

func decodePersonCBOR(body []byte, borrow bool) (person, error) {
	d := CBOR{Borrow: borrow}
	d.Reset(body)
	var p person
	p.decode(&d)
	return p, d.Close()
}

// bin reads hexadecimal with blanks, and text in quotes as its bytes: "a2 64'Name' 61'x'".
func bin(text string) []byte {
	var out []byte
	for i, part := range strings.Split(text, "'") {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			panic(err)
		}
		out = append(out, b...)
	}
	return out
}

func TestCBORReadsEveryType(t *testing.T) {
	want := person{Name: "aé😀", Nick: new("nick"), Age: -7, Photo: []byte{0, 1, 2}, Born: time.UnixMilli(1421889722345).UTC(),
		Alive: new(true), Tags: map[string]string{"k": "v", "": "w"}, Kids: []person{{Name: "x"}, {}, {}}}
	for name, body := range map[string]string{
		"lengths given": "a9 64'Name' 67'aé😀' 64'Nick' 64'nick' 63'Age' 26 65'Photo' 43 000102 64'Born' c1 1b 0000014b0f3b57e9" +
			"65'Alive' f5 64'Tags' a3 61'k' 61'v' 64'gone' f6 60 61'w' 64'Kids' 83 a1 64'Name' 61'x' f6 a0" +
			"64'more' 86 01 fb c0a3880000000000 a1 61'a' 80 f5 f7 61's'",
		"lengths open": "bf 7f 62'Na' 62'me' ff 7f 63'aé' 64'😀' 60 ff 64'Nick' 78 04 'nick' 63'Age' 3b 0000000000000006 65'Photo' 5f 42 0001 41 02 ff" +
			"64'Born' c1 fb 4274b0f3b57e9000 65'Alive' 63'YES' 64'Tags' bf 61'k' 79 0001 'v' 7f ff 61'w' ff 64'Kids' 9f bf 64'Name' 61'x' ff f7 bf ff ff" +
			"64'more' 9f f4 bf 01 02 ff f8 20 5f ff ff ff",
		"widths and tags": "d9d9f7 ba 00000008 78 04 'Name' 7a 00000007 'aé😀' 64'Nick' d8 20 d8 21 64'nick' 63'Age' 38 06 65'Photo' 64'AAEC' 64'Born' 1b 0000014b0f3b57e9" +
			"65'Alive' 61'1' 64'Tags' b8 02 61'k' 7b 0000000000000001 'v' 60 61'w' 64'Kids' 9a 00000003 a1 64'Name' 61'x' c6 f6 a0",
	} {
		for _, borrow := range []bool{false, true} {
			b := bin(body)
			p, err := decodePersonCBOR(b, borrow)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !reflect.DeepEqual(p, want) {
				t.Errorf("%s, borrow %v:\n got %+v\nwant %+v", name, borrow, p, want)
			}
			if !borrow {
				clear(b)
				if !reflect.DeepEqual(p, want) {
					t.Errorf("%s: the values lie in the body", name)
				}
			}
		}
	}
}

// Later members win over earlier ones of the same name, null is no member, as in JSON.
func TestCBORRepeatedMembers(t *testing.T) {
	p, err := decodePersonCBOR(bin("a6 64'Name' 61'a' 64'Name' 61'b' 64'Name' f6 64'Kids' 82 a0 a0 64'Kids' 81 a0 63'Age' 01"), true)
	if err != nil || p.Name != "b" || len(p.Kids) != 1 || p.Age != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestCBORNumbersAreFlooredAndClipped(t *testing.T) {
	f := func(text string, wantInt int, wantLong int64, wantFloat float64) {
		t.Helper()
		read := func(get func(d *CBOR)) {
			t.Helper()
			var d CBOR
			d.Reset(bin(text))
			if get(&d); d.err != nil || d.pos != len(d.buf) {
				t.Errorf("%s: %v at %d", text, d.err, d.pos)
			}
		}
		read(func(d *CBOR) {
			if v := d.Int(); v != wantInt {
				t.Errorf("%s reads as %d, want %d", text, v, wantInt)
			}
		})
		read(func(d *CBOR) {
			if v := d.Long(); v != wantLong {
				t.Errorf("%s reads as %d, want %d", text, v, wantLong)
			}
		})
		read(func(d *CBOR) {
			if v := d.Float(); v != wantFloat && !(math.IsNaN(v) && math.IsNaN(wantFloat)) {
				t.Errorf("%s reads as %v, want %v", text, v, wantFloat)
			}
		})
	}
	f("00", 0, 0, 0)
	f("17", 23, 23, 23)
	f("18ff", 255, 255, 255)
	f("19ffff", 65535, 65535, 65535)
	f("1a80000000", math.MaxInt32, 1<<31, 1<<31)
	f("1bffffffffffffffff", math.MaxInt32, math.MaxInt64, 1<<64)
	f("20", -1, -1, -1)
	f("3a7fffffff", math.MinInt32, math.MinInt32, math.MinInt32)
	f("3a80000000", math.MinInt32, math.MinInt32-1, math.MinInt32-1)
	f("3bffffffffffffffff", math.MinInt32, math.MinInt64, -(1 << 64))
	f("f93c00", 1, 1, 1)
	f("f93f33", 1, 1, 1.7998046875)
	f("f9bc01", -2, -2, -1.0009765625)
	f("f90001", 0, 0, 0x1p-24)
	f("f98001", -1, -1, -0x1p-24)
	f("f97bff", 65504, 65504, 65504)
	f("f97c00", math.MaxInt32, math.MaxInt64, math.Inf(1))
	f("f9fc00", math.MinInt32, math.MinInt64, math.Inf(-1))
	f("f97e00", 0, 0, math.NaN())
	f("fa47c35000", 100000, 100000, 100000)
	f("fabf8ccccd", -2, -2, float64(float32(-1.1)))
	f("fb7e37e43c8800759c", math.MaxInt32, math.MaxInt64, 1e300)
	f("c1 19 0100", 256, 256, 256)
}

func TestCBORTimes(t *testing.T) {
	f := func(text string, wantMillis int64) {
		t.Helper()
		var d CBOR
		d.Reset(bin(text))
		if got := d.Time(); d.err != nil || got.UnixMilli() != wantMillis {
			t.Errorf("%s reads as %v, %v", text, got, d.err)
		}
	}
	f("c1 1b 0000014b0f3b57e9", 1421889722345)
	f("1b 0000014b0f3b57e9", 1421889722345)
	f("c1 fb 4274b0f3b57e9000", 1421889722345)
	f("c1 00", 0)
	f("c1 38 63", -100)
	f("c1 1bffffffffffffffff", maxEpochSeconds*1000)
	var d CBOR
	d.Reset(bin("f6"))
	if !d.Time().IsZero() || d.err != nil {
		t.Error("null is no time")
	}
}

func TestCBORBrokenDocuments(t *testing.T) {
	deep := func(open, inner, closing string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(closing, n)
	}
	for _, body := range []string{
		"", "a1", "a1 61'a'", "a1 61'a' 18", "a1 61'a' 19 00", "a1 61'a' fb 00000000000000", "a1 62'a'", "a1 61'a' 42 00", "a2 61'a' 01", "bf", "bf 61'a'",
		"bf 61'a' 01", "bf 61'a' ff", "a0 a0", "a0 00", "80", "61's'", "01", "f6", "f7", "40", "c1 80", "c1", "ff", "bf ff ff", "a1 61'a' ff", "a1 61'a' 81 ff",
		"a1 61'a' 1c 00", "a1 61'a' 1f", "a1 61'a' 3f", "a1 61'a' df 00", "a1 61'a' fc", "a1 61'a' fe", "a1 61'a' f8 00", "a1 61'a' f8 1f", "a1 61'a' f8",
		"a1 61'a' 5f 61'x' ff", "a1 61'a' 7f 41'x' ff", "a1 61'a' 7f 7f 61'x' ff ff", "a1 61'a' 7f 61'x'", "a1 61'a' 7f 00 ff", "a1 61'a' 7f", // pieces
		"a1 61'a' 61 ff", "a1 61 ff 01", "a1 61'a' 7f 61 c3 61 a9 ff", // not UTF-8, or cut in a letter
		"a1 64'Name' 7b ffffffffffffffff", "a1 64'Name' 7b 7fffffffffffffff 'x'", "a1 65'Photo' 5a ffffffff 00", "a1 64'Kids' 9b ffffffffffffffff a0", // lengths that lie
		"bb ffffffffffffffff", "bb 8000000000000000 61'a' 01", "a1 64'Kids' 9b 00000000ffffffff a0", "a1 64'Tags' bb 0000000000000002 61'a' 61'b'",
		"a1 01 02", "a1 41'a' 02", "a1 64'Tags' a1 01 61'b'", // keys that are no text
		deep("a1 61'a'", "01", "", 100), deep("bf 61'a'", "01", "ff", 100), "a1 61'a'" + deep("81", "01", "", 100),
		"a2 64'Name' 05 61'a'", // a break after a wrong type wins
		"a1 64'Name' f0",       // no value that anybody knows
	} {
		for _, borrow := range []bool{false, true} {
			p, err := decodePersonCBOR(bin(body), borrow)
			if e, ok := err.(*SerializationError); !ok || e.Message != "" {
				t.Errorf("%.40s: got %+v, %v; want an error without a text", body, p, err)
			}
		}
	}
	// A tag upon a tag is no nesting.
	if !IsCBORMap(bin("a1 61'a'" + strings.Repeat("c6", 1000) + "01")) {
		t.Error("tags are counted as depth")
	}
}

func TestCBORTypeErrors(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		_, err := decodePersonCBOR(bin(body), true)
		if e, ok := err.(*SerializationError); !ok || e.Message != want {
			t.Errorf("%s:\n got %v\nwant %s", body, err, want)
		}
	}
	const number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to "
	const list, structure = "Start of list found where not expected", "Start of structure or map found where not expected."
	f("a1 64'Name' 01", number+"an String")
	f("a1 64'Name' 20", number+"an String")
	f("a1 64'Name' f93c00", number+"an String")
	f("a1 64'Name' c1 01", number+"an String")
	f("a1 64'Name' f4", "class java.lang.Boolean can not be converted to an String")
	f("a1 64'Name' 41 00", "class java.nio.HeapByteBuffer can not be converted to an String")
	f("a1 64'Name' 80", list)
	f("a1 64'Name' a0", structure)
	f("a1 63'Age' 61'7'", "class java.lang.String can not be converted to an Integer")
	f("a1 63'Age' f5", "class java.lang.Boolean can not be converted to an Integer")
	f("a1 65'Photo' 01", number+"a Blob")
	f("a1 65'Photo' f5", "class java.lang.Boolean can not be converted to a Blob")
	f("a1 65'Photo' 63'abc'", "'abc' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 3")
	f("a1 64'Born' 63'now'", "class java.lang.String can not be converted to milliseconds since epoch")
	f("a1 64'Born' f4", "class java.lang.Boolean can not be converted to milliseconds since epoch")
	f("a1 65'Alive' 01", number+"an Boolean")
	f("a1 65'Alive' 65'maybe'", "'MAYBE' can not be converted to an Boolean")
	f("a1 64'Tags' 01", "Expected map or null")
	f("a1 64'Tags' 80", list)
	f("a1 64'Kids' 01", "Expected list or null")
	f("a1 64'Kids' a0", structure)
	f("a1 64'Kids' 81 01", "Expected null")
	f("a1 64'Kids' 81 80", list)
	f("a3 64'Name' 01 63'Age' f5 65'Alive' 01", number+"an String") // the first wins
}

// A length takes no memory before its bytes are there.
func TestCBORLengthsTakeNoMemory(t *testing.T) {
	body := bin("a2 64'Kids' 9a 7fffffff a0 65'Photo' 5a 7fffffff 00")
	var d CBOR
	if n := testing.AllocsPerRun(10, func() {
		d.Reset(body)
		var p person
		p.decode(&d)
		if d.Close() == nil {
			t.Fatal("taken")
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func TestBorrowedPiecesSurviveGrowth(t *testing.T) {
	d := CBOR{Borrow: true}
	body := bin("a1 64'Kids' 9f")
	for i := range 300 {
		body = append(body, bin("a2 64'Nick' 7f 62'a\n'")...)
		body = append(AppendCBORString(body, strings.Repeat("x", i)), 0xff)
		body = append(body, bin("65'Photo' 5f")...)
		body = append(AppendCBORBlob(body, bytes.Repeat([]byte{byte(i)}, i)), 0xff)
	}
	body = append(body, 0xff)
	for range 3 { // the second round uses the memory of the first
		d.Reset(body)
		var p person
		p.decode(&d)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for i, k := range p.Kids {
			if *k.Nick != "a\n"+strings.Repeat("x", i) || !bytes.Equal(k.Photo, bytes.Repeat([]byte{byte(i)}, i)) {
				t.Fatalf("kid %d was overwritten", i)
			}
		}
	}
}

func TestCBORBlobNeverNil(t *testing.T) {
	for _, borrow := range []bool{false, true} {
		for _, empty := range []string{"40", "5f ff", "60"} {
			p, err := decodePersonCBOR(bin("a1 65'Photo'"+empty), borrow)
			if err != nil || p.Photo == nil || len(p.Photo) != 0 {
				t.Errorf("%s, borrow %v: %v, %v", empty, borrow, p.Photo, err)
			}
		}
	}
}

// What the encoders append is what another implementation reads.
func TestAppendCBOR(t *testing.T) {
	f := func(got []byte, want string) {
		t.Helper()
		text, err := cbor.Diagnose(got)
		if err != nil || text != want {
			t.Errorf("%x: got %s, %v, want %s", got, text, err, want)
		}
	}
	for _, n := range []int64{0, 1, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64, -1, -24, -25, -256, -257, math.MinInt64} {
		f(AppendCBORInt(nil, n), fmt.Sprint(n))
	}
	for _, n := range []int{0, 23, 24, 255, 256, 70000} {
		f(AppendCBORString(nil, strings.Repeat("x", n)), `"`+strings.Repeat("x", n)+`"`)
		f(AppendCBORBlob(nil, bytes.Repeat([]byte{0xab}, n)), "h'"+strings.Repeat("ab", n)+"'")
	}
	f(AppendCBORString(nil, "é\xff😀"), `"\u00e9\ufffd\ud83d\ude00"`)
	f(AppendCBORFloat(nil, 1.5), "1.5")
	f(AppendCBORBool(nil, true), "true")
	f(AppendCBORBool(nil, false), "false")
	f(AppendCBORTime(nil, time.UnixMilli(1421889722345)), "1(1421889722345)")
	f(AppendCBORTime(nil, time.UnixMilli(-5)), "1(-5)")
	f(append(AppendCBORList(nil, 2), 1, 2), "[1, 2]")
	f(append(AppendCBORMap(nil, 1), 1, 2), "{1: 2}")
	f(AppendCBORError(nil, "X", "m"), `{"__type": "X", "message": "m"}`)
	f(AppendCBORError(nil, "X", ""), `{"__type": "X"}`)
	f(AppendCBORSerializationError(nil, &SerializationError{"m"}), `{"__type": "SerializationException", "Message": "m"}`)
	long := strings.Repeat("long ", 20000)
	f(AppendCBORError(nil, "X", long), `{"__type": "X", "message": "`+long+`"}`)
}

// Our reader and fxamacker/cbor agree on which documents are sound, and on what is in them.
func FuzzCBOR(f *testing.F) {
	diag, err := cbor.DiagOptions{MaxNestedLevels: 10000, MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20}.DiagMode()
	if err != nil {
		f.Fatal(err)
	}
	form, err := cbor.DecOptions{MaxNestedLevels: 10000}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{
		"a9 64'Name' 67'aé😀' 64'Nick' 64'nick' 63'Age' 26 65'Photo' 43 000102 64'Born' c1 1b 0000014b0f3b57e9 65'Alive' f5 64'Tags' a1 61'k' 61'v' 64'Kids' 81 a1 64'Name' 61'x' 64'more' f7",
		"bf 64'Name' 7f 61'a' ff 65'Photo' 5f 41 00 ff 63'Age' f9 3c00 ff", "a1 64'Name' 07", "a1 61'a' 9f 01 a1 01 02 ff",
	} {
		f.Add(bin(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodePersonCBOR(body, true)
		own, ownErr := decodePersonCBOR(body, false)
		if (err == nil) != (ownErr == nil) || err == nil && !reflect.DeepEqual(p, own) {
			t.Fatalf("borrowed %+v %v, own %+v %v", p, err, own, ownErr)
		}
		sound := IsCBORMap(body)
		if theirs := form.Wellformed(body); sound && theirs != nil {
			t.Fatalf("taken, but the other says %v", theirs)
		}
		if !sound && containers(body) < maxDepth {
			var d CBOR
			d.Reset(body)
			if _, theirs := diag.Diagnose(body); theirs == nil && d.peek()>>5 == majorMap { // it looks at UTF-8 too
				t.Fatal("refused, but the other takes it")
			}
		}
		if err != nil {
			return
		}
		var members map[string]cbor.RawMessage
		if cbor.Unmarshal(body, &members) != nil {
			return
		}
		var name string
		if raw, ok := members["Name"]; ok && cbor.Unmarshal(raw, &name) == nil && utf8.ValidString(name) && bytes.Count(body, []byte("Na")) == 1 && name != p.Name {
			t.Fatalf("name %q, the other says %q", p.Name, name)
		}
	})
}

// containers counts the bytes that may begin a list or map: no fewer than the document is deep.
func containers(body []byte) int {
	n := 0
	for _, b := range body {
		if b>>5 == majorList || b>>5 == majorMap {
			n++
		}
	}
	return n
}
