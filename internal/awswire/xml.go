package awswire

import (
	"bytes"
	"encoding/xml"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// XMLReader reads a document for the generated decoders. They pull:
//
//	for d.Child() {
//		switch d.Name() {
//		case "Quiet":
//			v.Quiet = d.BoolPtr()
//		default:
//			d.Skip()
//
// Every reading method consumes the element that Child stopped at. The first error sticks.
type XMLReader struct {
	dec   *xml.Decoder
	name  string
	depth int
	err   error
}

// XMLError is a body that is no XML, or whose values are of a wrong type: S3's MalformedXML.
type XMLError struct{ Reason string }

func (e *XMLError) Error() string { return e.Reason }

// NewXMLReader begins a document and enters its root, whatever its name.
func NewXMLReader(body []byte) *XMLReader {
	d := &XMLReader{dec: xml.NewDecoder(bytes.NewReader(body))}
	d.dec.Strict = true
	if !d.Child() && d.err == nil {
		d.fail("the document has no root element")
	}
	return d
}

// Close checks that nothing but blanks follows, and gives the first error.
func (d *XMLReader) Close() error {
	if d.err != nil {
		return d.err
	}
	for {
		t, err := d.dec.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &XMLError{err.Error()}
		}
		if _, ok := t.(xml.StartElement); ok {
			return &XMLError{"the document has more than one root element"}
		}
	}
}

func (d *XMLReader) fail(reason string) {
	if d.err == nil {
		d.err = &XMLError{reason}
	}
}

func (d *XMLReader) token() xml.Token {
	if d.err != nil {
		return nil
	}
	t, err := d.dec.Token()
	if err == io.EOF {
		d.fail("the document ends early")
		return nil
	}
	if err != nil {
		d.fail(err.Error())
		return nil
	}
	return t
}

// Child steps to the next child element; false when the parent ends.
func (d *XMLReader) Child() bool {
	for {
		switch t := d.token().(type) {
		case nil:
			return false
		case xml.StartElement:
			if d.depth++; d.depth > maxDepth {
				d.fail("the document is nested too deeply")
				return false
			}
			d.name = t.Name.Local
			return true
		case xml.EndElement:
			d.depth--
			return false
		case xml.Directive:
			d.fail("a document type declaration is not allowed")
			return false
		}
	}
}

// Name is the local name of the element that Child stopped at.
func (d *XMLReader) Name() string { return d.name }

// Skip passes over the element.
func (d *XMLReader) Skip() {
	for d.Child() {
		d.Skip()
	}
}

// String reads an element of text.
func (d *XMLReader) String() string {
	var text []byte
	for {
		switch t := d.token().(type) {
		case nil:
			return ""
		case xml.CharData:
			text = append(text, t...)
		case xml.StartElement:
			d.fail("element " + t.Name.Local + " stands where text is expected")
			return ""
		case xml.EndElement:
			d.depth--
			return string(text)
		}
	}
}

// StringPtr reads optional text.
func (d *XMLReader) StringPtr() *string { s := d.String(); return &s }

// Bool reads true or false.
func (d *XMLReader) Bool() bool {
	text := strings.TrimSpace(d.String())
	v, ok := boolOfWord(text)
	if !ok {
		d.fail("'" + text + "' is no boolean")
	}
	return v
}

// BoolPtr reads an optional boolean.
func (d *XMLReader) BoolPtr() *bool { v := d.Bool(); return &v }

// Int reads a whole number.
func (d *XMLReader) Int() int { return int(d.integer(32)) }

// IntPtr reads an optional whole number.
func (d *XMLReader) IntPtr() *int { v := d.Int(); return &v }

// Long reads a whole number of 64 bits.
func (d *XMLReader) Long() int64 { return d.integer(64) }

// LongPtr reads an optional whole number of 64 bits.
func (d *XMLReader) LongPtr() *int64 { v := d.Long(); return &v }

func (d *XMLReader) integer(bits int) int64 {
	text := strings.TrimSpace(d.String())
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		d.fail("'" + text + "' is no whole number")
	}
	return n
}

// Time reads ISO 8601 or the date form of headers.
func (d *XMLReader) Time() time.Time {
	text := strings.TrimSpace(d.String())
	t, ok := ParseISO(text)
	if !ok {
		d.fail("'" + text + "' is no timestamp")
	}
	return t
}

// XMLHeader opens every XML answer.
const XMLHeader = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// AppendXMLText appends text with what XML reserves escaped. What XML 1.0 can't hold becomes U+FFFD.
func AppendXMLText(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&quot;"...)
		case r == '\r':
			dst = append(dst, "&#13;"...) // a parser would turn a bare one into a line feed
		case r < 0x20 && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff:
			dst = append(dst, "\uFFFD"...)
		case r == utf8.RuneError:
			dst = append(dst, "\uFFFD"...)
		default:
			dst = append(dst, s[i:i+size]...)
		}
		i += size
	}
	return dst
}

// AppendElement appends <name>text</name>.
func AppendElement(dst []byte, name, text string) []byte {
	dst = OpenElement(dst, name)
	dst = AppendXMLText(dst, text)
	return CloseElement(dst, name)
}

// OpenElement appends <name>.
func OpenElement(dst []byte, name string) []byte {
	return append(append(append(dst, '<'), name...), '>')
}

// CloseElement appends </name>.
func CloseElement(dst []byte, name string) []byte {
	return append(append(append(dst, "</"...), name...), '>')
}
