package delivery

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"millrace/internal/delivery/errorline"
	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/parquet"
	"millrace/internal/delivery/process"
	"millrace/internal/delivery/transform"
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

func appendValue[T string | []byte](dst []byte, value T) []byte {
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
		dst = appendValue(dst, value)
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

// recipe says how records become outputs, and outputs objects. A manifest bears it, so that it can be finished without a
// definition, by a later version of this program: its members keep their names and their meaning.
type recipe struct {
	Process process.Spec `json:"process"`
	// Keys are the partition keys that the Prefix asks for, in its order, and Room how many bytes their values may have
	// together, so that the object's key does not get too long.
	Keys []recipeKey `json:"keys,omitempty"`
	Room int         `json:"room,omitempty"`
	// Function is the ARN of the one that transforms records.
	Function string `json:"function,omitempty"`
	// Parquet converts, by the columns of Table.
	Parquet  *parquet.Spec    `json:"parquet,omitempty"`
	Table    *errorline.Table `json:"table,omitempty"`
	Endpoint *recipeEndpoint  `json:"endpoint,omitempty"`
}

type recipeKey struct {
	Name   string `json:"name"`
	Lambda bool   `json:"lambda,omitempty"` // the function gives it, else the query
	Uses   int    `json:"uses"`             // how often the prefix has it
}

// recipeEndpoint is the HTTP endpoint that takes the outputs. Its access key is not here: manifests hold no secrets.
type recipeEndpoint struct {
	URL          string                   `json:"url"`
	SourceARN    string                   `json:"sourceArn"`
	Encoding     string                   `json:"encoding,omitempty"`
	Attributes   []httpendpoint.Attribute `json:"attributes,omitempty"`
	RetrySeconds int                      `json:"retrySeconds"`
}

// processing is a recipe at work. It is safe for concurrent use.
type processing struct {
	recipe    recipe
	text      json.RawMessage // as manifests bear it
	program   *process.Program
	converter *parquet.Converter // nil: none
	query     []int              // for each of Keys: which of the query's keys it is; -1: the function's
	laneText  string             // see lanes
}

// scratch is what one goroutine needs to process records.
type scratch struct {
	key  []byte
	keys []process.Key
	out  output
	fail failure
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
	p := &processing{recipe: *r, text: text}
	lanes, err := json.Marshal(recipe{Process: r.Process, Keys: r.Keys, Room: r.Room, Function: r.Function})
	if err != nil {
		return nil, err
	}
	p.laneText = string(lanes)
	if p.program, err = process.Compile(r.Process); err != nil {
		return nil, err
	}
	if r.Parquet != nil {
		if p.converter, err = parquet.Compile(*r.Parquet); err != nil {
			return nil, err
		}
	}
	for _, k := range r.Keys {
		at := -1
		for i, name := range r.Process.PartitionKeys {
			if !k.Lambda && name == k.Name {
				at = i
			}
		}
		if at < 0 && !k.Lambda {
			return nil, fault.New(fault.Corrupt, "delivery.recipe", "", "the query does not give the partition key %q", k.Name)
		}
		p.query = append(p.query, at)
	}
	return p, nil
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

// lanes says all that decides into which lanes a record goes.
func (p *processing) lanes() string {
	if p == nil {
		return ""
	}
	return p.laneText
}

// partitions reports whether records go into lanes by partition keys.
func (p *processing) partitions() bool { return p != nil && len(p.recipe.Keys) > 0 }

// repeatable reports whether processing a record again gives the same.
func (p *processing) repeatable() bool { return p == nil || p.recipe.Function == "" }

// each gives the outputs of a record, with the keys of their lanes: both are valid until give returns. It is for steps
// that are computed; p may be nil.
func (p *processing) each(r *stream.Record, s *scratch, give func(key []byte, o *output) error) error {
	if p == nil {
		s.out = output{data: r.Data, first: true, sequence: r.Sequence, arrival: r.Arrival}
		return give(nil, &s.out)
	}
	if p.whole(r.Data) {
		s.out = output{data: r.Data, first: true, sequence: r.Sequence, arrival: r.Arrival}
		key, err := p.place(s, nil)
		if err != nil {
			return err
		}
		return give(key, &s.out)
	}
	return p.program.Split(r.Data, "", func(sub process.Sub) error {
		s.out = output{data: sub.Data, first: sub.Index == 0, sequence: r.Sequence, arrival: r.Arrival, sub: int(sub.Index)}
		key, err := p.place(s, nil)
		if err != nil {
			return err
		}
		return give(key, &s.out)
	})
}

// whole reports whether a record is its own only output, which most are.
func (p *processing) whole(data []byte) bool {
	return !p.program.Splits() || p.recipe.Process.SubRecordType == "" && !bytes.HasPrefix(data, aggregateMagic)
}

// place finds the lane of the scratch's output, which may turn out to be that of an error. given are the function's
// partition keys. The error is none of the record's: the step is tried again.
func (p *processing) place(s *scratch, given []transform.PartitionKey) (key []byte, err error) {
	if p == nil || !p.program.Extracts() && len(p.recipe.Keys) == 0 {
		return nil, nil
	}
	var failed *process.Failure
	s.keys = s.keys[:0]
	if p.program.Extracts() {
		if s.keys, failed, err = p.program.Extract(s.out.data, s.keys); err != nil {
			return nil, err
		}
	}
	s.key = s.key[:0]
	room := p.recipe.Room
	for i := 0; i < len(p.recipe.Keys) && failed == nil; i++ {
		if at := p.query[i]; at >= 0 {
			s.key, room = appendValue(s.key, s.keys[at].Value), room-len(s.keys[at].Value)*p.recipe.Keys[i].Uses
			continue
		}
		value, ok := find(given, p.recipe.Keys[i].Name)
		if failed = process.FitValue([]byte(value)); !ok {
			failed = &process.Failure{Code: process.MetadataExtractionFailed,
				Message: fmt.Sprintf("partitionKeys of the function lack %q", p.recipe.Keys[i].Name)}
		}
		s.key, room = appendValue(s.key, value), room-len(value)*p.recipe.Keys[i].Uses
	}
	if failed == nil && room < 0 {
		failed = &process.Failure{Code: process.MetadataExtractionFailed, Message: "The evaluated prefix is too long"}
	}
	if failed != nil {
		s.fail = failure{Code: failed.Code, Message: failed.Message, Attempts: 1}
		s.out.failure = &s.fail
		return appendErrorKey(s.key[:0], metadataFailed), nil
	}
	return s.key, nil
}

func find(given []transform.PartitionKey, name string) (value string, ok bool) {
	for i := range given {
		if given[i].Key == name {
			return given[i].Value, true
		}
	}
	return "", false
}

var aggregateMagic = []byte(process.AggregateMagic)
