// Package peerstest makes stores that several nodes share, and nodes on them, for
// tests of what stands on package peers: once in this process's own folder, and once
// across HTTP, by package object/s3 against the S3 API of a Millrace node.
package peerstest

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	api "millrace/internal/api/s3"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/object/dir"
	"millrace/internal/object/objecttest"
	"millrace/internal/object/s3"
	"millrace/internal/peers"
	"millrace/internal/store"
)

// Bucket is the bucket that all share, Prefix where the cluster lies in it.
const (
	Bucket = "cluster"
	Prefix = "one/"
)

// Every and Lease are short, so that tests see nodes die.
const (
	Every = 100 * time.Millisecond
	Lease = time.Second
)

// Stores names the ways to reach a store.
var Stores = map[string]func(testing.TB) func() object.Store{"dir": Dir, "s3": S3}

// Dir gives a store in a folder; every call gives the same.
func Dir(t testing.TB) func() object.Store {
	objects := folder(t)
	return func() object.Store { return objects }
}

// S3 gives clients of a node's S3 API over a folder.
func S3(t testing.TB) func() object.Store {
	service, err := api.New(api.Options{Store: folder(t), Account: ids.NewAccount("us-east-1", "000000000000"), IDs: ids.New(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	return func() object.Store {
		client, err := s3.Open(s3.Options{Endpoint: server.URL, Region: "us-east-1", PathStyle: true, AccessKeyID: "a", SecretAccessKey: "b", Backoff: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
}

func folder(t testing.TB) object.Store {
	t.Helper()
	root := t.TempDir()
	db, err := store.Open(filepath.Join(root, "meta"), store.Options{Profile: store.Meta})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	objects, err := dir.Open(dir.Options{Root: filepath.Join(root, "s3"), DB: db, Prefix: []byte("o/"), Now: time.Now, IDs: ids.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = objects.Close() })
	if err := objects.CreateBucket(t.Context(), object.Bucket{Name: Bucket, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return objects
}

// Node is one that shares the store; Store is its own way to it.
type Node struct {
	Name  string
	Store *objecttest.Faulty
	Peers *peers.Peers
	Close func() // leaves; also done at the end of the test
}

// Open opens a node, with the short times.
func Open(t testing.TB, shared object.Store, name string) *Node {
	t.Helper()
	n := &Node{Name: name, Store: objecttest.NewFaulty(shared)}
	var err error
	n.Peers, err = peers.Open(t.Context(), peers.Options{Store: n.Store, Bucket: Bucket, Prefix: Prefix, Node: name, IDs: ids.New(),
		Log: slog.New(slog.DiscardHandler), Every: Every, Lease: Lease})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	n.Close = func() { once.Do(func() { _ = n.Peers.Close(context.Background()) }) }
	t.Cleanup(n.Close)
	return n
}
