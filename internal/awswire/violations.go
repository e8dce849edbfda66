package awswire

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxViolations bounds how many violations one error lists, as the services do.
const MaxViolations = 10

// maxShownValue bounds how much of one offending value an error repeats; services repeat all of it, but here a
// body of 16 MiB must not come back as an error of 16 MiB.
const maxShownValue = 8 << 10

// Path is where a member stands: a list on the stack of the checks, written out only for a violation.
type Path struct {
	Up    *Path
	Name  string // "records"
	Index int    // of a list's item, from 1; 0 when the member is no list
	Key   string // of a map's value
}

func (p *Path) append(dst []byte) []byte {
	if p == nil {
		return dst
	}
	dst = p.Up.append(dst)
	dst = append(append(dst, p.Name...), '.')
	switch {
	case p.Index > 0:
		dst = append(strconv.AppendInt(dst, int64(p.Index), 10), ".member."...)
	case p.Key != "":
		dst = append(append(dst, p.Key...), ".member."...)
	}
	return dst
}

// Violations gathers what is wrong with a request; generated Check methods fill it. The zero value is ready.
type Violations struct {
	// HideValues words violations as Firehose does ("Value at 'x'"), without the value.
	HideValues bool

	found []string
}

// Texts gives what was found, one text each: "Value at 'x.y' failed to satisfy constraint: …".
func (c *Violations) Texts() []string { return c.found }

// Err gives the message of the ValidationException, "" when nothing is wrong.
func (c *Violations) Err() string {
	if len(c.found) == 0 {
		return ""
	}
	plural := "s"
	if len(c.found) == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d validation error%s detected: %s", len(c.found), plural, strings.Join(c.found, "; "))
}

// Add reports that the member name below at, whose value reads shown, breaks a constraint.
func (c *Violations) Add(at *Path, name, shown, constraint string) {
	if len(c.found) >= MaxViolations {
		return
	}
	if len(shown) > maxShownValue {
		shown = strings.ToValidUTF8(shown[:maxShownValue], "") + "…"
	}
	text := append([]byte("Value "), shown...)
	if shown != "" {
		text = append(text, ' ')
	}
	text = append(text, "at '"...)
	text = at.append(text)
	text = append(text, name...)
	text = append(text, "' failed to satisfy constraint: "...)
	c.found = append(c.found, string(append(text, constraint...)))
}

func (c *Violations) add(at *Path, name, value, constraint string) {
	if c.HideValues {
		c.Add(at, name, "", constraint)
		return
	}
	c.Add(at, name, "'"+value+"'", constraint)
}

// Null reports a required member that is absent.
func (c *Violations) Null(at *Path, name string) {
	shown := "null"
	if c.HideValues {
		shown = ""
	}
	c.Add(at, name, shown, "Member must not be null")
}

// Rule is what a string, or the size of a list, map or blob, must keep to.
type Rule struct {
	Min     int
	Max     int // -1: none
	Pattern string
	Match   func(string) bool // nil: no pattern
	Enum    []string          // in the order in which the service prints it
}

// Keeps reports whether s keeps to the rule. Length counts code points.
func (r *Rule) Keeps(s string) bool {
	if r.Enum != nil {
		return slices.Contains(r.Enum, s)
	}
	return r.fits(s) && (r.Match == nil || r.Match(s))
}

func (r *Rule) fits(s string) bool {
	// A string has at most as many code points as bytes, and at least a quarter.
	if (r.Max < 0 || len(s) <= r.Max) && (len(s) >= 4*r.Min || r.Min == 1 && s != "") {
		return true
	}
	n := utf8.RuneCountInString(s)
	return n >= r.Min && (r.Max < 0 || n <= r.Max)
}

func (r *Rule) fitsSize(n int) bool { return n >= r.Min && (r.Max < 0 || n <= r.Max) }

// texts words what s breaks, pattern before length.
func (r *Rule) texts(s string) []string {
	var broken []string
	if r.Enum != nil {
		if !slices.Contains(r.Enum, s) {
			broken = append(broken, r.enumText())
		}
		return broken
	}
	if r.Match != nil && !r.Match(s) {
		broken = append(broken, "Member must satisfy regular expression pattern: "+r.Pattern)
	}
	n := utf8.RuneCountInString(s)
	if n < r.Min {
		broken = append(broken, r.minText())
	}
	if r.Max >= 0 && n > r.Max {
		broken = append(broken, r.maxText())
	}
	return broken
}

func (r *Rule) enumText() string {
	return "Member must satisfy enum value set: [" + strings.Join(r.Enum, ", ") + "]"
}
func (r *Rule) minText() string {
	return "Member must have length greater than or equal to " + strconv.Itoa(r.Min)
}
func (r *Rule) maxText() string {
	return "Member must have length less than or equal to " + strconv.Itoa(r.Max)
}

// all words the whole rule, as it stands in texts about the items of a list or map.
func (r *Rule) all() string {
	var parts []string
	if r.Enum != nil {
		parts = append(parts, r.enumText())
	} else {
		if r.Max >= 0 {
			parts = append(parts, r.maxText())
		}
		parts = append(parts, r.minText())
		if r.Match != nil {
			parts = append(parts, "Member must satisfy regular expression pattern: "+r.Pattern)
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// String checks a string that is present.
func (c *Violations) String(at *Path, name, value string, r *Rule) {
	if r.Keeps(value) {
		return
	}
	for _, text := range r.texts(value) {
		c.add(at, name, value, text)
	}
}

// Size checks the length of a list whose value reads shown.
func (c *Violations) Size(at *Path, name string, n int, shown func() string, r *Rule) {
	if r.fitsSize(n) {
		return
	}
	text := r.minText()
	if n > r.Min {
		text = r.maxText()
	}
	c.add(at, name, shown(), text)
}

// Blob checks the length of a blob that is present.
func (c *Violations) Blob(at *Path, name string, b []byte, r *Rule) {
	if r.fitsSize(len(b)) {
		return
	}
	c.Size(at, name, len(b), func() string {
		return fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%d cap=%d]", len(b), len(b))
	}, r)
}

// Strings checks a list of strings: its length by size, its items by item; either may be nil.
func (c *Violations) Strings(at *Path, name string, list []string, size, item *Rule) {
	shown := func() string { return "[" + strings.Join(list, ", ") + "]" }
	if size != nil {
		c.Size(at, name, len(list), shown, size)
	}
	if item == nil {
		return
	}
	for _, s := range list {
		if !item.Keeps(s) {
			c.add(at, name, shown(), "Member must satisfy constraint: "+item.all())
			return
		}
	}
}

// Map checks a map of strings: how many entries, its keys, its values; each rule may be nil.
func (c *Violations) Map(at *Path, name string, m map[string]string, size, key, value *Rule) {
	shown := func() string {
		var b strings.Builder
		for i, k := range slices.Sorted(maps.Keys(m)) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(k + "=" + m[k])
		}
		return "{" + b.String() + "}"
	}
	if size != nil {
		c.Size(at, name, len(m), shown, size)
	}
	badKey, badValue := false, false
	for k, v := range m {
		badKey = badKey || key != nil && !key.Keeps(k)
		badValue = badValue || value != nil && !value.Keeps(v)
	}
	if badKey {
		c.add(at, name, shown(), "Map keys must satisfy constraint: "+key.all())
	}
	if badValue {
		c.add(at, name, shown(), "Map value must satisfy constraint: "+value.all())
	}
}

// Structures writes a list of n structures as the services do: an opaque name for each.
func Structures(javaName string, n int) func() string {
	return func() string {
		const shown = 64 // more than anyone reads
		b := []byte("[")
		for i := range min(n, shown) {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = fmt.Appendf(b, "%s@%x", javaName, 0xc965e310+i)
		}
		if n > shown {
			b = append(b, ", …"...)
		}
		return string(append(b, ']'))
	}
}

// Range is what a number must keep to.
type Range struct{ Min, Max float64 }

// AnyMin and AnyMax leave a side of a Range open.
var (
	AnyMin = math.Inf(-1)
	AnyMax = math.Inf(1)
)

// Int checks a whole number that is present.
func (c *Violations) Int(at *Path, name string, v int64, r *Range) {
	c.number(at, name, float64(v), r, func() string { return strconv.FormatInt(v, 10) })
}

// Float checks a number that is present.
func (c *Violations) Float(at *Path, name string, v float64, r *Range) {
	c.number(at, name, v, r, func() string { return strconv.FormatFloat(v, 'g', -1, 64) })
}

func (c *Violations) number(at *Path, name string, v float64, r *Range, shown func() string) {
	switch {
	case v < r.Min:
		c.add(at, name, shown(), "Member must have value greater than or equal to "+strconv.FormatFloat(r.Min, 'f', -1, 64))
	case v > r.Max:
		c.add(at, name, shown(), "Member must have value less than or equal to "+strconv.FormatFloat(r.Max, 'f', -1, 64))
	}
}
