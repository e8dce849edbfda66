package lake

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"millrace/e2e/node"
)

func TestMain(m *testing.M) { node.Main(m) }

var client = &http.Client{Timeout: 30 * time.Second}

// example is a node that runs an example.
type example struct {
	*testing.T
	*node.Node
	opts node.Options
}

func start(t *testing.T, name string, args ...string) *example {
	t.Helper()
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	t.Parallel()
	root, err := node.Root()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	e := &example{T: t, opts: node.Options{Binary: binary, Data: filepath.Join(t.TempDir(), "data"), File: filepath.Join(root, "examples", name), Args: args}}
	e.start()
	return e
}

func (e *example) start() {
	e.Helper()
	n, err := node.Start(e.Context(), e.opts)
	if n != nil {
		e.Cleanup(n.Kill)
	}
	if err != nil {
		e.Fatal(err)
	}
	e.Node = n
}

// again stops the node, which delivers what is buffered, and starts it with the same file, which changes nothing.
func (e *example) again() {
	e.Helper()
	if err := e.Stop(); err != nil {
		e.Fatal(err)
	}
	e.start()
	if plan, _, _ := strings.Cut(e.Stdout(), "\n\n"); strings.Contains(plan, "\n  + ") || strings.Contains(plan, "\n  ~ ") {
		e.Errorf("a second run changes something:\n%s", plan)
	}
	if err := e.Stop(); err != nil {
		e.Fatal(err)
	}
}

func (e *example) post(url, contentType, body string, header ...string) (status int) {
	e.Helper()
	req, err := http.NewRequestWithContext(e.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		e.Fatal(err)
	}
	return resp.StatusCode
}

// want posts an event and checks the status.
func (e *example) want(status int, path, contentType, body string) {
	e.Helper()
	if got := e.post(e.Ingest+path, contentType, body); got != status {
		e.Errorf("%s %s: %d, want %d", path, body, got, status)
	}
}

// files gives the content of a bucket's objects by key, unpacked. Numbers and ids of the last part of keys are left out, so
// that objects of one folder are together.
func (e *example) files(bucket string) map[string][]string {
	e.Helper()
	folder, found := filepath.Join(e.Data, "s3", bucket), map[string][]string{}
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				return err
			}
			if body, err = io.ReadAll(z); err != nil {
				return err
			}
		}
		key, err := filepath.Rel(folder, filepath.Dir(name))
		key = filepath.ToSlash(key)
		found[key] = append(found[key], string(body))
		return err
	})
	if err != nil {
		e.Fatal(err)
	}
	return found
}

// event is a row of the table, as far as this test reads it.
type event struct {
	ID     string   `parquet:"id,optional"`
	User   string   `parquet:"user,optional"`
	Page   string   `parquet:"page,optional"`
	Ms     *int64   `parquet:"ms,optional"`
	Amount *int64   `parquet:"amount,optional,decimal(2:12)"`
	Tags   []string `parquet:"tags,list"`
}

func rows(t *testing.T, files []string) (all []event) {
	t.Helper()
	for _, body := range files {
		rows, err := parquet.Read[event](strings.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b event) int { return strings.Compare(a.User+a.Page, b.User+b.Page) })
	return all
}

// failures gives rawData by error code of error objects.
func failures(t *testing.T, files []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(strings.Join(files, "")) {
		var f struct {
			RawData                  []byte
			ErrorCode, LastErrorCode string
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all[f.ErrorCode+f.LastErrorCode] += string(f.RawData)
	}
	return all
}

// Events become rows of Parquet files by type and day, what came in is kept besides, and what can't be converted is under
// errors/, each once.
func TestLake(t *testing.T) {
	e := start(t, "lake/lake.yaml")
	const events, kind = "/prod/events", "application/json"
	for i := range 20 {
		e.want(200, events, kind, fmt.Sprintf(`{"type": "page_view", "user": "u%02d", "page": "/", "ms": %d, "tags": ["a", "b"]}`, i, i))
	}
	e.want(200, events, kind, `{"type": "purchase", "user": "bob", "amount": 19.90}`)
	e.want(400, events, kind, `{"type": "../up", "user": "eve"}`)
	e.want(400, events, kind, `[1]`)
	const misfit = `{"id":"1","received":1767225600000,"type":"page_view","ms":"fast"}`
	for _, data := range []string{"no JSON", misfit} {
		body := fmt.Sprintf(`{"StreamName": "lake", "PartitionKey": "k", "Data": "%s"}`, base64.StdEncoding.EncodeToString([]byte(data)))
		if status := e.post(e.AWS, "application/x-amz-json-1.1", body, "X-Amz-Target", "Kinesis_20131202.PutRecord"); status != 200 {
			t.Fatal(status)
		}
	}
	e.again()
	files := e.files("lake-events")
	kinds := map[string][]string{} // by the first folder, and the second but for the day
	for _, folder := range slices.Sorted(maps.Keys(files)) {
		name, _, _ := strings.Cut(folder, "/day=")
		if i := strings.LastIndex(name, "/20"); i > 0 {
			name = name[:i]
		}
		kinds[name] = append(kinds[name], files[folder]...)
	}
	if got, want := slices.Sorted(maps.Keys(kinds)), []string{"errors/format-conversion-failed", "errors/metadata-extraction-failed",
		"events/type=page_view", "events/type=purchase", "raw"}; !slices.Equal(got, want) {
		t.Fatalf("the bucket holds %q, want %q", got, want)
	}
	views := rows(t, kinds["events/type=page_view"])
	if len(views) != 20 {
		t.Errorf("%d page views, want 20", len(views))
	}
	for i, r := range views {
		if r.User != fmt.Sprintf("u%02d", i) || r.Ms == nil || *r.Ms != int64(i) || !slices.Equal(r.Tags, []string{"a", "b"}) || len(r.ID) != 36 {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	if all := rows(t, kinds["events/type=purchase"]); len(all) != 1 || all[0].User != "bob" || all[0].Amount == nil || *all[0].Amount != 1990 || all[0].Ms != nil {
		t.Errorf("purchases: %+v", all)
	}
	if got := failures(t, kinds["errors/metadata-extraction-failed"]); len(got) != 1 || got["DynamicPartitioning.MetadataExtractionFailed"] != "no JSON" {
		t.Errorf("got %q", got)
	}
	if got := failures(t, kinds["errors/format-conversion-failed"]); len(got) != 1 || slices.Collect(maps.Values(got))[0] != misfit {
		t.Errorf("got %q", got)
	}
	if raw := strings.Join(kinds["raw"], ""); strings.Count(raw, `"user"`) != 21 || strings.Count(raw, misfit) != 1 || strings.Count(raw, "no JSON") != 1 {
		t.Errorf("the backup holds\n%s", raw)
	}
}

// Batches are taken apart, and each event is in its tenant's object.
func TestBatches(t *testing.T) {
	e := start(t, "batches/batches.yaml")
	const batches, kind = "/prod/batches", "application/x-ndjson"
	for range 3 {
		e.want(200, batches, kind, "{\"tenant\": \"Acme\", \"n\": 1}\n{\"tenant\": \"globex\", \"n\": 2}\n {\"tenant\":\"acme\",\"n\":3}{\"n\": 4}\n")
	}
	e.want(415, batches, "text/csv", "a,b")
	e.again()
	got := map[string]string{}
	for folder, files := range e.files("tenant-events") {
		name := folder[:len(folder)-len("/2026/07/13")]
		got[name] += strings.Join(files, "")
	}
	const failed = "failed/metadata-extraction-failed"
	if all := failures(t, []string{got[failed]}); len(all) != 1 || all["DynamicPartitioning.MetadataExtractionFailed"] != strings.Repeat(`{"n": 4}`, 3) {
		t.Errorf("failed: %q", all)
	}
	delete(got, failed)
	want := map[string]string{
		"acme":   strings.Repeat("{\"tenant\": \"Acme\", \"n\": 1}\n{\"tenant\":\"acme\",\"n\":3}\n", 3),
		"globex": strings.Repeat("{\"tenant\": \"globex\", \"n\": 2}\n", 3),
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// An endpoint that speaks the protocol gets each event once, with the access key.
func TestEndpoint(t *testing.T) {
	got, refuse := make(chan string, 100), true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		var batch struct {
			RequestID string `json:"requestId"`
			Timestamp int64  `json:"timestamp"`
			Records   []struct{ Data []byte }
		}
		if err := json.NewDecoder(z).Decode(&batch); err != nil || r.Header.Get("X-Amz-Firehose-Access-Key") != "key of the test" ||
			batch.RequestID != r.Header.Get("X-Amz-Firehose-Request-Id") {
			t.Error(err, r.Header)
		}
		if refuse { // there is one batch, and so one request at a time
			refuse = false
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for _, record := range batch.Records {
			got <- string(record.Data)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"requestId": %q, "timestamp": %d}`, batch.RequestID, batch.Timestamp)
	}))
	t.Cleanup(server.Close)
	config := filepath.Join(t.TempDir(), "millrace.yaml")
	if err := os.WriteFile(config, []byte("http: {allow-http-endpoints: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := start(t, "endpoint.yaml", "--config", config, "--parameter", "Url="+server.URL+"/", "--parameter", "AccessKey=key of the test")
	e.want(200, "/prod/alerts", "application/json", `{"level":"warning"}`)
	select {
	case data := <-got:
		if data != `{"level":"warning"}` {
			t.Errorf("the endpoint got %s", data)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("the endpoint got nothing\n%s", e.Output())
	}
	e.again()
	close(got)
	for data := range got {
		t.Errorf("the endpoint got once more %s", data)
	}
	if strings.Contains(e.Output(), "key of the test") {
		t.Error("the access key is in the node's output")
	}
}
