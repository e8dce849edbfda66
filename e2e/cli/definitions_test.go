package cli

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"millrace/e2e/node"
)

// posted is an event, its answer, and the line that must be in an object when the node has stopped.
type posted struct {
	path, contentType, body string
	status                  int
	answer                  string // a pattern
	line                    string // empty: none is looked for
}

// Whole definition files, as people deploy them: they start, and what is posted is in a bucket.
func TestDefinitionsThatStart(t *testing.T) {
	const form, json = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	f := func(file string, events ...posted) {
		t.Run(file, func(t *testing.T) { starts(t, file, nil, events) })
	}
	const unknownStream = `^\s*\{"error":"ResourceNotFoundException"`
	f("01-collector-openapi3.yaml", // the stream is another's; see starts
		posted{"/prod/v1/class-stream", json, `{"a": 1}`, 200, `"ShardId"`, ""},
		posted{"/prod/v2/class-stream", form, `a=1`, 200, `"ShardId"`, ""},
		// "$fault.__type" ends at the dot: a name after a dot begins with a letter. The service renders the same.
		posted{"/prod/v2/nobody", json, `{"a": 1}`, 400, `\}\.__type","message":"Stream nobody under account 000000000000 not found\."\}`, ""},
		posted{"/prod/v2/class-stream", "text/csv", `a,b`, 415, `Unsupported Media Type`, ""})
	f("02-collector-cfn.yaml",
		posted{"/prod/v1/class-stream", json, `{"a": "ü"}`, 200, `"ShardId"`, `{"a":"ü"}`},
		posted{"/prod/v1/class-stream", form, `a=%2522`, 200, `"SequenceNumber"`, `{"a" : """}`},
		posted{"/prod/v2/class-stream", json, `[1, 2]`, 200, `"ShardId"`, `"sourceIp":"127.0.0.1"`},
		posted{"/prod/v2/class-stream", form, `a=%22`, 200, `"ShardId"`, `{"a":"\""}`},
		posted{"/prod/v1/nobody", form, `a=1`, 400, `ResourceNotFoundException`, ""}, // the service hides it: 200
		posted{"/prod/v2/nobody", form, `a=1`, 400, unknownStream, ""},
		posted{"/prod/v3/class-stream", json, `{}`, 403, `Missing Authentication Token`, ""})
	f("03-collector-sam.yaml",
		posted{"/live/v1", json, `{"sam": true}`, 200, `"ShardId"`, `{"sam":true}`},
		posted{"/live/v1", form, `b=c+d`, 200, `"ShardId"`, `{"b" : "c d"}`})
	f("04-collector-cdk.json",
		posted{"/prod/v1/class-stream", json, `{"cdk": 1}`, 200, `"ShardId"`, `{"cdk":1}`},
		posted{"/prod/v2/class-stream", form, `cdk=2`, 200, `"ShardId"`, `{"cdk" : "2"}`},
		posted{"/prod/v2/nobody", json, `{}`, 400, `^\{"error":"Bad input"\}$`, ""})
	f("05-cors-cfn.yaml",
		posted{"/web/clicks?site=a", json, `{"click": 1}`, 202, `^\{"accepted":true\}$`, ""},
		posted{"/web/clicks", "text/plain", `from a beacon`, 202, `^\{"accepted":true\}$`, ""},
		posted{"/web/clicks", "text/csv", `a,b`, 415, `^\{"error":"Unsupported Media Type","type":"UNSUPPORTED_MEDIA_TYPE","id":".{36}"\}$`, ""},
		posted{"/web/other", json, `{}`, 404, `^\{"error":"no such path","path":"/web/other"\}$`, ""})
	f("08-put-records-batch-cfn.yaml",
		posted{"/batch/batch", json, `{"events": [{"key": "a", "data": {"n": 1}}, {"key": "b", "data": {"n": 2}}]}`, 200, `"failed": 0`, ""},
		posted{"/batch/batch", json, `{"evts": []}`, 400, `^\{"message": "Invalid request body"\}$`, ""},
		posted{"/batch/batch", json, `{"events": [{"key": "", "data": 1}]}`, 400, `^\{"message": "Invalid request body"\}$`, ""},
		posted{"/batch/batch", json, `not JSON`, 400, `^\{"message": "Invalid request body"\}$`, ""})
	f("09-direct-firehose-sam.yaml",
		posted{"/v1/logs/direct-logs", json, `{"n": 1}`, 200, `^\{"id":".+"\}\s*$`, `{"n":1}`},
		posted{"/v1/logs/direct-logs", "text/plain", `plain text`, 200, `^\{"id":".+"\}\s*$`, `plain text`},
		posted{"/v1/logs/direct-logs/batch", json, `{"lines": ["one", "two"]}`, 200, `"FailedPutCount":0`, "one\ntwo\n"},
		posted{"/v1/logs/nobody", json, `{"n": 1}`, 404, unknownStream, ""})
	f("10-mock-health-swagger2.json",
		posted{"/prod/echo/a/b", json, `{}`, 200, `"path":"a/b","verb":"POST"`, ""},
		posted{"/prod/echo/tea/pot", json, `{}`, 418, `"path":"tea/pot"`, ""},
		posted{"/prod/health", json, `{}`, 404, `^\{"message":"Missing Authentication Token","hint":"The path or the verb is unknown"\}$`, ""})
}

// An OpenAPI file whose requests are validated: parameters, then payloads by models that refer to themselves.
func TestValidatedDefinition(t *testing.T) {
	n, err := node.Start(t.Context(), node.Options{Binary: binaryFor(t), Data: filepath.Join(t.TempDir(), "data"), File: "testdata/definitions/07-request-validation-openapi3.json"})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"orders", "pings"} {
		if status, answer, err := send(t.Context(), n.AWS, "application/x-amz-json-1.1", `{"StreamName": "`+name+`", "ShardCount": 1}`,
			"X-Amz-Target", "Kinesis_20131202.CreateStream"); status != http.StatusOK {
			t.Fatal(status, answer, err)
		}
	}
	f := func(path, tenant, body string, status int, answer string) {
		t.Helper()
		got, text, err := send(t.Context(), n.Ingest+path, "application/json", body, "x-tenant", tenant)
		if err != nil || got != status || !strings.Contains(text, answer) {
			t.Errorf("POST %s %s: %d %s %v, want %d %s", path, body, got, text, err, status, answer)
		}
	}
	const good = `{"id": "EU-2041", "channel": "web", "items": [{"sku": "desk", "quantity": 2, "parts": [{"sku": "leg", "quantity": 4}]}]}`
	f("/prod/orders/eu?source=web", "acme", good, 200, `"sequence":"`)
	f("/prod/orders/eu", " ", good, 400, `{"message":"Missing required request parameters: [x-tenant, source]"}`)
	f("/prod/orders/eu?source=web", "acme", strings.Replace(good, `"quantity": 4`, `"quantity": 4.5`, 1), 422, `"detail":"[instance type (number) does not match`)
	f("/prod/orders/eu?source=web", "acme", strings.Replace(good, `"web"`, `"fax"`, 1), 422, `{"message":"Invalid request body","detail":"[instance value (\"fax\") not found in enum`)
	f("/prod/pings?device=d1", "", `anything`, 200, ``)
	f("/prod/pings?device=", "", `anything`, 400, `[device]`)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}

// To the letter of the service, on request: what only a default response covers is answered with that, errors too.
func TestExactResponses(t *testing.T) {
	starts(t, "02-collector-cfn.yaml", []string{"--aws-exact=responses"}, []posted{
		{"/prod/v1/nobody", "application/x-www-form-urlencoded", `a=1`, 200, `ResourceNotFoundException`, ""}})
}

func binaryFor(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func starts(t *testing.T, file string, args []string, events []posted) {
	data := filepath.Join(t.TempDir(), "data")
	n, err := node.Start(t.Context(), node.Options{Binary: binaryFor(t), Data: data, File: filepath.Join("testdata/definitions", file), Args: args})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(file, "openapi") { // such a file makes an API, and no stream
		if status, answer, err := send(t.Context(), n.AWS, "application/x-amz-json-1.1", `{"StreamName": "class-stream", "ShardCount": 1}`,
			"X-Amz-Target", "Kinesis_20131202.CreateStream"); status != http.StatusOK {
			t.Fatal(status, answer, err)
		}
	}
	for _, e := range events {
		status, answer, err := send(t.Context(), n.Ingest+e.path, e.contentType, e.body)
		if err != nil || status != e.status || !regexp.MustCompile(e.answer).MatchString(answer) {
			t.Errorf("POST %s %s: %d %s %v, want %d and %s", e.path, e.body, status, answer, err, e.status, e.answer)
		}
	}
	if err := n.Stop(); err != nil { // which delivers what is buffered
		t.Fatal(err)
	}
	text, err := everything(filepath.Join(data, "s3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if !strings.Contains(text, e.line) {
			t.Errorf("%q is in no object; they hold %q", e.line, text)
		}
	}
}

// send posts; header is a further name and its value.
func send(ctx context.Context, url, contentType, body string, header ...string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", contentType)
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// everything reads all objects of all buckets.
func everything(folder string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(folder, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := readObject(name)
		b.Write(text)
		return err
	})
	return b.String(), err
}

// A definition file that needs more than is built is refused with file and line, and leaves nothing behind.
func TestDefinitionsThatAreRefused(t *testing.T) {
	binary := binaryFor(t)
	folder := t.TempDir()
	file, data := filepath.Join(folder, "lambda.yaml"), filepath.Join(folder, "data")
	body := "Resources:\n  Stream: {Type: AWS::Kinesis::Stream, Properties: {Name: s}}\n  Function: {Type: AWS::Lambda::Function}\n"
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, "up", file,
		"--data", data, "--listen", "127.0.0.1:0", "--ingest", "127.0.0.1:0").CombinedOutput()
	if err == nil {
		t.Fatalf("it started\n%s", out)
	}
	if !strings.Contains(string(out), "lambda.yaml:3:") || !strings.Contains(string(out), "AWS::Lambda::Function") {
		t.Errorf("the refusal names neither line nor type:\n%s", out)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a data folder was made all the same")
	}
}
