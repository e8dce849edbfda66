package outbound

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync/atomic"
)

// Reached says how far an attempt came that got no answer.
type Reached uint8

// How far an attempt can come.
const (
	Nowhere   Reached = iota // no connection: the name, the address, the port, the time to connect
	Handshake                // a connection, but no agreement on TLS
	Connected                // a connection that held until the request was under way
)

// Progress watches one attempt, because errors of net/http do not tell how far it came.
type Progress struct{ handshakeFailed, connected atomic.Bool }

// Watch makes a context whose request is watched. A transport may go on dialing after it has given an answer.
func (p *Progress) Watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { p.handshakeFailed.Store(err != nil) },
		GotConn:          func(httptrace.GotConnInfo) { p.connected.Store(true) },
	})
}

// Reached tells how far the attempt has come.
func (p *Progress) Reached() Reached {
	switch {
	case p.connected.Load():
		return Connected
	case p.handshakeFailed.Load():
		return Handshake
	}
	return Nowhere
}
