package app

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/config"
	"millrace/internal/restapi"
	"millrace/internal/stream"
)

// control calls the control plane.
func (r *running) control(method, path, body string, into any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.AWSURL()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20261125/us-east-1/apigateway/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0", 64))
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		r.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			r.t.Fatal(err)
		}
	}
}

// keyedPost posts with a key and gives the status.
func (r *running) keyedPost(path, key string) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.IngestURL()+path, strings.NewReader(`{}`))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-api-key", key)
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A quota outlives a restart, and its use is shown.
func TestQuotaOutlivesRestart(t *testing.T) {
	folder := t.TempDir()
	r := start(t, folder, nil)
	if _, err := r.streams.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	id := r.api("keyed", "s")
	err := r.catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		api, _, err := catalog.APIs{}.Get(tx, id)
		if err != nil {
			return err
		}
		res, _ := api.Definition.ByPath("/e")
		if err := api.PatchMethod(res.ID, "POST", []restapi.Patch{{Op: restapi.OpReplace, Path: "/apiKeyRequired", Value: "true"}}); err != nil {
			return err
		}
		if _, err := api.CreateDeployment(restapi.NewDeployment{StageName: "prod"}, r.ids, time.Now()); err != nil {
			return err
		}
		return catalog.APIs{}.Put(tx, api)
	})
	if err != nil {
		t.Fatal(err)
	}
	var plan, key struct{ ID, Value string }
	r.control("POST", "/apikeys", `{"name":"k","enabled":true}`, &key)
	r.control("POST", "/usageplans", `{"name":"p","apiStages":[{"apiId":"`+id+`","stage":"prod"}],"quota":{"limit":5,"period":"MONTH"}}`, &plan)
	if got := r.keyedPost("/prod/e", key.Value); got != 403 {
		t.Errorf("before the key is in the plan: %d", got)
	}
	r.control("POST", "/usageplans/"+plan.ID+"/keys", `{"keyId":"`+key.ID+`","keyType":"API_KEY"}`, nil)
	post := func(want ...int) {
		t.Helper()
		for i, status := range want {
			if got := r.keyedPost("/prod/e", key.Value); got != status {
				t.Fatalf("call %d: %d, want %d", i+1, got, status)
			}
		}
	}
	used := func(n, left int64) {
		t.Helper()
		var usage struct {
			Values map[string][][]int64 `json:"values"`
		}
		today := time.Now().UTC().Format(time.DateOnly)
		r.control("GET", "/usageplans/"+plan.ID+"/usage?startDate="+today+"&endDate="+today, "", &usage)
		if got := usage.Values[key.ID]; len(got) != 1 || got[0][0] != n || got[0][1] != left {
			t.Errorf("usage %v, want %d and %d left", got, n, left)
		}
	}
	post(200, 200, 200)
	used(3, 2)
	post(200)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, folder, nil)
	used(4, 1)
	post(200, 429)
	r.control("PATCH", "/usageplans/"+plan.ID+"/keys/"+key.ID+"/usage", `{"patchOperations":[{"op":"replace","path":"/remaining","value":"2"}]}`, nil)
	post(200, 200, 429)
	used(7, 0)
}

// The service's throttle of an account is one of its limits, and in force with them alone.
func TestAccountThrottleIsALimit(t *testing.T) {
	if r := start(t, t.TempDir(), nil); r.gateway.AccountThrottle {
		t.Error("in force without --aws-exact=limits")
	}
	if r := start(t, t.TempDir(), func(c *config.Node) { c.ExactLimits = true }); !r.gateway.AccountThrottle {
		t.Error("not in force with --aws-exact=limits")
	}
}
