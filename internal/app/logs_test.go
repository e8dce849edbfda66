package app

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/restapi"
)

// onStage changes the stage prod of an API.
func (r *running) onStage(api string, change func(*restapi.Stage)) {
	r.t.Helper()
	err := r.catalog.Update(r.t.Context(), func(tx *catalog.Tx) error {
		a, _, err := catalog.APIs{}.Get(tx, api)
		if err != nil {
			return err
		}
		change(a.Stages["prod"])
		return catalog.APIs{}.Put(tx, a)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// The logs of a stage lie in the data folder when the node has stopped, and are counted on the metrics page.
func TestLogsOfAStage(t *testing.T) {
	folder := t.TempDir()
	r := start(t, folder, nil)
	r.pipeline()
	apis, err := catalog.APIs{}.All(r.catalog.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	api := apis[0].ID
	r.onStage(api, func(s *restapi.Stage) {
		s.AccessLog = &restapi.AccessLog{DestinationARN: r.account.LogGroup("/aws/apigateway/events"), Format: "$context.requestId $context.status $context.integrationStatus"}
		s.MethodSettings = map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo, MetricsEnabled: true}}
	})
	for _, path := range []string{"/prod/e", "/prod/e", "/prod/nowhere"} {
		r.post(path, `{"a":1}`)
	}
	resp, err := client.Get(r.AWSURL() + "/_millrace/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{
		`millrace_api_method_requests_total{api="` + api + `",method="POST",resource="/e",stage="prod"} 2`,
		`millrace_api_method_errors_total{api="` + api + `",class="5XX",method="POST",resource="/e",stage="prod"} 0`,
		`millrace_stage_log_lines_total{what="dropped"} 0`,
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %s in the metrics page", want)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	f := func(path, pattern string) {
		t.Helper()
		name := filepath.Join(folder, "logs", filepath.FromSlash(path))
		got, err := os.ReadFile(name)
		if err != nil || !regexp.MustCompile(`^`+pattern+`$`).Match(got) {
			t.Errorf("%s: %v\n%s", path, err, got)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %v %v", path, info.Mode(), err)
		}
	}
	const id = `[0-9a-f-]{36}`
	f("aws/apigateway/events.log", `(`+id+` 200 200\n){2}`+id+` 403 -\n`)
	const begun = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \(` + id + `\) `
	f("API-Gateway-Execution-Logs_"+api+"/prod.log", `(`+begun+`[^\n]+\n)+`)
}

// An access log may go to a delivery stream, line by line.
func TestAccessLogOfADeliveryStream(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.pipeline()
	one, second := 1, 1
	_, err := r.engine.Create(t.Context(), &delivery.CreateRequest{
		DeliveryStreamName: "amazon-apigateway-events",
		ExtendedS3DestinationConfiguration: &delivery.S3Destination{S3Configuration: delivery.S3Configuration{
			BucketARN: r.account.Bucket("bucket"), RoleARN: r.account.Role("r"),
			BufferingHints: &delivery.BufferingHints{SizeInMBs: &one, IntervalInSeconds: &second},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	apis, err := catalog.APIs{}.All(r.catalog.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	r.onStage(apis[0].ID, func(s *restapi.Stage) {
		s.AccessLog = &restapi.AccessLog{DestinationARN: r.account.DeliveryStream("amazon-apigateway-events"), Format: "$context.requestId $context.status"}
	})
	for range 3 {
		r.post("/prod/e", `{"a":1}`)
	}
	eventually(t, "the lines in the bucket", func() bool { return strings.Count(r.delivered(), " 200\n") == 3 })
}

// Lines go to standard output where the configuration says so, and no files are made where it says that.
func TestLogsOnStandardOutput(t *testing.T) {
	folder := t.TempDir()
	out := &strings.Builder{}
	c := config.Default()
	c.Data, c.Listen, c.Ingest, c.LowSpace = folder, "127.0.0.1:0", "127.0.0.1:0", 1
	c.Logs = config.Logs{Folder: config.Off, Stdout: config.StdoutAll}
	r := startWith(t, Options{Config: c, Stdout: out})
	r.pipeline()
	apis, err := catalog.APIs{}.All(r.catalog.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	r.onStage(apis[0].ID, func(s *restapi.Stage) {
		s.AccessLog = &restapi.AccessLog{DestinationARN: r.account.LogGroup("events"), Format: "access $context.requestId"}
		s.MethodSettings = map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo}}
	})
	r.post("/prod/e", `{"a":1}`)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	group := "API-Gateway-Execution-Logs_" + apis[0].ID + "/prod "
	if got := out.String(); strings.Count(got, group) < 5 || strings.Count(got, "access ") != 1 {
		t.Errorf("%s", got)
	}
	if _, err := os.Stat(filepath.Join(folder, "logs")); !os.IsNotExist(err) {
		t.Errorf("there are files: %v", err)
	}
}

// A test of a method runs the working copy, and its real backend.
func TestTestInvokeMethod(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.pipeline()
	apis, err := catalog.APIs{}.All(r.catalog.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	res, _ := apis[0].Definition.ByPath("/e")
	invoke := func(path, body string) (status int, out struct {
		Status, Latency   int
		Body, Log         string
		Headers           map[string]string
		MultiValueHeaders map[string][]string
		Message           string
	}) {
		t.Helper()
		resp, err := client.Post(r.AWSURL()+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, out
	}
	path := "/restapis/" + apis[0].ID + "/resources/" + res.ID + "/methods/"
	status, out := invoke(path+"POST", `{"body":"{\"tested\":1}","headers":{"a":"b"}}`)
	if status != http.StatusOK || out.Status != 200 || !strings.Contains(out.Body, "SequenceNumber") || out.MultiValueHeaders["Content-Type"][0] != "application/json" ||
		!strings.HasPrefix(out.Log, "Execution log for request ") || !strings.HasSuffix(out.Log, "UTC "+time.Now().UTC().Format("2006")+" : Method completed with status: 200\n") {
		t.Errorf("%d %+v", status, out)
	}
	eventually(t, "the record", func() bool { return strings.Contains(r.delivered(), `{"tested":1}`) })
	if status, out = invoke(path+"GET", `{}`); status != http.StatusNotFound || out.Message != "Invalid Method identifier specified" {
		t.Errorf("%d %+v", status, out)
	}
}
