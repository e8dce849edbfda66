package kinesis

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
	"sync"
	"time"

	"millrace/internal/ids"
	"millrace/internal/stream"
)

// token is what a client holds for us between calls: a shard iterator, or the place of a list.
type token struct {
	kind   byte
	at     time.Time // of issue, in milliseconds
	stream string    // name; of tokenStreams the last one listed
	id     string    // the stream's incarnation: a token of a deleted stream must not read its successor
	shard  uint32
	from   stream.SequenceNumber // iterators: where to read on
	after  int64                 // lists of shards: the last index listed
	filter shardFilter
	name   string // of tokenConsumers: the last one listed
}

// The kinds of token.
const (
	tokenIterator = 'i'
	tokenShards   = 's'
	tokenStreams  = 'n'

	tokenConsumers = 'c'
)

// tokens seals and opens tokens, which clients can neither read nor forge:
//
//	version, 8 bytes | tag, 16 | AES-CTR(kind, time, salt, shard, name, id, …, padding to 16)
//
// The tag is an HMAC over the plain text and also the cipher's initial counter (a synthetic IV), so that no nonce
// can ever be used twice for two texts. The salt makes every iterator differ, as the service's do. In base64 an
// iterator has some 200 letters and never more than 400; 512 is the most that the API takes.
type tokens struct {
	block cipher.Block
	macs  *sync.Pool // of hash.Hash
	ids   *ids.Source
}

const (
	minTokenKey   = 32
	tokenVersion  = 1
	tokenTag      = 16
	tokenHeader   = 8 + tokenTag
	maxTokenText  = 4096 // no token that we make is longer
	tokenPadding  = aes.BlockSize
	tokenSaltSize = 8
)

func newTokens(key []byte, source *ids.Source) tokens {
	block, err := aes.NewCipher(derive(key, "millrace kinesis tokens: encryption"))
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	macKey := derive(key, "millrace kinesis tokens: authentication")
	return tokens{block: block, ids: source, macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, macKey) }}}
}

func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	return h.Sum(nil)
}

func (t *tokens) tag(dst, plain []byte) []byte {
	h := t.macs.Get().(hash.Hash)
	defer t.macs.Put(h)
	h.Reset()
	h.Write(plain)
	var sum [sha256.Size]byte
	return append(dst, h.Sum(sum[:0])[:tokenTag]...)
}

func (t *tokens) seal(v token) string {
	var buf [512]byte
	b := binary.BigEndian.AppendUint64(buf[:0], tokenVersion)
	b = b[:tokenHeader]
	b = append(b, v.kind)
	b = binary.BigEndian.AppendUint64(b, uint64(v.at.UnixMilli()))
	b = b[:len(b)+tokenSaltSize]
	_, _ = t.ids.Read(b[len(b)-tokenSaltSize:]) // never fails
	b = binary.BigEndian.AppendUint32(b, v.shard)
	b = appendText(b, v.stream)
	b = appendText(b, v.id)
	switch v.kind {
	case tokenIterator:
		start := len(b)
		b = v.from.Append(append(b, 0))
		b[start] = byte(len(b) - start - 1)
	case tokenConsumers:
		b = appendText(b, v.name)
	default:
		b = binary.BigEndian.AppendUint64(b, uint64(v.after))
		b = appendText(b, v.filter.kind)
		b = binary.BigEndian.AppendUint64(b, uint64(v.filter.after))
		b = binary.BigEndian.AppendUint64(b, uint64(v.filter.at))
	}
	for (len(b)-tokenHeader)%tokenPadding != 0 {
		b = append(b, 0)
	}
	t.tag(b[:8], b[tokenHeader:])
	cipher.NewCTR(t.block, b[8:tokenHeader]).XORKeyStream(b[tokenHeader:], b[tokenHeader:])
	return base64.StdEncoding.EncodeToString(b)
}

// appendText appends a short text and its length.
func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// open gives what was sealed; false when it was not sealed by us.
func (t *tokens) open(text string) (token, bool) {
	if len(text) > maxTokenText || strings.ContainsAny(text, "\r\n") { // the decoder skips those: a token has one spelling
		return token{}, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < tokenHeader || binary.BigEndian.Uint64(b) != tokenVersion {
		return token{}, false
	}
	plain := b[tokenHeader:]
	cipher.NewCTR(t.block, b[8:tokenHeader]).XORKeyStream(plain, plain)
	var want [tokenTag]byte
	if !hmac.Equal(t.tag(want[:0], plain), b[8:tokenHeader]) {
		return token{}, false
	}
	return readToken(plain)
}

// readToken reads what seal wrote, before it was sealed.
func readToken(plain []byte) (token, bool) {
	r := tokenReader{rest: plain}
	v := token{kind: r.take(1)[0], at: time.UnixMilli(int64(r.uint64()))}
	r.take(tokenSaltSize)
	v.shard = binary.BigEndian.Uint32(r.take(4))
	v.stream, v.id = r.text(), r.text()
	switch v.kind {
	case tokenIterator:
		from, ok := stream.ParseSequenceNumber(string(r.take(int(r.take(1)[0]))))
		v.from = from
		return v, ok && !r.short
	case tokenConsumers:
		v.name = r.text()
		return v, !r.short
	}
	v.after = int64(r.uint64())
	v.filter = shardFilter{kind: r.text(), after: int64(r.uint64()), at: int64(r.uint64())}
	return v, !r.short
}

// tokenReader reads what the tag has proved to be ours; short says that it was not long enough even so.
type tokenReader struct {
	rest  []byte
	short bool
}

func (r *tokenReader) take(n int) []byte {
	if n > len(r.rest) {
		r.short = true
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *tokenReader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *tokenReader) text() string {
	return strings.Clone(string(r.take(int(binary.BigEndian.Uint16(r.take(2))))))
}
