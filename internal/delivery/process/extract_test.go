package process

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/itchyny/gojq"

	"millrace/internal/fault"
)

// testdata/extract: a query, and what it makes of records, a line each. testdata/refused: queries that are not taken.
func TestExtract(t *testing.T) {
	var p *Program
	datadriven.RunTest(t, "testdata/extract", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "query":
			var s Spec
			s.Query = d.Input
			for _, arg := range d.CmdArgs {
				if arg.Key == "keys" {
					s.PartitionKeys = arg.Vals
				}
			}
			var err error
			if p, err = Compile(s); err != nil {
				return "refused: " + err.Error() + "\n"
			}
			return way(p) + "\n"
		case "extract":
			var out strings.Builder
			for _, data := range records(t, d.Input) {
				fmt.Fprintln(&out, outcome(t, p, data))
			}
			return out.String()
		}
		t.Fatalf("what is %s?", d.Cmd)
		return ""
	})
}

// way says how much of a record the program reads.
func way(p *Program) string {
	switch {
	case p.query.members != nil:
		return "paths"
	case p.query.tree != nil:
		return "some members"
	}
	return "the whole record"
}

func outcome(t testing.TB, p *Program, data []byte) string {
	keys, failed, err := p.Extract(data, nil)
	switch {
	case err != nil:
		t.Fatal(err)
	case failed != nil:
		return "! " + failed.Message
	}
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s=%q", k.Name, k.Value))
	}
	return strings.Join(parts, " ")
}

func TestRefusedQueries(t *testing.T) {
	datadriven.RunTest(t, "testdata/refused", func(t *testing.T, d *datadriven.TestData) string {
		_, err := Compile(Spec{Query: d.Input})
		if err == nil {
			return "taken\n"
		}
		return fault.KindOf(err).String() + ": " + err.Error() + "\n"
	})
}

// Every function that may be called is one of gojq's, and none is both refused and taken.
func TestFunctionsExist(t *testing.T) {
	for signature := range functions {
		name, n, _ := strings.Cut(signature, "/")
		if _, both := refused[name]; both {
			t.Errorf("%s is refused and taken", name)
		}
		call := name
		if n != "0" {
			call += "(" + strings.TrimSuffix(strings.Repeat(`"a";`, int(n[0]-'0')), ";") + ")"
		}
		if _, err := Compile(Spec{Query: call}); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestSpecsThatAreRefused(t *testing.T) {
	f := func(s Spec, want string) {
		t.Helper()
		_, err := Compile(s)
		if err == nil || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", s, err, want)
		}
	}
	f(Spec{SubRecordType: "XML"}, "SubRecordType must be JSON or DELIMITED")
	f(Spec{SubRecordType: Delimited}, "Delimiter must not be empty")
	f(Spec{SubRecordType: JSON, Delimiter: []byte(",")}, "DELIMITED only")
	f(Spec{AppendDelimiter: make([]byte, 5121)}, "less than or equal to 5120")
	f(Spec{Query: "{a:.a}" + strings.Repeat(" ", 5120)}, "less than or equal to 5120")
	f(Spec{PartitionKeys: []string{"a"}}, "needs a MetadataExtraction processor")
	f(Spec{Query: "{a:.a}", PartitionKeys: []string{"b"}}, "does not give the partition key b")
	f(Spec{Query: "{a:.\xff}"}, "unexpected token")
}

// The JSON of a Spec is kept in manifests: its names stay.
func TestSpecAsJSON(t *testing.T) {
	s := Spec{true, Delimited, []byte("\n"), "{a:.a}", []string{"a"}, []byte(",")}
	const text = `{"kpl":true,"subRecordType":"DELIMITED","delimiter":"Cg==","query":"{a:.a}","partitionKeys":["a"],"appendDelimiter":"LA=="}`
	got, err := json.Marshal(s)
	if err != nil || string(got) != text {
		t.Errorf("got %s, %v", got, err)
	}
	var back Spec
	if err := json.Unmarshal([]byte(text), &back); err != nil || fmt.Sprint(back) != fmt.Sprint(s) {
		t.Errorf("got %+v, %v", back, err)
	}
}

// Programs that would run for ever, or fill the memory, fail, and are not caught by the program itself.
func TestCostIsBounded(t *testing.T) {
	record := []byte(`{"n":1e12,"s":"` + strings.Repeat("x", 1000) + `","a":[` + strings.Repeat("1,", 20000) + `1]}`)
	for _, source := range []string{
		`{a: ([range(1e12)]|length)}`, `[1|recurse(.+1)]`, `def f: f; f`, `def f: 1 + f; f`, `{a: last(range(.n))}`, `{a: [limit(.n; repeat(1))]}`,
		`{a: ("x" * .n)}`, `{a: (.s * 1e6 | length)}`, `try {a: ("x" * .n)} catch {a: 1}`, `{a: (("x" * .n)? // "b")}`,
		`reduce range(60) as $i ("x"; . + .)`, `reduce range(60) as $i ([1]; . + .)`, `reduce range(60) as $i ("x"; "\(.)\(.)")`,
		`reduce range(60) as $i ("x"; . += .)`, `reduce range(60) as $i ([1]; [.,.]) | tojson`, `reduce range(60) as $i ([1]; [.,.]) | . == .`,
		`reduce range(60) as $i ([1]; [.,.]) | {a: (tostring|length)}`, `reduce range(60) as $i ([1]; [.,.]) | @json`, `reduce range(60) as $i ([1]; [.,.]) | sort`,
		`reduce range(60) as $i ([1]; [.,.]) | {a: "\(.)"}`, `reduce range(1e6) as $i (1; [.]) | tojson`, `reduce range(60) as $i (10; . * .)`,
		`{a: (.a - [range(20000)] | length)}`, `{a: (.s * 1000 | [scan("x")] | length)}`, `{a: (.s * 100 | gsub("x"; "y"))}`,
		`.a as $a | {a: (.a|contains($a))}`, `.s as $s | {a: (.a|map(tostring)|join($s * 100)|length)}`,
		`reduce range(60) as $i ({}; {a: ., b: .}) | . * .`, `reduce range(60) as $i ([1]; [.,.]) | error`,
	} {
		p, err := Compile(Spec{Query: source})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		began := time.Now()
		m := newMeter(len(record))
		m.deadline = m.deadline.Add(time.Hour) // the bound is in steps, and a loaded machine may take its time
		input, _ := decode(record, 0)
		if keys, failed, err := p.query.run(m, input, len(record), nil); failed != tooCostly || err != nil {
			t.Errorf("%s: got %.200v, %v, %v", source, keys, failed, err)
		}
		if testing.Verbose() {
			t.Logf("%8v %s", time.Since(began).Round(time.Millisecond), source)
		}
	}
}

// When the time is up, nothing is said about the record.
func TestTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Compile(Spec{Query: `{a: last(range(100000))}`})
		if err != nil {
			t.Fatal(err)
		}
		m := newMeter(0)
		time.Sleep(queryTime + 1)
		_, failed, err := p.query.run(m, map[string]any{}, 2, nil)
		if failed != nil || !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v, %v", failed, err)
		}
	})
}

// byGojq is Extract without anything of ours in front of gojq: encoding/json's tree, and the program as it was written.
func byGojq(t testing.TB, s Spec, code *gojq.Code, data []byte) string {
	if !json.Valid(data) {
		return "! " + notJSON.Message
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var input any
	if err := d.Decode(&input); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results := code.RunWithContext(ctx, numbers(input))
	first, ok := results.Next()
	if !ok {
		return "! " + noResult.Message
	}
	if err, bad := first.(error); bad {
		return "! " + errorText(err)
	}
	if second, more := results.Next(); more {
		if err, bad := second.(error); bad {
			return "! " + errorText(err)
		}
		return "! " + manyResults.Message
	}
	object, ok := first.(map[string]any)
	if !ok {
		return "! " + notObject.Message
	}
	q := query{wanted: s.PartitionKeys}
	keys, failed := q.collect(object, nil)
	if failed != nil {
		return "! " + failed.Message
	}
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s=%q", k.Name, k.Value))
	}
	return strings.Join(parts, " ")
}

// The programs that are compared with plain gojq, on whatever record.
var compared = []Spec{
	{Query: `{a:.a}`}, {Query: `{a}`}, {Query: `{a:.a,b:.b}`}, {Query: `{b:.b,a:.a}`, PartitionKeys: []string{"b", "a"}},
	{Query: `{a:.a,b:.b,c:.c}`, PartitionKeys: []string{"c", "a"}}, {Query: `{a:.a.b,b:.a.c,c:.a}`}, {Query: `{a:.a|tostring}`}, {Query: `{a:(.a.b|tostring),"b":."b"}`},
	{Query: `({a:.a["b"]})`}, {Query: `{a:.a|.b}`}, {Query: `{a:.["a"].c, a:.b}`}, {Query: `{"é":."é"}`},
	{Query: `{a:.a,y:.b|strftime("%Y-%m-%d")}`}, {Query: `{a:(.a+.b)}`}, {Query: `{a:(.a-.b)}`}, {Query: `{a:(.a*.b)}`}, {Query: `{a:(.a/.b)}`}, {Query: `{a:(.a%.b)}`},
	{Query: `{a:((.a,.b)+(.b,.a))}`}, {Query: `{a:(.a==.b)}`}, {Query: `{a:(.a<.b)}`}, {Query: `{a:(if .a then .b else "x" end)}`}, {Query: `{a:(.a // .b // "none")}`},
	{Query: `{a:"\(.a)-\(.b)"}`}, {Query: `{a:@base64 "\(.a)",b:(.b|@json)}`}, {Query: `{a:.a[0]}`}, {Query: `{a:.a[]}`}, {Query: `{a:.a?}`}, {Query: `{a:(.a.b?)}`},
	{Query: `{a:(.a|ascii_downcase|.[0:1])}`}, {Query: `{a:(.a|test("^x"))}`}, {Query: `{a:(.a|sub("x";"y"))}`}, {Query: `{a:([.a|scan("[a-z]")]|join("/"))}`},
	{Query: `{a:(.a|length), b:(.b|type)}`}, {Query: `to_entries|map({(.key):(.value|tostring)})|add`}, {Query: `.a |= tostring | {a}`}, {Query: `.a += .b | {a:.a}`},
	{Query: `.b as $b | {a:(.a|join($b))}`}, {Query: `{a:(.a|sort_by(.b)|first)}`}, {Query: `del(.c)|.[]|={x:.}|{a:(.a.x|tojson)}`},
	{Query: `{a:([paths]|length),b:([..]|length)}`}, {Query: `reduce (.a|.[]?) as $x ({n:0}; .n += 1)`}, {Query: `{a:(.a|tonumber)}`}, {Query: `{a:(.a|fromjson)}`},
	{Query: `def f(x): x|tostring; {a:f(.a), b:f(.b)}`}, {Query: `{a:(.a|contains("x"))}`}, {Query: `{a:([.a,.b]|index("x"))}`}, {Query: `{a:(.a|IN("x","y",1))}`}, {Query: `.`},
	{Query: `{a:(.a|error)}`}, {Query: `{a:(try error(.a) catch .)}`}, {Query: `path(..|select(.b?))|{a:join("/")}`}, {Query: `with_entries(.value|=tostring)|{a,b}`}, {Query: `{a:1}|{a,b:.c}`},
	{Query: `{a:.a.b.c, b:.a.b, c:.a.d.e|tostring}`}, {Query: `{(.a|tostring):.b}`}, {Query: `{a:-.a}`}, {Query: `{a:(.a|floor)}`}, {Query: `.[0] // . | {a:.a}`}, {Query: `empty`},
}

func comparedPrograms() (all []comparison) {
	for _, s := range compared {
		p, err := Compile(s)
		if err != nil {
			panic(s.Query + ": " + err.Error())
		}
		parsed, err := gojq.Parse(s.Query)
		if err != nil {
			panic(err)
		}
		code, err := gojq.Compile(parsed)
		if err != nil {
			panic(err)
		}
		all = append(all, comparison{s, p, code})
	}
	return all
}

type comparison struct {
	Spec
	ours  *Program
	plain *gojq.Code
}

var seeds = []string{
	`{"a":"x","b":"y"}`, `{"a":1,"b":2,"c":3}`, `{"a":1.0,"b":1e3}`, `{"a":-0,"b":12345678901234567890}`, `{"a":null,"b":""}`, `{"a":true,"b":false}`,
	`{"a":{"b":1,"c":"d"},"b":"x"}`, `{"a":[1,2],"b":[]}`, `{"a":"s","a":{"b":2}}`, `{"a":{"b":1},"a":{"c":2}}`, `{"a":{"b":1},"a":3}`, `{"\u0061":"esc\u0061ped\n","b":"\ud800"}`,
	"{\"a\":\"\xff\",\"b\":\"é\"}", `[]`, `"a"`, `1`, `null`, ``, ` `, `{"a":1}{"a":2}`, `{"a":1} `, ` {"a" : "b" , "b":[{"b":2},{"b":1}]}`, `{"a":{"b":{"c":1},"d":{"e":null}}}`,
	`{"a":"xyz","b":1767225600.5,"é":"accent"}`, `{"a":"5","b":5}`, `{"a":"[1]"}`, `{"a":1e400,"b":-1e400}`, `{"a":0.1,"b":1e-7}`, `[{"a":1}]`, `{"a":{"b":[]},"b":{}}`,
	`{"a":123456789012345678,"b":1234567890123456789}`, `{"a":` + strings.Repeat("9", 1001) + `}`, `{"a":"` + strings.Repeat("x", 513) + `"}`, `{"a":["x",["y"]],"b":"x"}`,
}

func TestExtractIsWhatGojqGives(t *testing.T) {
	for _, c := range comparedPrograms() {
		for _, data := range seeds {
			got, want := outcome(t, c.ours, []byte(data)), byGojq(t, c.Spec, c.plain, []byte(data))
			if got != want && !(got == "! "+tooCostly.Message && strings.Contains(want, "too large")) {
				t.Errorf("%s of %.100s: got %s, want %s", c.Query, data, got, want)
			}
		}
	}
}

func FuzzExtract(f *testing.F) {
	programs := comparedPrograms()
	for i := range programs {
		f.Add(byte(i), []byte(seeds[i%len(seeds)]))
	}
	for i, s := range seeds {
		f.Add(byte(i), []byte(s))
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		c := programs[int(which)%len(programs)]
		got, want := outcome(t, c.ours, data), byGojq(t, c.Spec, c.plain, data)
		if got != want && got != "! "+tooCostly.Message {
			t.Errorf("%s of %q: got %s, want %s", c.Query, data, got, want)
		}
	})
}

// Any text may be a program: it is taken or refused, and what is taken comes to an end.
func FuzzCompile(f *testing.F) {
	for _, s := range compared {
		f.Add(s.Query)
	}
	for _, s := range []string{`{a:now}`, `def now: 1; {a:now}`, `import "a" as b; .`, `$ENV`, `.[1e9]=1`, `{a:("x"*1e9)}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := Compile(Spec{Query: source})
		if err != nil || !p.Extracts() {
			return
		}
		for _, data := range []string{`{"a":"x","b":[1,{"c":null}]}`, `[1]`} {
			first, failed, err := p.Extract([]byte(data), nil)
			if err != nil {
				return // it took too long, which says nothing about the record
			}
			second, again, err := p.Extract([]byte(data), nil)
			if err != nil {
				return
			}
			if fmt.Sprint(first, failed != nil) != fmt.Sprint(second, again != nil) || failed != nil && *failed != *again {
				t.Errorf("%q gave %v %v, then %v %v", source, first, failed, second, again)
			}
		}
	})
}

// A Program is used by all shards at once.
func TestConcurrentUse(t *testing.T) {
	p, err := Compile(Spec{Query: `{a:.a, b:(.b|ascii_upcase)}`, KPL: true, SubRecordType: JSON})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	for i := range 8 {
		go func() {
			data := fmt.Appendf(nil, `{"a":%d,"b":"x%d"}`, i, i)
			want := fmt.Sprintf(`a="%d" b="X%d"`, i, i)
			for range 500 {
				keys, failed, err := p.Extract(data, nil)
				if got := fmt.Sprintf("a=%q b=%q", keys[0].Value, keys[1].Value); got != want || failed != nil || err != nil {
					done <- got
					return
				}
			}
			done <- want
		}()
	}
	var got []string
	for range 8 {
		got = append(got, <-done)
	}
	slices.Sort(got)
	for i := range 8 {
		if want := fmt.Sprintf(`a="%d" b="X%d"`, i, i); got[i] != want {
			t.Errorf("got %s, want %s", got[i], want)
		}
	}
}

func TestFitValue(t *testing.T) {
	f := func(value string, want *Failure) {
		t.Helper()
		if got := FitValue([]byte(value)); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
	f("a/b\x01", nil)
	f("", nullOrEmpty)
	f(strings.Repeat("x", 512), nil)
	f(strings.Repeat("x", 513), tooLong)
	f("\xff", notUTF8)
}
