package load

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// Stamps are puts whose records say when they were to be sent, so that who reads them knows how long they were under
// way. Writer and reader are one process and share its clock.
//
// A stamp is the first stampBytes of a record's data: nanoseconds since the stamps were made, as digits. In base64
// it begins where four letters begin, and is replaced in the encoded body.
type Stamps struct {
	began   time.Time
	calls   []stamped
	arrived atomic.Uint64
}

// Arrived counts the records that subscriptions have followed, of those that they were to count.
func (s *Stamps) Arrived() uint64 { return s.arrived.Load() }

// stamped is the request of one connection.
type stamped struct {
	request []byte
	places  []int // of stamps
}

const (
	stampBytes   = 18
	stampLetters = stampBytes / 3 * 4
)

var noStamp = base64.StdEncoding.EncodeToString(make([]byte, stampBytes)) // no event begins so

// NewStamps makes the requests of a number of connections, each with count events of 300 B in JSON: PutRecords, or
// PutRecord when count is 1.
func NewStamps(host, stream string, connections, count int) *Stamps {
	s := &Stamps{began: time.Now(), calls: make([]stamped, connections)}
	for c := range s.calls {
		operation, body := "PutRecords", fmt.Appendf(nil, `{"StreamName":%q,"Records":[`, stream)
		if count == 1 {
			operation, body = "PutRecord", fmt.Appendf(nil, `{"StreamName":%q,`, stream)
		}
		for i := range count {
			event := append(make([]byte, stampBytes), JSONEvent(i)[stampBytes:]...)
			if count > 1 {
				body = append(body, '{')
			}
			body = fmt.Appendf(body, `"Data":"%s","PartitionKey":"k-%d-%d"},`, base64.StdEncoding.EncodeToString(event), c, i)
		}
		if body = body[:len(body)-1]; count > 1 {
			body = append(body, "]}"...)
		}
		call := &s.calls[c]
		call.request = KinesisCall(host, operation, body)
		for at := 0; ; at += stampLetters {
			next := bytes.Index(call.request[at:], []byte(noStamp))
			if next < 0 {
				break
			}
			at += next
			call.places = append(call.places, at)
		}
	}
	return s
}

// Due is [Plan].Due.
func (s *Stamps) Due(connection, _ int, due time.Time) []byte {
	var digits [stampBytes]byte
	text := strconv.AppendInt(digits[:0], int64(due.Sub(s.began)), 10)
	n := copy(digits[stampBytes-len(text):], text)
	for i := range stampBytes - n {
		digits[i] = '0'
	}
	var letters [stampLetters]byte
	base64.StdEncoding.Encode(letters[:], digits[:])
	call := &s.calls[connection]
	for _, at := range call.places {
		copy(call.request[at:], letters[:])
	}
	return call.request
}

// of gives the time that a record's data begins with, in base64; ok is false for other data.
func (s *Stamps) of(letters []byte) (due time.Time, ok bool) {
	if len(letters) < stampLetters {
		return time.Time{}, false
	}
	var digits [stampBytes]byte
	if _, err := base64.StdEncoding.Decode(digits[:], letters[:stampLetters]); err != nil {
		return time.Time{}, false
	}
	var ns int64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return time.Time{}, false
		}
		ns = ns*10 + int64(d-'0')
	}
	return s.began.Add(time.Duration(ns)), true
}
