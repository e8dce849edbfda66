package s3

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	api "millrace/internal/api/s3"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/object/dir"
	"millrace/internal/object/objecttest"
	"millrace/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testKey    = "AKIATEST"
	testSecret = "right"
)

// millrace is a node's S3 API over a folder: a service that speaks S3, across a real connection.
func millrace(t testing.TB) http.Handler {
	t.Helper()
	db, err := store.Open("meta", store.Options{Profile: store.Meta, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	objects, err := dir.Open(dir.Options{Root: t.TempDir(), DB: db, Prefix: []byte("o/"), Now: time.Now, IDs: ids.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { objects.Close() })
	service, err := api.New(api.Options{Store: objects, Account: ids.NewAccount("us-east-1", "000000000000"), IDs: ids.New(), Now: time.Now,
		Credentials: func(key string) (string, bool) { return testSecret, key == testKey }})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// serve gives the URL of a server on this machine.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// open opens a store on a service, with waits that suit tests.
func open(t testing.TB, endpoint string, change func(*Options)) *Store {
	t.Helper()
	o := Options{Endpoint: endpoint, Region: "us-east-1", PathStyle: true, AccessKeyID: testKey, SecretAccessKey: testSecret,
		Backoff: time.Millisecond}
	if change != nil {
		change(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The suite of all stores, on a Millrace node.
func TestStore(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return open(t, serve(t, millrace(t)), nil) }, objecttest.Options{PutTimesAreAbout: true, NoSettings: true})
}

func writePEM(t *testing.T, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
