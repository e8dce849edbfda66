package kafkacluster

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// What brokers are told, as files; go test -rewrite writes them anew.
func TestProperties(t *testing.T) {
	datadriven.RunTest(t, "testdata/properties", func(t *testing.T, d *datadriven.TestData) string {
		l := layout{port: 20000, folder: "/folder", brokers: 3, security: d.HasArg("security")}
		var broker int
		d.ScanArgs(t, "broker", &broker)
		d.MaybeScanArgs(t, "brokers", &l.brokers)
		if d.Input != "" {
			l.settings = map[string]string{}
			for line := range strings.Lines(d.Input) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				l.settings[key] = value
			}
		}
		text := string(l.properties(broker))
		if !d.HasArg("only") {
			return text
		}
		var prefix string
		d.ScanArgs(t, "only", &prefix)
		var kept strings.Builder
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, prefix) {
				kept.WriteString(line)
			}
		}
		return kept.String()
	})
}

// A client that trusts the authority, and no other, speaks to who holds the keystore.
func TestCertificates(t *testing.T) {
	authority, keystore, err := certificates()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(keystore, keystore)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed by the test
			}
			_ = conn.(*tls.Conn).Handshake() // the client tells whether it went well
			_ = conn.Close()
		}
	}()
	dial := func(pool *x509.CertPool) error {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool})
		if err != nil {
			return err
		}
		return conn.Close()
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		t.Fatal("the authority is no certificate")
	}
	if err := dial(pool); err != nil {
		t.Error(err)
	}
	if err := dial(x509.NewCertPool()); err == nil {
		t.Error("a client that trusts nobody is satisfied")
	}
}

func TestClusterIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		id := newID()
		if len(id) != 22 || strings.HasPrefix(id, "-") || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
}

// Two clusters never share a port, and none takes one that another program listens on.
func TestBlocksOfPorts(t *testing.T) {
	a, b := Cluster{layout: layout{brokers: 3}}, Cluster{layout: layout{brokers: 3}}
	for _, c := range []*Cluster{&a, &b} {
		if err := c.takeBlock(); err != nil {
			t.Fatal(err)
		}
		defer c.guard.Close()
	}
	if a.port == b.port {
		t.Fatal("both have the same block")
	}
	taken := Cluster{layout: layout{brokers: 3, port: a.port}}
	if err := taken.holdBlock(); err == nil {
		t.Error("a block was taken twice")
	}
	if err := b.guard.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", b.address(2, controller))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := b.holdBlock(); err == nil {
		t.Error("a port is in use, and its block was taken")
	}
}

// A machine without Kafka is told what to do.
func TestNotInstalled(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder)
	c, err := New(t.Context(), Options{})
	if err != ErrNotInstalled {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := New(t.Context(), Options{Brokers: stride + 1}); err == nil || !strings.Contains(err.Error(), "1 to 10") {
		t.Errorf("too many brokers: %v", err)
	}
}
