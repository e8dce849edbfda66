package objectkey

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Pattern is a compiled Java DateTimeFormatter pattern: "yyyy/MM/dd/HH", "'year='yyyy".
//
// Letters: G y u Y M L d D E e c a H h k K m s S n N A Q q w W z Z X x V O, with the
// counts that DateTimeFormatter allows; text in single quotes is literal, ” is a
// quote, [ and ] mark optional sections and print nothing. Names are English, and
// weeks are those of the United States (from Sunday; the week of 1 January is the
// first), the locale that the service runs in; z prints the abbreviation of the time
// zone database. Left out, and refused by name: day periods and padding (B p), F g v,
// whose meaning differs between versions of Java or needs names that the time zone
// database has not, and full zone names (zzzz).
//
// Source: java.time.format.DateTimeFormatter, "Patterns for Formatting and
// Parsing"; spec/firehose, section 8.
type Pattern struct {
	parts []part
}

// part appends its text to dst.
type part func(dst []byte, t time.Time) []byte

// Format appends the text of t, in t's location.
func (p *Pattern) Format(dst []byte, t time.Time) []byte {
	for _, f := range p.parts {
		dst = f(dst, t)
	}
	return dst
}

// ParsePattern compiles a pattern, or says what DateTimeFormatter would refuse.
func ParsePattern(pattern string) (*Pattern, error) {
	p := new(Pattern)
	optional := 0
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case isLetter(c):
			n := 1
			for i+n < len(pattern) && pattern[i+n] == c {
				n++
			}
			f, err := letter(c, n)
			if err != nil {
				return nil, err
			}
			p.parts = append(p.parts, f)
			i += n
		case c == '\'':
			text, next, ok := quoted(pattern, i)
			if !ok {
				return nil, fmt.Errorf("pattern ends with an incomplete string literal: %s", pattern)
			}
			p.parts = append(p.parts, literal(text))
			i = next
		case c == '[':
			optional++
			i++
		case c == ']':
			if optional--; optional < 0 {
				return nil, fmt.Errorf("pattern has ] without a previous [: %s", pattern)
			}
			i++
		case c == '{' || c == '}' || c == '#':
			return nil, fmt.Errorf("pattern includes the reserved character %q", c)
		default:
			n := 1
			for i+n < len(pattern) && !isLetter(pattern[i+n]) && !strings.ContainsRune("'[]{}#", rune(pattern[i+n])) {
				n++
			}
			p.parts = append(p.parts, literal(pattern[i:i+n]))
			i += n
		}
	}
	return p, nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// quoted reads the literal that opens at i; ” inside or instead of it is one quote.
func quoted(pattern string, i int) (text string, next int, ok bool) {
	var b strings.Builder
	for j := i + 1; j < len(pattern); j++ {
		if pattern[j] != '\'' {
			b.WriteByte(pattern[j])
			continue
		}
		if j+1 < len(pattern) && pattern[j+1] == '\'' {
			b.WriteByte('\'')
			j++
			continue
		}
		if j == i+1 {
			return "'", j + 1, true
		}
		return b.String(), j + 1, true
	}
	return "", 0, false
}

func literal(text string) part {
	return func(dst []byte, _ time.Time) []byte { return append(dst, text...) }
}

// letter gives the part for n times the letter c.
func letter(c byte, n int) (part, error) {
	tooMany := fmt.Errorf("too many pattern letters: %c", c)
	switch c {
	case 'y', 'u', 'Y':
		return year(c, n)
	case 'M', 'L':
		return named(c, n, func(t time.Time) int { return int(t.Month()) }, monthName)
	case 'Q', 'q':
		return named(c, n, func(t time.Time) int { return (int(t.Month()) + 2) / 3 }, quarterName)
	case 'E':
		if n > 5 {
			return nil, tooMany
		}
		return text(max(n, 3), dayName), nil
	case 'e', 'c':
		if c == 'c' && n == 2 {
			return nil, fmt.Errorf("invalid pattern: cc")
		}
		return named(c, n, func(t time.Time) int { return int(t.Weekday()) + 1 }, dayName)
	case 'G':
		if n > 5 {
			return nil, tooMany
		}
		return text(max(n, 3), eraName), nil
	case 'N':
		return number(c, n, 19, func(t time.Time) int { return secondOfDay(t)*1e9 + t.Nanosecond() })
	case 'B', 'F', 'g', 'p', 'v':
		return nil, fmt.Errorf("the pattern letter %c is not supported by this version of Millrace", c)
	case 'd':
		return number(c, n, 2, func(t time.Time) int { return t.Day() })
	case 'D':
		return number(c, n, 3, func(t time.Time) int { return t.YearDay() })
	case 'H':
		return number(c, n, 2, func(t time.Time) int { return t.Hour() })
	case 'k':
		return number(c, n, 2, func(t time.Time) int { return (t.Hour()+23)%24 + 1 })
	case 'K':
		return number(c, n, 2, func(t time.Time) int { return t.Hour() % 12 })
	case 'h':
		return number(c, n, 2, func(t time.Time) int { return (t.Hour()+11)%12 + 1 })
	case 'm':
		return number(c, n, 2, func(t time.Time) int { return t.Minute() })
	case 's':
		return number(c, n, 2, func(t time.Time) int { return t.Second() })
	case 'w':
		return number(c, n, 2, func(t time.Time) int { _, w := week(t); return w })
	case 'W':
		return number(c, n, 1, weekOfMonth)
	case 'n':
		return number(c, n, 19, func(t time.Time) int { return t.Nanosecond() })
	case 'A':
		return number(c, n, 19, milliOfDay)
	case 'S':
		if n > 9 {
			return nil, tooMany
		}
		return func(dst []byte, t time.Time) []byte {
			return append(dst, fmt.Sprintf("%09d", t.Nanosecond())[:n]...)
		}, nil
	case 'a':
		if n > 1 {
			return nil, tooMany
		}
		return func(dst []byte, t time.Time) []byte {
			if t.Hour() < 12 {
				return append(dst, "AM"...)
			}
			return append(dst, "PM"...)
		}, nil
	default:
		return zoneLetter(c, n)
	}
}

// number prints a value with n as its minimum width.
func number(c byte, n, most int, value func(time.Time) int) (part, error) {
	if n > most {
		return nil, fmt.Errorf("too many pattern letters: %c", c)
	}
	return func(dst []byte, t time.Time) []byte { return appendPadded(dst, value(t), n) }, nil
}

func appendPadded(dst []byte, v, width int) []byte {
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	var room [20]byte
	digits := strconv.AppendInt(room[:0], int64(v), 10)
	for n := len(digits); n < width; n++ {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// named prints one or two letters as a number, more as a name.
func named(c byte, n int, value func(time.Time) int, name func(t time.Time, n int) string) (part, error) {
	switch {
	case n <= 2:
		return number(c, n, 2, value)
	case n <= 5:
		return text(n, name), nil
	}
	return nil, fmt.Errorf("too many pattern letters: %c", c)
}

func text(n int, name func(t time.Time, n int) string) part {
	return func(dst []byte, t time.Time) []byte { return append(dst, name(t, n)...) }
}

// cut gives the short form (n 3), the full one (4) or the first letter (5) of an English name.
func cut(name string, n int) string {
	switch n {
	case 3:
		return name[:3]
	case 5:
		return name[:1]
	}
	return name
}

func monthName(t time.Time, n int) string { return cut(t.Month().String(), n) }
func dayName(t time.Time, n int) string   { return cut(t.Weekday().String(), n) }

// eraName is that of the years after Christ: records arrive in no others.
func eraName(_ time.Time, n int) string {
	switch n {
	case 4:
		return "Anno Domini"
	case 5:
		return "A"
	}
	return "AD"
}

func quarterName(t time.Time, n int) string {
	q := (int(t.Month()) + 2) / 3
	switch n {
	case 3:
		return "Q" + strconv.Itoa(q)
	case 5:
		return strconv.Itoa(q)
	}
	return [...]string{"1st", "2nd", "3rd", "4th"}[q-1] + " quarter"
}

func year(c byte, n int) (part, error) {
	if n > 19 {
		return nil, fmt.Errorf("too many pattern letters: %c", c)
	}
	value := func(t time.Time) int { return t.Year() }
	if c == 'Y' {
		value = func(t time.Time) int { y, _ := week(t); return y }
	}
	return func(dst []byte, t time.Time) []byte {
		y := value(t)
		if n == 2 {
			return appendPadded(dst, y%100, 2)
		}
		return appendPadded(dst, y, n)
	}, nil
}

// week gives the week-based year and week of the United States: weeks run from Sunday to Saturday, and the one
// that holds 1 January is the first.
func week(t time.Time) (year, week int) {
	saturday := t.AddDate(0, 0, int(time.Saturday-t.Weekday()))
	return saturday.Year(), (saturday.YearDay()-1)/7 + 1
}

func weekOfMonth(t time.Time) int {
	first := (int(t.Weekday()) - (t.Day() - 1) + 35) % 7 // weekday of the month's first day
	return (t.Day()-1+first)/7 + 1
}

func milliOfDay(t time.Time) int { return secondOfDay(t)*1000 + t.Nanosecond()/1e6 }

func secondOfDay(t time.Time) int { return (t.Hour()*60+t.Minute())*60 + t.Second() }
