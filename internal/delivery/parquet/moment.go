package parquet

import (
	"fmt"
	"math/bits"
	"strings"
)

const (
	secondsPerDay = 86400
	julianEpoch   = 2440588 // 1970-01-01 as INT96 counts days
	// Moments are of the years 1 to 9999: what four digits can say.
	firstDay = -719162
	lastDay  = 2932896
	// millisFrom is from where on a number counts milliseconds, not seconds.
	millisFrom = 1e12
)

// date gives the days since 1970-01-01.
func (c *Converter) date(text []byte) (days int32, ok bool) {
	for i := range c.formats {
		if day, _, ok := c.formats[i].parse(text); ok {
			return int32(day), true
		}
	}
	day, rest, ok := civilDate(text)
	return int32(day), ok && len(rest) == 0
}

// timestamp gives the days since 1970-01-01 and the nanoseconds of the day.
func (c *Converter) timestamp(text []byte) (days, nanos int64, ok bool) {
	for i := range c.formats {
		if days, nanos, ok := c.formats[i].parse(text); ok {
			return days, nanos, true
		}
	}
	if !c.hive {
		if length, _ := scanNumber(text); length > 0 && length == len(text) {
			return epoch(text, millisFrom)
		}
	}
	days, rest, ok := civilDate(text)
	if !ok || len(rest) == 0 || rest[0] != ' ' && (rest[0] != 'T' || c.hive) {
		return 0, 0, false
	}
	zoned := rest[0] == 'T'
	nanos, rest, ok = timeOfDay(rest[1:])
	if zoned {
		ok = ok && string(rest) == "Z"
	} else {
		ok = ok && len(rest) == 0
	}
	return days, nanos, ok
}

// epoch reads a checked number as seconds since 1970, or as milliseconds if it is at least millis.
func epoch(text []byte, millis uint64) (days, nanos int64, ok bool) {
	var x number128
	if _, ok := x.parse(text, 9, maxDigits); !ok || x.hi >= 1e9 {
		return 0, 0, false
	}
	whole, part := bits.Div64(x.hi, x.lo, 1e9)
	if whole >= millis {
		whole, part = whole/1000, whole%1000*1e6+part/1000
	}
	if whole > 1<<40 {
		return 0, 0, false
	}
	seconds, nanos := int64(whole), int64(part)
	if x.negative {
		if seconds = -seconds; nanos > 0 {
			seconds, nanos = seconds-1, 1e9-nanos
		}
	}
	return moment(seconds, nanos)
}

// moment splits seconds since 1970 and nanoseconds into days and nanoseconds of the day.
func moment(seconds, nanos int64) (days, ofDay int64, ok bool) {
	days, seconds = seconds/secondsPerDay, seconds%secondsPerDay
	if seconds < 0 {
		days, seconds = days-1, seconds+secondsPerDay
	}
	return days, seconds*1e9 + nanos, days >= firstDay && days <= lastDay
}

// few reads one or two digits.
func few(text []byte) (n int, rest []byte) {
	length := min(2, digits(text))
	for _, c := range text[:length] {
		n = n*10 + int(c-'0')
	}
	if length == 0 {
		return -1, text
	}
	return n, text[length:]
}

// civilDate reads yyyy-M-d.
func civilDate(text []byte) (days int64, rest []byte, ok bool) {
	if digits(text) != 4 || len(text) < 8 || text[4] != '-' {
		return 0, nil, false
	}
	year := int(text[0]-'0')*1000 + int(text[1]-'0')*100 + int(text[2]-'0')*10 + int(text[3]-'0')
	month, rest := few(text[5:])
	if len(rest) == 0 || rest[0] != '-' {
		return 0, nil, false
	}
	day, rest := few(rest[1:])
	days, ok = daysOf(year, month, day)
	return days, rest, ok
}

// timeOfDay reads H:m:s[.S…] in nanoseconds.
func timeOfDay(text []byte) (nanos int64, rest []byte, ok bool) {
	var part [3]int
	for i := range part {
		if i > 0 {
			if len(text) == 0 || text[0] != ':' {
				return 0, nil, false
			}
			text = text[1:]
		}
		part[i], text = few(text)
	}
	if part[0] < 0 || part[0] > 23 || part[1] < 0 || part[1] > 59 || part[2] < 0 || part[2] > 59 {
		return 0, nil, false
	}
	nanos = int64(part[0]*3600+part[1]*60+part[2]) * 1e9
	if len(text) > 0 && text[0] == '.' {
		n := digits(text[1:])
		if n < 1 || n > 9 {
			return 0, nil, false
		}
		nanos += fraction(text[1 : 1+n])
		text = text[1+n:]
	}
	return nanos, text, true
}

// fraction reads up to nine digits behind a point, in nanoseconds.
func fraction(digits []byte) (nanos int64) {
	for i := range 9 {
		nanos *= 10
		if i < len(digits) {
			nanos += int64(digits[i] - '0')
		}
	}
	return nanos
}

var monthDays = [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// daysOf gives the days from 1970-01-01 to a date of the Gregorian calendar.
func daysOf(year, month, day int) (int64, bool) {
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 {
		return 0, false
	}
	if most := monthDays[month-1]; day > most && !(month == 2 && day == 29 && leap(year)) {
		return 0, false
	}
	before := year - 1
	days := before*365 + before/4 - before/100 + before/400
	for m := range month - 1 {
		days += monthDays[m]
	}
	if month > 2 && leap(year) {
		days++
	}
	return int64(days+day-1) + firstDay, true
}

// timestampFormat is a compiled pattern of Joda-Time's DateTimeFormat, or "millis".
type timestampFormat struct {
	millis bool
	steps  []step
}

// step reads one part of a pattern: a letter and how often it stands, or text.
type step struct {
	letter byte
	count  int
	text   string
	fixed  bool // another number follows at once: exactly count digits
}

// numberLetters are the letters that are numbers when read; M is a name from three on.
const numberLetters = "yYuMdHkhKmsSD"

// maxPattern bounds a pattern.
const maxPattern = 256

func compileTimestampFormat(pattern string) (timestampFormat, error) {
	if pattern == "millis" {
		return timestampFormat{millis: true}, nil
	}
	if pattern == "" || len(pattern) > maxPattern {
		return timestampFormat{}, fmt.Errorf("a pattern has 1 to %d characters", maxPattern)
	}
	var f timestampFormat
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			text, length, err := quotedText(pattern[i:])
			if err != nil {
				return timestampFormat{}, err
			}
			f.steps = append(f.steps, step{text: text})
			i += length
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			s := step{letter: c}
			for i < len(pattern) && pattern[i] == c {
				s.count++
				i++
			}
			if !strings.ContainsRune(numberLetters+"aEZ", rune(c)) || c == 'Z' && s.count > 2 || c == 'S' && s.count > 9 {
				return timestampFormat{}, fmt.Errorf("%q is not supported", strings.Repeat(string(c), s.count))
			}
			f.steps = append(f.steps, s)
		default:
			f.steps = append(f.steps, step{text: string(c)})
			i++
		}
	}
	for i := range f.steps[1:] {
		f.steps[i].fixed = f.steps[i].numeric() && f.steps[i+1].numeric()
	}
	return f, nil
}

func (s *step) numeric() bool {
	return s.letter != 0 && strings.IndexByte(numberLetters, s.letter) >= 0 && !(s.letter == 'M' && s.count > 2)
}

// quotedText reads quoted text, or two quotes that stand for one.
func quotedText(pattern string) (text string, length int, err error) {
	if strings.HasPrefix(pattern, "''") {
		return "'", 2, nil
	}
	for i := 1; i < len(pattern); i++ {
		if pattern[i] != '\'' {
			text += pattern[i : i+1]
			continue
		}
		if i+1 < len(pattern) && pattern[i+1] == '\'' {
			text += "'"
			i++
			continue
		}
		return text, i + 1, nil
	}
	return "", 0, fmt.Errorf("a quote is not closed")
}

// fields is what a pattern has read.
type fields struct {
	year, month, day, yearDay    int
	hour, halfHour, minute, secs int
	afternoon                    bool
	nanos, offset                int64
}

func (f *timestampFormat) parse(text []byte) (days, nanos int64, ok bool) {
	if f.millis {
		if length, whole := scanNumber(text); length == 0 || length < len(text) || !whole {
			return 0, 0, false
		}
		return epoch(text, 0)
	}
	// What the pattern does not have is of 1970-01-01 00:00.
	v := fields{year: 1970, month: 1, day: 1, hour: -1}
	for i := range f.steps {
		if text, ok = f.steps[i].read(text, &v); !ok {
			return 0, 0, false
		}
	}
	if len(text) > 0 {
		return 0, 0, false
	}
	return v.moment()
}

func (v *fields) moment() (days, nanos int64, ok bool) {
	days, ok = daysOf(v.year, v.month, v.day)
	if v.yearDay > 0 {
		days, ok = daysOf(v.year, 1, 1)
		ok = ok && (v.yearDay <= 365 || v.yearDay == 366 && leap(v.year))
		days += int64(v.yearDay - 1)
	}
	if v.hour < 0 {
		if v.hour = v.halfHour; v.afternoon {
			v.hour += 12
		}
	}
	if !ok || v.hour > 23 || v.minute > 59 || v.secs > 59 {
		return 0, 0, false
	}
	return moment(days*secondsPerDay+int64(v.hour*3600+v.minute*60+v.secs)-v.offset, v.nanos)
}

var (
	monthNames = [...]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}
	dayNames   = [...]string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
)

func (s *step) read(text []byte, v *fields) (rest []byte, ok bool) {
	switch {
	case s.letter == 0:
		if len(text) < len(s.text) || !strings.EqualFold(string(text[:len(s.text)]), s.text) {
			return nil, false
		}
		return text[len(s.text):], true
	case s.numeric():
		return s.readNumber(text, v)
	case s.letter == 'M':
		i, rest := name(text, monthNames[:])
		v.month = i + 1
		return rest, i >= 0
	case s.letter == 'E':
		i, rest := name(text, dayNames[:])
		return rest, i >= 0
	case s.letter == 'a':
		i, rest := name(text, []string{"am", "pm"})
		v.afternoon = i == 1
		return rest, i >= 0
	default:
		v.offset, rest, ok = offset(text)
		return rest, ok
	}
}

// name finds which of names text begins with, in full or by its first three letters.
func name(text []byte, names []string) (int, []byte) {
	for _, short := range []bool{false, true} {
		for i, n := range names {
			if short {
				n = n[:min(3, len(n))]
			}
			if len(text) >= len(n) && strings.EqualFold(string(text[:len(n)]), n) {
				return i, text[len(n):]
			}
		}
	}
	return -1, nil
}

// offset reads Z, +hh, +hhmm or +hh:mm, in seconds.
func offset(text []byte) (seconds int64, rest []byte, ok bool) {
	if len(text) > 0 && (text[0] == 'Z' || text[0] == 'z') {
		return 0, text[1:], true
	}
	if len(text) < 3 || text[0] != '+' && text[0] != '-' || digits(text[1:]) < 2 {
		return 0, nil, false
	}
	sign := text[0]
	hours, rest := few(text[1:])
	minutes := 0
	if len(rest) > 0 && rest[0] == ':' {
		rest = rest[1:]
		if digits(rest) < 2 {
			return 0, nil, false
		}
	}
	if digits(rest) >= 2 {
		minutes, rest = few(rest)
	}
	if hours > 23 || minutes > 59 {
		return 0, nil, false
	}
	if seconds = int64(hours*3600 + minutes*60); sign == '-' {
		seconds = -seconds
	}
	return seconds, rest, true
}

func (s *step) readNumber(text []byte, v *fields) (rest []byte, ok bool) {
	length := digits(text)
	most := 2
	switch s.letter {
	case 'y', 'Y', 'u':
		most = 4
	case 'S':
		most = 9
	case 'D':
		most = 3
	}
	if s.fixed {
		most = s.count
		if length < most {
			return nil, false
		}
	}
	if length = min(length, most); length == 0 || length > 9 {
		return nil, false
	}
	n := 0
	for _, c := range text[:length] {
		n = n*10 + int(c-'0')
	}
	switch s.letter {
	case 'y', 'Y', 'u':
		if s.count == 2 && length == 2 { // of 1950 to 2049: Joda's own choice moves with the calendar, and bytes must not
			if n += 1900; n < 1950 {
				n += 100
			}
		}
		v.year = n
	case 'M':
		v.month = n
	case 'd':
		v.day = n
	case 'D':
		v.yearDay = n
		if n == 0 {
			return nil, false
		}
	case 'H':
		v.hour = n
	case 'k':
		if v.hour = n % 24; n < 1 || n > 24 {
			return nil, false
		}
	case 'h':
		if v.halfHour = n % 12; n < 1 || n > 12 {
			return nil, false
		}
	case 'K':
		if v.halfHour = n; n > 11 {
			return nil, false
		}
	case 'm':
		v.minute = n
	case 's':
		v.secs = n
	case 'S':
		v.nanos = fraction(text[:length])
	}
	return text[length:], true
}
