package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"millrace/internal/awswire"
	"millrace/internal/object"
)

// call is one request on its way through an operation.
type call struct {
	*Service
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context

	op          *awswire.Operation
	query       url.Values
	bucket, key string
	caller      awswire.Caller
	payload     *awswire.Payload
	req         awswire.Request
	answered    bool // the status is sent
	within      bool // the call is in process
}

func (c *call) name() string {
	if c.op == nil {
		return c.r.Method
	}
	return c.op.Name
}

// shape is a generated request.
type shape interface {
	Decode(*awswire.Request) error
}

// decode reads a request whose body, if it has one, is a document.
func (c *call) decode(in shape) error {
	if c.r.Method != http.MethodPut && c.r.Method != http.MethodPost {
		return in.Decode(&c.req)
	}
	body, release, err := c.document()
	if err != nil {
		return err
	}
	defer release() // decoders copy what they keep
	c.req.Body = body
	err = in.Decode(&c.req)
	c.req.Body = nil
	return err
}

// document reads a body that is no object, and compares its digests. The caller releases it.
func (c *call) document() (body []byte, release func(), err error) {
	if c.payload.Length > MaxDocumentBytes {
		return nil, nil, errTooLarge(c.payload.Length)
	}
	held := c.payload.Length
	if held < 0 {
		held = MaxDocumentBytes
	}
	if !c.Budget.Take(held) {
		return nil, nil, errSlowDown
	}
	defer func() {
		if err != nil {
			c.Budget.Give(held)
		}
	}()
	want, err := c.digests()
	if err != nil {
		return nil, nil, err
	}
	body, err = io.ReadAll(io.LimitReader(c.payload, MaxDocumentBytes+1))
	switch {
	case err != nil:
		return nil, nil, brokenBody(err)
	case len(body) > MaxDocumentBytes:
		return nil, nil, errTooLarge(int64(len(body)))
	case c.payload.Length >= 0 && int64(len(body)) != c.payload.Length:
		return nil, nil, errIncompleteBody
	}
	if want.trailer != nil {
		late, err := want.trailer()
		if err != nil {
			return nil, nil, err
		}
		want.Checksums = append(want.Checksums, late.Checksums...)
	}
	if err := compareDigests(want.Digests, body); err != nil {
		return nil, nil, err
	}
	return body, func() { c.Budget.Give(held) }, nil
}

// brokenBody words what reading a body has returned: the verifier's fault, or a caller who has gone.
func brokenBody(err error) error {
	var auth *awswire.AuthFault
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &auth):
		return err
	case errors.As(err, &tooLarge):
		return errTooLarge(tooLarge.Limit)
	}
	return errIncompleteBody
}

// body is the payload for the store, which wants to tell faults of the caller from its own.
func (c *call) body() io.Reader { return bodyReader{c.payload} }

type bodyReader struct{ io.Reader }

func (b bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = brokenBody(err)
	}
	return n, err
}

// document is a generated answer.
type document interface {
	AppendDocument([]byte) []byte
}

// answer sends a document.
func (c *call) answer(d document) error { return c.answerXML(d.AppendDocument(nil)) }

func (c *call) answerXML(body []byte) error {
	c.answered = true
	awswire.WriteBody(c.w, http.StatusOK, awswire.TypeXML, body)
	return nil
}

// answerEmpty sends the status of the operation and no body.
func (c *call) answerEmpty() error { return c.answerStatus(c.op.Status) }

func (c *call) answerStatus(status int) error {
	c.answered = true
	if status == http.StatusNoContent || c.r.Method == http.MethodHead {
		c.w.Header()["Content-Type"] = nil
		c.w.WriteHeader(status)
		return nil
	}
	awswire.WriteBody(c.w, status, "", nil)
	return nil
}

// quoted is an ETag as headers and documents have it.
func quoted(etag string) string { return `"` + etag + `"` }

// unquoted takes an ETag with or without quotes.
func unquoted(etag string) string {
	return strings.Trim(strings.TrimSpace(etag), `"`)
}

// encodedSum is the base64 of a checksum of a whole body.
func encodedSum(algorithm string, body []byte) string {
	h := object.NewHash(algorithm)
	h.Write(body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
