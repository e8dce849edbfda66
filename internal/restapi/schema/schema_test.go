package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const apiID = "api0000001"

func TestValidate(t *testing.T) {
	models := map[string]string{}
	datadriven.RunTest(t, "testdata/validate.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "schema" {
			models[d.CmdArgs[0].Key] = d.Input
			return ""
		}
		s, err := NewSet(apiID, models).Compile("Event")
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		if why := s.Validate(d.Input); why != "" {
			return why + "\n"
		}
		return "ok\n"
	})
}

func compiled(t testing.TB, schema string) *Schema {
	t.Helper()
	s, err := NewSet(apiID, map[string]string{"Event": schema}).Compile("Event")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// However a sender builds its body, judging it takes bounded time and memory.
func TestHostileBodies(t *testing.T) {
	const node = `{"anyOf":[{"type":"string"},{"properties":{"a":{"$ref":"#"}},"required":["x"]},{"properties":{"a":{"$ref":"#"}},"required":["y"]}]}`
	nested := func(open, inside, end string, n int) string {
		return strings.Repeat(open, n) + inside + strings.Repeat(end, n)
	}
	const large = 2 << 20
	f := func(name, schema, body, want string) {
		t.Helper()
		start := time.Now()
		got := compiled(t, schema).Validate(body)
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %.200q, want %q", name, got, want)
		}
		if len(got) > maxReasons*(maxReasonBytes+10) {
			t.Errorf("%s: a refusal of %d bytes", name, len(got))
		}
		t.Logf("%s: %v", name, time.Since(start))
	}
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, `{"a":%d},`, i+10)
	}
	f("exponential", node, nested(`{"a":`, `1`, `}`, 350), "more steps than are allowed")
	f("deep", `{}`, nested(`[`, ``, `]`, 400), "")
	f("too deep", `{}`, nested(`[`, ``, `]`, 401), Unreadable)
	f("very deep", `{}`, nested(`[`, ``, `]`, large/2), Unreadable)
	f("many faults", `{"items":{"type":"string"}}`, "["+strings.Repeat("1,", large/2)+"1]", "instance type (integer)")
	f("many strangers", `{"additionalProperties":false}`, "{"+strings.Repeat(`"a":1,`, large/6)+`"b":1}`, "not allowed by the schema")
	f("many equal items", `{"uniqueItems":true}`, "["+strings.Repeat("1,", large/2)+"1]", "more steps than are allowed")
	f("huge exponents", `{"items":{"type":"number","minimum":0,"maximum":9,"multipleOf":3}}`, "["+strings.Repeat("1e999999,", large/9)+"1]", "greater than the required maximum")
	f("a number of many digits", `{"multipleOf":7}`, strings.Repeat("7", large), "too large to be divided")
	f("a costly pattern", `{"pattern":"[a-z]{500}x[a-z]{500}"}`, `"`+strings.Repeat("a", large)+`"`, "more steps than are allowed")
	f("a large enum", `{"items":{"enum":[`+many.String()+`2]}}`, "["+strings.Repeat(`{"a":2},`, large/8)+"2]", "not found in enum")
}

// Ordinary bodies cost no memory.
func TestValidationAllocatesNothing(t *testing.T) {
	s := compiled(t, orderSchema)
	if n := testing.AllocsPerRun(100, func() {
		if why := s.Validate(order); why != "" {
			t.Fatal(why)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const (
	orderSchema = `{"type":"object","required":["id","items"],"additionalProperties":false,"properties":{
		"id":{"type":"string","pattern":"^[A-Z]{2}-[0-9]{4,}$"},"placedAt":{"type":"string"},"channel":{"type":"string","enum":["web","app","store"]},
		"items":{"type":"array","items":{"type":"object","required":["sku","quantity"],"properties":{
			"sku":{"type":"string","minLength":3,"maxLength":12},"quantity":{"type":"integer","minimum":1,"maximum":99},"price":{"type":"number"}}}}}}`
	order = `{"id":"EU-20417","placedAt":"2026-01-01T12:00:00Z","channel":"web","items":[{"sku":"desk-160","quantity":1,"price":499.90},` +
		`{"sku":"chair-4","quantity":4,"price":89.5},{"sku":"lamp","quantity":2,"price":35}]}`
)

func BenchmarkValidate(b *testing.B) {
	s := compiled(b, orderSchema)
	b.SetBytes(int64(len(order)))
	b.ReportAllocs()
	for b.Loop() {
		if s.Validate(order) != "" {
			b.Fatal("refused")
		}
	}
}

// BenchmarkLibrary is what the library takes for the same: the reason for a walker of our own.
func BenchmarkLibrary(b *testing.B) {
	s := byLibrary(b, orderSchema)
	b.SetBytes(int64(len(order)))
	b.ReportAllocs()
	for b.Loop() {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(order))
		if err != nil || s.Validate(doc) != nil {
			b.Fatal("refused")
		}
	}
}

func byLibrary(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := parse(schema)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	if err := c.AddResource(URL(apiID, "Event"), doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile(URL(apiID, "Event"))
}

// fuzzed are schemas that use every keyword.
var fuzzed = []string{
	orderSchema,
	`{"type":["object","null"],"properties":{"a":{"$ref":"#"},"b":{"type":"number","minimum":-1.5,"maximum":100,"exclusiveMaximum":true}},"patternProperties":{"^a":{"minProperties":1}},
		"additionalProperties":{"type":["string","array"]},"maxProperties":4,"dependencies":{"a":["b"],"c":{"required":["d"]}}}`,
	`{"oneOf":[{"type":"array","items":[{"type":"integer"},{"enum":[1,"x",null,[1,{"a":2}]]}],"additionalItems":{"type":"boolean"}},
		{"type":"array","minItems":2,"maxItems":3,"uniqueItems":true},{"type":"string","minLength":2,"maxLength":4}]}`,
	`{"anyOf":[{"allOf":[{"type":"number"},{"multipleOf":0.25}]},{"not":{"type":["number","string"]}},{"pattern":"^\\u0061+$"}]}`,
	`{"enum":[{"a":[1,2,{"b":null}]},0,"",[],true,1.50]}`,
}

// The walker agrees with the library, and with encoding/json on what is JSON.
func FuzzValidate(f *testing.F) {
	var mine []*Schema
	var theirs []*jsonschema.Schema
	for _, schema := range fuzzed {
		mine, theirs = append(mine, compiled(f, schema)), append(theirs, byLibrary(f, strings.ReplaceAll(schema, `\\u0061`, "a")))
	}
	for _, body := range []string{order, `{"a":{"b":1},"b":2}`, `[1,"x",true]`, `[1,2]`, `[[1],[1.0]]`, `"aaa"`, `0.75`, `-0`, `{"a":[1,2.0,{"b":null}]}`, `1.5`, `{"c":"","d":[]}`,
		`{"\u0061":null}`, `"\ud83d\ude00x"`, "", `[1,[1,{"a":2}],false]`, `nul`, `{"a":1,}`, `01`, "\"\xff\"", ` [ ] `, `1E400`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if got, want := wellFormed(body), json.Valid([]byte(body)); got != want && strings.Count(body, "[")+strings.Count(body, "{") <= maxDepth {
			t.Fatalf("well-formed: %v; encoding/json says %v", got, want)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		comparable := err == nil && len(body) < 1<<10 && !hasTwins(body) && plainNumbers(doc)
		for i, s := range mine {
			why := s.Validate(body)
			if why != "" && (why[0] != '[' || len(why) < 3) {
				t.Fatalf("schema %d: a refusal without reason: %q", i, why)
			}
			if comparable {
				if theirs := theirs[i].Validate(doc); (theirs == nil) != (why == "") {
					t.Fatalf("schema %d: %q; the library says %v", i, why, theirs)
				}
			}
		}
	})
}

// hasTwins reports whether an object has a name twice, of which the library sees the last only.
func hasTwins(body string) bool {
	dec := json.NewDecoder(strings.NewReader(body))
	type object struct {
		names map[string]bool
		isKey bool
	}
	var open []*object
	for {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		var top *object
		if len(open) > 0 {
			top = open[len(open)-1]
		}
		if name, ok := tok.(string); ok && top != nil && top.names != nil && top.isKey {
			if top.names[name] {
				return true
			}
			top.names[name], top.isKey = true, false
			continue
		}
		switch tok {
		case json.Delim('{'):
			if top != nil {
				top.isKey = true
			}
			open = append(open, &object{map[string]bool{}, true})
			continue
		case json.Delim('['):
			if top != nil {
				top.isKey = true
			}
			open = append(open, &object{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
			continue
		}
		if top != nil {
			top.isKey = true
		}
	}
}

// plainNumbers reports whether the library takes the numbers of a document for what they are: it fails on large
// exponents, and takes 1.0 for an integer.
func plainNumbers(v any) bool {
	switch v := v.(type) {
	case json.Number:
		d, ok := parseDecimal(string(v))
		return ok && d.point < 300 && d.point > -300 && (d.integer || int64(d.len()) > d.point)
	case []any:
		for _, item := range v {
			if !plainNumbers(item) {
				return false
			}
		}
	case map[string]any:
		for _, member := range v {
			if !plainNumbers(member) {
				return false
			}
		}
	}
	return true
}

func TestCheck(t *testing.T) {
	f := func(schema, want string) {
		t.Helper()
		faults := Check(apiID, schema, func(name string) bool { return name == "Known" })
		var got []string
		if faults.Invalid {
			got = append(got, "invalid")
		}
		got = append(got, faults.Keywords...)
		got = append(got, faults.References...)
		got = append(got, faults.Models...)
		if faults.Pattern != nil {
			got = append(got, "pattern")
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s\ngot  %s\nwant %s", schema, text, want)
		}
	}
	f(orderSchema, "")
	f(`{}`, "")
	f(`[]`, "invalid")
	f(`{`, "invalid")
	f(`{"type":"thing"}`, "invalid")
	f(`{"required":[]}`, "invalid")
	f(`{"maxLength":"35"}`, "invalid")
	f(`{"exclusiveMinimum":3}`, "invalid")
	f(`{"minimum":1e9999}`, "invalid")
	f(`{"example":1,"properties":{"example":{"nullable":true,"enum":[{"xml":1}]}},"definitions":{"x":{"not":{"const":1}}}}`, "const example nullable")
	f(`{"$ref":"Known"}`, "Known")
	f(`{"$ref":"#/definitions/Here"}`, "")
	f(`{"items":{"$ref":"https://apigateway.amazonaws.com/restapis/api0000001/models/Known"}}`, "")
	f(`{"items":{"$ref":"https://apigateway.amazonaws.com/restapis/api0000001/models/Unknown#/definitions/x"}}`, "Unknown")
	f(`{"items":{"$ref":"https://apigateway.amazonaws.com/restapis/other00001/models/Known"}}`, "https://apigateway.amazonaws.com/restapis/other00001/models/Known")
	f(`{"patternProperties":{"(?!a)":{}}}`, "pattern")
	f(`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`, "")
}

func TestFlatten(t *testing.T) {
	models := map[string]string{
		"A": `{"properties":{"b":{"$ref":"` + URL(apiID, "B") + `"},"own":{"$ref":"#/definitions/C"}},"definitions":{"C":{"type":"null"}}}`,
		"B": `{"properties":{"a":{"$ref":"` + URL(apiID, "A") + `"},"c":{"$ref":"` + URL(apiID, "C") + `#/definitions/x"}}}`,
		"C": `{"definitions":{"x":{"$ref":"#"}}}`,
	}
	got, err := Flatten(apiID, "A", models)
	const want = `{"definitions":{"B":{"properties":{"a":{"$ref":"#"},"c":{"$ref":"#/definitions/CModel/definitions/x"}}},"C":{"type":"null"},` +
		`"CModel":{"definitions":{"x":{"$ref":"#/definitions/CModel"}}}},"properties":{"b":{"$ref":"#/definitions/B"},"own":{"$ref":"#/definitions/C"}}}`
	if err != nil || got != want {
		t.Errorf("got  %s %v\nwant %s", got, err, want)
	}
}

// A schema whose parts lead on and on takes no more of the stack than a body may cost, nor is the template of one that holds
// itself many times longer than a template may be.
func TestDeepSchemasAreBounded(t *testing.T) {
	var chain strings.Builder
	const links = 5000
	for i := range links {
		fmt.Fprintf(&chain, `"d%d":{"allOf":[{"$ref":"#/definitions/d%d"}]},`, i, i+1)
	}
	s := compiled(t, `{"definitions":{`+chain.String()+fmt.Sprintf(`"d%d":{"items":{"$ref":"#/definitions/d0"}}},"allOf":[{"$ref":"#/definitions/d0"}]}`, links))
	for depth, want := range map[int]string{1: "", 3: "", 100: "validation takes more steps than are allowed]"} {
		body := strings.Repeat("[", depth) + strings.Repeat("]", depth) + strings.Repeat(" ", 1<<20)
		if got := s.Validate(body); !strings.HasSuffix(got, want) || (got == "") != (want == "") {
			t.Errorf("%d: %q, want %q", depth, got, want)
		}
	}
	var properties []string
	for i := range 200 {
		properties = append(properties, fmt.Sprintf(`"p%d":{"$ref":%q}`, i, URL(apiID, "Event")))
	}
	text := `{"type":"object","properties":{` + strings.Join(properties, ",") + `}}`
	if got := Template(apiID, "Event", map[string]string{"Event": text}); len(got) > 2*maxTemplate {
		t.Errorf("%d bytes", len(got))
	}
}
