package app

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"millrace/internal/delivery"
	"millrace/internal/gateway"
)

// operator serves what lies below /_millrace/ on the AWS endpoint: for people and machines that run the node.
func (n *Node) operator() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_millrace/health", n.serveHealth)
	mux.HandleFunc("GET /_millrace/ledger", n.serveLedger)
	mux.HandleFunc("GET /_millrace/ledger/record", n.serveRecord)
	mux.HandleFunc("GET /_millrace/ledger/object", n.serveObject)
	mux.HandleFunc("GET /_millrace/ledger/hours", n.serveHours)
	mux.HandleFunc("GET /_millrace/endpoints", n.serveEndpoints)
	mux.Handle("GET /_millrace/metrics", n.metrics.Handler())
	mux.HandleFunc("GET /_millrace/tail/{stream}", n.serveTail)
	mux.HandleFunc("POST /_millrace/replay", n.serveReplay)
	mux.HandleFunc("GET /_millrace/{$}", n.serveIndex)
	return mux
}

func (n *Node) serveIndex(w http.ResponseWriter, _ *http.Request) {
	n.json(w, http.StatusOK, map[string]string{
		"version": n.opts.Version, "health": "/_millrace/health", "ledger": "/_millrace/ledger",
		"endpoints": "/_millrace/endpoints", "metrics": "/_millrace/metrics",
	})
}

// json answers with a document, indented: most who read it here are people.
func (n *Node) json(w http.ResponseWriter, status int, doc any) {
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		n.log.Error("an answer can't be encoded", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error": "the answer can't be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller may be gone; there is nobody else to tell
}

// Health is the answer of /_millrace/health.
type Health struct {
	Status  string            `json:"status"` // "ok", or "failing" with status 503
	Version string            `json:"version"`
	Uptime  string            `json:"uptime"`
	Engine  string            `json:"engine"`
	Limits  string            `json:"limits"` // which of the service's are in force
	Checks  map[string]string `json:"checks"` // "ok", or what is wrong
	// Warnings do not fail the check: nothing is lost and events are taken. A bucket that is gone is one.
	Warnings map[string]string `json:"warnings,omitempty"`
}

// healthTime bounds a check: a disk that takes longer for one fsync is not healthy.
const healthTime = 5 * time.Second

// Health makes a small write durable in each store, and tells what is held up.
func (n *Node) Health(ctx context.Context) Health {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	h := Health{Status: "ok", Version: n.opts.Version, Uptime: time.Since(n.started).Round(time.Second).String(), Engine: n.Engine(), Limits: n.Limits(), Checks: map[string]string{}}
	check := func(name string, err error) {
		h.Checks[name] = "ok"
		if err != nil {
			h.Checks[name], h.Status = err.Error(), "failing"
		}
	}
	for _, c := range n.checks {
		check(c.name, c.ask(ctx))
	}
	h.Checks["disk space"] = "ok"
	if n.space.Low() {
		h.Checks["disk space"], h.Status = "below the low-space mark; writes are refused", "failing"
	}
	h.Warnings = n.Warnings(ctx)
	for name, trouble := range n.engine.Trouble() {
		h.Warnings["delivery stream "+name] = trouble.Error
	}
	if text := n.engine.SpoolTrouble(); text != "" {
		h.Warnings["spool of delivery"] = text
	}
	return h
}

func (n *Node) serveHealth(w http.ResponseWriter, r *http.Request) {
	h := n.Health(r.Context())
	status := http.StatusOK
	if h.Status != "ok" {
		status = http.StatusServiceUnavailable
	}
	n.json(w, status, h)
}

// LedgerAnswer is the answer of /_millrace/ledger.
type LedgerAnswer struct {
	*delivery.Ledger
	AddsUp  bool   `json:"addsUp"`
	Problem string `json:"problem,omitempty"`
}

func (n *Node) serveLedger(w http.ResponseWriter, r *http.Request) {
	l, err := n.engine.Ledger(r.Context())
	if err != nil {
		n.json(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
		return
	}
	answer := LedgerAnswer{Ledger: l, AddsUp: true}
	if err := l.Check(); err != nil {
		answer.AddsUp, answer.Problem = false, err.Error()
	}
	n.json(w, http.StatusOK, answer)
}

// Endpoint is one line of /_millrace/endpoints: something that can be called.
type Endpoint struct {
	API      string `json:"api"` // id
	APIName  string `json:"apiName"`
	Stage    string `json:"stage"`
	Method   string `json:"method"`
	Path     string `json:"path"`               // behind the stage
	URL      string `json:"url"`                // on the ingest listener, or else on the AWS endpoint
	ShortURL string `json:"shortUrl,omitempty"` // of the API that owns the short address
	// DomainURLs are those of custom domain names, which have to lead to this node.
	DomainURLs []string `json:"domainUrls,omitempty"`
	Broken     string   `json:"broken,omitempty"` // why it answers 500
}

// Endpoints lists everything that can be called.
func (n *Node) Endpoints() []Endpoint {
	all := []Endpoint{}
	for _, e := range n.gateway.Endpoints() {
		if one := n.endpoint(e); one.URL != "" || len(one.DomainURLs) > 0 {
			all = append(all, one)
		}
	}
	return all
}

func (n *Node) endpoint(e gateway.Endpoint) Endpoint {
	out := Endpoint{API: e.API, APIName: e.APIName, Stage: e.Stage, Method: e.Method, Path: e.Path, Broken: e.Broken}
	if base := n.IngestURL(); base != "" {
		if e.LongPath != "" {
			out.URL = base + e.LongPath
		}
		scheme, address, _ := strings.Cut(base, "://")
		_, port, _ := net.SplitHostPort(address) // it is this node's own
		for _, d := range e.Domains {
			host, path, _ := strings.Cut(d, "/")
			out.DomainURLs = append(out.DomainURLs, scheme+"://"+net.JoinHostPort(host, port)+"/"+path)
		}
		if e.Short != "" {
			out.ShortURL = base + e.Short
		}
		return out
	}
	if e.LongPath != "" {
		out.URL = n.AWSURL() + "/_aws/execute-api" + e.LongPath
	}
	return out
}

func (n *Node) serveEndpoints(w http.ResponseWriter, _ *http.Request) {
	n.json(w, http.StatusOK, n.Endpoints())
}

// best gives the address that people should use.
func (e Endpoint) best() string {
	if e.ShortURL != "" {
		return e.ShortURL
	}
	return e.URL
}

// String gives a line for people: "POST http://127.0.0.1:8080/prod/v1/{stream-name}".
func (e Endpoint) String() string {
	line := e.Method + strings.Repeat(" ", max(1, 7-len(e.Method))) + e.best()
	if e.Broken != "" {
		line += "   (answers 500: " + e.Broken + ")"
	}
	return line
}
