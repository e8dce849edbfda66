package process

import "bytes"

// MaxSubRecords is how many sub-records RecordDeAggregation makes of one record. A record that holds more stays whole,
// and then is no JSON document to MetadataExtraction.
//
// Source: spec/firehose, section 10.
const MaxSubRecords = 500

// Split takes a record apart: what the Kinesis Producer Library has aggregated into user records, and each of them
// into the sub-records that RecordDeAggregation finds. emit is called for each of the results, in order; Split ends
// with the first error that emit gives. There is at least one result for every record, an empty one too.
//
// Data of a [Sub] points into data, and its keys may share memory: they are valid as long as data does not change, but
// not changed by what Split does next.
//
// A record is split whole or not at all:
//   - What is no valid aggregate is a plain record.
//   - JSON: the record must hold well-formed values only, with nothing but white space around and between them. They
//     need no separator. White space is no part of a sub-record. An array is a value, and is not taken apart.
//   - DELIMITED: delimiters are no part of a sub-record, and nothing between two of them is no sub-record.
//   - A record without a value, or with more than [MaxSubRecords], stays whole, byte for byte.
func (p *Program) Split(data []byte, partitionKey string, emit func(Sub) error) error {
	if p.spec.KPL {
		if a := openAggregate(data); a != nil {
			defer a.release()
			return p.splitAggregate(a, emit)
		}
	}
	_, err := p.deAggregate(Sub{Data: data, PartitionKey: partitionKey}, 0, emit)
	return err
}

func (p *Program) splitAggregate(a *aggregate, emit func(Sub) error) error {
	next := uint32(0)
	return a.each(func(user Sub) (err error) {
		next, err = p.deAggregate(user, next, emit)
		return err
	})
}

// deAggregate emits the sub-records of a user record, numbered from index, and gives the number that follows.
func (p *Program) deAggregate(user Sub, index uint32, emit func(Sub) error) (next uint32, err error) {
	if p.spec.SubRecordType == "" {
		user.Index = index
		return index + 1, emit(user)
	}
	var places [MaxSubRecords]span
	n := 0
	switch p.spec.SubRecordType { // called by name, so that places stay on the stack
	case JSON:
		n = splitJSON(user.Data, &places)
	case Delimited:
		n = splitDelimited(user.Data, p.spec.Delimiter, &places)
	}
	if n == 0 {
		places[0], n = span{0, uint32(len(user.Data))}, 1
	}
	for _, at := range places[:n] {
		sub := user
		sub.Data = user.Data[at.from:at.to:at.to]
		sub.Index = index
		index++
		if err := emit(sub); err != nil {
			return index, err
		}
	}
	return index, nil
}

// splitJSON finds the values of a record; 0: it stays whole.
func splitJSON(data []byte, places *[MaxSubRecords]span) (n int) {
	for i := blanks(data, 0); i < len(data); i = blanks(data, i) {
		end, ok := scanValue(data, i, 0)
		if !ok || n == len(places) {
			return 0
		}
		places[n] = span{uint32(i), uint32(end)}
		n++
		i = end
	}
	return n
}

// splitDelimited finds what lies between delimiters; 0: the record stays whole.
func splitDelimited(data, delimiter []byte, places *[MaxSubRecords]span) (n int) {
	for from := 0; from < len(data); {
		end, next := len(data), len(data)
		if i := bytes.Index(data[from:], delimiter); i >= 0 {
			end, next = from+i, from+i+len(delimiter)
		}
		if end > from {
			if n == len(places) {
				return 0
			}
			places[n] = span{uint32(from), uint32(end)}
			n++
		}
		from = next
	}
	return n
}
