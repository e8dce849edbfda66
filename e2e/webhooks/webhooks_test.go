package webhooks

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/e2e/node"
	"millrace/internal/offline"
)

func TestMain(m *testing.M) { node.Main(m) }

var client = &http.Client{Timeout: 30 * time.Second}

// example is a folder of examples with its cases.
func example(t *testing.T, name string) (definition string, cases *offline.CaseFile) {
	t.Helper()
	root, err := node.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "examples", name)
	file := filepath.Join(folder, name+".cases.yaml")
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if cases, err = offline.LoadCases(file, body); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name+".yaml"), cases
}

// delivered sends the requests of all cases that let the service answer, each as it is, and gives the lines of the
// objects, and what a run without a node said that they would be.
func delivered(t *testing.T, name string) (lines, want []string) {
	t.Helper()
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	definition, cases := example(t, name)
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Binary: binary, Data: filepath.Join(t.TempDir(), "data"), File: definition})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases.Cases {
		if c.Answer != nil {
			continue
		}
		out, err := cases.Definition.Run(t.Context(), c.Request, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records {
			want = append(want, string(r.Data))
		}
		if status := send(t, n.Ingest, c.Request); status != out.Status {
			t.Errorf("%s: a node answers %d, and without one it is %d", c.Name, status, out.Status)
		}
	}
	if err := n.Stop(); err != nil { // which delivers what is buffered
		t.Fatal(err)
	}
	return objects(t, filepath.Join(n.Data, "s3")), want
}

func send(t *testing.T, ingest string, r offline.Request) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.Method, ingest+r.Target, bytes.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Header {
		req.Header[f.Name] = append(req.Header[f.Name], f.Value)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// objects gives the lines of all objects in the order of their keys.
func objects(t *testing.T, folder string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".gz") {
			return err
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		z, err := gzip.NewReader(file)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(z)
		lines = slices.AppendSeq(lines, strings.Lines(string(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// comparable leaves out what no two requests have in common.
func comparable(t *testing.T, lines []string) (all []any) {
	t.Helper()
	for _, line := range lines {
		var v any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if m, ok := v.(map[string]any); ok && m["requestId"] != nil {
			delete(m, "requestId")
			delete(m, "receivedAt")
		}
		all = append(all, v)
	}
	return all
}

// What a run without a node says is what a node does: the same records, in the same order, each a line of JSON.
func TestExamplesOnANode(t *testing.T) {
	for _, name := range []string{"appsflyer", "browser", "segment", "shopify", "stripe"} {
		t.Run(name, func(t *testing.T) {
			lines, want := delivered(t, name)
			if got, want := comparable(t, lines), comparable(t, want); len(got) == 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("the objects hold\n%v\nand without a node it is\n%v", got, want)
			}
			if verify := signed[name]; verify != nil {
				verified := 0
				for _, line := range lines {
					var r record
					if err := json.Unmarshal([]byte(line), &r); err != nil {
						t.Fatal(err)
					}
					if verify(&r) {
						verified++
					}
				}
				if want := samples[name]; verified != want {
					t.Errorf("%d of %d records verify, want %d: %v", verified, len(lines), want, lines)
				}
			}
		})
	}
}

// record is what the templates make of a signed webhook.
type record struct {
	ReceivedAt int64             `json:"receivedAt"`
	Headers    map[string]string `json:"headers"`
	Payload    string            `json:"payload"`
}

// signed verifies as the pages of the examples tell a consumer to, by the senders' documents.
var signed = map[string]func(*record) bool{
	"segment": func(r *record) bool {
		mac := hmac.New(sha1.New, []byte("segment_example"))
		mac.Write([]byte(r.Payload))
		return hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(r.Headers["x-signature"]))
	},
	"shopify": func(r *record) bool {
		mac := hmac.New(sha256.New, []byte("shpss_example"))
		mac.Write([]byte(r.Payload))
		return hmac.Equal([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(r.Headers["x-shopify-hmac-sha256"]))
	},
	"stripe": func(r *record) bool {
		t, v1, ok := strings.Cut(strings.TrimPrefix(r.Headers["stripe-signature"], "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte("whsec_example"))
		mac.Write([]byte(t + "." + r.Payload))
		return ok && hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(v1))
	},
}

// samples counts the cases whose request is signed.
var samples = map[string]int{"segment": 2, "shopify": 1, "stripe": 1}
