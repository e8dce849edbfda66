package awswire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// person is a shape as the generator would write it.
type person struct {
	Name  string
	Nick  *string
	Age   int
	Photo []byte
	Born  time.Time
	Alive *bool
	Tags  map[string]string
	Kids  []person
}

// reader is what JSON and CBOR have in common.
type reader interface {
	Object() bool
	Map() bool
	List() bool
	Member() bool
	Item() bool
	Key() []byte
	KeyString() string
	Skip()
	String() string
	StringPtr() *string
	Int() int
	IntPtr() *int
	Long() int64
	LongPtr() *int64
	Float() float64
	FloatPtr() *float64
	Bool() bool
	BoolPtr() *bool
	Time() time.Time
	Blob() []byte
	Reset([]byte)
	Close() error
}

func (v *person) decode(d reader) {
	if !d.Object() {
		return
	}
	for d.Member() {
		switch string(d.Key()) {
		case "Name":
			v.Name = d.String()
		case "Nick":
			v.Nick = d.StringPtr()
		case "Age":
			v.Age = d.Int()
		case "Photo":
			v.Photo = d.Blob()
		case "Born":
			v.Born = d.Time()
		case "Alive":
			v.Alive = d.BoolPtr()
		case "Tags":
			if d.Map() {
				v.Tags = map[string]string{}
				for d.Member() {
					k := d.KeyString()
					v.Tags[k] = d.String()
				}
			}
		case "Kids":
			if d.List() {
				list := Emptied(v.Kids)
				for d.Item() {
					list = append(list, person{})
					list[len(list)-1].decode(d)
				}
				v.Kids = list
			}
		default:
			d.Skip()
		}
	}
}

func decodePerson(body string, borrow bool) (person, error) {
	d := JSON{Borrow: borrow}
	d.Reset([]byte(body))
	var p person
	p.decode(&d)
	return p, d.Close()
}

func TestJSONReadsEveryType(t *testing.T) {
	const body = ` {"Name":"a\u00e9\ud83d\ude00\"\n","N\u0069ck":"n","Age":-7,"Photo":"AAEC","Born":1421889722.3456,
		"Alive":"YES","Tags":{"k":"v","gone":null,"e\"":""},"Kids":[{"Name":"x"},null,{}],"more":[1,-2.5e+3,{"a":[]},true,false,null,"s"]} `
	for _, borrow := range []bool{false, true} {
		p, err := decodePerson(body, borrow)
		if err != nil {
			t.Fatal(err)
		}
		want := person{Name: "aé😀\"\n", Nick: new("n"), Age: -7, Photo: []byte{0, 1, 2}, Born: time.UnixMilli(1421889722346).UTC(),
			Alive: new(true), Tags: map[string]string{"k": "v", `e"`: ""}, Kids: []person{{Name: "x"}, {}, {}}}
		if !reflect.DeepEqual(p, want) {
			t.Errorf("borrow %v:\n got %+v\nwant %+v", borrow, p, want)
		}
	}
}

func TestNumbersAreFlooredAndClipped(t *testing.T) {
	f := func(text string, want int64) {
		t.Helper()
		var d JSON
		d.Reset([]byte(text))
		if got := int64(d.Int()); got != want || d.err != nil {
			t.Errorf("%s reads as %d, want %d", text, got, want)
		}
	}
	f("1.9", 1)
	f("-1.1", -2)
	f("99999999999", 2147483647)
	f("-1e400", -2147483648)
	f("1e3", 1000)
	f("0", 0)
}

func TestBrokenDocuments(t *testing.T) {
	for _, body := range []string{
		"", " ", "{", "[", "nul", `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":01}`, `{"a":1.}`, `{"a":+1}`, `{"a":.5}`,
		`{"a":"` + "\n" + `"}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\`, `{'a':1}`, `{"a":tru}`, "{\"a\":\"\xff\"}", `{"a":1}}`, `{"a":1}{}`,
		`[]`, `"s"`, `1`, `null`, "\x00{}", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		`{"Name":5,"a":}`, // a break after a wrong type wins
	} {
		p, err := decodePerson(body, false)
		if e, ok := err.(*SerializationError); !ok || e.Message != "" {
			t.Errorf("%.40q: got %+v, %v; want an error without a text", body, p, err)
		}
		if IsJSONObject([]byte(body)) {
			t.Errorf("%.40q counts as an object", body)
		}
	}
}

func TestBorrowedMemorySurvivesGrowth(t *testing.T) {
	var d JSON
	d.Borrow = true
	var b strings.Builder
	b.WriteString(`{"Kids":[`)
	for i := range 300 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"Nick":"a\n` + strings.Repeat("x", i) + `","Photo":"` + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i)}, i)) + `"}`)
	}
	b.WriteString(`]}`)
	for range 3 { // the second round uses the memory of the first
		d.Reset([]byte(b.String()))
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

func TestBlobNeverNil(t *testing.T) {
	for _, borrow := range []bool{false, true} {
		p, err := decodePerson(`{"Photo":""}`, borrow)
		if err != nil || p.Photo == nil {
			t.Errorf("borrow %v: %v, %v", borrow, p.Photo, err)
		}
	}
}

func TestBase64AgainstStandardLibrary(t *testing.T) {
	strict := base64.StdEncoding.Strict()
	rng := rand.New(rand.NewPCG(1, 2))
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=="
	for range 20000 {
		src := make([]byte, rng.IntN(5)*4)
		for i := range src {
			src[i] = letters[rng.IntN(len(letters))]
		}
		want, err := strict.DecodeString(string(src))
		dst := make([]byte, len(src)/4*3+3)
		n, ok := decodeBase64(dst, src)
		if ok != (err == nil) || ok && !bytes.Equal(dst[:n], want) {
			t.Fatalf("%q: %v %q, want %q, %v", src, ok, dst[:n], want, err)
		}
		if ok && string(AppendBase64(nil, want)) != string(src) {
			t.Fatalf("%q does not come back", src)
		}
	}
}

func TestAppendBase64(t *testing.T) {
	data := make([]byte, 100)
	for i := range data {
		data[i] = byte(i * 37)
	}
	for n := range data {
		want := "x" + base64.StdEncoding.EncodeToString(data[:n])
		if got := string(AppendBase64([]byte("x"), data[:n:n])); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

func BenchmarkAppendBase64(b *testing.B) {
	data, dst := make([]byte, 300), make([]byte, 0, 400)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		dst = AppendBase64(dst[:0], data)
	}
}

func BenchmarkStandardBase64(b *testing.B) {
	data, dst := make([]byte, 300), make([]byte, 0, 400)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		dst = base64.StdEncoding.AppendEncode(dst[:0], data)
	}
}

func TestAppendString(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	f("", `""`)
	f("a/<b>&é😀", `"a/<b>&é😀"`)
	f("\"\\\n\r\t\x01\x7f", "\"\\\"\\\\\\n\\r\\t\\u0001\x7f\"")
	f("a\xffb", `"a`+"\uFFFD"+`b"`)
}

// No millisecond of the years up to 9999 is lost to the fraction of a floating-point number.
func TestTimesAreExactToTheMillisecond(t *testing.T) {
	f := func(text string, ms int64) {
		t.Helper()
		var d JSON
		d.Reset([]byte(text))
		if got := d.Time().UnixMilli(); got != ms {
			t.Errorf("%s is read as %d", text, got)
		}
	}
	f("1480000000.123", 1480000000123)
	f("1480000000.1", 1480000000100)
	f("1.480000000123e9", 1480000000123)
	f("1480000000", 1480000000000)
	f("-0.001", -1)
	f("253402300799.999", 253402300799000) // what lies beyond the last second is clipped
	f("1e300", 253402300799000)
	rng := rand.New(rand.NewPCG(1, 4))
	for range 20000 {
		ms := rng.Int64N(253402300799000)
		f(string(AppendEpoch(nil, time.UnixMilli(ms))), ms)
	}
}

func TestAppendEpoch(t *testing.T) {
	f := func(ms int64, want string) {
		t.Helper()
		if got := string(AppendEpoch(nil, time.UnixMilli(ms))); got != want {
			t.Errorf("%d: got %s, want %s", ms, got, want)
		}
	}
	f(1421889722345, "1421889722.345")
	f(1421889722300, "1421889722.3")
	f(1421889722000, "1421889722")
	f(-1500, "-1.5")
	f(0, "0")
}

// Whatever our reader takes, encoding/json takes too, with the same values; and a document that encoding/json
// takes as an object is taken here, unless it is nested too deeply or holds a broken surrogate's text.
func FuzzJSON(f *testing.F) {
	f.Add(`{"Name":"a","Nick":"b\u0041","Kids":[{"Name":"c"},null],"Tags":{"x":"y"}}`)
	f.Add(`{"Name":7}`)
	f.Add(`{"a":[1,2,{"b":null}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		p, err := decodePerson(body, true)
		own, ownErr := decodePerson(body, false)
		if (err == nil) != (ownErr == nil) || err == nil && !reflect.DeepEqual(p, own) {
			t.Fatalf("borrowed %+v %v, own %+v %v", p, err, own, ownErr)
		}
		valid := IsJSONObject([]byte(body))
		var std map[string]json.RawMessage
		stdErr := json.Unmarshal([]byte(body), &std)
		if valid && stdErr != nil {
			t.Fatalf("taken, but encoding/json says %v", stdErr)
		}
		if !valid && stdErr == nil && std != nil && utf8.ValidString(body) && strings.Count(body, "{")+strings.Count(body, "[") < maxDepth {
			t.Fatalf("refused, but encoding/json takes it")
		}
		if err != nil {
			return
		}
		if raw, ok := std["Name"]; ok && string(raw) != "null" {
			var name string
			if json.Unmarshal(raw, &name) == nil && name != p.Name && strings.Count(body, "Name") == 1 {
				t.Fatalf("name %q, encoding/json says %q", p.Name, name)
			}
		}
	})
}

// Readers of documents that are not ours to refuse look at a value's first byte, and take what they do not know as it is.
func TestPeekAndRaw(t *testing.T) {
	var d JSON
	d.Reset([]byte(` { "a" : 1.5e3 , "b":{"c":[null]}, "d":"x" }`))
	var got []string
	for d.Object(); d.Member(); {
		first := d.Peek()
		got = append(got, string(d.Key())+string(first)+string(d.Raw()))
	}
	if want := []string{"a11.5e3", `b{{"c":[null]}`, `d""x"`}; !slices.Equal(got, want) || d.Close() != nil {
		t.Errorf("%q %v", got, d.Close())
	}
	d.Reset(nil)
	if d.Peek() != 0 {
		t.Error("a first byte of nothing")
	}
}

func TestAppendDecoded(t *testing.T) {
	f := func(text, want string, ok bool) {
		t.Helper()
		got, taken := AppendDecoded([]byte("."), text)
		if string(got) != "."+want || taken != ok {
			t.Errorf("%q: %q %v", text, got, taken)
		}
	}
	f("", "", true)
	f("eA==", "x", true)
	f("eA", "x", true)
	f("eHg=", "xx", true)
	f("eHg", "xx", true)
	f("eHh4", "xxx", true)
	f("eB==", "", false) // bits that no byte has
	f("e", "", false)
	f("eA=", "", false)
	f("_-8=", "", false)
	f("e A=", "", false)
	f("=", "", false)
}
