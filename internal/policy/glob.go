package policy

import "strings"

// glob is a text in which a star stands for any number of characters, and a question mark for one.
type glob struct {
	parts []string // between the stars
}

func compileGlob(pattern string) glob { return glob{strings.Split(pattern, "*")} }

// match takes the parts from left to right, each at the first place where it fits, which finds a match where there is
// one: the work is bounded by the text's length for a part without question marks, and never exponential.
func (g glob) match(s string) bool {
	first, last := g.parts[0], len(g.parts)-1
	if last == 0 {
		return len(s) == len(first) && equalAt(s, first)
	}
	if len(s) < len(first) || !equalAt(s, first) {
		return false
	}
	s = s[len(first):]
	for _, part := range g.parts[1:last] {
		at := indexOf(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	end := g.parts[last]
	return len(s) >= len(end) && equalAt(s[len(s)-len(end):], end)
}

// equalAt reports whether s begins with part, which is no longer than s.
func equalAt(s, part string) bool {
	for i := range len(part) {
		if part[i] != s[i] && part[i] != '?' {
			return false
		}
	}
	return true
}

func indexOf(s, part string) int {
	if strings.IndexByte(part, '?') < 0 {
		return strings.Index(s, part)
	}
	for i := 0; i+len(part) <= len(s); i++ {
		if equalAt(s[i:], part) {
			return i
		}
	}
	return -1
}
