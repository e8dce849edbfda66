package vtl

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

const (
	// maxPattern bounds the source of a regular expression.
	maxPattern = 1000
	// maxRegexes bounds the cache of compiled expressions; templates use few, and constant ones.
	maxRegexes = 256
)

var regexes struct {
	sync.RWMutex
	m map[string]*regexp.Regexp
}

// compileRegex compiles a Java regular expression. Go's syntax is nearly the same; what it lacks (look-around,
// back-references, possessive quantifiers) is refused with its own words.
func compileRegex(pattern string) (*regexp.Regexp, error) {
	regexes.RLock()
	re := regexes.m[pattern]
	regexes.RUnlock()
	if re != nil {
		return re, nil
	}
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("a regular expression of %d bytes; at most %d are allowed", len(pattern), maxPattern)
	}
	pattern = strings.Clone(pattern) // the caller's may lie in an arena
	re, err := regexp.Compile(javaToGo(pattern))
	if err != nil {
		return nil, fmt.Errorf("the regular expression %.60q can't be used here: %w", pattern, err)
	}
	regexes.Lock()
	defer regexes.Unlock()
	if regexes.m == nil || len(regexes.m) >= maxRegexes {
		regexes.m = map[string]*regexp.Regexp{}
	}
	regexes.m[pattern] = re
	return re, nil
}

// javaToGo rewrites the escapes that Java has and Go has not.
func javaToGo(p string) string {
	if !strings.Contains(p, `\`) {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] != '\\' || i+1 == len(p) {
			b.WriteByte(p[i])
			continue
		}
		if u, ok := unicodeEscape(p[i:]); ok {
			fmt.Fprintf(&b, `\x{%X}`, u)
			i += 5
			continue
		}
		i++
		switch c := p[i]; c {
		case 'h':
			b.WriteString(`[ \t\x{A0}]`)
		case 'R':
			b.WriteString(`(?:\r\n|[\n-\r\x{85}\x{2028}\x{2029}])`)
		case 'Z':
			b.WriteString(`(?:\n?\z)`)
		case 'e':
			b.WriteString(`\x1b`)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

// literalPattern gives the text that a pattern matches when it has no special meaning, as String.split does for its
// fast path: one plain character, an escaped one, or plain letters.
func literalPattern(p string) (string, bool) {
	if len(p) == 2 && p[0] == '\\' && !letter(p[1]) && !digit(p[1]) {
		return p[1:], true
	}
	if p == "" || strings.ContainsAny(p, `\.[]{}()*+?^$|`) {
		return "", false
	}
	return p, true
}

func (rt *Runtime) split(s, pattern string, limit int) (Value, error) {
	l := rt.NewList(Array)
	var err error
	if sep, ok := literalPattern(pattern); ok {
		err = rt.splitLiteral(l, s, sep, limit)
	} else {
		err = rt.splitRegex(l, s, pattern, limit)
	}
	if err != nil {
		return Value{}, err
	}
	if limit == 0 {
		n := len(l.Items)
		if n == 1 && s == "" {
			return FromList(l), nil // no match gives the text itself
		}
		for n > 0 && l.Items[n-1].str() == "" {
			n--
		}
		if n == 0 && len(l.Items) == 1 {
			n = 1
		}
		l.Items = l.Items[:n]
	}
	return FromList(l), nil
}

func (rt *Runtime) splitLiteral(l *List, s, sep string, limit int) error {
	for limit <= 0 || len(l.Items) < limit-1 {
		i := strings.Index(s, sep)
		if i < 0 {
			break
		}
		if err := rt.Alloc(entryBytes); err != nil {
			return err
		}
		l.Items = append(l.Items, String(s[:i]))
		s = s[i+len(sep):]
	}
	l.Items = append(l.Items, String(s))
	return nil
}

func (rt *Runtime) splitRegex(l *List, s, pattern string, limit int) error {
	re, err := rt.regex(pattern, len(s))
	if err != nil {
		return err
	}
	at := 0
	for _, m := range re.FindAllStringIndex(s, rt.t.opts.Limits.MemoryBytes/entryBytes) {
		if limit > 0 && len(l.Items) == limit-1 {
			break
		}
		if m[1] == 0 || m[0] == m[1] && m[0] == len(s) {
			continue // an empty match at the beginning or the end parts nothing
		}
		if err := rt.Alloc(entryBytes); err != nil {
			return err
		}
		l.Items = append(l.Items, String(s[at:m[0]]))
		at = m[1]
	}
	l.Items = append(l.Items, String(s[at:]))
	return nil
}

// regex compiles a pattern and charges for walking over n bytes with it.
func (rt *Runtime) regex(pattern string, n int) (*regexp.Regexp, error) {
	if err := rt.Charge(100 + n/4 + len(pattern)*(1+n/1024)); err != nil {
		return nil, err
	}
	return compileRegex(pattern)
}

func (rt *Runtime) matches(s, pattern string) (Value, error) {
	re, err := rt.regex(`^(?:`+pattern+`)\z`, len(s))
	if err != nil {
		return Value{}, err
	}
	return Bool(re.MatchString(s)), nil
}

func (rt *Runtime) replaceRegex(s, pattern, replacement string, limit int) (Value, error) {
	if lit, ok := literalPattern(pattern); ok && limit < 0 && !strings.ContainsAny(replacement, `$\`) {
		return rt.replace(s, lit, replacement)
	}
	re, err := rt.regex(pattern, len(s))
	if err != nil {
		return Value{}, err
	}
	var out []byte
	at := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, limit) {
		before := len(out)
		out = append(out, s[at:m[0]]...)
		if out, err = expand(out, replacement, s, m); err != nil {
			return Value{}, err
		}
		at = m[1]
		if err := rt.Alloc(len(out) - before); err != nil {
			return Value{}, err
		}
	}
	if err := rt.Alloc(len(s) - at); err != nil {
		return Value{}, err
	}
	return String(string(append(out, s[at:]...))), nil
}

// expand appends a Java replacement text: $1 is a group, \x is x.
func expand(out []byte, replacement, s string, m []int) ([]byte, error) {
	for i := 0; i < len(replacement); i++ {
		switch c := replacement[i]; {
		case c == '\\':
			if i++; i == len(replacement) {
				return nil, fmt.Errorf("the replacement %.40q ends in a backslash", replacement)
			}
			out = append(out, replacement[i])
		case c == '$':
			if i+1 == len(replacement) || !digit(replacement[i+1]) {
				return nil, fmt.Errorf("the replacement %.40q has a $ without a group", replacement)
			}
			i++
			group := int(replacement[i] - '0')
			if group >= len(m)/2 {
				return nil, fmt.Errorf("there is no group %d", group)
			}
			for i+1 < len(replacement) && digit(replacement[i+1]) {
				next := group*10 + int(replacement[i+1]-'0')
				if next >= len(m)/2 {
					break
				}
				group = next
				i++
			}
			if m[2*group] >= 0 {
				out = append(out, s[m[2*group]:m[2*group+1]]...)
			}
		default:
			out = append(out, c)
		}
	}
	return out, nil
}
