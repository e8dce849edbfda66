package crash

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/e2e/node"
)

var outage = flag.Duration("outage", 3*time.Second, "how long TestStoreOutage keeps the store away; CI has a minute")

// quietMost is the longest time without any answer in an outage, on a machine that has other things to do.
const quietMost = 10 * time.Second

// A store across the network that nobody reaches for a minute holds delivery up and nothing else; what was being put and
// staged when it went is there once when it is back. Then it goes again, the node is killed, and the next one finds it back.
func TestStoreOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	t.Parallel()
	p := newProcessing(t, *seed, "failpoints")
	store := p.withStore()
	n, err := p.up()
	if err != nil {
		t.Fatal(err)
	}
	err = p.under(n, func() error {
		time.Sleep(p.aWhile())
		store.cut()
		_, before := p.book.totals()
		last, quiet := time.Now(), time.Duration(0)
		for began := last; time.Since(began) < *outage; time.Sleep(patience) {
			if _, now := p.book.totals(); now > before {
				before, last = now, time.Now()
			}
			quiet = max(quiet, time.Since(last))
		}
		fmt.Printf("the store was away for %v; at most %.1f s went by without an answer\n", *outage, quiet.Seconds())
		if quiet > quietMost {
			return fmt.Errorf("while the store is away no record is taken for %v", quiet)
		}
		store.mend()
		time.Sleep(p.aWhile() + functionTime)
		store.cut()
		time.Sleep(p.aWhile())
		n.Kill()
		store.mend()
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, n.Output())
	}
	p.verdict(p.finish())
}

// withStore gives the campaign a node of its own for objects, behind a wire that can be cut.
func (p *processing) withStore() *wireCutter {
	p.t.Helper()
	definition, err := filepath.Abs("testdata/store.yaml")
	if err != nil {
		p.t.Fatal(err)
	}
	p.objects = filepath.Join(filepath.Dir(p.data), "store")
	store, err := node.Start(p.t.Context(), node.Options{Binary: p.binary, Data: p.objects, File: definition})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(store.Kill)
	w, err := newWireCutter(p.t, strings.TrimPrefix(store.AWS, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.env = []string{"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any"}
	if err := p.configure(fmt.Sprintf("objects: {endpoint: %q, region: us-east-1}\n", "http://"+w.listener.Addr().String())); err != nil {
		p.t.Fatal(err)
	}
	return w
}

// wireCutter passes connections on, until it is cut: then all break, whatever they are about, and new ones too.
type wireCutter struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	isCut    bool
	open     map[net.Conn]bool
}

func newWireCutter(t testing.TB, to string) (*wireCutter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wireCutter{listener: l, to: to, open: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.pass(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		running.Wait()
	})
	return w, nil
}

func (w *wireCutter) pass(c net.Conn) {
	defer c.Close()
	s, err := net.DialTimeout("tcp", w.to, dialTimeout)
	if err != nil {
		return
	}
	defer s.Close()
	w.mu.Lock()
	if w.isCut {
		w.mu.Unlock()
		return
	}
	w.open[c], w.open[s] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(s, c); _ = s.Close() }) // an end of one is the end of the other
	both.Go(func() { _, _ = io.Copy(c, s); _ = c.Close() })
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
	delete(w.open, s)
}

func (w *wireCutter) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for c := range w.open {
		_ = c.Close() // twice does no harm
	}
}

func (w *wireCutter) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

// Bounds of TestSpoolIsFull.
const (
	// fileBlocks bounds the files that the node may write: 28 MiB where the shell's blocks have 512 bytes, 56 MiB where they
	// have 1024. A spool's file gets larger than either, and nothing else does: what the node logs rolls at 16 MiB.
	fileBlocks = 57344
	// fullWithin is when the spool must have come to the bound.
	fullWithin = 90 * time.Second
	fileBound  = "file too large" // so says the system
)

// A disk that has no room for the spool, as a bound of the size of files makes one for anybody: partitions and what a function
// has made leave in smaller objects, or are read again. The node is killed in the middle of it once.
func TestSpoolIsFull(t *testing.T) {
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	t.Parallel()
	p := newProcessing(t, *seed, "failpoints")
	p.groups, p.flows = nil, nil
	for _, f := range flows {
		if f.name == "parted" || f.name == "moody-parted" || f.name == "moody-columns" {
			f.large = true
			p.flows = append(p.flows, f)
		}
	}
	p.groups = []group{{1, p.flows[0].put, nil}, {1, p.flows[2].put, nil}}
	var err error
	if p.binary, err = bounded(p.t, p.binary); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n, err := p.up()
		if err != nil {
			t.Fatal(err)
		}
		err = p.under(n, func() error {
			for began := time.Now(); !strings.Contains(n.Output(), fileBound); time.Sleep(patience) {
				if time.Since(began) > fullWithin {
					return fmt.Errorf("the spool did not come to its bound within %v", fullWithin)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, n.Output())
		}
		time.Sleep(p.aWhile())
		n.Kill()
	}
	p.verdict(p.finish()) // by a node that is bounded, too
}

// bounded gives a program that runs another whose files are bounded.
func bounded(t testing.TB, binary string) (string, error) {
	script := filepath.Join(t.TempDir(), "millrace-bounded")
	return script, os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nulimit -f %d\nexec %s \"$@\"\n", fileBlocks, binary), 0o700)
}
