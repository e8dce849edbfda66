package process

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// testdata/split: what becomes of records. A line of the input is a record, in Go's notation if it begins with a quote; a line
// with four blanks continues an aggregate that the line `aggregate` begins.
func TestSplit(t *testing.T) {
	datadriven.RunTest(t, "testdata/split", func(t *testing.T, d *datadriven.TestData) string {
		var s Spec
		s.KPL = d.HasArg("kpl")
		d.MaybeScanArgs(t, "type", &s.SubRecordType)
		var delimiter string
		d.MaybeScanArgs(t, "delimiter", &delimiter)
		var err error
		if s.Delimiter, err = base64.StdEncoding.DecodeString(delimiter); err != nil {
			t.Fatal(err)
		}
		p, err := Compile(s)
		if err != nil {
			return "refused: " + err.Error() + "\n"
		}
		var out strings.Builder
		for _, data := range records(t, d.Input) {
			err := p.Split(data, "record", func(s Sub) error {
				fmt.Fprintf(&out, "%d %q", s.Index, s.Data)
				if s.Aggregated {
					fmt.Fprintf(&out, " user record %d key %q hash %q", s.SubSequenceNumber, s.PartitionKey, s.ExplicitHashKey)
				}
				out.WriteByte('\n')
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return out.String()
	})
}

func records(t *testing.T, input string) (all [][]byte) {
	lines := strings.Split(input, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if how, ok := strings.CutPrefix(line, "aggregate"); ok {
			var message []byte
			for ; i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    "); i++ {
				message = appendField(t, message, strings.TrimSpace(lines[i+1]))
			}
			data := sealed(message)
			if strings.TrimSpace(how) == "broken" {
				data[len(data)-1] ^= 1
			}
			all = append(all, data)
			continue
		}
		if strings.HasPrefix(line, `"`) {
			text, err := strconv.Unquote(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			line = text
		}
		all = append(all, []byte(line))
	}
	return all
}

// appendField makes a field of AggregatedRecord: "key a", "hash 12", "record 0 - data", "raw 1a02".
func appendField(t testing.TB, b []byte, line string) []byte {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "key":
		return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), rest)
	case "hash":
		return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), rest)
	case "record":
		parts := strings.SplitN(rest, " ", 3)
		var r []byte
		for i, part := range parts[:2] {
			if part != "-" {
				n, err := strconv.ParseUint(part, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				r = protowire.AppendVarint(protowire.AppendTag(r, protowire.Number(i+1), protowire.VarintType), n)
			}
		}
		if len(parts) == 3 {
			r = protowire.AppendString(protowire.AppendTag(r, 3, protowire.BytesType), parts[2])
		}
		return protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), r)
	case "raw":
		for _, hex := range strings.Fields(rest) {
			n, err := strconv.ParseUint(hex, 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, byte(n))
		}
		return b
	}
	t.Fatalf("what is %q?", line)
	return nil
}

func sealed(message []byte) []byte {
	sum := md5.Sum(message)
	return slices.Concat([]byte(AggregateMagic), message, sum[:])
}

func TestSplitStopsWithTheFirstError(t *testing.T) {
	p, err := Compile(Spec{KPL: true, SubRecordType: JSON})
	if err != nil {
		t.Fatal(err)
	}
	var message []byte
	for _, line := range []string{"key a", "record 0 - 1 2", "record 0 - 3"} {
		message = appendField(t, message, line)
	}
	for _, data := range [][]byte{sealed(message), []byte("1 2 3")} {
		calls, stop := 0, errors.New("stop")
		err = p.Split(data, "", func(Sub) error {
			if calls++; calls == 2 {
				return stop
			}
			return nil
		})
		if err != stop || calls != 2 {
			t.Errorf("%q: %v after %d calls", data, err, calls)
		}
	}
}

// A record of 500 values is split, one of 501 is not.
func TestSplitBound(t *testing.T) {
	for _, s := range []Spec{{SubRecordType: JSON}, {SubRecordType: Delimited, Delimiter: []byte("\n")}} {
		p, err := Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range map[int]int{499: 499, 500: 500, 501: 1, 5000: 1} {
			got := 0
			record := bytes.Repeat([]byte("{}\n"), n)
			if err := p.Split(record, "", func(Sub) error { got++; return nil }); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s: %d values gave %d sub-records, want %d", s.SubRecordType, n, got, want)
			}
		}
	}
}

// aggregatedRecord is the message as protoc knows it.
var aggregatedRecord = func() protoreflect.MessageDescriptor {
	field := func(name string, n int32, label descriptorpb.FieldDescriptorProto_Label, kind descriptorpb.FieldDescriptorProto_Type, of string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &n, Label: &label, Type: &kind}
		if of != "" {
			f.TypeName = proto.String(".kpl." + of)
		}
		return f
	}
	const (
		required = descriptorpb.FieldDescriptorProto_LABEL_REQUIRED
		optional = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		repeated = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		text     = descriptorpb.FieldDescriptorProto_TYPE_STRING
		number   = descriptorpb.FieldDescriptorProto_TYPE_UINT64
		data     = descriptorpb.FieldDescriptorProto_TYPE_BYTES
		message  = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("kpl.proto"), Package: proto.String("kpl"), Syntax: proto.String("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("AggregatedRecord"), Field: []*descriptorpb.FieldDescriptorProto{
				field("partition_key_table", 1, repeated, text, ""), field("explicit_hash_key_table", 2, repeated, text, ""),
				field("records", 3, repeated, message, "Record")}},
			{Name: proto.String("Record"), Field: []*descriptorpb.FieldDescriptorProto{
				field("partition_key_index", 1, required, number, ""), field("explicit_hash_key_index", 2, optional, number, ""),
				field("data", 3, required, data, ""), field("tags", 4, repeated, message, "Tag")}},
			{Name: proto.String("Tag"), Field: []*descriptorpb.FieldDescriptorProto{
				field("key", 1, required, text, ""), field("value", 2, optional, text, "")}},
		},
	}, nil)
	if err != nil {
		panic(err)
	}
	return file.Messages().ByName("AggregatedRecord")
}()

// byProtobuf reads an aggregate with Google's library, by reflection.
func byProtobuf(message []byte) (subs []Sub, ok bool) {
	m := dynamicpb.NewMessage(aggregatedRecord)
	if err := proto.Unmarshal(message, m); err != nil {
		return nil, false
	}
	fields := aggregatedRecord.Fields()
	keys, hashes := m.Get(fields.ByNumber(1)).List(), m.Get(fields.ByNumber(2)).List()
	list := m.Get(fields.ByNumber(3)).List()
	for i := range list.Len() {
		r := list.Get(i).Message()
		f := r.Descriptor().Fields()
		key := r.Get(f.ByNumber(1)).Uint()
		if key >= uint64(keys.Len()) {
			return nil, false
		}
		s := Sub{Data: r.Get(f.ByNumber(3)).Bytes(), PartitionKey: keys.Get(int(key)).String(), Index: uint32(i), SubSequenceNumber: uint32(i), Aggregated: true}
		if r.Has(f.ByNumber(2)) {
			hash := r.Get(f.ByNumber(2)).Uint()
			if hash >= uint64(hashes.Len()) {
				return nil, false
			}
			s.ExplicitHashKey = hashes.Get(int(hash)).String()
		}
		subs = append(subs, s)
	}
	return subs, len(subs) > 0
}

// What Google's library makes of a message is what our reader makes of it.
func FuzzAggregate(f *testing.F) {
	for _, lines := range []string{
		"key a\nrecord 0 - x", "key a\nkey b\nhash 1\nrecord 1 0 x\nrecord 0 - ", "record 0 - early\nkey a",
		"key a\nrecord 1 - x", "key a\nrecord 0 0 x", "key a\nrecord - - x", "key a\nrecord 0 -", "key a",
		"key a\nrecord 0 - x\nraw 23 28 01 24", "key a\nraw 1a 0a 08 00 1a 01 78 22 03 0a 01 6b", "raw 0b 0c", "raw 0a ff ff ff ff 0f",
		"key a\nraw 1a 06 08 00 1a 01 78 22 00", "key a\nraw 08 01 1a 05 08 00 1a 01 78",
	} {
		var message []byte
		for line := range strings.SplitSeq(lines, "\n") {
			message = appendField(f, message, line)
		}
		f.Add(message)
	}
	p, err := Compile(Spec{KPL: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) == 0 {
			return // no aggregate, though a message
		}
		data := sealed(message)
		want, ok := byProtobuf(message)
		if !ok {
			want = []Sub{{Data: data, PartitionKey: "outer"}}
		}
		var got []Sub
		if err := p.Split(data, "outer", func(s Sub) error { got = append(got, s); return nil }); err != nil {
			t.Fatal(err)
		}
		equal := slices.EqualFunc(got, want, func(a, b Sub) bool {
			same := bytes.Equal(a.Data, b.Data)
			a.Data, b.Data = nil, nil
			return same && fmt.Sprint(a) == fmt.Sprint(b)
		})
		if !equal {
			t.Errorf("%x: got %+v, want %+v", message, got, want)
		}
		if err := p.Split(message, "", func(Sub) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

// byStandardLibrary splits with encoding/json.
func byStandardLibrary(data []byte) (values []string) {
	d := json.NewDecoder(bytes.NewReader(data))
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if err == io.EOF && len(values) > 0 {
			return values
		}
		if err != nil || len(values) == MaxSubRecords {
			return []string{string(data)}
		}
		values = append(values, string(raw))
		if end := d.InputOffset(); end < int64(len(data)) && isDigit(data[end-1]) && isDigit(data[end]) {
			return []string{string(data)} // it takes 01 for 0 and 1
		}
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func FuzzSplitJSON(f *testing.F) {
	for _, s := range []string{`{"a":1}{"a":2}`, "{}\n{}\n", `[{"a":1},{"a":2}]`, `1 2`, `"a""b"`, `truefalse`, `nul`, `{"a":1}x`, ` `, ``,
		`{"a":[1,2,{"b":"\u00e9\ud83d\ude00"}],"c":-1.5e+10}`, `01`, `-`, `1.`, `1e`, `{"a":}`, `{"a"}`, `{,}`, `[1,]`, "\"\x01\"", "\"\xff\"", `"\x"`, `"\u12"`,
		strings.Repeat("[", 100), strings.Repeat("{}", 501)} {
		f.Add([]byte(s))
	}
	p, err := Compile(Spec{SubRecordType: JSON})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []string
		if err := p.Split(data, "", func(s Sub) error { got = append(got, string(s.Data)); return nil }); err != nil {
			t.Fatal(err)
		}
		if want := byStandardLibrary(data); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", data, got, want)
		}
	})
}

func FuzzSplitDelimited(f *testing.F) {
	f.Add([]byte("a####b####"), []byte("####"))
	f.Add([]byte("\n\na\n\nb"), []byte("\n"))
	f.Fuzz(func(t *testing.T, data, delimiter []byte) {
		p, err := Compile(Spec{SubRecordType: Delimited, Delimiter: delimiter})
		if err != nil {
			return
		}
		var want []string
		for part := range bytes.SplitSeq(data, delimiter) {
			if len(part) > 0 {
				want = append(want, string(part))
			}
		}
		if len(want) == 0 || len(want) > MaxSubRecords {
			want = []string{string(data)}
		}
		var got []string
		if err := p.Split(data, "", func(s Sub) error { got = append(got, string(s.Data)); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q by %q: got %q, want %q", data, delimiter, got, want)
		}
	})
}

// decode gives what encoding/json gives, but for the types of numbers.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":"\u00e9\ud83d\ude00\ud800x\ud800\u0041\/\b"}],"c":-1.5e+10,"a":null}`, "\"\xff\xc3\"", `12345678901234567890`, `1e999`, `-0`, `[[],{}]`, `{"\u0061":true}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		err := d.Decode(&want)
		if err == nil {
			_, err = d.Token()
		} else {
			err = errors.New("no JSON")
		}
		if got := wellFormed(data); got != (err == io.EOF) {
			t.Fatalf("%q: well formed is %v", data, got)
		}
		if err != io.EOF {
			return
		}
		got, _ := decode(data, blanks(data, 0))
		if got, want := fmt.Sprint(got), fmt.Sprint(numbers(want)); got != want {
			t.Errorf("%q: got %s, want %s", data, got, want)
		}
	})
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return decodeNumber([]byte(v))
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return v
}
