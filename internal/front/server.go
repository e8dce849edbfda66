package front

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/gateway"
	"millrace/internal/ids"
)

// Off is the address of a listener that is not wanted; so is "".
const Off = "off"

// Listener says where and how to listen.
type Listener struct {
	Addr            string // "127.0.0.1:8080"; port 0 takes a free one; "" or "off": not at all
	TLSCert, TLSKey string // files, followed when they change; empty: no TLS
}

func (l Listener) off() bool { return l.Addr == "" || l.Addr == Off }

// Options make a [Server]. Fields without a default are required.
type Options struct {
	AWS    Listener // every AWS API, execute-api addresses and /_millrace/
	Ingest Listener // execute-api only

	Gateway  Gateway
	Services map[Service]http.Handler // those that the AWS endpoint has: Kinesis, Firehose, APIGateway, S3
	Millrace http.Handler             // what lies below /_millrace/, paths as sent; default: nothing does
	// Credentials looks up secrets. nil: none are configured, and the AWS listener binds to loopback only and
	// refuses Hosts and Origins of strangers. The services must have been given the same.
	Credentials awswire.Lookup
	AllowHosts  []string // further Host names to trust without credentials

	Budget *Budget // of body bytes; the gateway and s3 share it
	IDs    *ids.Source
	Now    func() time.Time
	Log    *slog.Logger // default: discard

	listen func(ctx context.Context, network, addr string) (net.Listener, error) // default: the network's; tests have their own
}

// Server is the listeners of a node.
type Server struct {
	budget *Budget
	stats  *stats
	log    *slog.Logger

	aws, ingest *port // nil: off
	ctx         context.Context
	cancel      context.CancelFunc // tells what still runs to give up

	stopping context.Context // ends when a stop begins
	stop     context.CancelFunc
	idle     chan struct{} // a hint, once stopping, that no request is in flight
}

// port is one listener and its server.
type port struct {
	name   string
	ln     net.Listener
	server *http.Server
	tls    bool
}

// Bounds of one connection, beside those of pace.go.
const (
	// maxHeadBytes bounds what net/http reads of a request's head. The gateway answers beyond API Gateway's 10,240
	// bytes by itself; this is what costs memory before it gets to see them.
	maxHeadBytes = 64 << 10
	// maxStreams bounds the requests of one HTTP/2 connection that are served at one time, subscriptions to shards
	// included: SDKs open a further connection when one is full.
	maxStreams = 100
	// maxFrameBytes bounds what an HTTP/2 caller may send in one frame, and with it the buffer that the connection
	// keeps for the largest one. A frame of a body fits into its window; heads come in pieces if need be.
	maxFrameBytes = streamWindowBytes
	// windowBytes is what an HTTP/2 caller may send of all its bodies before anybody reads them. Such bytes lie
	// outside of the budget.
	windowBytes       = 256 << 10
	streamWindowBytes = 64 << 10
)

// Listen binds the listeners. Callers can connect from now on, but are served only by [Server.Serve].
func Listen(ctx context.Context, o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Server{budget: o.Budget, stats: new(stats), log: o.Log, idle: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.stopping, s.stop = context.WithCancel(s.ctx)
	err := s.listen(ctx, &o)
	if err != nil {
		s.cancel()
		s.closeListeners()
		return nil, err
	}
	return s, nil
}

func (o *Options) check() error {
	const op = "front.Listen"
	if o.Gateway == nil || o.Budget == nil || o.IDs == nil || o.Now == nil {
		return fault.New(fault.Internal, op, "", "Gateway, Budget, IDs and Now are required")
	}
	if o.Budget.Max() < MinBodyBudget {
		return fault.New(fault.Invalid, op, "", "the budget of body bytes is %d; at least %d are needed to take the largest body",
			o.Budget.Max(), MinBodyBudget)
	}
	if o.AWS.off() && o.Ingest.off() {
		return fault.New(fault.Invalid, op, "", "both listeners are off; there is nothing to serve")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (s *Server) listen(ctx context.Context, o *Options) (err error) {
	f := &faults{o.Log, s.stats}
	handler := func(l gateway.Listener, p *port) *events {
		return &events{gateway: o.Gateway, budget: o.Budget, ids: o.IDs, now: o.Now, stats: s.stats, faults: f,
			listener: l, port: strconv.Itoa(p.number()), ctx: s.ctx}
	}
	if !o.Ingest.off() {
		if s.ingest, err = s.bind(ctx, "ingest", o.Ingest, o); err != nil {
			return err
		}
		s.ingest.server.Handler = s.counted(handler(gateway.Ingest, s.ingest))
		s.ingest.server.ReadTimeout = bodyTime // larger bodies get more, see pace
	}
	if o.AWS.off() {
		return nil
	}
	if s.aws, err = s.bind(ctx, "aws", o.AWS, o); err != nil {
		return err
	}
	if o.Credentials == nil && !s.aws.loopback() {
		return fault.New(fault.Denied, "front.Listen", o.AWS.Addr, "this AWS listener is reachable from other machines, and without "+
			"credentials anyone there could read and delete everything; configure credentials, or listen on a loopback address")
	}
	g := newGuard(o.AllowHosts)
	s.aws.server.Handler = s.counted(&endpoint{
		services: o.Services, events: handler(gateway.AWS, s.aws),
		operator: newOperators(o.Millrace, o.Credentials, g, s.stats, o.Now),
		guard:    g, open: o.Credentials == nil, budget: o.Budget, ids: o.IDs, stats: s.stats, faults: f, ctx: s.ctx, stopping: s.stopping,
	})
	return nil
}

// bind opens one listener.
func (s *Server) bind(ctx context.Context, name string, l Listener, o *Options) (*port, error) {
	p := &port{name: name, tls: l.TLSCert != "" || l.TLSKey != ""}
	p.server = &http.Server{
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeadBytes,
		ErrorLog:          serverLog(o.Log, name),
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: windowBytes,
			MaxReceiveBufferPerStream:     streamWindowBytes,
			MaxReadFrameSize:              maxFrameBytes,
			WriteByteTimeout:              writeTime,
		},
		Protocols: new(http.Protocols),
	}
	p.server.Protocols.SetHTTP1(true)
	if p.tls {
		config, err := loadTLS(l.TLSCert, l.TLSKey, o.Log, o.Now)
		if err != nil {
			return nil, fault.New(fault.Invalid, "front.Listen", l.Addr, "%w", err)
		}
		p.server.TLSConfig = config
		p.server.Protocols.SetHTTP2(true)
		p.server.ConnContext = withConn
	}
	// By prior knowledge, as the SDKs for Java speak it: to plain endpoints, and to those with TLS, see handshakes.
	p.server.Protocols.SetUnencryptedHTTP2(true)
	listen := o.listen
	if listen == nil {
		listen = new(net.ListenConfig).Listen
	}
	ln, err := listen(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "front.Listen", l.Addr, "%w", err)
	}
	p.ln = limit(ln, maxConnections, s.stats, o.Log)
	if p.tls {
		p.ln = handshaking(p.ln, p.server.TLSConfig)
	}
	return p, nil
}

func (p *port) number() int { return p.ln.Addr().(*net.TCPAddr).Port }

func (p *port) loopback() bool { return p.ln.Addr().(*net.TCPAddr).IP.IsLoopback() }

// url is how this machine reaches the listener.
func (p *port) url() string {
	if p == nil {
		return ""
	}
	scheme, host := "http://", "127.0.0.1"
	if p.tls {
		scheme = "https://"
	}
	if ip := p.ln.Addr().(*net.TCPAddr).IP; !ip.IsUnspecified() {
		host = ip.String()
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(p.number()))
}

// AWSURL is the AWS endpoint, "http://127.0.0.1:4566"; "" when it is off.
func (s *Server) AWSURL() string { return s.aws.url() }

// IngestURL is the ingest listener, "http://127.0.0.1:8080"; "" when it is off.
func (s *Server) IngestURL() string { return s.ingest.url() }

func (s *Server) ports() []*port {
	var all []*port
	for _, p := range []*port{s.ingest, s.aws} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

func (s *Server) closeListeners() {
	for _, p := range s.ports() {
		_ = p.ln.Close() // a listener that is closed twice says so, and no more
	}
}

// Serve serves until [Server.Shutdown], and then returns nil; or until a listener fails, and then returns its error
// when all have ended.
func (s *Server) Serve() error {
	ports := s.ports()
	ended := make(chan error, len(ports))
	for _, p := range ports {
		go func() { ended <- p.serve() }()
	}
	var first error
	for range ports {
		err := <-ended
		if err == nil || first != nil {
			continue
		}
		first = err
		s.closeListeners()
	}
	return first
}

func (p *port) serve() error {
	err := p.server.Serve(p.ln)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fault.New(fault.Unavailable, "front.Serve", p.name, "%w", err)
}

// counted keeps count of the requests in flight.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.stats.inFlight.Add(1)
		defer s.left()
		if r.TLS == nil {
			setTLS(r)
		}
		if r.ProtoMajor == 2 {
			// Not when the handler panics: net/http resets the stream.
			paced := &streamWriter{ResponseWriter: w}
			next.ServeHTTP(paced, r)
			paced.end()
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) left() {
	if s.stats.inFlight.Add(-1) == 0 && s.stopping.Err() != nil {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

// forcedTime is how long requests get to end once they have been told to give up.
const forcedTime = 5 * time.Second

// Shutdown accepts no more connections, answers what is in flight with Connection: close, and returns when all of it
// has ended. When ctx ends first, requests are told to give up and connections are cut; what even then does not end
// is the error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	defer s.cancel()
	var each sync.WaitGroup
	for _, p := range s.ports() {
		each.Go(func() {
			if p.server.Shutdown(ctx) != nil {
				s.cancel()
				_ = p.server.Close() // of listeners, which are closed
			}
		})
	}
	each.Wait()
	s.closeListeners() // where Serve was never called, nobody else has
	if s.drained(ctx) {
		return nil
	}
	s.cancel()
	// Not derived from ctx, which has ended.
	forced, stop := context.WithTimeout(context.WithoutCancel(ctx), forcedTime)
	defer stop()
	if !s.drained(forced) {
		return fault.New(fault.Unavailable, "front.Shutdown", "", "%d requests have not ended", s.stats.inFlight.Load())
	}
	return nil
}

// drained waits until no request is in flight; false when ctx ends first.
func (s *Server) drained(ctx context.Context) bool {
	for s.stats.inFlight.Load() > 0 {
		select {
		case <-s.idle:
		case <-ctx.Done():
			return s.stats.inFlight.Load() == 0
		}
	}
	return true
}
