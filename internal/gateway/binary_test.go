package gateway

import (
	"testing"

	"millrace/internal/restapi"
)

// What becomes of a backend's answer, which the API may call binary, for callers that may ask for binary.
func TestAnswersAreConverted(t *testing.T) {
	f := func(types []string, accept, handling, answer, want string) {
		t.Helper()
		m := putRecord(map[string]string{"$default": "{}"})
		m.Integration.Responses["200"].ContentHandling = handling
		a := define("abcde12345", map[string]*restapi.Method{"POST /v1": m})
		a.BinaryMediaTypes = types
		deploy(a, "dep001", "prod")
		s := serving(t, answering(200, OK, answer), a)
		r := post("/prod/v1", "", "{}")
		if accept != "" {
			r.Header = append(r.Header, Field{"Accept", accept})
		}
		resp := s.do(r)
		got := string(resp.Body)
		if resp.Status != 200 {
			got = itoa(resp.Status)
		}
		if got != want {
			t.Errorf("%v accept %q %s %q: %q, want %q", types, accept, handling, answer, got, want)
		}
	}
	image, backend := []string{"image/png"}, []string{typeAWSJSON}
	f(nil, "", "", "text", "text")
	f(image, "", "", "text", "text")
	f(image, "", toText, "text", "text")
	f(image, "", toBinary, "/2E=", "\xffa")
	f(image, "image/png, */*", "", "/2E=", "\xffa")
	f(image, "image/png", "", "no base64!", "500")
	f(image, "image/png", toText, "text", "text")
	f(backend, "", "", "\xffa", "/2E=")
	f(backend, "", toText, "\xffa", "/2E=")
	f(backend, "", toBinary, "\xffa", "\xffa")
	f(backend, typeAWSJSON, "", "\xffa", "\xffa")
	f(backend, typeAWSJSON, toText, "\xffa", "/2E=")
}
