package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"millrace/internal/fault"
)

// Split says how an object's text becomes records.
type Split struct {
	Kind      Kind   `json:"kind"`
	Delimiter []byte `json:"delimiter,omitempty"` // of Delimited
	Keep      bool   `json:"keep,omitempty"`      // the delimiter stays with the record
}

// Kind of a split.
type Kind string

// The kinds.
const (
	Delimited Kind = "delimited" // each record ends with the delimiter; the last one may lack it, and empty ones are none
	Values    Kind = "json"      // each record is a JSON value
	Errors    Kind = "errors"    // lines of an error object, whose rawData is the record
)

// maxDelimiter bounds a delimiter: anything longer is a mistake.
const maxDelimiter = 1024

func (s *Split) check() error {
	const op = "replay.New"
	switch s.Kind {
	case Values, Errors:
		if len(s.Delimiter) > 0 || s.Keep {
			return fault.New(fault.Invalid, op, "", "a split by %s has no delimiter", s.Kind)
		}
		return nil
	case Delimited:
		if len(s.Delimiter) < 1 || len(s.Delimiter) > maxDelimiter {
			return fault.New(fault.Invalid, op, "", "a delimiter has 1 to %d bytes", maxDelimiter)
		}
		return nil
	}
	return fault.New(fault.Invalid, op, "", "%q is no way to split an object", s.Kind)
}

// String is the same for what splits in the same way.
func (s *Split) String() string { return fmt.Sprintf("%s %q %v", s.Kind, s.Delimiter, s.Keep) }

// records gives the records of an object one by one; the bytes are valid until visit returns.
func (s *Split) records(r io.Reader, visit func(data []byte) error) error {
	if s.Kind == Values {
		return values(r, visit)
	}
	delimiter, most := s.Delimiter, maxRecord
	if s.Kind == Errors {
		delimiter, most = []byte{'\n'}, maxRecord/3*4+64<<10 // base64, and what stands around it
	}
	in := bufio.NewReaderSize(r, 256<<10)
	var buf []byte
	for {
		var err error
		if buf, err = record(in, buf[:0], delimiter, most); err != nil && err != io.EOF {
			return err
		}
		data := buf
		if !s.Keep {
			data = bytes.TrimSuffix(data, delimiter)
		}
		if len(data) > 0 && (!s.Keep || !bytes.Equal(data, delimiter)) {
			if s.Kind == Errors {
				var bad error
				if data, bad = decodeLine(data); bad != nil {
					return bad
				}
			}
			if e := visit(data); e != nil {
				return e
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

var errTooLong = fmt.Errorf("it has a record of more than %d MiB", maxRecord>>20)

// record appends what comes up to and with the next delimiter.
func record(in *bufio.Reader, buf, delimiter []byte, most int) ([]byte, error) {
	end := delimiter[len(delimiter)-1]
	for {
		part, err := in.ReadSlice(end)
		buf = append(buf, part...)
		if len(buf) > most+len(delimiter) {
			return buf, errTooLong
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil || bytes.HasSuffix(buf, delimiter) {
			return buf, err
		}
	}
}

// values gives JSON values, whatever stands between them.
func values(r io.Reader, visit func(data []byte) error) error {
	in := &bounded{from: r, left: maxRecord}
	dec := json.NewDecoder(in)
	for {
		var value json.RawMessage
		err := dec.Decode(&value)
		if in.left <= 0 {
			return errTooLong
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(value); err != nil {
			return err
		}
		in.left = maxRecord
	}
}

// bounded ends a value that is too long.
type bounded struct {
	from io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.from.Read(p)
	b.left -= n
	return n, err
}
