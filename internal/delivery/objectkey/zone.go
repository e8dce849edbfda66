package objectkey

import (
	"fmt"
	"time"
)

// zoneLetter gives the part for the letters that print a zone or an offset.
func zoneLetter(c byte, n int) (part, error) {
	switch {
	case c == 'V' && n == 2:
		return func(dst []byte, t time.Time) []byte { return append(dst, t.Location().String()...) }, nil
	case c == 'V':
		return nil, fmt.Errorf("pattern letter count must be 2: V")
	case c == 'z' && n <= 3:
		return func(dst []byte, t time.Time) []byte { name, _ := t.Zone(); return append(dst, name...) }, nil
	case c == 'z':
		return nil, fmt.Errorf("full zone names are not supported: zzzz; use z or VV")
	case c == 'O' && (n == 1 || n == 4), c == 'Z' && n == 4:
		return offset(func(dst []byte, s int) []byte { return localizedOffset(dst, s, n == 4) }), nil
	case c == 'O':
		return nil, fmt.Errorf("pattern letter count must be 1 or 4: O")
	case c == 'Z' && n <= 3:
		return offset(func(dst []byte, s int) []byte { return appendOffset(dst, s, isoForm{minutes: true}) }), nil
	case c == 'Z' && n == 5:
		return offset(func(dst []byte, s int) []byte {
			return zuluOr(dst, s, isoForm{colon: true, minutes: true, seconds: true})
		}), nil
	case (c == 'X' || c == 'x') && n <= 5:
		form := isoForm{colon: n == 3 || n == 5, minutes: n > 1, seconds: n > 3}
		if c == 'X' {
			return offset(func(dst []byte, s int) []byte { return zuluOr(dst, s, form) }), nil
		}
		return offset(func(dst []byte, s int) []byte { return appendOffset(dst, s, form) }), nil
	case c == 'X' || c == 'x' || c == 'Z':
		return nil, fmt.Errorf("too many pattern letters: %c", c)
	}
	return nil, fmt.Errorf("unknown pattern letter: %c", c)
}

func offset(f func(dst []byte, seconds int) []byte) part {
	return func(dst []byte, t time.Time) []byte {
		_, seconds := t.Zone()
		return f(dst, seconds)
	}
}

// isoForm of an offset: "+08", "+0800", "+08:00"; seconds only when they are not zero, and minutes, when not asked
// for, only then too.
type isoForm struct{ colon, minutes, seconds bool }

func zuluOr(dst []byte, seconds int, form isoForm) []byte {
	if seconds == 0 {
		return append(dst, 'Z')
	}
	return appendOffset(dst, seconds, form)
}

func appendOffset(dst []byte, seconds int, form isoForm) []byte {
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	dst = appendPadded(append(dst, sign), seconds/3600, 2)
	if minutes := seconds / 60 % 60; form.minutes || minutes != 0 {
		dst = appendField(dst, minutes, form.colon)
	}
	if s := seconds % 60; form.seconds && s != 0 {
		dst = appendField(dst, s, form.colon)
	}
	return dst
}

func appendField(dst []byte, v int, colon bool) []byte {
	if colon {
		dst = append(dst, ':')
	}
	return appendPadded(dst, v, 2)
}

// localizedOffset prints "GMT", "GMT+8", "GMT+5:30"; full: "GMT+08:00".
func localizedOffset(dst []byte, seconds int, full bool) []byte {
	dst = append(dst, "GMT"...)
	if seconds == 0 {
		return dst
	}
	if full {
		return appendOffset(dst, seconds, isoForm{colon: true, minutes: true, seconds: true})
	}
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	dst = appendPadded(append(dst, sign), seconds/3600, 1)
	if seconds%3600 != 0 {
		dst = appendField(dst, seconds/60%60, true)
	}
	if seconds%60 != 0 {
		dst = appendField(dst, seconds%60, true)
	}
	return dst
}
