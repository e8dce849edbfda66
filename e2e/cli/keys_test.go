package cli

import (
	"net/http"
	"path/filepath"
	"testing"

	"millrace/e2e/node"
)

// A definition with API keys, a usage plan and a throttle: who may call, and how often.
func TestDefinitionWithKeys(t *testing.T) {
	n, err := node.Start(t.Context(), node.Options{Binary: binaryFor(t), Data: filepath.Join(t.TempDir(), "data"),
		File: filepath.Join("testdata/definitions", "06-api-key-usage-plan-cfn.yaml")})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
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
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}
