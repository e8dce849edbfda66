package dir

import (
	"strings"
	"unicode/utf8"
)

// Keys become paths of the same text wherever a file system can hold it. '%' escapes, and is always escaped itself, so
// that every path below a bucket's folder has one reading:
//
//	%XX  a byte, in upper-case hexadecimal: '%', control characters, the dots of "." and ".." segments, and each '/'
//	     behind the 32nd, so that no key can ask for a thousand folders
//	%_   an empty segment: "a//b" is a/%_/b, "a/" is a/%_
//	%-   at a name's end: the segment goes on in the next name, since names hold 255 bytes at most
//	%d   at a name's end: a folder, whose plain name a file has taken: "a/b" beside "a"
//	%f   at a name's end: a file, whose plain name a folder has taken: "a" beside "a/b"
//
// The last two depend on what was there first, so that the index keeps each object's path. Two keys never share one.
//
// Where the file system folds case, or changes the form of letters, "portable" names escape upper-case letters, all but
// ASCII, and what other systems forbid.
const (
	emptyName  = "%_"
	goesOn     = "%-"
	asFolder   = "%d"
	asFile     = "%f"
	upperHex   = "0123456789ABCDEF"
	forbidden  = `<>:"|?*\`
	maxName    = 240 // leaves room for two marks below 255
	maxFolders = 32
	privateDir = ".millrace"
)

// names gives the folder names and the file name of a key, in order.
func names(key string, portable bool) []string {
	segments := strings.SplitN(key, "/", maxFolders+1)
	list := make([]string, 0, len(segments))
	for _, segment := range segments {
		name := escape(segment, portable)
		for len(name) > maxName {
			cut := cutAt(name)
			list = append(list, name[:cut]+goesOn)
			name = name[cut:]
		}
		if name == "." || name == ".." { // what a cut has left
			name = escape(name, portable)
		}
		list = append(list, name)
	}
	return list
}

// cutAt gives where to cut a name that is too long: neither in an escape nor in a character.
func cutAt(name string) int {
	cut := maxName
	for cut > maxName-utf8.UTFMax && !utf8.RuneStart(name[cut]) {
		cut--
	}
	if i := strings.LastIndexByte(name[:cut], '%'); i > cut-3 {
		cut = i
	}
	return cut
}

func escape(segment string, portable bool) string {
	switch segment {
	case "":
		return emptyName
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	var out []byte
	for i := range len(segment) {
		c := segment[i]
		bad := escaped(c) || portable && escapedPortably(c, i == len(segment)-1)
		if bad && out == nil {
			out = append(make([]byte, 0, len(segment)+16), segment[:i]...)
		}
		switch {
		case bad:
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		case out != nil:
			out = append(out, c)
		}
	}
	if out == nil {
		return segment
	}
	return string(out)
}

func escaped(c byte) bool { return c == '%' || c == '/' || c < 0x20 || c == 0x7f }

func escapedPortably(c byte, last bool) bool {
	return c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf || strings.IndexByte(forbidden, c) >= 0 || last && (c == '.' || c == ' ')
}

// keyOf reads a path below a bucket's folder; false when it is none that names makes.
func keyOf(path string) (string, bool) {
	var key []byte
	goingOn := true
	for name := range strings.SplitSeq(path, "/") {
		if !goingOn {
			key = append(key, '/')
		}
		rest, more := strings.CutSuffix(name, goesOn)
		goingOn = more
		if !more {
			rest = strings.TrimSuffix(strings.TrimSuffix(name, asFolder), asFile)
		}
		if rest == emptyName {
			continue
		}
		var ok bool
		if key, ok = unescape(key, rest); !ok || rest == "" {
			return "", false
		}
	}
	return string(key), !goingOn
}

func unescape(dst []byte, name string) ([]byte, bool) {
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			dst = append(dst, name[i])
			continue
		}
		if i+2 >= len(name) {
			return dst, false
		}
		hi, lo := strings.IndexByte(upperHex, name[i+1]), strings.IndexByte(upperHex, name[i+2])
		if hi < 0 || lo < 0 {
			return dst, false
		}
		dst = append(dst, byte(hi<<4|lo))
		i += 2
	}
	return dst, true
}
