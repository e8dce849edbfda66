package javasdk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/e2e/foreign"
	"millrace/e2e/node"
)

var java = flag.Bool("java", false, "run the AWS SDK for Java, which e2e/javasdk/run has installed")

func TestMain(m *testing.M) {
	flag.Parse()
	if !*java {
		fmt.Println("nothing to test without -java: e2e/javasdk/run installs the SDK and sets it")
		return
	}
	node.Main(m)
}

// patience bounds the whole run of the program.
const patience = 8 * time.Minute

// ways are all that the program takes.
var ways = []string{"http-cbor", "http-json", "https-cbor", "https-json"}

// found is what the program said of one way.
type found struct {
	checks  map[string]string // the name to why it failed; "" is well
	refused map[string]string // the name to the server's refusal of an operation as a whole
	served  []string
	ended   bool
}

func TestEveryOperation(t *testing.T) {
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := certificate(t)
	plain := up(t, node.Options{Binary: binary})
	secure := up(t, node.Options{Binary: binary, Args: []string{"--tls-cert", certificate, "--tls-key", key}})
	program, err := foreign.Java{Module: ".", Main: "millrace.e2e.Main", Args: []string{plain.AWS, secure.AWS, certificate}}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Stop() }) // it has ended, unless the test has broken off
	results := map[string]*found{}
	for _, way := range ways {
		results[way] = &found{checks: map[string]string{}, refused: map[string]string{}}
	}
	if err := program.Finish(patience, func(line string) { take(t, results, line) }); err != nil {
		t.Error(err)
	}
	want, unserved := supported(t, binary)
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			f := results[way]
			if !f.ended {
				t.Fatal("the program did not come to this way's end")
			}
			for name, why := range f.checks {
				t.Run(name, func(t *testing.T) {
					if why != "" {
						t.Error(why)
					}
				})
			}
			for name, why := range f.refused {
				operation, _, _ := strings.Cut(why, " ")
				if !slices.Contains(unserved, operation) {
					t.Errorf("%s: %s", name, why)
				}
			}
			if !slices.Equal(f.served, want) {
				t.Errorf("answered are %v\nserved are %v", f.served, want)
			}
		})
	}
}

// take takes a line of the program: the way, the kind, the state, the name, and why.
func take(t *testing.T, results map[string]*found, line string) {
	fields := strings.SplitN(line, "\t", 5)
	f := results[fields[0]]
	if f == nil || len(fields) < 5 {
		t.Errorf("the program says %q", line)
		return
	}
	why := strings.ReplaceAll(fields[4], `\n`, "\n")
	switch name := fields[3]; fields[1] + " " + fields[2] {
	case "check ok":
		f.checks[name] = ""
	case "check failed":
		f.checks[name] = why
	case "check refused":
		f.refused[name] = why
	case "operation served":
		f.served = append(f.served, name)
	case "operation refused": // its check has said so
	case "end ok":
		f.ended = true
	default:
		t.Errorf("the program says %q", line)
	}
}

// supported asks the binary which operations it serves.
func supported(t *testing.T, binary string) (served, refused []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, "support", "kinesis").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2 || !strings.HasPrefix(line, "  "):
		case fields[1] == "served":
			served = append(served, fields[0])
		case fields[1] == "refused":
			refused = append(refused, fields[0])
		}
	}
	if len(served) == 0 {
		t.Fatalf("no operation is served:\n%s", out)
	}
	return served, refused
}

func up(t *testing.T, opts node.Options) *node.Node {
	t.Helper()
	opts.Data = filepath.Join(t.TempDir(), "data")
	opts.Args = append(opts.Args, "--no-example")
	n, err := node.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(n.Output())
		}
	})
	return n
}

// certificate makes one of this machine's loopback address, which is its own authority.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "millrace"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	cert, err := x509.CreateCertificate(rand.Reader, form, form, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, block *pem.Block) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", &pem.Block{Type: "CERTIFICATE", Bytes: cert}), write("key.pem", &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
