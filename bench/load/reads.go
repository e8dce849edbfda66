package load

import (
	"bytes"
	"fmt"
)

// Reads are calls of GetRecords: each connection reads one shard from its beginning to its tip, and then again.
type Reads struct {
	host  string
	as    Encoding
	first []string // iterators
	next  []string // of each connection
}

// NewReads makes the calls of a number of connections, from the iterators of the shards' beginnings. Those live five
// minutes, and so may what is made of them.
func NewReads(host string, as Encoding, first []string, connections int) *Reads {
	r := &Reads{host: host, as: as, first: first, next: make([]string, connections)}
	for c := range r.next {
		r.next[c] = r.begin(c)
	}
	return r
}

func (r *Reads) begin(c int) string { return r.first[c%len(r.first)] }

// Request is [Plan].Request.
func (r *Reads) Request(c, _ int) []byte {
	const member = "ShardIterator"
	iterator := r.next[c]
	body := fmt.Appendf(nil, `{%q:%q}`, member, iterator)
	if r.as == CBOR {
		body = cborText(cborText(cborHead(nil, cborMap, 1), member), iterator)
	}
	return KinesisCallAs(r.host, "GetRecords", r.as, body)
}

// Answer is [Plan].Answer. It looks for no more than it needs: a page has 10,000 records, and the generator shares the
// machine with who makes them.
func (r *Reads) Answer(c int, body []byte) (records int, err error) {
	page := pageJSON
	if r.as == CBOR {
		page = pageCBOR
	}
	records, next, err := page(body)
	if err != nil {
		return 0, err
	}
	if r.next[c] = next; records == 0 || next == "" {
		r.next[c] = r.begin(c)
	}
	return records, nil
}

// pageJSON counts the records of a page and gives the next iterator, "" at the end of a closed shard. Braces open records
// only, before the children: data is base64, and no key that this package makes has one.
func pageJSON(body []byte) (records int, next string, err error) {
	list, ok := after(body, `"Records"`)
	if !ok {
		return 0, "", fmt.Errorf("a page without Records: %.200q", body)
	}
	if children, ok := after(list, `"ChildShards"`); ok {
		list = list[:len(list)-len(children)]
	}
	if rest, ok := after(body, `"NextShardIterator"`); ok {
		if rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, ": "), []byte{'"'}); ok { // else it is null
			next = string(rest[:max(0, bytes.IndexByte(rest, '"'))])
		}
	}
	return bytes.Count(list, []byte{'{'}), next, nil
}

// pageCBOR is pageJSON for pages whose lists and strings have their length in front.
func pageCBOR(body []byte) (records int, next string, err error) {
	list, _ := after(body, string(cborText(nil, "Records")))
	if records, _ = cborLength(list, cborList); records < 0 {
		return 0, "", fmt.Errorf("a page without Records: %.200q", body)
	}
	rest, _ := after(body, string(cborText(nil, "NextShardIterator")))
	if n, rest := cborLength(rest, cborString); n > 0 && n <= len(rest) {
		next = string(rest[:n])
	}
	return records, next, nil
}

// edge is how much of a page's beginning and end is looked at: what stands beside the records is there.
const edge = 2 << 10

// after gives what follows a text in the beginning or the end of a page.
func after(body []byte, text string) (rest []byte, ok bool) {
	at := bytes.Index(body[:min(edge, len(body))], []byte(text))
	if at < 0 {
		end := max(0, len(body)-edge)
		if at = bytes.LastIndex(body[end:], []byte(text)); at < 0 {
			return nil, false
		}
		at += end
	}
	return body[at+len(text):], true
}
