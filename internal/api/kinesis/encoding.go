package kinesis

import (
	"encoding/base64"
	"strings"

	"millrace/internal/awswire"
)

// encoding is how a request's content type asks to be answered. Operations do not know it: they read their request by
// decode and answer by reply.
type encoding uint8

const (
	asUnknown encoding = iota
	asJSON
	asCBOR
	asPlainJSON // application/json, which the service knows only to refuse
)

func encodingOf(contentType string) encoding {
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.TrimSpace(media) {
	case awswire.TypeJSON11:
		return asJSON
	case awswire.TypeCBOR11:
		return asCBOR
	case awswire.TypeJSON:
		return asPlainJSON
	}
	return asUnknown
}

// contentType is what an answer bears: what is not CBOR is answered in JSON 1.1.
func (as encoding) contentType() string {
	if as == asCBOR {
		return awswire.TypeCBOR11
	}
	return awswire.TypeJSON11
}

// isObject reports whether a body is one well-formed structure.
func (as encoding) isObject(body []byte) bool {
	if as == asCBOR {
		return awswire.IsCBORMap(body)
	}
	return awswire.IsJSONObject(body)
}

// blobBytes is how much of an answer a blob of n bytes takes.
func (as encoding) blobBytes(n int) int {
	if as == asCBOR {
		return n
	}
	return base64.StdEncoding.EncodedLen(n)
}

// appendError appends an error body; an empty message is left out.
func (as encoding) appendError(dst []byte, code, message string) []byte {
	if as == asCBOR {
		return awswire.AppendCBORError(dst, code, message)
	}
	return awswire.AppendJSONError(dst, code, message)
}

func (as encoding) appendSerializationError(dst []byte, e *awswire.SerializationError) []byte {
	if as == asCBOR {
		return awswire.AppendCBORSerializationError(dst, e)
	}
	return awswire.AppendSerializationError(dst, e)
}

// shape is a generated request.
type shape interface {
	DecodeJSON(*awswire.JSON)
	DecodeCBOR(*awswire.CBOR)
	Check(*awswire.Violations)
}

// decode reads and checks a request: types first, then the model's constraints. more adds constraints that the
// service has and the model lacks.
func (c *call) decode(in shape, more ...func(*awswire.Violations)) error {
	if err := c.read(in); err != nil {
		return err
	}
	var found awswire.Violations
	in.Check(&found)
	for _, check := range more {
		check(&found)
	}
	return invalid(&found)
}

func (c *call) read(in shape) error {
	if c.as == asCBOR {
		in.DecodeCBOR(&c.cbor)
		return c.cbor.Close()
	}
	in.DecodeJSON(&c.json)
	return c.json.Close()
}

// lend hands the request's bytes to the readers, and takes back what they have lent.
func (c *call) lend(body []byte, borrow bool) {
	c.json.Borrow, c.cbor.Borrow = borrow, borrow
	if c.as == asCBOR {
		c.cbor.Reset(body)
	} else {
		c.json.Reset(body)
	}
}

// answer is a generated answer.
type answer interface {
	AppendJSON([]byte) []byte
	AppendCBOR([]byte) []byte
}

// reply appends an operation's answer.
func (c *call) reply(out answer) {
	if c.as == asCBOR {
		c.dst = out.AppendCBOR(c.dst)
		return
	}
	c.dst = out.AppendJSON(c.dst)
}
