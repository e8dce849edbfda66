package kinesis

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The diagnostic notation of CBOR is JSON and a little more, so that a golden file can say what bytes cannot show:
//
//	h'00ff'             a byte string
//	1(1421889722345)    a tag
//	{_ …} [_ …]         a map or list that ends with a break
//	(_ "a", "b")        a string in pieces
//	5_2 1.5_1           a number in four bytes, a float in two: _0 to _3 say 1, 2, 4, 8
//	undefined simple(99)
//
// Source: RFC 8949, section 8.
type notation struct {
	text string
	out  []byte
}

// fromDiagnostic encodes what is written in diagnostic notation, in the shortest form that it leaves open.
func fromDiagnostic(text string) (encoded []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v before %.20q", p, text)
		}
	}()
	n := notation{text: text}
	n.value()
	if n.skip(); n.text != "" {
		return nil, fmt.Errorf("%.20q follows", n.text)
	}
	return n.out, nil
}

func (n *notation) skip() { n.text = strings.TrimLeft(n.text, " \t\n") }

func (n *notation) take(token string) bool {
	n.skip()
	rest, ok := strings.CutPrefix(n.text, token)
	if ok {
		n.text = rest
	}
	return ok
}

func (n *notation) need(token string) {
	if !n.take(token) {
		panic("no " + token)
	}
}

// head appends a first byte and its argument; width is -1 for the shortest.
func (n *notation) head(major byte, arg uint64, width int) {
	if width < 0 {
		switch {
		case arg < 24:
			n.out = append(n.out, major<<5|byte(arg))
			return
		case arg <= math.MaxUint8:
			width = 0
		case arg <= math.MaxUint16:
			width = 1
		case arg <= math.MaxUint32:
			width = 2
		default:
			width = 3
		}
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], arg)
	n.out = append(append(n.out, major<<5|24+byte(width)), b[8-1<<width:]...)
}

// several writes items up to a closing token, below a head that counts them, or between an open head and a break.
func (n *notation) several(major byte, closing string, item func()) {
	if n.take("_") {
		n.out = append(n.out, major<<5|31)
		for first := true; !n.take(closing); first = false {
			if !first {
				n.need(",")
			}
			item()
		}
		n.out = append(n.out, 0xff)
		return
	}
	before := n.out
	n.out = nil
	count := uint64(0)
	for ; !n.take(closing); count++ {
		if count > 0 {
			n.need(",")
		}
		item()
	}
	items := n.out
	n.out = before
	n.head(major, count, -1)
	n.out = append(n.out, items...)
}

func (n *notation) value() {
	n.skip()
	switch {
	case n.take("{"):
		n.several(5, "}", func() { n.value(); n.need(":"); n.value() })
	case n.take("["):
		n.several(4, "]", n.value)
	case n.take("("):
		n.skip()
		major := byte(3)
		if strings.Contains(n.text[:strings.IndexByte(n.text, ')')], "h'") {
			major = 2
		}
		n.several(major, ")", n.value)
	case n.take("h'"):
		digits, rest, _ := strings.Cut(n.text, "'")
		raw, err := hex.DecodeString(digits)
		if err != nil {
			panic(err)
		}
		n.text = rest
		n.head(2, uint64(len(raw)), -1)
		n.out = append(n.out, raw...)
	case strings.HasPrefix(n.text, `"`):
		dec := json.NewDecoder(strings.NewReader(n.text))
		var s string
		if err := dec.Decode(&s); err != nil {
			panic(err)
		}
		n.text = n.text[dec.InputOffset():]
		n.head(3, uint64(len(s)), -1)
		n.out = append(n.out, s...)
	case n.take("simple("):
		v, rest, _ := strings.Cut(n.text, ")")
		arg, err := strconv.ParseUint(v, 10, 8)
		if err != nil {
			panic(err)
		}
		n.text = rest
		n.head(7, arg, -1)
	default:
		for i, word := range []string{"false", "true", "null", "undefined"} {
			if n.take(word) {
				n.head(7, uint64(20+i), -1)
				return
			}
		}
		n.number()
	}
}

func (n *notation) number() {
	end := strings.IndexFunc(n.text, func(r rune) bool { return !strings.ContainsRune("+-.0123456789eENaInfity_", r) })
	if end < 0 {
		end = len(n.text)
	}
	text, suffix, _ := strings.Cut(n.text[:end], "_")
	n.text = n.text[end:]
	width := -1
	if suffix != "" {
		w, err := strconv.Atoi(suffix)
		if err != nil || w > 3 {
			panic("no width " + suffix)
		}
		width = w
	}
	major := byte(0)
	if n.take("(") {
		major = 6
	}
	if v, err := strconv.ParseUint(strings.TrimPrefix(text, "-"), 10, 64); err == nil {
		if strings.HasPrefix(text, "-") {
			major, v = 1, v-1
		}
		n.head(major, v, width)
		if major == 6 {
			n.value()
			n.need(")")
		}
		return
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	switch width {
	case 1: // halves of few digits will do
		frac, exp := math.Frexp(math.Abs(f))
		bits := uint64(exp+14)<<10 | uint64(frac*2048)&0x3ff
		if f < 0 {
			bits |= 1 << 15
		}
		n.head(7, bits, 1)
	case 2:
		n.head(7, uint64(math.Float32bits(float32(f))), 2)
	default:
		n.head(7, math.Float64bits(f), 3)
	}
}

func TestDiagnosticNotation(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got, err := fromDiagnostic(text)
		if err != nil || hex.EncodeToString(got) != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %x, %v, want %s", text, got, err, want)
		}
	}
	// Source: RFC 8949, appendix A.
	f(`{"a": 1, "b": [2, 3]}`, "a2 61 61 01 61 62 82 02 03")
	f(`{_ "a": 1, "b": [_ 2, 3]}`, "bf 61 61 01 61 62 9f 02 03 ff ff")
	f(`(_ h'0102', h'030405')`, "5f 42 0102 43 030405 ff")
	f(`(_ "strea", "ming")`, "7f 65 73 74 72 65 61 64 6d 69 6e 67 ff")
	f(`1(1363896240)`, "c1 1a 51 4b 67 b0")
	f(`-1000`, "39 03e7")
	f(`1.5_1`, "f9 3e00")
	f(`-4.0_1`, "f9 c400")
	f(`100000.0_2`, "fa 47c35000")
	f(`1.1`, "fb 3ff199999999999a")
	f(`5_2`, "1a 00000005")
	f(`[true, false, null, undefined, simple(255)]`, "85 f5 f4 f6 f7 f8ff")
	if _, err := fromDiagnostic(`{"a": 1`); err == nil {
		t.Error("an open map was taken")
	}
	if !slices.Equal(must(fromDiagnostic("[]")), []byte{0x80}) {
		t.Error("no empty list")
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
