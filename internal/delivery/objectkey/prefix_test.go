package objectkey

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/ids"
)

var moment = time.Date(2026, time.July, 13, 14, 15, 16, 0, time.UTC)

func TestPrefixes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		p, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if got := string(p.Append(nil, moment, ids.Seeded(1))); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	f("", "2026/07/13/14/")
	f("legacy", "legacy2026/07/13/14/")
	f("events/", "events/2026/07/13/14/")
	f("a!b{c}/", "a!b{c}/2026/07/13/14/")
	f("!{timestamp:yyyy}/", "2026/")
	f("year=!{timestamp:yyyy}/month=!{timestamp:MM}/", "year=2026/month=07/")
	f("!{timestamp:'year='yyyy'/month='MM}/", "year=2026/month=07/")
	random := ids.Seeded(1)
	one, two := random.String(ids.Alnum, 11), random.String(ids.Alnum, 11)
	f("x/!{firehose:random-string}/!{firehose:random-string}", "x/"+one+"/"+two)
}

func TestErrorPrefixes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		p, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if got := string(p.AppendError(nil, moment, ids.Seeded(1), "processing-failed")); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	f("", "processing-failed/2026/07/13/14/")
	f("failed/", "failed/processing-failed/2026/07/13/14/")
	f("failed/!{firehose:error-output-type}/!{timestamp:dd}/", "failed/processing-failed/13/")
}

func TestPrefixesThatAreRefused(t *testing.T) {
	f := func(text, message string) {
		t.Helper()
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %q", text, err, message)
		}
	}
	const conversion = "Invalid conversion character used in the value of the expression in Prefix"
	f("a!{timestamp:yyyy", "Invalid expression usage: !{timestamp:yyyy in Prefix is not closed")
	f("!{", "not closed")
	f("!{}", "Invalid expression usage")
	f("!{yyyy}", "Invalid expression usage")
	f("!{time:yyyy}", "Namespace to the left of colon (time) is an invalid keyword!")
	f("!{Timestamp:yyyy}", "Namespace to the left of colon (Timestamp) is an invalid keyword!")
	f("!{timestamp:}", "has no value")
	f("!{timestamp:jj}", conversion+": !{timestamp:jj}: unknown pattern letter: j")
	f("!{firehose:random}", conversion)
	f("!{partitionKeyFromQuery:}", "has no value")
	f("!{timestamp:!{firehose:random-string}}", "holds another")
	if _, err := ParseMember("ErrorOutputPrefix", "!{firehose:x}"); err == nil || !strings.Contains(err.Error(), "in ErrorOutputPrefix") {
		t.Errorf("got %v", err)
	}
}

// Values of partition keys stand where their expressions do, each key once among the values.
func TestPartitionKeys(t *testing.T) {
	p, err := Parse("c=!{partitionKeyFromQuery:c}/!{partitionKeyFromLambda:c}/y=!{timestamp:yyyy}/again=!{partitionKeyFromQuery:c}/")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Keys(); !slices.Equal(got, []Key{{false, "c"}, {true, "c"}}) {
		t.Errorf("keys %v", got)
	}
	if got := string(p.Append(nil, moment, ids.Seeded(1), "7", "x")); got != "c=7/x/y=2026/again=7/" {
		t.Errorf("got %q", got)
	}
	dst, values := make([]byte, 0, 64), []string{"7", "x"}
	if got := testing.AllocsPerRun(100, func() { dst = p.Append(dst[:0], moment, nil, values...) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestPrefixFacts(t *testing.T) {
	p, err := Parse("a/!{partitionKeyFromQuery:customer}/!{firehose:error-output-type}/")
	if err != nil {
		t.Fatal(err)
	}
	if !p.HasExpression() || !p.HasPartitionKeys() || !p.HasErrorType() {
		t.Errorf("%+v", p)
	}
	length := func(text string, want int) {
		t.Helper()
		p, err := Parse(text)
		if err != nil || p.Length(time.UTC) != want {
			t.Errorf("%.20s… has %d characters, not %d: %v", text, p.Length(time.UTC), want, err)
		}
	}
	length(strings.Repeat("x", 499), 513)
	length(strings.Repeat("é", 498), 512)
	length("!{timestamp:MMMM}/!{partitionKeyFromQuery:k}", len("September/"))
	failed, err := Parse("!{firehose:error-output-type}/")
	if err != nil || failed.ErrorLength(time.UTC) != len(LongestErrorType)+1 {
		t.Errorf("%d characters: %v", failed.ErrorLength(time.UTC), err)
	}
}

// FuzzPrefix holds that what Parse takes evaluates to the same at every time, without expressions left over from the
// text, and never panics.
func FuzzPrefix(f *testing.F) {
	for _, seed := range []string{"", "a/", "!{timestamp:yyyy/MM}", "!{firehose:random-string}", "!{firehose:error-output-type}",
		"!{timestamp:''[}]", "!{!{", "!{timestamp:YYYY'}'}", "x!{partitionKeyFromLambda:k}y"} {
		f.Add(seed, int64(1785936000))
	}
	f.Fuzz(func(t *testing.T, text string, second int64) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		at := time.Unix(second%(1<<37), 999).UTC()
		one := string(p.Append(nil, at, ids.Seeded(3)))
		two := string(p.Append([]byte("kept"), at, ids.Seeded(3)))
		if "kept"+one != two {
			t.Errorf("%q is not repeatable: %q and %q", text, one, two)
		}
		if !p.HasExpression() && !strings.HasPrefix(one, text) {
			t.Errorf("%q: the text is gone: %q", text, one)
		}
		if !p.HasExpression() && strings.Contains(text, "!{") {
			t.Errorf("%q: an expression was taken for text", text)
		}
		p.AppendError(nil, at, ids.Seeded(3), "processing-failed")
		_ = p.Length(time.UTC)
	})
}

func TestSuffix(t *testing.T) {
	s := Suffix{Name: "class-delivery", Version: "3", Time: moment, UUID: ID(5).UUID(ids.Seeded(1)), Extension: ".gz"}
	got := string(s.Append([]byte("p/")))
	want := regexp.MustCompile(`^p/class-delivery-3-2026-07-13-14-15-16-00000000-0000-7005-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.gz$`)
	if !want.MatchString(got) {
		t.Errorf("suffix %s", got)
	}
}

// Ids and their texts rise, whatever the clock does.
func TestIDsRise(t *testing.T) {
	random := ids.Seeded(1)
	var texts []string
	var last ID
	at := moment
	for i := range 20000 {
		switch {
		case i%5000 == 4999:
			at = at.Add(-time.Hour)
		case i%7 == 0:
			at = at.Add(time.Millisecond)
		}
		next := After(last, at)
		if next <= last {
			t.Fatalf("id %d after %d", next, last)
		}
		last = next
		texts = append(texts, next.UUID(random))
	}
	if !slices.IsSorted(texts) {
		t.Error("texts do not rise")
	}
	if After(0, time.Unix(-5, 0)) != 1 {
		t.Error("a clock before 1970 breaks ids")
	}
}
