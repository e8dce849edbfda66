package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/config"
	"millrace/internal/gateway"
	"millrace/internal/outbound"
)

const testFunction = "arn:aws:lambda:us-east-1:000000000000:function:my-auth"

// keeping makes a gatekeeper that asks url, and closes what it has at the test's end.
func keeping(t *testing.T, url string) *gatekeeper {
	t.Helper()
	n := &Node{opts: Options{Config: config.Node{Authorizers: map[string]string{testFunction: url}}}}
	k, err := n.newGatekeeper(nil, outbound.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// An authorizer is called as Lambda is, and what it does wrong is an error within its time and bounds.
func TestAuthorizersAreCalledByHTTP(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /good", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
		}
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("/failing", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/good", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		for range 2 * gateway.MaxAuthorizerAnswer / 1024 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1024)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	defer server.Close()

	f := func(path, want string) {
		t.Helper()
		k := keeping(t, server.URL+path)
		defer k.transport.CloseIdleConnections()
		answer, err := k.Ask(t.Context(), testFunction, []byte(`{"type":"TOKEN"}`))
		switch {
		case err == nil && string(answer) != want:
			t.Errorf("%s: %s", path, answer)
		case err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	f("/good", `{"type":"TOKEN"}`)
	f("/failing", "answered with status 500")
	f("/nowhere", "answered with status 404")
	f("/moved", "answered with status 307")
	f("/huge", "answered with more than 262144 bytes")
	f("/cut", "unexpected EOF")

	ctx, cancel := context.WithCancel(t.Context())
	k := keeping(t, server.URL+"/slow")
	ended := make(chan error, 1)
	go func() { _, err := k.Ask(ctx, testFunction, nil); ended <- err }()
	cancel()
	if err := <-ended; err == nil {
		t.Error("an answer came of nowhere")
	}
	dead := httptest.NewServer(nil)
	dead.Close()
	k = keeping(t, dead.URL)
	if _, err := k.Ask(t.Context(), testFunction, nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
	for _, url := range []string{server.URL, dead.URL} { // errors are logged
		secret := strings.Replace(url, "://", "://user:password@", 1) + "/failing?key=password"
		k := keeping(t, secret)
		if _, err := k.Ask(t.Context(), testFunction, nil); err == nil || strings.Contains(err.Error(), "password") || !strings.Contains(err.Error(), "my-auth") {
			t.Errorf("%v", err)
		}
		k.transport.CloseIdleConnections()
	}
}

// What is missing, out of its time or unknown is told apart; good signatures are the SDK's to make, in e2e/sdk.
func TestBadSignaturesAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{}
		k, err := n.newGatekeeper(func(id string) (string, bool) { return "secret", id == "AKIDEXAMPLE" }, outbound.Options{})
		if err != nil {
			t.Fatal(err)
		}
		key, refused := k.Signer(&gateway.Request{Method: "GET", RawPath: "/prod/a", Host: "127.0.0.1"})
		if key != "" || refused == nil || !refused.Missing {
			t.Errorf("%q %+v", key, refused)
		}
		old := time.Now().UTC().Add(-time.Hour)
		header := gateway.Header{{Name: "X-Amz-Date", Value: old.Format("20060102T150405Z")}, {Name: "Authorization", Value: "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" +
			old.Format("20060102") + "/us-east-1/execute-api/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"}}
		if _, refused = k.Signer(&gateway.Request{Method: "GET", RawPath: "/prod/a", Host: "127.0.0.1", Header: header}); refused == nil || !refused.Expired || refused.Missing {
			t.Errorf("%+v", refused)
		}
		header[1].Value = strings.Replace(header[1].Value, "AKIDEXAMPLE", "SOMEBODY", 1)
		if _, refused = k.Signer(&gateway.Request{Method: "GET", RawPath: "/prod/a", Host: "127.0.0.1", Header: header}); refused == nil || refused.Code != "UnrecognizedClientException" {
			t.Errorf("%+v", refused)
		}
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
}
