package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/restapi"
	"millrace/internal/stream"
	"millrace/internal/stream/limits"
)

// running is a node under test.
type running struct {
	*Node
	t    *testing.T
	stop func() error
}

// start runs a node on a folder; it stops with the test, if not before.
func start(t *testing.T, folder string, change func(*config.Node)) *running {
	t.Helper()
	c := config.Default()
	c.Data, c.Listen, c.Ingest, c.LowSpace = folder, "127.0.0.1:0", "127.0.0.1:0", 1
	if change != nil {
		change(&c)
	}
	return startWith(t, Options{Config: c})
}

func startWith(t *testing.T, o Options) *running {
	t.Helper()
	o.Version, o.Log = "test", slog.New(slog.DiscardHandler)
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stopped := false
	r := &running{Node: n, t: t}
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// pipeline makes the thinnest pipeline: POST /prod/e -> stream s -> bucket b.
func (r *running) pipeline() {
	r.t.Helper()
	ctx := r.t.Context()
	must := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	must(r.objects.CreateBucket(ctx, object.Bucket{Name: "bucket", Created: time.Now()}))
	_, err := r.streams.CreateStream(ctx, stream.CreateStream{Name: "s"})
	must(err)
	one, second := 1, 1
	_, err = r.engine.Create(ctx, &delivery.CreateRequest{
		DeliveryStreamName: "d", DeliveryStreamType: "KinesisStreamAsSource",
		KinesisStreamSourceConfiguration: &delivery.KinesisSource{KinesisStreamARN: r.account.Stream("s"), RoleARN: r.account.Role("r")},
		ExtendedS3DestinationConfiguration: &delivery.S3Destination{S3Configuration: delivery.S3Configuration{
			BucketARN: r.account.Bucket("bucket"), RoleARN: r.account.Role("r"),
			BufferingHints: &delivery.BufferingHints{SizeInMBs: &one, IntervalInSeconds: &second},
		}},
	})
	must(err)
	r.api("events", "s")
}

// api deploys POST /prod/e into a stream.
func (r *running) api(name, stream string) string {
	r.t.Helper()
	api, err := restapi.New(restapi.NewAPI{Name: name}, r.ids, time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	edit := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	root, _ := api.Definition.ByPath("/")
	res, err := api.AddResource(root.ID, "e", r.ids)
	edit(err)
	_, err = api.PutMethod(res.ID, restapi.Method{HTTPMethod: "POST", AuthorizationType: "NONE"})
	edit(err)
	_, err = api.PutMethodResponse(res.ID, "POST", restapi.MethodResponse{StatusCode: "200"})
	edit(err)
	_, err = api.PutIntegration(res.ID, "POST", restapi.Integration{
		Type: "AWS", HTTPMethod: "POST", URI: "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord", Credentials: r.account.Role("r"),
		RequestTemplates: map[string]string{
			"application/json": fmt.Sprintf(`{"StreamName": %q, "PartitionKey": "$context.requestId", "Data": "$util.base64Encode($input.json('$'))"}`, stream),
		},
	})
	edit(err)
	_, err = api.PutIntegrationResponse(res.ID, "POST", restapi.IntegrationResponse{StatusCode: "200"})
	edit(err)
	_, err = api.CreateDeployment(restapi.NewDeployment{StageName: "prod"}, r.ids, time.Now())
	edit(err)
	edit(r.catalog.Update(r.t.Context(), func(tx *catalog.Tx) error { return catalog.APIs{}.Put(tx, api) }))
	return api.ID
}

var client = &http.Client{Timeout: 20 * time.Second}

func (r *running) post(path, body string) (int, string) {
	r.t.Helper()
	resp, err := client.Post(r.IngestURL()+path, "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (r *running) get(path string, into any) int {
	r.t.Helper()
	resp, err := client.Get(r.AWSURL() + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if s, ok := into.(*string); ok {
		*s = string(text)
	} else if err := json.Unmarshal(text, into); err != nil {
		r.t.Fatalf("%s: %v in %s", path, err, text)
	}
	return resp.StatusCode
}

// objects reads what lies in the bucket's folder.
func (r *running) delivered() string {
	var all strings.Builder
	_ = filepath.WalkDir(filepath.Join(r.ObjectFolder(), "bucket"), func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(name)
			if err != nil {
				r.t.Error(err)
			}
			all.Write(text)
		}
		return nil
	})
	return all.String()
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestAnEventThroughAllRooms(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	r := start(t, folder, nil)
	r.pipeline()
	status, answer := r.post("/prod/e", `{"n": 1}`)
	if status != 200 || !strings.Contains(answer, `"ShardId":"shardId-000000000000"`) {
		t.Fatalf("answer %d %s", status, answer)
	}
	eventually(t, "no object holds the event", func() bool { return r.delivered() == `{"n":1}` })

	var l LedgerAnswer
	eventually(t, "the ledger does not show it", func() bool {
		r.get("/_millrace/ledger", &l)
		return l.AddsUp && len(l.DeliveryStreams) == 1 && l.DeliveryStreams[0].Delivered == 1
	})

	// What was accepted before a stop is delivered after the next start, and nothing twice.
	if status, _ := r.post("/prod/e", `{"n": 2}`); status != 200 {
		t.Fatal(status)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, folder, nil)
	eventually(t, "the second event is not there after a restart", func() bool { return r.delivered() == `{"n":1}{"n":2}` })
}

// With the service's limits an event is refused that its client may send again, and delivery is not held up.
func TestLimitsInForce(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "data"), func(c *config.Node) { c.ExactLimits = true })
	r.pipeline()
	refused := false
	for i := 0; i < 100 && !refused; i++ {
		status, answer := r.post("/prod/e", `{"n": "`+strings.Repeat("n", 500_000)+`"}`)
		if refused = status == 429; !refused && status != 200 {
			t.Fatal(status, answer)
		}
	}
	if !refused {
		t.Fatal("no event was refused")
	}
	eventually(t, "no object holds the events", func() bool { return r.delivered() != "" })
	var h Health
	if r.get("/_millrace/health", &h); h.Limits != limits.InForce+accountInForce {
		t.Errorf("health tells of %q", h.Limits)
	}
	var page string
	r.get("/_millrace/metrics", &page)
	for _, want := range []string{"millrace_service_limits 1\n", `millrace_stream_write_throttled_records_total{limit="bytes",stream="s"} 1`,
		`millrace_stream_read_throttled_calls_total{limit="bytes",stream="s"} 0`, `millrace_stream_on_demand_splits_total{stream="s"} 0`} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestOperatorPages(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.pipeline()
	if status, answer := r.post("/prod/e", `{}`); status != 200 {
		t.Fatal(status, answer)
	}
	var h Health
	if status := r.get("/_millrace/health", &h); status != 200 || h.Status != "ok" || h.Checks["streams"] != "ok" || !strings.HasPrefix(h.Limits, "none") {
		t.Errorf("health %d %+v", status, h)
	}
	var endpoints []Endpoint
	r.get("/_millrace/endpoints", &endpoints)
	if len(endpoints) != 1 || endpoints[0].Method != "POST" || endpoints[0].ShortURL != r.IngestURL()+"/prod/e" {
		t.Errorf("endpoints %+v", endpoints)
	}
	var page string
	r.get("/_millrace/metrics", &page)
	for _, want := range []string{
		`millrace_stream_records_total{stream="s"} 1`, `millrace_log_fsyncs_total`, `millrace_delivery_lag_records{delivery_stream="d"}`,
		`millrace_service_limits 0`, `millrace_body_bound_bytes 6.7108864e+07`, `millrace_api_requests_total{`, `millrace_build_info{`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics page lacks %s", want)
		}
	}
}

func TestTailFollows(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.pipeline()
	r.post("/prod/e", `{"n": 1}`)
	resp, err := client.Get(r.AWSURL() + "/_millrace/tail/s?from=horizon")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(bufio.NewReader(resp.Body))
	for n := 1; n <= 3; n++ {
		var rec TailRecord
		if err := lines.Decode(&rec); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`{"n":%d}`, n); rec.Text == nil || *rec.Text != want {
			t.Errorf("record %d is %+v", n, rec)
		}
		r.post("/prod/e", fmt.Sprintf(`{"n": %d}`, n+1))
	}
	// A tail must not hold up the stop.
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > drainTime/2 {
		t.Errorf("stopping took %v with a tail open", took)
	}
}

// A tail reads a closed shard to its end, then its children: each key's records come in order, from the oldest on or from the newest.
func TestTailFollowsChildren(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	if _, err := r.streams.CreateStream(t.Context(), stream.CreateStream{Name: "s", Shards: 2}); err != nil {
		t.Fatal(err)
	}
	put := func(n int) {
		t.Helper()
		entries := []stream.Entry{{PartitionKey: "a", Data: fmt.Appendf(nil, "a%d", n)}, {PartitionKey: "b", Data: fmt.Appendf(nil, "b%d", n)}}
		if err := r.streams.Append(t.Context(), "s", entries, make([]stream.Result, 2)); err != nil {
			t.Fatal(err)
		}
	}
	reshard := func(count int) {
		t.Helper()
		if _, err := r.streams.Reshard(t.Context(), "s", stream.Reshard{Count: count}); err != nil {
			t.Fatal(err)
		}
	}
	put(0)
	reshard(3)
	put(1)
	var ends []func(last int)
	for _, c := range []struct {
		from  string
		first int
	}{{"horizon", 0}, {"latest", 2}} {
		resp, err := client.Get(r.AWSURL() + "/_millrace/tail/s?from=" + c.from)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := json.NewDecoder(bufio.NewReader(resp.Body))
		next := map[string]int{"a": c.first, "b": c.first}
		ends = append(ends, func(last int) {
			t.Helper()
			for next["a"] <= last || next["b"] <= last {
				var rec TailRecord
				if err := lines.Decode(&rec); err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("%s%d", rec.Key, next[rec.Key]); rec.Text == nil || *rec.Text != want {
					t.Fatalf("from %s: %+v, where %s should come", c.from, rec, want)
				}
				next[rec.Key]++
			}
		})
	}
	for n, count := range []int{2, 5, 1, 2} {
		put(2 + 2*n)
		reshard(count)
		put(3 + 2*n)
		for _, end := range ends {
			end(3 + 2*n)
		}
	}
}

func TestTheShortAddressDoesNotMove(t *testing.T) {
	folder := t.TempDir()
	r := start(t, folder, nil)
	r.pipeline()
	first := r.Endpoints()[0].API
	eventually(t, "the owner is not kept", func() bool {
		doc, ok, err := addresses.Get(r.catalog.Snapshot(), shortAddressName)
		return err == nil && ok && doc.API == first
	})
	second := r.api("later", "nowhere")
	owner := func(r *running) string {
		for _, e := range r.Endpoints() {
			if e.ShortURL != "" {
				return e.API
			}
		}
		return ""
	}
	if owner(r) != first {
		t.Error("a second API took the short address")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, folder, func(c *config.Node) { c.DefaultAPI = "later" })
	if owner(r) != second {
		t.Error("--default-api by name has no effect")
	}
}

func TestLowSpaceRefusesAndRecovers(t *testing.T) {
	folder := t.TempDir()
	r := start(t, folder, nil)
	r.pipeline()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, folder, func(c *config.Node) { c.LowSpace = 1 << 60 })
	if status, answer := r.post("/prod/e", `{}`); status != 503 {
		t.Errorf("ingest below the mark: %d %s", status, answer)
	}
	var h Health
	if status := r.get("/_millrace/health", &h); status != 503 || h.Status != "failing" {
		t.Errorf("health below the mark: %d %+v", status, h)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, folder, nil)
	if status, _ := r.post("/prod/e", `{}`); status != 200 {
		t.Errorf("with space again: %d", status)
	}
}

func TestDataFolderIsChecked(t *testing.T) {
	options := func(folder string) Options {
		c := config.Default()
		c.Data, c.Listen, c.Ingest = folder, "127.0.0.1:0", "off"
		return Options{Config: c, Log: slog.New(slog.DiscardHandler)}
	}
	refused := func(folder string, kind fault.Kind, want string) {
		t.Helper()
		n, err := Start(t.Context(), options(folder))
		if err == nil {
			_ = n.Close()
			t.Fatalf("%s was opened", folder)
		}
		if fault.KindOf(err) != kind || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %v with %q", err, kind, want)
		}
	}
	stranger := t.TempDir()
	if err := os.WriteFile(filepath.Join(stranger, "thesis.doc"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(stranger, fault.Invalid, `holds "thesis.doc"`)

	folder := t.TempDir()
	r := start(t, folder, nil)
	refused(folder, fault.InUse, "another process")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, formatFile), []byte("millrace data 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(folder, fault.Unsupported, "format version 99")
}

func TestATakenPortIsAClearError(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := config.Default()
	c.Data, c.Listen, c.Ingest = t.TempDir(), strings.TrimPrefix(r.AWSURL(), "http://"), "off"
	n, err := Start(t.Context(), Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		_ = n.Close()
		t.Fatal("two nodes listen on one port")
	}
	if !strings.Contains(err.Error(), c.Listen) {
		t.Errorf("error %v does not name the address", err)
	}
}
