package cli

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/e2e/node"
)

// A definition with API keys, a usage plan and a throttle: who may call, and how often.
func TestDefinitionWithKeys(t *testing.T) {
	opts := node.Options{Binary: binaryFor(t), Data: filepath.Join(t.TempDir(), "data"),
		File: filepath.Join("testdata/definitions", "06-api-key-usage-plan-cfn.yaml")}
	n := keyedNode(t, opts)
	f := func(key string, status int, want string) {
		t.Helper()
		got, answer, err := send(t.Context(), n.Ingest+"/partners/postback/my-app", "application/json", `{"event":"install"}`, "x-api-key", key)
		if err != nil || got != status || answer != want {
			t.Errorf("with key %q: %d %s %v, want %d %s", key, got, answer, err, status, want)
		}
	}
	const valid, stored = "test-key-0123456789-abcdefghij", `{"shard":"shardId-000000000000"}`
	f(valid, http.StatusOK, stored)
	f("", http.StatusForbidden, `{"message":"Forbidden"}`)
	f("test-key-retired-0123456789", http.StatusForbidden, `{"message":"Forbidden"}`)
	throttled := false
	for range 500 { // 20 a second, 40 at once
		status, _, err := send(t.Context(), n.Ingest+"/partners/postback/my-app", "application/json", `{}`, "x-api-key", valid)
		if err != nil {
			t.Fatal(err)
		}
		if throttled = status == http.StatusTooManyRequests; throttled {
			break
		}
	}
	if !throttled {
		t.Error("500 calls in a row, and none was throttled")
	}
	// What GetUsage has shown is on the disk.
	used := usageOf(t, n)
	if used < 1 || used > 500 {
		t.Errorf("%d requests of the quota are used", used)
	}
	n.Kill()
	n = keyedNode(t, opts)
	if again := usageOf(t, n); again < used {
		t.Errorf("%d requests of the quota are used after a kill -9, and were %d before", again, used)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}

func keyedNode(t *testing.T, opts node.Options) *node.Node {
	t.Helper()
	n, err := node.Start(t.Context(), opts)
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// usageOf asks what the keys of the one plan have used in all.
func usageOf(t *testing.T, n *node.Node) (used int) {
	t.Helper()
	get := func(path string, into any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.AWS+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		req.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/"+now.Format("20060102")+
			"/us-east-1/apigateway/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0", 64))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, err)
		}
	}
	var plans struct{ Item []struct{ ID string } }
	get("/usageplans", &plans)
	if len(plans.Item) != 1 {
		t.Fatalf("%+v", plans)
	}
	var usage struct{ Values map[string][][]int }
	to := time.Now().UTC()
	get("/usageplans/"+plans.Item[0].ID+"/usage?startDate="+to.AddDate(0, 0, -1).Format(time.DateOnly)+"&endDate="+to.Format(time.DateOnly), &usage)
	for _, days := range usage.Values {
		for _, day := range days {
			used += day[0]
		}
	}
	return used
}
