package app

import (
	"encoding/json"
	"fmt"
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
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/restapi"
	"millrace/internal/telemetry"
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

// Errors of a delivery stream go to the file of its log group, in the service's form, and what is wrong is on the pages for
// operators until it is right again.
func TestErrorsOfADeliveryStream(t *testing.T) {
	folder := t.TempDir()
	r := start(t, folder, nil)
	request := delivery.CreateRequest{
		DeliveryStreamName: "d",
		ExtendedS3DestinationConfiguration: &delivery.S3Destination{S3Configuration: delivery.S3Configuration{
			BucketARN: r.account.Bucket("later"), RoleARN: r.account.Role("r"),
			BufferingHints:           &delivery.BufferingHints{SizeInMBs: new(1), IntervalInSeconds: new(0)},
			CloudWatchLoggingOptions: &delivery.CloudWatchLoggingOptions{Enabled: new(true), LogGroupName: strings.Repeat("x", 201), LogStreamName: "S3Delivery"},
		}},
	}
	if _, err := r.engine.Create(t.Context(), &request); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is no name for a log") {
		t.Errorf("a group whose name no file can have: %v", err)
	}
	request.ExtendedS3DestinationConfiguration.CloudWatchLoggingOptions.LogGroupName = "/aws/kinesisfirehose/d"
	if _, err := r.engine.Create(t.Context(), &request); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.engine.Put(t.Context(), "d", []byte("a")); err != nil {
		t.Fatal(err)
	}
	told := func() string {
		var h Health
		r.get("/_millrace/health", &h)
		return h.Warnings["delivery stream d"]
	}
	eventually(t, "the warning", func() bool { return strings.Contains(told(), "later") })
	if err := r.objects.CreateBucket(t.Context(), object.Bucket{Name: "later", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the warning's end", func() bool { return told() == "" })
	resp, err := client.Get(r.AWSURL() + "/_millrace/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{
		`millrace_delivery_outputs_total{delivery_stream="d"} 1`, `millrace_delivery_dead_lettered_records_total{delivery_stream="d"} 0`,
		`millrace_delivery_staged_objects{delivery_stream="d"} 0`, `millrace_delivery_spool_bytes 0`, `millrace_delivery_spool_bound_bytes 4.294967296e+09`,
	} {
		if !strings.Contains(string(page), want+"\n") {
			t.Errorf("no %s in the metrics page", want)
		}
	}
	if strings.Contains(string(page), "millrace_delivery_function_calls_total{") {
		t.Error("there are metrics of a function, and no function")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(folder, "logs", "aws", "kinesisfirehose", "d.log"))
	const pattern = `^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z S3Delivery \{"deliveryStreamARN":"arn:aws:firehose:[^"]+:deliverystream/d","destination":"arn:aws:s3:::later",` +
		`"deliveryStreamVersionId":1,"message":"The specified bucket does not exist\.[^"]+","errorCode":"S3\.NoSuchBucket"\}\n)+$`
	if err != nil || !regexp.MustCompile(pattern).Match(got) {
		t.Errorf("%v\n%s", err, got)
	}
}

// Steps show what they have.
func TestMetricsOfSteps(t *testing.T) {
	var page strings.Builder
	collectSteps(func(m *telemetry.Metric, value float64, labels ...string) {
		fmt.Fprintln(&page, m.Name, labels, value)
	}, "d", &delivery.StepMetrics{Partitions: 2, PartitionsBound: 500, PartitionsExceeded: 3, Staged: 4, LinesLeftOut: 5,
		Function: &delivery.CallMetrics{Calls: 6, Retries: 2, Failures: 3, Time: time.Second}, Endpoint: &delivery.CallMetrics{Calls: 7},
		Converts: true, Converted: 8, Unconverted: 9, FailedRecords: []delivery.FailedCount{{ErrorType: "processing-failed", Records: 10}}})
	for _, want := range []string{
		"partitions [d] 2", "partitions_bound [d] 500", "partitions_exceeded_total [d] 3", "staged_objects [d] 4", "error_log_left_out_total [d] 5",
		"function_calls_total [d] 6", "function_retries_total [d] 2", "function_failures_total [d] 3", "function_seconds_total [d] 1",
		"endpoint_posts_total [d] 7", "conversions_total [d converted] 8", "conversions_total [d failed] 9", "failed_records_total [d processing-failed] 10",
	} {
		if !strings.Contains(page.String(), "millrace_delivery_"+want+"\n") {
			t.Errorf("no %s in\n%s", want, page.String())
		}
	}
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
