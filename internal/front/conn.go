package front

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxConnections bounds the open connections of one listener. Each costs some 20 KiB; beyond the bound callers wait
// in the kernel's queue until another has gone.
const maxConnections = 8192

// limited is a listener with a bound on open connections. Its connections bound the time that writes take.
type limited struct {
	net.Listener
	slots  chan struct{}
	stats  *stats
	log    *slog.Logger
	closed chan struct{}
	once   sync.Once
}

func limit(l net.Listener, most int, s *stats, log *slog.Logger) *limited {
	return &limited{Listener: l, slots: make(chan struct{}, most), stats: s, log: log, closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	if err := l.slot(); err != nil {
		return nil, err
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.stats.connections.Add(1)
	return &conn{Conn: c, of: l}, nil
}

// slot waits until there may be one connection more.
func (l *limited) slot() error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	l.stats.connectionWaits.Add(1)
	l.log.Warn("all connections are taken; further callers wait", "listener", l.Addr().String(), "most", cap(l.slots))
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-l.closed:
		return net.ErrClosed
	}
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// conn is an accepted connection. One goroutine at a time writes to it, as net/http does.
type conn struct {
	net.Conn
	of      *limited
	once    sync.Once
	renewed time.Time   // when writing last got more time
	own     atomic.Bool // whoever writes has set a deadline of its own
}

// SetWriteDeadline sets a deadline of the writer's own, which Write then leaves alone; the zero time gives it up. It
// does not lift the deadline that Write has set: net/http gives up deadlines after every request, and the answers to
// the next ones, which share the time of this one's, would have none.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		c.own.Store(true)
		return c.Conn.SetWriteDeadline(t)
	}
	if c.own.CompareAndSwap(true, false) {
		c.renewed = time.Time{} // the next write gets new time
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// Write sends p in pieces, each within writeTime: who does not read its answer loses the connection, however long
// the answer is. A small answer soon after another shares its time: moving a deadline costs as much as building one.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:min(n+writeStep, len(p))]
		if now := time.Now(); !c.own.Load() && (len(p) > writeStep || now.Sub(c.renewed) > writeRenewal) {
			c.renewed = now
			if err := c.Conn.SetWriteDeadline(now.Add(writeTime)); err != nil {
				return n, err
			}
		}
		m, err := c.Conn.Write(piece)
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.of.stats.connections.Add(-1)
		<-c.of.slots
	})
	return c.Conn.Close()
}
