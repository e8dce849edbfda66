package gateway

import (
	"errors"
	"strings"
)

// The uri of an integration is text with variables: {name}, a path parameter of the integration request, and
// ${stageVariables.name}. A stage variable is the operator's word and may be any part of it, a host or a whole url.
// What comes from a caller may not: it may fill the path behind the host (or, on Amazon S3, a name of one segment) and
// the query, and can neither end the part that it stands in nor climb out of the path in front of it. The service
// leaves that to the author's care; a definition that lets callers choose a host would make the node a way into the
// network that it stands in.

type pieceKind uint8

const (
	textPiece  pieceKind = iota
	pathPiece            // {name}
	stagePiece           // ${stageVariables.name}
)

type uriPiece struct {
	kind pieceKind
	text string // or the variable's name
}

// uriTemplate is a uri, compiled.
type uriTemplate []uriPiece

const stagePrefix = "stageVariables."

// compileURI finds the variables of a uri. Other text in ${} stays as it is.
func compileURI(uri string) uriTemplate {
	var t uriTemplate
	literal := ""
	flush := func() {
		if literal != "" {
			t = append(t, uriPiece{textPiece, literal})
			literal = ""
		}
	}
	for uri != "" {
		open := strings.IndexByte(uri, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(uri[open:], '}')
		if end < 0 {
			break
		}
		end += open
		name := uri[open+1 : end]
		switch ofStage := open > 0 && uri[open-1] == '$'; {
		case !ofStage:
			literal += uri[:open]
			flush()
			t = append(t, uriPiece{pathPiece, name})
		case strings.HasPrefix(name, stagePrefix):
			literal += uri[:open-1]
			flush()
			t = append(t, uriPiece{stagePiece, name[len(stagePrefix):]})
		default:
			literal += uri[:end+1]
		}
		uri = uri[end+1:]
	}
	literal += uri
	flush()
	return t
}

// fixed gives the uri when it has no variables.
func (t uriTemplate) fixed() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].kind == textPiece:
		return t[0].text, true
	}
	return "", false
}

// wording is an error in the service's own words.
type wording string

func (w wording) Error() string { return string(w) }

const errEndpoint = wording("Invalid endpoint address")

var (
	errTakesHost = errors.New("the host of an integration's uri would come from the caller")
	errDots      = errors.New("a parameter of the path climbs out of the path of the integration's uri")
)

// url fills the uri of an HTTP integration.
func (x *exchange) url(t uriTemplate) (string, error) {
	if s, ok := t.fixed(); ok {
		return s, checkScheme(s)
	}
	f := filler{x: x, slashes: true}
	if err := f.fill(t); err != nil {
		return "", err
	}
	s := string(f.b)
	if err := checkScheme(s); err != nil {
		return "", err
	}
	if f.caller < 0 {
		return s, nil
	}
	at := strings.Index(s, "://") + len("://")
	end := strings.IndexAny(s[at:], "/?#")
	if end < 0 || f.caller <= at+end {
		return "", errTakesHost
	}
	path, _, _ := strings.Cut(s[at+end:], "?")
	if climbs(path) {
		return "", errDots
	}
	return s, nil
}

func checkScheme(s string) error {
	scheme, _, ok := strings.Cut(s, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return errEndpoint
	}
	return nil
}

// climbs reports whether a path has a segment . or .., however it is written.
func climbs(path string) bool {
	if strings.IndexByte(path, '.') < 0 && !strings.Contains(path, "%2e") && !strings.Contains(path, "%2E") {
		return false
	}
	for segment := range strings.FieldsFuncSeq(decodePath(path), func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// path fills the path and query of a call by path: "/bucket/key". A caller's value in the first segment keeps to it.
func (x *exchange) targetPath(t uriTemplate) (path, query string, err error) {
	f := filler{x: x, b: append(x.uri[:0], '/')}
	if err := f.fill(t); err != nil {
		return "", "", err
	}
	x.uri = f.b
	path, query, _ = strings.Cut(string(f.b), "?")
	return path, query, nil
}

// filler builds a uri of a template.
type filler struct {
	x       *exchange
	b       []byte
	caller  int  // where what a caller may have chosen begins, -1 when nothing has been
	query   bool // behind the question mark
	slashes bool // a caller's value may hold slashes: everywhere but in the first segment of a call by path
}

func (f *filler) fill(t uriTemplate) error {
	f.caller = -1
	for _, p := range t {
		switch p.kind {
		case textPiece:
			f.text(p.text)
		case stagePiece:
			v, _ := f.x.in.StageVariables.Get(p.text) // unknown ones are nothing
			f.text(v)
		case pathPiece:
			m := f.x.mappedParameter(toPath, p.text)
			if m == nil {
				return errEndpoint // braces stay, and make no address
			}
			if m.trusted {
				f.text(m.value)
				continue
			}
			if f.caller < 0 {
				f.caller = len(f.b)
			}
			f.escape(m)
		}
	}
	return nil
}

func (f *filler) text(s string) {
	f.b = append(f.b, s...)
	f.query = f.query || strings.IndexByte(s, '?') >= 0
	f.slashes = f.slashes || strings.IndexByte(s, '/') >= 0
}

// escape writes a value so that it stays in the part of the uri that it stands in. A path parameter comes from the
// caller's own path, still encoded, and what templates override is the author's to encode: their escapes stay.
func (f *filler) escape(m *mapped) {
	const digits = "0123456789ABCDEF"
	s := m.value
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == ':', c == '@', c == '!', c == '$', c == '\'', c == '(', c == ')', c == '*', c == ',':
		case c == '/' && f.slashes:
		case (c == '&' || c == '=' || c == '+' || c == ';') && !f.query:
		case c == '%' && m.escaped && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
		default:
			f.b = append(f.b, '%', digits[c>>4], digits[c&15])
			continue
		}
		f.b = append(f.b, c)
	}
}

// appendQuery appends a parameter to a query, encoded.
func appendQuery(b []byte, name, value string) []byte {
	if len(b) > 0 {
		b = append(b, '&')
	}
	b = appendEscaped(b, name)
	b = append(b, '=')
	return appendEscaped(b, value)
}

func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}
