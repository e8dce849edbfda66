// Package process owns the steps of a delivery stream's processing that are computed from a record alone: what the Kinesis
// Producer Library aggregated is taken apart, RecordDeAggregation splits, MetadataExtraction finds the partition keys.
//
//	Spec     what to do, as data: it is kept in manifests
//	Compile  Spec -> Program, or what is wrong with it
//	Split    a record -> its sub-records, which point into it
//	Extract  a sub-record -> its partition keys, or why there are none
//
// The package promises that a Spec and a record give the same results every time, on every machine and in later versions:
// delivery computes them again after a crash, and must come to the very bytes that it planned. So a jq program that is no
// function of the record is refused by Compile (jq.go), and what one may cost is counted in steps rather than in time
// (meter.go). Results depend on github.com/itchyny/gojq, which testdata/extract pins down to its error texts: an upgrade
// that changes any of them has to keep the old behaviour for Specs that exist.
//
// Nothing here does I/O, and a Program may be used by many goroutines at once.
package process

import (
	"unicode/utf8"

	"millrace/internal/fault"
)

// The values of Spec.SubRecordType, as the API spells them.
const (
	JSON      = "JSON"
	Delimited = "DELIMITED"
)

// Bounds of a Spec.
const (
	// MaxParameterBytes bounds a query and a delimiter: ProcessorParameterValue of the API.
	MaxParameterBytes = 5120
	// MaxPartitionKeys bounds the keys of a Spec; the service has the same bound.
	MaxPartitionKeys = 50
	// MaxValueBytes bounds a partition key's value: a prefix is at most 512 characters after evaluation.
	MaxValueBytes = 512
)

// Spec says what is done with a record. Its zero value says: nothing.
type Spec struct {
	// KPL: aggregates of the Kinesis Producer Library are taken apart.
	KPL bool `json:"kpl,omitempty"`
	// SubRecordType of RecordDeAggregation, empty without one.
	SubRecordType string `json:"subRecordType,omitempty"`
	// Delimiter of DELIMITED, decoded.
	Delimiter []byte `json:"delimiter,omitempty"`
	// Query is MetadataExtractionQuery, a program in jq 1.6; empty without MetadataExtraction.
	Query string `json:"query,omitempty"`
	// PartitionKeys are the names that the Prefix asks for. Empty: every name that the query gives.
	PartitionKeys []string `json:"partitionKeys,omitempty"`
	// AppendDelimiter is what AppendDelimiterToRecord adds to a record.
	AppendDelimiter []byte `json:"appendDelimiter,omitempty"`
}

// Sub is a part of a record, or all of it.
type Sub struct {
	Data []byte
	// PartitionKey is the record's, or the user record's own. ExplicitHashKey is that of a user record that has one.
	PartitionKey, ExplicitHashKey string
	// Index counts the parts of the record from 0.
	Index uint32
	// SubSequenceNumber counts the user records of an aggregate from 0; parts of one user record share it.
	SubSequenceNumber uint32
	// Aggregated: the record was an aggregate.
	Aggregated bool
}

// Program is a compiled Spec.
type Program struct {
	spec  Spec
	query *query // nil: no MetadataExtraction
}

const op = "process.Compile"

// Compile prepares a Spec, or says what is wrong with it: fault.Invalid, and fault.Unsupported for what jq 1.6 has and
// this package refuses.
func Compile(s Spec) (*Program, error) {
	p := &Program{spec: s}
	switch s.SubRecordType {
	case "", JSON:
	case Delimited:
		if len(s.Delimiter) == 0 {
			return nil, fault.New(fault.Invalid, op, "Delimiter", "Delimiter must not be empty when SubRecordType is DELIMITED")
		}
	default:
		return nil, fault.New(fault.Invalid, op, "SubRecordType", "SubRecordType must be JSON or DELIMITED, not %q", s.SubRecordType)
	}
	if s.SubRecordType != Delimited && len(s.Delimiter) > 0 {
		return nil, fault.New(fault.Invalid, op, "Delimiter", "Delimiter is of SubRecordType DELIMITED only")
	}
	for _, parameter := range []struct {
		name string
		n    int
	}{
		{"Delimiter of RecordDeAggregation", len(s.Delimiter)},
		{"Delimiter of AppendDelimiterToRecord", len(s.AppendDelimiter)},
		{"MetadataExtractionQuery", len(s.Query)},
	} {
		if parameter.n > MaxParameterBytes {
			return nil, fault.New(fault.Invalid, op, parameter.name, "%s must have length less than or equal to %d", parameter.name, MaxParameterBytes)
		}
	}
	if s.Query == "" {
		if len(s.PartitionKeys) > 0 {
			return nil, fault.New(fault.Invalid, op, "MetadataExtractionQuery",
				"the prefix uses partitionKeyFromQuery:%s, which needs a MetadataExtraction processor", s.PartitionKeys[0])
		}
		return p, nil
	}
	var err error
	p.query, err = compileQuery(s.Query, s.PartitionKeys)
	return p, err
}

// Spec gives back what was compiled.
func (p *Program) Spec() Spec { return p.spec }

// Splits reports whether Split may give anything but the record itself.
func (p *Program) Splits() bool { return p.spec.KPL || p.spec.SubRecordType != "" }

// Extracts reports whether there is a query.
func (p *Program) Extracts() bool { return p.query != nil }

// AppendDelimiter gives what is added to every record.
func (p *Program) AppendDelimiter() []byte { return p.spec.AppendDelimiter }

// FitValue says why a value can't be a part of an object's key, whether a query or a function gave it. Nil: it can.
// A fit value may hold slashes, as in the service, and control characters. That the evaluated prefix and the
// whole key are not too long is for whoever joins them to see.
func FitValue(value []byte) *Failure {
	switch {
	case len(value) == 0:
		return nullOrEmpty
	case len(value) > MaxValueBytes:
		return tooLong
	case !utf8.Valid(value):
		return notUTF8
	}
	return nil
}
