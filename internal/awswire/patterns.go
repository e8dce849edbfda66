package awswire

import (
	"regexp"
	"strings"
	"sync"
)

// Pattern compiles a pattern of a model, which must match the whole text, when it is first asked. Patterns of
// the put path have matchers of their own below; this is for the rest.
func Pattern(re string) func(string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:` + re + `)$`) })
	return func(s string) bool { return compiled().MatchString(s) }
}

// Each matcher below stands for the pattern in its comment; a test compares the two.

// MatchName is [a-zA-Z0-9_.-]+
func MatchName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c|0x20-'a' < 26 || c-'0' < 10 || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return s != ""
}

// MatchDecimal39 is 0|([1-9]\d{0,38})
func MatchDecimal39(s string) bool { return decimal(s, 39) }

// MatchDecimal129 is 0|([1-9]\d{0,128})
func MatchDecimal129(s string) bool { return decimal(s, 129) }

func decimal(s string, digits int) bool {
	if s == "" || len(s) > digits || s[0] == '0' && len(s) > 1 {
		return false
	}
	return onlyDigits(s)
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return true
}

// MatchStreamARN is arn:aws.*:kinesis:.*:\d{12}:stream/\S+
func MatchStreamARN(s string) bool {
	rest, ok := strings.CutPrefix(s, "arn:aws")
	if !ok || strings.ContainsAny(s, "\n") {
		return false
	}
	i := strings.Index(rest, ":kinesis:")
	if i < 0 {
		return false
	}
	rest = rest[i+len(":kinesis:"):]
	// ".*" may swallow earlier occurrences of ":stream/", and the name may hold more of them: any will do.
	for at := 0; ; {
		j := strings.Index(rest[at:], ":stream/")
		if j < 0 {
			return false
		}
		at += j
		if at >= 13 && rest[at-13] == ':' && onlyDigits(rest[at-12:at]) && noSpace(rest[at+len(":stream/"):]) {
			return true
		}
		at++
	}
}

func noSpace(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\n\v\f\r") }

// MatchStreamID is [a-z0-9]{20}-[a-z0-9]{3}
func MatchStreamID(s string) bool {
	return len(s) == 24 && s[20] == '-' && lowerAlnum(s[:20]) && lowerAlnum(s[21:])
}

func lowerAlnum(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c-'a' < 26 || c-'0' < 10) {
			return false
		}
	}
	return true
}

// MatchNotBlank is ^(?!\s*$).+
func MatchNotBlank(s string) bool {
	return strings.Trim(s, " \t\n\v\f\r") != "" && !strings.Contains(s, "\n")
}

var matchTagKey = Pattern(`[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*`)

// MatchTagKey is ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$
func MatchTagKey(s string) bool { return !strings.HasPrefix(s, "aws:") && matchTagKey(s) }

// MatchBMP is [\u0001-\uFFFF]*
func MatchBMP(s string) bool {
	for _, r := range s {
		if r < 1 || r > 0xffff {
			return false
		}
	}
	return true
}
