package app

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/object"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
)

// deployFile deploys an OpenAPI file.
func (r *running) deployFile(name string, replace ...string) {
	r.t.Helper()
	edit := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	body, err := os.ReadFile(filepath.Join("testdata", name))
	edit(err)
	api, err := restapi.New(restapi.NewAPI{Name: name, NoModels: true}, r.ids, time.Now())
	edit(err)
	_, err = openapi.ImportBytes(r.t.Context(), []byte(strings.NewReplacer(replace...).Replace(string(body))), openapi.Document{Source: r.ids}, false, api)
	edit(err)
	_, err = api.CreateDeployment(restapi.NewDeployment{StageName: "prod"}, r.ids, time.Now())
	edit(err)
	edit(r.catalog.Update(r.t.Context(), func(tx *catalog.Tx) error { return catalog.APIs{}.Put(tx, api) }))
}

// ask sends a request, headers as "Name: value", and gives status, the headers asked for, and body.
func (r *running) ask(verb, path, body string, headers ...string) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), verb, r.IngestURL()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	out := fmt.Sprint(resp.StatusCode)
	for _, name := range []string{"ETag", "Content-Type", "X-Owner", "Content-Range", "X-Backend"} {
		if v := resp.Header.Get(name); v != "" {
			out += " " + name + "=" + v
		}
	}
	return out + " " + string(text)
}

// Objects come and go through integrations of Amazon S3, and requests through those of HTTP, as a definition file says.
func TestIntegrations(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Backend", r.Method+" "+r.RequestURI)
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(body)
	}))
	defer backend.Close()
	r := start(t, filepath.Join(t.TempDir(), "data"), nil)
	for _, name := range []string{"bucket", "other-files"} {
		if err := r.objects.CreateBucket(t.Context(), object.Bucket{Name: name, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	r.deployFile("integrations.yaml", "BACKEND", backend.URL)
	f := func(got, want string) {
		t.Helper()
		if got != want && !(strings.HasSuffix(want, "…") && strings.HasPrefix(got, strings.TrimSuffix(want, "…"))) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const tag, png = `ETag="b1946ac92492d2347c6235b4d2611184"`, "\x89PNG\xff"
	f(r.ask("PUT", "/prod/files/a/one.txt", "hello\n", "Content-Type: text/plain", "X-Owner: ada"), "200 "+tag+" Content-Type=application/json ")
	f(r.ask("GET", "/prod/files/a/one.txt", ""), "200 "+tag+" Content-Type=text/plain X-Owner=ada hello\n")
	f(r.ask("HEAD", "/prod/files/a/one.txt", ""), "200 "+tag+" Content-Type=text/plain X-Owner=ada ")
	f(r.ask("GET", "/prod/files/a/one.txt", "", "Range: bytes=1-2"), "200 "+tag+" Content-Type=text/plain X-Owner=ada Content-Range=bytes 1-2/6 el")
	f(r.ask("GET", "/prod/named/one.txt", ""), "200 Content-Type=application/json hello\n")
	f(r.ask("GET", "/prod/files?prefix=in%2Fa", ""), "200 Content-Type=application/xml <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult…")
	f(r.ask("GET", "/prod/files/a/none", ""), "404 Content-Type=application/json <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>…")
	f(r.ask("PUT", "/prod/files/a/%C3%BC%20b%2Fc", "x"), `200 ETag="9dd4e461268c8034f5c8564e155c67a6" Content-Type=application/json `)
	if _, err := r.objects.Head(t.Context(), "bucket", "in/a/ü b/c"); err != nil {
		t.Error(err)
	}
	// Bytes: what is binary by its type stays so, for who accepts it.
	f(r.ask("PUT", "/prod/files/a/p.png", png, "Content-Type: image/png"), `200 ETag="`+md5Of(png)+`" Content-Type=application/json `)
	f(r.ask("GET", "/prod/files/a/p.png", "", "Accept: image/png"), `200 ETag="`+md5Of(png)+`" Content-Type=image/png `+png)
	f(r.ask("GET", "/prod/files/a/p.png", ""), `200 ETag="`+md5Of(png)+`" Content-Type=image/png iVBOR/8=`)
	f(r.ask("DELETE", "/prod/files/a/one.txt", ""), "200 Content-Type=application/json ")
	f(r.ask("GET", "/prod/files/a/one.txt", ""), "404 …")
	// A write that failed is not hidden by a default response.
	f(r.ask("PUT", "/prod/sub/x", "y"), "200 Content-Type=application/json ")
	f(r.ask("PUT", "/prod/sub/"+strings.Repeat("k", 1025), "y"), "400 Content-Type=application/json <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>KeyTooLongError</Code>…")
	// A caller chooses the tenant's part of a bucket's name, and no other bucket.
	f(r.ask("GET", "/prod/any/other/x", ""), "200 Content-Type=application/json <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>…")
	f(r.ask("GET", "/prod/any/bucket%2Fin%2Fa/p.png", ""), "200 Content-Type=application/json <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchBucket</Code>…")

	f(r.ask("PATCH", "/prod/web/a/b?x=1", "body", "Content-Type: text/plain"), "200 Content-Type=text/plain X-Backend=PATCH /base/a/b?x=1 body")
	f(r.ask("POST", "/prod/call", `{"a":1}`, "Content-Type: application/json"), `200 Content-Type=application/json {"said":"{\"inner\":{\"a\":1}}"}`)
	backend.Close()
	f(r.ask("POST", "/prod/call", `{"a":1}`), `504 Content-Type=application/json {"message": "Network error communicating with endpoint"}`)
}

func md5Of(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}
