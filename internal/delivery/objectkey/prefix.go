// Package objectkey owns how Firehose names objects: prefixes with expressions,
// the Java time patterns in them, and the suffix.
//
//	KEY    = PREFIX SUFFIX
//	PREFIX = text, !{timestamp:PATTERN}, !{firehose:random-string}, …
//	SUFFIX = NAME-VERSION-yyyy-MM-dd-HH-mm-ss-UUID EXTENSION
//
// Prefixes are parsed once, when a definition is made, so that evaluating one can't
// fail. The UUID is the one random part that the suffix has; [ID] makes it rise
// from plan to plan, so that keys sort in the order of delivery.
package objectkey

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/internal/ids"
)

// MaxPrefixLength bounds a prefix after evaluation, in characters.
const MaxPrefixLength = 512

// randomStringLength is that of !{firehose:random-string}.
const randomStringLength = 11

// Prefix is a parsed prefix.
type Prefix struct {
	parts      []prefixPart
	expression bool // it has at least one !{…}
	errorType  bool // it has !{firehose:error-output-type}
	keys       []Key
}

// Key is a partition key that a prefix asks for.
type Key struct {
	FromLambda bool   // else from the query
	Name       string // "customer_id"
}

func (k Key) String() string {
	if k.FromLambda {
		return "partitionKeyFromLambda:" + k.Name
	}
	return "partitionKeyFromQuery:" + k.Name
}

type prefixPart struct {
	kind    partKind
	text    string
	pattern *Pattern
	key     int // index in the prefix's keys
}

type partKind uint8

const (
	textPart partKind = iota
	timePart
	randomPart
	errorTypePart
	partitionPart
)

// The path that is appended to a prefix without expressions.
var datePath = mustPattern("yyyy/MM/dd/HH/")

func mustPattern(text string) *Pattern {
	p, err := ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

// Parse reads a Prefix and refuses what the service refuses at creation.
func Parse(text string) (*Prefix, error) { return ParseMember("Prefix", text) }

// ParseMember is Parse for the given member, as errors name it: "ErrorOutputPrefix".
func ParseMember(member, text string) (*Prefix, error) {
	p := new(Prefix)
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "!{")
		if before != "" {
			p.parts = append(p.parts, prefixPart{kind: textPart, text: before})
		}
		if !found {
			break
		}
		body, tail, closed := strings.Cut(after, "}")
		if !closed {
			return nil, refuse("Invalid expression usage: !{%s in %s is not closed", after, member)
		}
		expr, err := p.expr(member, body)
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, expr)
		p.expression = true
		rest = tail
	}
	return p, nil
}

func (p *Prefix) expr(member, body string) (prefixPart, error) {
	namespace, value, found := strings.Cut(body, ":")
	if !found {
		return prefixPart{}, refuse("Invalid expression usage: !{%s} in %s is not of the form !{namespace:value}", body, member)
	}
	if strings.Contains(body, "!{") {
		return prefixPart{}, refuse("Invalid expression usage: !{%s} in %s holds another expression", body, member)
	}
	switch namespace {
	case "timestamp", "firehose", fromQuery, fromLambda:
	default:
		return prefixPart{}, refuse("Namespace to the left of colon (%s) is an invalid keyword!", namespace)
	}
	if value == "" {
		return prefixPart{}, refuse("Invalid expression usage: !{%s} in %s has no value", body, member)
	}
	switch {
	case namespace == "timestamp":
		pattern, err := ParsePattern(value)
		if err != nil {
			return prefixPart{}, refuse("%s %s: !{%s}: %v", badConversion, member, body, err)
		}
		return prefixPart{kind: timePart, pattern: pattern}, nil
	case namespace == fromQuery || namespace == fromLambda:
		return prefixPart{kind: partitionPart, key: p.key(Key{namespace == fromLambda, value})}, nil
	case value == "random-string":
		return prefixPart{kind: randomPart}, nil
	case value == "error-output-type":
		p.errorType = true
		return prefixPart{kind: errorTypePart}, nil
	}
	return prefixPart{}, refuse("%s %s: !{%s} is not one of !{firehose:random-string}, !{firehose:error-output-type}", badConversion, member, body)
}

// refusal is a text of the service's, which begins as it pleases.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// The namespaces of partition keys.
const (
	fromQuery  = "partitionKeyFromQuery"
	fromLambda = "partitionKeyFromLambda"
)

// badConversion is how the service begins to speak of a value that its namespace does not take.
const badConversion = "Invalid conversion character used in the value of the expression in"

// key gives the index of a key, which the prefix may ask for more than once.
func (p *Prefix) key(k Key) int {
	if i := slices.Index(p.keys, k); i >= 0 {
		return i
	}
	p.keys = append(p.keys, k)
	return len(p.keys) - 1
}

// HasExpression reports whether the prefix holds any !{…}.
func (p *Prefix) HasExpression() bool { return p.expression }

// HasErrorType reports whether the prefix holds !{firehose:error-output-type}.
func (p *Prefix) HasErrorType() bool { return p.errorType }

// HasPartitionKeys reports whether the prefix holds partition keys.
func (p *Prefix) HasPartitionKeys() bool { return len(p.keys) > 0 }

// Keys lists the partition keys that the prefix asks for, each once, in the order in which they come first.
func (p *Prefix) Keys() []Key { return p.keys }

// Append appends the prefix of an object whose time is t, already in its zone. values are those of Keys, in their order.
func (p *Prefix) Append(dst []byte, t time.Time, random *ids.Source, values ...string) []byte {
	dst = p.appendParts(dst, t, random, "", values)
	if !p.expression {
		dst = datePath.Format(dst, t)
	}
	return dst
}

// AppendError appends the prefix of an error object. The receiver is the ErrorOutputPrefix, or the Prefix when that is
// empty.
func (p *Prefix) AppendError(dst []byte, t time.Time, random *ids.Source, errorType string) []byte {
	dst = p.appendParts(dst, t, random, errorType, nil)
	if !p.expression {
		dst = append(append(dst, errorType...), '/')
		dst = datePath.Format(dst, t)
	}
	return dst
}

func (p *Prefix) appendParts(dst []byte, t time.Time, random *ids.Source, errorType string, values []string) []byte {
	for i := range p.parts {
		switch part := &p.parts[i]; part.kind {
		case textPart:
			dst = append(dst, part.text...)
		case timePart:
			dst = part.pattern.Format(dst, t)
		case randomPart:
			dst = append(dst, random.String(ids.Alnum, randomStringLength)...)
		case errorTypePart:
			dst = append(dst, errorType...)
		case partitionPart:
			if part.key < len(values) { // not so where a length is measured
				dst = append(dst, values[part.key]...)
			}
		}
	}
	return dst
}

// Longest is a moment whose names are the longest: a Wednesday in September, with two-digit numbers throughout.
var Longest = time.Date(2026, time.September, 30, 22, 58, 58, 999_999_999, time.UTC)

// Length gives how many characters the prefix has after evaluation at most; values of partition keys count nothing, as
// records have them.
func (p *Prefix) Length(loc *time.Location) int {
	return utf8.RuneCount(p.Append(nil, Longest.In(loc), ids.Seeded(0)))
}

// ErrorLength is Length of an ErrorOutputPrefix.
func (p *Prefix) ErrorLength(loc *time.Location) int {
	return utf8.RuneCount(p.AppendError(nil, Longest.In(loc), ids.Seeded(0), LongestErrorType))
}

// LongestErrorType is the longest value of !{firehose:error-output-type}.
const LongestErrorType = "metadata-extraction-failed"
