package process

import (
	"slices"

	"millrace/internal/fault"
)

// Key is a partition key: customer=42.
type Key struct {
	Name  string
	Value []byte // may point into the record
}

// Failure says why a record has no partition keys. It goes to the error output, under metadata-extraction-failed.
type Failure struct {
	Code    string // "DynamicPartitioning.MetadataExtractionFailed"
	Message string
}

// MetadataExtractionFailed is the code of every failure.
const MetadataExtractionFailed = "DynamicPartitioning.MetadataExtractionFailed"

func failure(message string) *Failure { return &Failure{MetadataExtractionFailed, message} }

// The failures that need no text of their own. The first two are the service's words.
var (
	notJSON     = failure("Non JSON record provided")
	nullOrEmpty = failure("partitionKeys values must not be null or empty")
	notScalar   = failure("partitionKeys values must be strings, numbers or booleans")
	tooLong     = failure("partitionKeys values must have length less than or equal to 512")
	notUTF8     = failure("partitionKeys values must be UTF-8")
	tooCostly   = failure("MetadataExtractionQuery costs more than its bound for this record")
	cannotRun   = failure("MetadataExtractionQuery can not be run on this record")
	noResult    = failure("MetadataExtractionQuery gave no result for the record")
	manyResults = failure("MetadataExtractionQuery gave more than one result for the record")
	notObject   = failure("MetadataExtractionQuery must give an object")
)

// Extract finds the partition keys of a record and appends them to dst: the ones that the Spec asks for, in its order, or
// all, by name. A value is a string as it is, or a number or a boolean as JSON; a number is written as gojq does
// (1.0 as 1, whole numbers exact whatever their size).
//
// It gives a failure, always the same one for the same record, if the record is not one JSON value, or the query ends with
// an error, gives no result or several, one that is no object, an object without one of the keys, one with a member that
// is null, empty, an array or an object (asked for or not), or costs more than its bound.
//
// The error is none of the record's: Unavailable, the query took longer than [queryTime]. The caller tries
// again, and tells the operator.
func (p *Program) Extract(data []byte, dst []Key) ([]Key, *Failure, error) {
	if p.query == nil {
		return dst, nil, fault.New(fault.Internal, "process.Extract", "", "there is no query")
	}
	q := p.query
	if q.tree == nil {
		if !wellFormed(data) {
			return dst, notJSON, nil
		}
		input, _ := decode(data, blanks(data, 0))
		return q.evaluate(input, len(data), dst)
	}
	scratch := q.tree.scratch()
	defer q.tree.release(scratch)
	found := *scratch
	if !q.tree.find(data, found) {
		return dst, notJSON, nil
	}
	if q.members != nil {
		if keys, failed, done := q.pick(data, found, dst); done {
			return keys, failed, nil
		}
	}
	return q.evaluate(q.tree.pruned(data, found), len(data), dst)
}

// pick takes the keys from where their values lie. done is false where the result is not that simple; dst is
// then as it was.
func (q *query) pick(data []byte, found []place, dst []Key) (keys []Key, failed *Failure, done bool) {
	keys = dst
	for i := range q.members {
		m := &q.members[i]
		value, simple := q.tree.value(data, found, m)
		if !simple {
			return dst, nil, false
		}
		if failed == nil {
			failed = FitValue(value) // the others are looked at all the same: gojq may have an error for one
		}
		if m.wanted >= 0 {
			keys = append(keys, Key{m.name, value})
		}
	}
	if failed != nil {
		return dst, failed, true
	}
	if q.ordered {
		return keys, nil, true
	}
	asked := keys[len(dst):]
	slices.SortFunc(asked, func(a, b Key) int { return q.rank(a.Name) - q.rank(b.Name) })
	return keys, nil, true
}

func (q *query) rank(name string) int { return slices.Index(q.wanted, name) }

// collect takes the keys from the object that the query gave.
func (q *query) collect(object map[string]any, dst []Key) ([]Key, *Failure) {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	values := make([][]byte, len(names))
	for i, name := range names {
		value, failed := scalar(object[name])
		if failed == nil {
			failed = FitValue(value)
		}
		if failed != nil {
			return dst, failed
		}
		values[i] = value
	}
	wanted := q.wanted
	if len(wanted) == 0 {
		wanted = names
	}
	keys := dst
	for _, name := range wanted {
		i, ok := slices.BinarySearch(names, name)
		if !ok {
			return dst, failure("MetadataExtractionQuery gave no partition key " + name + ", which the prefix uses")
		}
		keys = append(keys, Key{name, values[i]})
	}
	return keys, nil
}
