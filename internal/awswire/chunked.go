package awswire

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Bounds of an aws-chunked body's framing: a chunk's header is a length and a signature of 64 digits, trailers
// are a checksum and a signature.
const (
	maxChunkLine   = 4 << 10
	maxTrailers    = 16
	maxTrailerText = 16 << 10
)

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// chunked reads an aws-chunked body:
//
//	length in hexadecimal[;chunk-signature=…]\r\n data \r\n … 0[;chunk-signature=…]\r\n
//	name:value\r\n … [x-amz-trailer-signature:…\r\n] \r\n
//
// Each signature covers its chunk and the signature before, the first one the request's.
type chunked struct {
	from     *bufio.Reader
	payload  *Payload
	sig      *Signature // nil: not signed
	key      []byte     // nil: signatures are not compared
	signed   bool       // chunks bear signatures
	trailers bool       // trailers may follow
	previous string
	want     string // signature of the current chunk
	sum      hash.Hash
	left     int64 // of the current chunk
	total    int64 // read so far
	inChunk  bool
	err      error
}

func chunkedPayload(r *http.Request, body io.Reader, s *Signature, key []byte, header string) (*Payload, *AuthFault) {
	c := &chunked{from: bufio.NewReader(body), sig: s, key: key, sum: sha256.New()}
	switch header {
	case streamingSigned:
		c.signed = true
	case streamingSignedTrailer:
		c.signed, c.trailers = true, true
	case streamingUnsignedTrailer:
		c.trailers = true
	default:
		return nil, &AuthFault{"NotImplemented", "The payload signing algorithm " + header + " is not supported.", http.StatusNotImplemented}
	}
	if s != nil {
		c.previous = s.Signature
	}
	length, fault := decodedLength(r)
	if fault != nil {
		return nil, fault
	}
	c.payload = &Payload{Reader: c, Length: length, Trailer: map[string]string{}}
	return c.payload, nil
}

// Read implements io.Reader.
func (c *chunked) Read(p []byte) (int, error) {
	if c.err == nil && !c.inChunk {
		c.err = c.open()
	}
	if c.err != nil {
		return 0, c.err
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.from.Read(p)
	c.left -= int64(n)
	if c.signed && c.key != nil {
		c.sum.Write(p[:n])
	}
	switch {
	case c.left == 0:
		c.err = c.shut()
	case err != nil:
		c.err = cutOff()
	}
	return n, c.err
}

func cutOff() *AuthFault {
	return &AuthFault{"IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.", http.StatusBadRequest}
}

func badFraming(what string) *AuthFault {
	return &AuthFault{"InvalidChunkSizeError", "The aws-chunked body is malformed: " + what + ".", http.StatusBadRequest}
}

// open reads a chunk's header; the last chunk is finished here.
func (c *chunked) open() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, extension, _ := strings.Cut(line, ";")
	n, parseErr := strconv.ParseInt(strings.TrimSpace(size), 16, 63)
	if parseErr != nil || n < 0 {
		return badFraming("a chunk's length is no hexadecimal number")
	}
	c.want = ""
	if sig, ok := strings.CutPrefix(strings.TrimSpace(extension), "chunk-signature="); ok {
		c.want = sig
	}
	if c.signed && c.want == "" {
		return badFraming("a chunk has no signature")
	}
	c.total += n
	if c.total > c.payload.Length {
		return cutOff()
	}
	c.left = n
	c.sum.Reset()
	if n == 0 {
		return c.finish()
	}
	c.inChunk = true
	return nil
}

// shut reads the line end after a chunk's data and compares its signature.
func (c *chunked) shut() error {
	c.inChunk = false
	var end [2]byte
	if _, err := io.ReadFull(c.from, end[:]); err != nil {
		return cutOff()
	}
	if end != [2]byte{'\r', '\n'} {
		return badFraming("a chunk is longer than its length says")
	}
	return c.compare("AWS4-HMAC-SHA256-PAYLOAD", emptyHash+"\n"+hex.EncodeToString(c.sum.Sum(nil)), c.want)
}

// compare checks a signature of the chain and makes it the next one's predecessor.
func (c *chunked) compare(algorithm, tail, given string) error {
	if !c.signed || c.key == nil {
		return nil
	}
	text := algorithm + "\n" + c.sig.TimeText + "\n" + c.sig.Scope() + "\n" + c.previous + "\n" + tail
	want := hex.EncodeToString(mac(c.key, text))
	if !hmac.Equal([]byte(want), []byte(given)) {
		f := s3Faults["InvalidSignatureException"]
		return &f
	}
	c.previous = want
	return nil
}

// finish ends the body: the empty chunk's signature, trailers, and the length that was announced.
func (c *chunked) finish() error {
	if err := c.compare("AWS4-HMAC-SHA256-PAYLOAD", emptyHash+"\n"+emptyHash, c.want); err != nil {
		return err
	}
	if err := c.readTrailers(); err != nil {
		return err
	}
	if c.total != c.payload.Length {
		return cutOff()
	}
	return io.EOF
}

func (c *chunked) readTrailers() error {
	var signedText bytes.Buffer
	signature := ""
	for range maxTrailers {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			return c.endTrailers(signedText.Bytes(), signature)
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !c.trailers || signedText.Len() > maxTrailerText {
			return badFraming("what follows the last chunk is no trailer")
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "x-amz-trailer-signature" {
			signature = value
			continue
		}
		c.payload.Trailer[name] = value
		signedText.WriteString(name + ":" + value + "\n")
	}
	return badFraming("too many trailers")
}

func (c *chunked) endTrailers(text []byte, signature string) error {
	if !c.trailers || !c.signed {
		return nil
	}
	return c.compare("AWS4-HMAC-SHA256-TRAILER", hexSum(text), signature)
}

// line reads up to a line feed, without the line end; the end of the body counts as an empty line, since not
// every client sends the last one.
func (c *chunked) line() (string, error) {
	var line []byte
	for {
		part, err := c.from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
		case len(line) > maxChunkLine:
			return "", badFraming("a line is too long")
		case err == bufio.ErrBufferFull:
		case err == io.EOF && len(line) == 0 && c.total == c.payload.Length:
			return "", nil
		default:
			return "", cutOff()
		}
	}
}
