package stores

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"

	"millrace/e2e/node"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/object/objecttest"
	"millrace/internal/object/s3"
)

var (
	endpoint = flag.String("endpoint", "", "URL of the service; empty: the built binary")
	service  = flag.String("service", "", "its name, by which its gaps are known: moto, versitygw")
	key      = flag.String("key", "AKIATEST", "access key id")
	secret   = flag.String("secret", "secret", "its secret")
)

func TestMain(m *testing.M) { node.Main(m) }

// lacks has the rules of the suite that services break. Puts, completions, heads and their metadata are tried on all,
// and so is a put if absent, but for what two at once do.
var lacks = map[string][]string{
	"moto": {
		"of many who put if absent, one wins, and it is the one that is read", // looks first and stores later: both win
		"of many who compare and swap, one wins a round",                      // likewise
		"keys that file systems dislike are all different objects",            // a line feed in a key is 404
		"checksums are kept and given back",                                   // kept only with x-amz-sdk-checksum-algorithm
		"tags of an object are replaced and nothing else changes",             // tags of a key that is not there: 500
		"a composite checksum is over the parts' digests",                     // parts have no checksums
		"a full checksum is over the bytes, and only CRCs have it",            // uploads have none, and do not compare
		"completing again gives the object again",                             // an upload that is gone: 500
		"an aborted upload is gone",                                           // likewise
		"an upload belongs to its key",                                        // it does not look
		"uploads are listed by key, then by when they began",                  // a NUL byte in XML
		"of a deletion and a put that name one version, one wins",             // likewise
		"a deletion with an ETag removes the version that it names",           // "*" is no ETag of any
	},
	"versitygw": { // on a folder
		"keys that file systems dislike are all different objects", // "a" and "a/b" can't both be
		"keys are listed in byte order with size, ETag and time",   // likewise
		"a prefix is any text",                                          // likewise
		"a delimiter rolls keys up",                                     // likewise
		"readers see one version or another, never a mixture",           // the bytes of one with the ETag of another
		"completion refuses wrong lists of parts, and the upload stays", // finds small parts before wrong numbers
		"a composite checksum is over the parts' digests",               // a part must bring its checksum, as in S3 itself
		"completing again gives the object again",                       // also when the key has become another object
		"of a deletion and a put that name one version, one wins",       // looks first and removes later: both win
		"a deletion with an ETag removes the version that it names",     // of a key that is not there it holds, and "*" is no ETag of any
		"uploads are listed by key, then by when they began",            // keys in XML are not encoded
	},
}

// open opens a store on the service.
func open(t *testing.T) *s3.Store {
	t.Helper()
	at := *endpoint
	if at == "" {
		at = up(t).AWS
	}
	return openAt(t, at)
}

func openAt(t *testing.T, at string) *s3.Store {
	t.Helper()
	s, err := s3.Open(s3.Options{Endpoint: at, Region: "us-east-1", PathStyle: true, AccessKeyID: *key, SecretAccessKey: *secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Healthy(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// up starts a node of the test's own.
func up(t *testing.T) *node.Node {
	t.Helper()
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Binary: binary, Data: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// unique makes names of this run, on a service that may have seen others.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().UnixNano()) }

// The suite of all stores.
func TestSuite(t *testing.T) {
	s := open(t) // of the whole test, not of one group
	objecttest.Run(t, func(*testing.T) object.Store { return s }, objecttest.Options{PutTimesAreAbout: true, NoSettings: true, Prefix: unique("suite"), Lacks: lacks[*service]})
}

// Two nodes deliver as delivery does: a compressed body of unknown length, put if absent under a planned key with the
// manifest's id, small or in parts. Whoever comes second finds whose object it is.
func TestTwoNodesDeliver(t *testing.T) {
	one := open(t)
	bucket := unique("deliveries")
	if err := one.CreateBucket(t.Context(), object.Bucket{Name: bucket}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1000, 20 << 20} {
		key := fmt.Sprintf("2026/11/24/01/orders-1-%d.gz", size)
		text := noise(size)
		errs := make([]error, 2)
		var wait sync.WaitGroup
		for i := range errs {
			if *service == "moto" {
				wait.Wait() // for the first, see lacks
			}
			wait.Go(func() {
				o := object.PutOptions{Conditions: object.Conditions{IfNoneMatch: "*"}, Attributes: object.Attributes{
					ContentType: "application/octet-stream", ContentEncoding: "gzip",
					Metadata: map[string]string{"millrace-manifest": fmt.Sprint("manifest-", i), "millrace-records": "7"}}}
				_, errs[i] = one.Put(t.Context(), bucket, key, compressed(text), -1, o)
			})
		}
		wait.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !fault.Is(errs[1-winner], fault.PreconditionFailed) {
			t.Fatalf("%d bytes: %v; %v", size, errs[0], errs[1])
		}
		o, err := one.Get(t.Context(), bucket, key)
		if err != nil {
			t.Fatal(err)
		}
		if o.Metadata["millrace-manifest"] != fmt.Sprint("manifest-", winner) || o.Metadata["millrace-records"] != "7" || o.ContentEncoding != "gzip" {
			t.Errorf("%+v; the winner is %d", o.Info, winner)
		}
		unzip, err := gzip.NewReader(o.Body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(unzip)
		if err = errors.Join(err, o.Body.Close()); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(text))
		}
	}
	uploads, err := one.Uploads(t.Context(), bucket, "")
	if err != nil || len(uploads) > 0 {
		t.Errorf("uploads are left: %+v, %v", uploads, err)
	}
}

// A delivery that breaks off leaves nothing, and one into a bucket that is not there says so.
func TestDeliveryBreaksOff(t *testing.T) {
	s := open(t)
	bucket := unique("broken")
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: bucket}); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the source is gone")
	for _, size := range []int{1000, 20 << 20} {
		_, err := s.Put(t.Context(), bucket, "k", io.MultiReader(bytes.NewReader(noise(size)), iotest.ErrReader(gone)), -1, object.PutOptions{})
		if !errors.Is(err, gone) {
			t.Error(err)
		}
		if _, err := s.Head(t.Context(), bucket, "k"); !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
		_, err = s.Put(t.Context(), unique("none"), "k", bytes.NewReader(noise(size)), -1, object.PutOptions{})
		if !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
	}
	if uploads, err := s.Uploads(t.Context(), bucket, ""); err != nil || len(uploads) > 0 {
		t.Errorf("uploads are left: %+v, %v", uploads, err)
	}
}

// compressed is a body that is made while it is read.
func compressed(text []byte) io.Reader {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(text) // a buffer takes all
	z.Close()
	return iotest.HalfReader(&b)
}

// noise can't be compressed, so that its size stays.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}
