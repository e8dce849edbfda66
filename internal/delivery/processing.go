package delivery

import (
	"encoding/binary"
	"encoding/json"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// The error-output-types of lanes.
const (
	processingFailed        = "processing-failed"
	metadataFailed          = "metadata-extraction-failed"
	conversionFailed        = "format-conversion-failed"
	activePartitionExceeded = "activePartitionExceeded"
	httpFailed              = "http-endpoint-failed"
)

// A lane's key is how a gathering finds it: nothing for the only lane, 'e' and the error-output-type, or 'k' and the values
// of the partition keys, each after its length.
const (
	errorKey     = 'e'
	partitionKey = 'k'
)

func appendErrorKey(dst []byte, errorType string) []byte {
	return append(append(dst, errorKey), errorType...)
}

func appendPartition(dst []byte, value string) []byte {
	if len(dst) == 0 {
		dst = append(dst, partitionKey)
	}
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}

func appendLaneKey(dst []byte, l journal.Lane) []byte {
	if l.Error != "" {
		return appendErrorKey(dst, l.Error)
	}
	for _, value := range l.Keys {
		dst = appendPartition(dst, value)
	}
	return dst
}

// laneOf takes a key apart.
func laneOf(key string) journal.Lane {
	if key == "" {
		return journal.Lane{}
	}
	if key[0] == errorKey {
		return journal.Lane{Error: key[1:]}
	}
	var l journal.Lane
	for rest := []byte(key[1:]); len(rest) > 0; {
		n, size := binary.Uvarint(rest)
		l.Keys = append(l.Keys, string(rest[size:size+int(n)]))
		rest = rest[size+int(n):]
	}
	return l
}

// recipe says how records become outputs. A manifest bears it, so that it can be finished without a definition, by a
// later version of this program: its members keep their names and their meaning.
type recipe struct {
}

// processing is a recipe at work. It is safe for concurrent use.
type processing struct {
	recipe recipe
	text   json.RawMessage // as manifests bear it
}

// scratch is what one goroutine needs to process records.
type scratch struct {
	key []byte
	out output
}

// newProcessing makes a recipe work; nil: records go out as they are.
func newProcessing(r *recipe) (*processing, error) {
	if r == nil {
		return nil, nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return &processing{recipe: *r, text: text}, nil
}

// parseProcessing reads what a manifest bears.
func parseProcessing(text json.RawMessage) (*processing, error) {
	if len(text) == 0 {
		return nil, nil
	}
	r := new(recipe)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fault.New(fault.Corrupt, "delivery.recipe", "", "%w", err)
	}
	return newProcessing(r)
}

// partitions reports whether records go into lanes by partition keys.
func (p *processing) partitions() bool { return false }

// repeatable reports whether processing a record again gives the same.
func (p *processing) repeatable() bool { return true }

// each gives the outputs of a record, with the keys of their lanes: both are valid until give returns. It is for steps
// that are computed; p may be nil.
func (p *processing) each(r *stream.Record, s *scratch, give func(key []byte, o *output) error) error {
	s.out = output{data: r.Data, first: true, sequence: r.Sequence, arrival: r.Arrival}
	return give(nil, &s.out)
}
