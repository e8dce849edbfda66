package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// handshakes is a TLS listener whose connections have shaken hands, so that those of clients that negotiate no protocol
// are told from the others. net/http takes these for HTTP/1; the asynchronous clients of the AWS SDK for Java speak
// HTTP/2 on them from the first byte, and a service that is one of theirs is expected to see it. They go to net/http as
// if they were plain ones, where it looks for the preface of HTTP/2 by itself.
//
//	Accept <─ ready ── shake, a goroutine each ── accept <─ the listener, which bounds them
type handshakes struct {
	net.Listener
	config *tls.Config
	ready  chan net.Conn
	failed chan error      // of the listener, each of which is told once
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	start  sync.Once
	all    sync.WaitGroup
}

func handshaking(l net.Listener, config *tls.Config) *handshakes {
	ctx, cancel := context.WithCancel(context.Background())
	return &handshakes{Listener: l, config: config, ready: make(chan net.Conn), failed: make(chan error), ctx: ctx, cancel: cancel}
}

func (h *handshakes) Accept() (net.Conn, error) {
	h.start.Do(func() { h.all.Go(h.accept) })
	select {
	case c := <-h.ready:
		return c, nil
	case err := <-h.failed:
		return nil, err
	case <-h.ctx.Done():
		return nil, net.ErrClosed
	}
}

// accept takes connections until the listener is closed. Whether it goes on after an error is net/http's to decide, which
// waits for file descriptors to come back: by the next Accept.
func (h *handshakes) accept() {
	for {
		c, err := h.Listener.Accept()
		if err != nil {
			select {
			case h.failed <- err:
				continue
			case <-h.ctx.Done():
				return
			}
		}
		h.all.Go(func() { h.shake(tls.Server(c, h.config)) })
	}
}

// shake does the handshake in the time that a request's head has, too. One that fails is net/http's to tell of: it finds
// the same error.
func (h *handshakes) shake(c *tls.Conn) {
	ctx, cancel := context.WithTimeout(h.ctx, headerTime)
	defer cancel()
	var conn net.Conn = c
	if err := c.HandshakeContext(ctx); err == nil && c.ConnectionState().NegotiatedProtocol == "" {
		conn = &unnegotiated{c}
	}
	select {
	case h.ready <- conn:
	case <-h.ctx.Done():
		_ = c.Close() // nobody waits for it
	}
}

// Close ends the handshakes that are going on.
func (h *handshakes) Close() error {
	h.cancel()
	err := h.Listener.Close()
	h.all.Wait()
	return err
}

// unnegotiated is a TLS connection whose protocol is to be seen from its first bytes. It has no method ConnectionState,
// by which net/http would take it for HTTP/1.
type unnegotiated struct{ net.Conn }

// CloseWrite tells the client that nothing more will come, as net/http does before it closes.
func (u *unnegotiated) CloseWrite() error { return u.Conn.(*tls.Conn).CloseWrite() }

// connKey is the key of a request's unnegotiated connection in its context.
type connKey struct{}

// withConn keeps an unnegotiated connection for its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(*unnegotiated); ok {
		return context.WithValue(ctx, connKey{}, u)
	}
	return ctx
}

// setTLS gives the requests of unnegotiated connections the state that net/http gives all others.
func setTLS(r *http.Request) {
	if u, ok := r.Context().Value(connKey{}).(*unnegotiated); ok {
		state := u.Conn.(*tls.Conn).ConnectionState()
		r.TLS = &state
	}
}
