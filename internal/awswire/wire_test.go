package awswire

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestRouterTellsOperationsOfOnePathApart(t *testing.T) {
	r := NewRouter([]Operation{
		{Name: "ListBuckets", Method: "GET", Path: "/"},
		{Name: "ListObjects", Method: "GET", Path: "/{Bucket}"},
		{Name: "ListObjectsV2", Method: "GET", Path: "/{Bucket}", Query: []string{"list-type=2"}},
		{Name: "PutObject", Method: "PUT", Path: "/{Bucket}/{Key+}"},
		{Name: "CopyObject", Method: "PUT", Path: "/{Bucket}/{Key+}", NeedsHeader: []string{"x-amz-copy-source"}},
		{Name: "UploadPart", Method: "PUT", Path: "/{Bucket}/{Key+}", NeedsQuery: []string{"partNumber", "uploadId"}},
		{Name: "PutObjectTagging", Method: "PUT", Path: "/{Bucket}/{Key+}", Query: []string{"tagging"}},
		{Name: "GetStage", Method: "GET", Path: "/restapis/{restapi_id}/stages/{stage_name}"},
	})
	f := func(method, target, header, want, params string) {
		t.Helper()
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		if header != "" {
			h.Set(header, "x")
		}
		op, got, ok := r.Match(method, u.EscapedPath(), u.Query(), h)
		name := ""
		if ok {
			name = op.Name
		}
		var b strings.Builder
		for _, p := range got {
			b.WriteString(p.Name + "=" + p.Value + " ")
		}
		if name != want || strings.TrimSpace(b.String()) != params {
			t.Errorf("%s %s: got %s %s, want %s %s", method, target, name, b.String(), want, params)
		}
	}
	f("GET", "/", "", "ListBuckets", "")
	f("GET", "/b", "", "ListObjects", "Bucket=b")
	f("GET", "/b/", "", "ListObjects", "Bucket=b")
	f("GET", "/b?list-type=2&prefix=x", "", "ListObjectsV2", "Bucket=b")
	f("PUT", "/b/k/e%2Fy%20", "", "PutObject", "Bucket=b Key=k/e/y")
	f("PUT", "/b//", "", "PutObject", "Bucket=b Key=/")
	f("PUT", "/b/k", "X-Amz-Copy-Source", "CopyObject", "Bucket=b Key=k")
	f("PUT", "/b/k?partNumber=1&uploadId=u", "", "UploadPart", "Bucket=b Key=k")
	f("PUT", "/b/k?tagging", "", "PutObjectTagging", "Bucket=b Key=k")
	f("GET", "/restapis/a%2Fb/stages/prod", "", "GetStage", "restapi_id=a/b stage_name=prod")
	f("GET", "/restapis/a/stages", "", "", "")
	f("DELETE", "/b", "", "", "")
}

// Each hand-written matcher says what its pattern says.
func TestMatchersKeepToTheirPatterns(t *testing.T) {
	words := []string{"", " ", "a", "a b", "a.b-c_D9", "é", "0", "00", "01", "10", "-1", strings.Repeat("9", 39), strings.Repeat("9", 40),
		strings.Repeat("9", 129), strings.Repeat("9", 130), "1\n", "aws:x", "x:y", "a\u2003b", "\u0000", "a\x01", "😀", "  \t", "a\n",
		"arn:aws:kinesis:us-east-1:000000000000:stream/s", "arn:aws-cn:kinesis:x:123456789012:stream/a/b:stream/c",
		"arn:aws:kinesis:r:00000000000:stream/s", "arn:aws:kinesis:r:0000000000000:stream/s", "arn:aws:kinesis:r:000000000000:stream/",
		"arn:aws:kinesis:r:000000000000:stream/a b", "arn:aws:kinesis::stream/x:000000000000:stream/y", "arn:aws:firehose:r:000000000000:stream/s",
		"arn:aws:kinesis:000000000000:stream/s", "arn:aws:kinesis:r:000000000000:stream/x\ny",
		"abcdefghij0123456789-abc", "abcdefghij0123456789-abcd", "ABCDEFGHIJ0123456789-abc"}
	f := func(pattern string, match func(string) bool) {
		t.Helper()
		re := regexp.MustCompile(`^(?:` + pattern + `)$`)
		for _, w := range words {
			if got, want := match(w), re.MatchString(w); got != want {
				t.Errorf("%s on %q: %v, want %v", pattern, w, got, want)
			}
		}
	}
	f(`[a-zA-Z0-9_.-]+`, MatchName)
	f(`0|([1-9]\d{0,38})`, MatchDecimal39)
	f(`0|([1-9]\d{0,128})`, MatchDecimal129)
	f(`arn:aws.*:kinesis:.*:\d{12}:stream/\S+`, MatchStreamARN)
	f(`[a-z0-9]{20}-[a-z0-9]{3}`, MatchStreamID)
	f(`.*\S.*`, MatchNotBlank)
	f(`[\x{1}-\x{FFFF}]*`, MatchBMP)
	if MatchTagKey("aws:x") || !MatchTagKey("team:x") || MatchTagKey("a;b") {
		t.Error("MatchTagKey")
	}
}

func TestViolations(t *testing.T) {
	name := Rule{Min: 1, Max: 4, Pattern: "[a-z]+", Match: Pattern("[a-z]+")}
	at := &Path{Name: "records", Index: 3}
	var c Violations
	c.String(at, "name", "", &name)
	c.Null(nil, "data")
	c.Blob(nil, "data", make([]byte, 5), &Rule{Max: 4})
	c.Int(nil, "limit", 0, &Range{Min: 1, Max: AnyMax})
	c.Strings(nil, "keys", []string{"a", "B"}, nil, &name)
	c.Map(nil, "tags", map[string]string{"a": "", "B": "x"}, &Rule{Min: 3, Max: 9}, &name, &Rule{Min: 1, Max: 2})
	c.Size(nil, "list", 2, Structures("com.a.B", 2), &Rule{Max: 1})
	const want = "10 validation errors detected: " +
		"Value '' at 'records.3.member.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+; " +
		"Value '' at 'records.3.member.name' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
		"Value null at 'data' failed to satisfy constraint: Member must not be null; " +
		"Value 'java.nio.HeapByteBuffer[pos=0 lim=5 cap=5]' at 'data' failed to satisfy constraint: Member must have length less than or equal to 4; " +
		"Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1; " +
		"Value '[a, B]' at 'keys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 4, " +
		"Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [a-z]+]; " +
		"Value '{B=x, a=}' at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 3; " +
		"Value '{B=x, a=}' at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 4, " +
		"Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [a-z]+]; " +
		"Value '{B=x, a=}' at 'tags' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 2, " +
		"Member must have length greater than or equal to 1]; " +
		"Value '[com.a.B@c965e310, com.a.B@c965e311]' at 'list' failed to satisfy constraint: Member must have length less than or equal to 1"
	if got := c.Err(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	hidden := Violations{HideValues: true}
	hidden.String(nil, "prefix", "long", &Rule{Max: 3})
	hidden.Null(nil, "record")
	const firehose = "2 validation errors detected: Value at 'prefix' failed to satisfy constraint: Member must have length less than or equal to 3; " +
		"Value at 'record' failed to satisfy constraint: Member must not be null"
	if got := hidden.Err(); got != firehose {
		t.Errorf("got  %s\nwant %s", got, firehose)
	}
}

func TestLengthsCountCodePoints(t *testing.T) {
	r := Rule{Min: 2, Max: 3}
	f := func(s string, want bool) {
		t.Helper()
		if r.Keeps(s) != want {
			t.Errorf("%q: %v, want %v", s, !want, want)
		}
	}
	f("é", false)
	f("éé", true)
	f("😀😀😀", true)
	f("😀😀😀😀", false)
	f("a", false)
	f("abcd", false)
}

func TestXMLReader(t *testing.T) {
	f := func(doc, want string) {
		t.Helper()
		d := NewXMLReader([]byte(doc))
		var b strings.Builder
		for d.Child() {
			switch d.Name() {
			case "S":
				b.WriteString("S=" + d.String() + ";")
			case "N":
				b.WriteString("N=" + strings.Repeat("|", d.Int()) + ";")
			default:
				d.Skip()
			}
		}
		if err := d.Close(); err != nil {
			b.WriteString("error")
		}
		if b.String() != want {
			t.Errorf("%s: got %s, want %s", doc, b.String(), want)
		}
	}
	f(`<R xmlns="http://x/"><S>a&lt;b</S><O><S>inner</S></O><N> 2 </N></R>`, "S=a<b;N=||;")
	f(`<?xml version="1.0"?><!-- c --><R><S/></R>`, "S=;")
	f(`<R><S>a</R>`, "S=;error")
	f(`<R><N>x</N></R>`, "N=;error")
	f(`<R/><R/>`, "error")
	f(``, "error")
	f(`<!DOCTYPE r [<!ENTITY e "x">]><R><S>&e;</S></R>`, "error")
	f(strings.Repeat("<a>", 100)+strings.Repeat("</a>", 100), "error")
}

func TestAppendXMLError(t *testing.T) {
	got := string(AppendXMLError(nil, "NoSuchKey", "a<b", XMLField{"Key", "k&\r\x01"}, XMLField{"RequestId", ""}))
	const want = XMLHeader + "<Error><Code>NoSuchKey</Code><Message>a&lt;b</Message><Key>k&amp;&#13;\uFFFD</Key></Error>"
	if got != want {
		t.Errorf("got %s", got)
	}
}
