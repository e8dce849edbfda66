package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http/httputil"
	"time"
)

// Subscription is one SubscribeToShard, from the tip of its shard on.
type Subscription struct {
	conn    net.Conn
	in      *bufio.Reader
	message []byte
}

// Subscribe begins one, and returns when the server has: what is put from then on comes.
func Subscribe(ctx context.Context, addr, consumerARN, shard string) (*Subscription, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Subscription{conn: conn}
	if err := s.begin(addr, consumerARN, shard); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

// beginTime bounds how long a server may take to begin.
const beginTime = 10 * time.Second

func (s *Subscription) begin(addr, consumerARN, shard string) error {
	if err := s.conn.SetDeadline(time.Now().Add(beginTime)); err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"ConsumerARN":%q,"ShardId":%q,"StartingPosition":{"Type":"LATEST"}}`, consumerARN, shard)
	if _, err := s.conn.Write(KinesisCall(addr, "SubscribeToShard", body)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(s.conn, 64<<10)
	h, err := readHead(in)
	if err != nil {
		return err
	}
	if h.status != 200 || !h.chunked {
		text, _ := h.body(in, nil, maxAnswer) // what of it came says more than why no more did
		return fmt.Errorf("SubscribeToShard: status %d: %.300q", h.status, text)
	}
	s.in = bufio.NewReaderSize(httputil.NewChunkedReader(in), 64<<10)
	if kind, _, err := s.next(); err != nil || kind != "initial-response" {
		return fmt.Errorf("SubscribeToShard begins with %q, %w", kind, err)
	}
	return s.conn.SetDeadline(time.Time{})
}

// Close ends it; Follow then returns.
func (s *Subscription) Close() error { return s.conn.Close() }

// Follow tells how long records were under way, from the time in their stamps on, of those that were to be sent in a
// stretch of time. It returns when the connection ends, and unless that is for Close, with the error.
func (s *Subscription) Follow(stamps *Stamps, from, until time.Time) (*Histogram, error) {
	underWay := new(Histogram)
	for {
		kind, payload, err := s.next()
		switch {
		case errors.Is(err, net.ErrClosed):
			return underWay, nil
		case err != nil:
			return underWay, err
		case kind != "SubscribeToShardEvent":
			return underWay, fmt.Errorf("the subscription ended with %q: %.300q", kind, payload)
		}
		now, before := time.Now(), underWay.Count()
		for {
			var letters []byte
			if letters, payload = nextData(payload); letters == nil {
				break
			}
			due, ok := stamps.of(letters)
			if !ok {
				return underWay, fmt.Errorf("a record without a stamp: %.100q", letters)
			}
			if !due.Before(from) && due.Before(until) {
				underWay.Record(now.Sub(due))
			}
		}
		stamps.arrived.Add(underWay.Count() - before)
	}
}

// nextData gives the data of the next record, in base64, and what follows; nil when there is none.
func nextData(payload []byte) (letters, rest []byte) {
	const member = `"Data":"`
	at := bytes.Index(payload, []byte(member))
	if at < 0 {
		return nil, nil
	}
	payload = payload[at+len(member):]
	end := bytes.IndexByte(payload, '"')
	if end < 0 {
		return nil, nil
	}
	return payload[:end], payload[end:]
}

// Of a message: total length, 4 | length of headers, 4 | CRC, 4 | headers | payload | CRC, 4.
const (
	prelude    = 12
	trailer    = 4
	maxMessage = 24 << 20
)

// next reads one message; its bytes are good until the next. kind is the event's type, or the exception's.
func (s *Subscription) next() (kind string, payload []byte, err error) {
	head, err := s.in.Peek(prelude)
	if err != nil {
		return "", nil, err
	}
	total, headers := int(binary.BigEndian.Uint32(head)), int(binary.BigEndian.Uint32(head[4:]))
	if total > maxMessage || headers > total-prelude-trailer {
		return "", nil, fmt.Errorf("a message of %d bytes, %d of headers", total, headers)
	}
	if cap(s.message) < total {
		s.message = make([]byte, total)
	}
	m := s.message[:total]
	if _, err := io.ReadFull(s.in, m); err != nil {
		return "", nil, err
	}
	if crc32.ChecksumIEEE(m[:total-trailer]) != binary.BigEndian.Uint32(m[total-trailer:]) {
		return "", nil, errors.New("a message whose checksum is wrong")
	}
	return kindOf(m[prelude : prelude+headers]), m[prelude+headers : total-trailer], nil
}

// kindOf finds the kind among headers: length of name, 1 | name | 7, for a string | length of value, 2 | value.
func kindOf(headers []byte) string {
	for len(headers) > 4 {
		n := int(headers[0])
		if len(headers) < n+4 {
			return ""
		}
		name, rest := headers[1:1+n], headers[2+n:]
		size := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+size {
			return ""
		}
		if string(name) == ":event-type" || string(name) == ":exception-type" {
			return string(rest[2 : 2+size])
		}
		headers = rest[2+size:]
	}
	return ""
}
