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
	"errors"
	"fmt"
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
	partition  bool // it has partition keys
}

type prefixPart struct {
	kind    partKind
	text    string
	pattern *Pattern
	lambda  bool // of a partition key
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

// Parse reads a prefix and refuses what the service refuses at creation.
func Parse(text string) (*Prefix, error) {
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
			return nil, fmt.Errorf("the expression !{%s is not closed", after)
		}
		expr, err := p.expr(body)
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, expr)
		p.expression = true
		rest = tail
	}
	return p, nil
}

func (p *Prefix) expr(body string) (prefixPart, error) {
	namespace, value, found := strings.Cut(body, ":")
	if !found {
		return prefixPart{}, fmt.Errorf("the expression !{%s} has no namespace; it is written !{namespace:value}", body)
	}
	if strings.Contains(value, "!{") {
		return prefixPart{}, fmt.Errorf("the expression !{%s} holds another one", body)
	}
	switch namespace {
	case "timestamp":
		if value == "" {
			return prefixPart{}, errors.New("the expression !{timestamp:} has no pattern")
		}
		pattern, err := ParsePattern(value)
		if err != nil {
			return prefixPart{}, fmt.Errorf("the expression !{%s}: %w", body, err)
		}
		return prefixPart{kind: timePart, pattern: pattern}, nil
	case "firehose":
		switch value {
		case "random-string":
			return prefixPart{kind: randomPart}, nil
		case "error-output-type":
			p.errorType = true
			return prefixPart{kind: errorTypePart}, nil
		}
		return prefixPart{}, fmt.Errorf("!{%s} is not one of !{firehose:random-string}, !{firehose:error-output-type}", body)
	case "partitionKeyFromQuery", "partitionKeyFromLambda":
		if value == "" {
			return prefixPart{}, fmt.Errorf("the expression !{%s} names no key", body)
		}
		p.partition = true
		return prefixPart{kind: partitionPart, text: value, lambda: namespace == "partitionKeyFromLambda"}, nil
	}
	return prefixPart{}, fmt.Errorf("the namespace %q of !{%s} is not one of timestamp, firehose, "+
		"partitionKeyFromQuery, partitionKeyFromLambda", namespace, body)
}

// HasExpression reports whether the prefix holds any !{…}.
func (p *Prefix) HasExpression() bool { return p.expression }

// HasErrorType reports whether the prefix holds !{firehose:error-output-type}.
func (p *Prefix) HasErrorType() bool { return p.errorType }

// HasPartitionKeys reports whether the prefix holds partition keys.
func (p *Prefix) HasPartitionKeys() bool { return p.partition }

// PartitionKeys lists the partition keys in their order, each as often as the prefix has it.
func (p *Prefix) PartitionKeys() []PartitionKey {
	var all []PartitionKey
	for i := range p.parts {
		if part := &p.parts[i]; part.kind == partitionPart {
			all = append(all, PartitionKey{part.text, part.lambda})
		}
	}
	return all
}

// PartitionKey is one that a prefix asks for.
type PartitionKey struct {
	Name   string
	Lambda bool // partitionKeyFromLambda; else partitionKeyFromQuery
}

// Append appends the prefix of an object whose time is t, already in its zone.
func (p *Prefix) Append(dst []byte, t time.Time, random *ids.Source) []byte {
	return p.AppendPartition(dst, t, random, nil)
}

// AppendPartition is Append with the values of PartitionKeys, in their order.
func (p *Prefix) AppendPartition(dst []byte, t time.Time, random *ids.Source, values []string) []byte {
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
			if len(values) > 0 {
				dst, values = append(dst, values[0]...), values[1:]
			}
		}
	}
	return dst
}

// Longest is a moment whose names are the longest: a Wednesday in September, with two-digit numbers throughout.
var Longest = time.Date(2026, time.September, 30, 22, 58, 58, 999_999_999, time.UTC)

// CheckLength reports whether every evaluation of the prefix is short enough.
func (p *Prefix) CheckLength(loc *time.Location) error {
	n := utf8.RuneCount(p.AppendError(nil, Longest.In(loc), ids.Seeded(0), "format-conversion-failed"))
	if !p.errorType {
		n = utf8.RuneCount(p.Append(nil, Longest.In(loc), ids.Seeded(0)))
	}
	if n > MaxPrefixLength {
		return fmt.Errorf("the prefix has %d characters after evaluation; at most %d are allowed", n, MaxPrefixLength)
	}
	return nil
}
