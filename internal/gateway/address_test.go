package gateway

import (
	"testing"

	"millrace/internal/restapi"
)

// echo answers with what it knows of its address.
func echo() *restapi.Method {
	return mock(`{"statusCode": 200}`, map[string]string{"application/json": "$context.apiId|$context.stage|$context.path|$context.resourcePath"})
}

func TestAddressForms(t *testing.T) {
	first := define("abcde12345", map[string]*restapi.Method{"POST /v1": echo(), "POST /dev": echo(), "POST /": echo()})
	second := define("fghij67890", map[string]*restapi.Method{"POST /v1": echo()})
	deploy(second, "dep002", "other")
	deploy(first, "dep002", "dev")
	deploy(first, "dep003", "fghij67890") // a stage named as another API
	closed := define("klmno12345", map[string]*restapi.Method{"POST /v1": echo()})
	closed.DisableExecuteAPIEndpoint = true
	s := serving(t, &fakeActions{}, first, second, closed)

	const forbidden = `403 {"message":"Forbidden"}`
	const missing = `403 {"message":"Missing Authentication Token"}`
	unknown := func(id string) string {
		return `404 {"message":"The API id '` + id + `' does not correspond to a deployed API Gateway API"}`
	}
	f := func(listener Listener, host, path, want string) {
		t.Helper()
		r := post(path, "", "")
		r.Listener, r.Host = listener, host
		resp := s.do(r)
		got := string(resp.Body)
		if resp.Status != 200 {
			got = itoa(resp.Status) + " " + got
		}
		if got != want {
			t.Errorf("%s%s: %s, want %s", host, path, got, want)
		}
	}
	const local = "127.0.0.1:8080"
	// the long form
	f(Ingest, local, "/abcde12345/prod/v1", "abcde12345|prod|/prod/v1|/v1")
	f(Ingest, local, "/fghij67890/prod/v1", "fghij67890|prod|/prod/v1|/v1")
	f(Ingest, local, "/fghij67890/other/v1", "fghij67890|other|/other/v1|/v1")
	f(Ingest, local, "//abcde12345//prod//v1", "abcde12345|prod|/prod//v1|/v1")
	f(Ingest, local, "/abcde12345", forbidden)
	f(Ingest, local, "/abcde12345/none/v1", forbidden)
	f(Ingest, local, "/ABCDE12345/prod/v1", forbidden) // neither an id nor a stage
	f(Ingest, local, "/klmno12345/prod/v1", forbidden) // disableExecuteApiEndpoint
	// the short form
	f(Ingest, local, "/prod/v1", "abcde12345|prod|/prod/v1|/v1")
	f(Ingest, local, "/prod", "abcde12345|prod|/prod|/")
	f(Ingest, local, "/prod/", "abcde12345|prod|/prod/|/")
	f(Ingest, local, "/dev/dev", "abcde12345|dev|/dev/dev|/dev")
	f(Ingest, local, "//prod/v1/", "abcde12345|prod|/prod/v1/|/v1")
	f(Ingest, local, "prod/v1", "abcde12345|prod|/prod/v1|/v1")
	f(Ingest, local, "/other/v1", forbidden)
	f(Ingest, local, "/", forbidden)
	f(Ingest, local, "", forbidden)
	f(Ingest, local, "/prod/none", missing)
	// by host
	f(Ingest, "abcde12345.execute-api.us-east-1.amazonaws.com", "/prod/v1", "abcde12345|prod|/prod/v1|/v1")
	f(Ingest, "ABCDE12345.Execute-API.localhost:8080", "/prod/v1", "abcde12345|prod|/prod/v1|/v1")
	f(AWS, "fghij67890.execute-api.localhost.localstack.cloud:4566", "/other/v1", "fghij67890|other|/other/v1|/v1")
	f(AWS, "fghij67890-vpce-0123.execute-api.us-east-1.vpce.amazonaws.com", "/other/v1", "fghij67890|other|/other/v1|/v1")
	f(Ingest, "zzzzz00000.execute-api.us-east-1.amazonaws.com", "/prod/v1", unknown("zzzzz00000"))
	f(Ingest, "fghij67890.execute-api.us-east-1.amazonaws.com", "/abcde12345/prod/v1", forbidden)
	// on the AWS endpoint
	f(AWS, local, "/restapis/abcde12345/prod/_user_request_/v1", "abcde12345|prod|/prod/v1|/v1")
	f(AWS, local, "/restapis/abcde12345/prod/_user_request_", "abcde12345|prod|/prod|/")
	f(AWS, local, "/restapis/abcde12345/prod/_user_request_x", missing)
	f(AWS, local, "/restapis/zzzzz00000/prod/_user_request_/v1", unknown("zzzzz00000"))
	f(AWS, local, "/_aws/execute-api/abcde12345/prod/v1", "abcde12345|prod|/prod/v1|/v1")
	f(AWS, local, "/_aws/execute-api/ABCDE12345/prod/v1", "abcde12345|prod|/prod/v1|/v1")
	f(AWS, local, "/_aws/execute-api/no\"such/prod/v1", unknown("no?such"))
	f(AWS, local, "/prod/v1", missing)
	f(Ingest, local, "/restapis/abcde12345/prod/_user_request_/v1", forbidden) // a control plane's path: not here

	s.Publish([]*restapi.API{second}, "")
	f(Ingest, local, "/prod/v1", unknown("prod"))
	f(Ingest, local, "/fghij67890/prod/v1", "fghij67890|prod|/prod/v1|/v1")
}

func TestEndpointsSayWhatCanBeCalled(t *testing.T) {
	first := define("abcde12345", map[string]*restapi.Method{"POST /v1/{stream-name}": echo(), "GET /": echo()})
	second := define("fghij67890", map[string]*restapi.Method{"ANY /v1": echo()})
	s := serving(t, &fakeActions{}, first, second)
	var got []string
	for _, e := range s.Endpoints() {
		got = append(got, e.Method+" "+e.Path+" "+e.LongPath+" "+e.Short)
	}
	want := []string{
		"GET / /abcde12345/prod /prod",
		"POST /v1/{stream-name} /abcde12345/prod/v1/{stream-name} /prod/v1/{stream-name}",
		"ANY /v1 /fghij67890/prod/v1 ",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %q, want %q", i, got[i], want[i])
		}
	}
}

func TestFirstCreatedIsTheOldestWithAStage(t *testing.T) {
	a := define("bbbbb00000", map[string]*restapi.Method{"GET /": echo()})
	b := define("aaaaa00000", map[string]*restapi.Method{"GET /": echo()})
	c := define("ccccc00000", map[string]*restapi.Method{"GET /": echo()})
	c.Created, c.Stages = testTime.AddDate(-1, 0, 0), nil
	b.Created = testTime.AddDate(0, 0, 1)
	if got := FirstCreated([]*restapi.API{c, b, a}); got != "bbbbb00000" {
		t.Errorf("got %s", got)
	}
	if got := FirstCreated([]*restapi.API{c}); got != "" {
		t.Errorf("got %q of APIs without stages", got)
	}
}
