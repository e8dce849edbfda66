package apigateway_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/api/apigateway"
	"millrace/internal/catalog"
	"millrace/internal/ids"
)

// service is the control plane on a catalog in memory, behind a real listener.
type service struct {
	catalog *catalog.Catalog
	url     string
	secret  string // that clients sign with
}

func newService(t *testing.T, change ...func(*apigateway.Options)) *service {
	t.Helper()
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c, err := catalog.Open(db, []byte("c/"))
	if err != nil {
		t.Fatal(err)
	}
	opts := apigateway.Options{
		Catalog: c,
		Account: ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"},
		IDs:     ids.Seeded(1),
		Now:     func() time.Time { return time.Unix(1700000000, 0).UTC() },
	}
	for _, f := range change {
		f(&opts)
	}
	handler, err := apigateway.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &service{catalog: c, url: server.URL, secret: "secret"}
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(f string, a ...any) {
	panic(f)
}

func (s *service) client(t *testing.T) *sdk.Client {
	t.Helper()
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKID", s.secret, ""),
	})
}

// deployed makes an API of one MOCK method on stage prod and gives its id.
func (s *service) deployed(t *testing.T, c *sdk.Client) (id string) {
	t.Helper()
	ctx := context.Background()
	api := must(c.CreateRestApi(ctx, &sdk.CreateRestApiInput{Name: aws.String("n")}))
	get := aws.String("GET")
	must(c.PutMethod(ctx, &sdk.PutMethodInput{RestApiId: api.Id, ResourceId: api.RootResourceId, HttpMethod: get, AuthorizationType: aws.String("NONE")}))
	must(c.PutMethodResponse(ctx, &sdk.PutMethodResponseInput{RestApiId: api.Id, ResourceId: api.RootResourceId, HttpMethod: get, StatusCode: aws.String("200")}))
	must(c.PutIntegration(ctx, &sdk.PutIntegrationInput{RestApiId: api.Id, ResourceId: api.RootResourceId, HttpMethod: get, Type: types.IntegrationTypeMock,
		RequestTemplates: map[string]string{"application/json": `{"statusCode": 200}`}}))
	must(c.PutIntegrationResponse(ctx, &sdk.PutIntegrationResponseInput{RestApiId: api.Id, ResourceId: api.RootResourceId, HttpMethod: get, StatusCode: aws.String("200")}))
	must(c.CreateDeployment(ctx, &sdk.CreateDeploymentInput{RestApiId: api.Id, StageName: aws.String("prod")}))
	return aws.ToString(api.Id)
}

// must unwraps a result that has to be without error; a test that gets one stops with its trace.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// answer is what came back over the wire.
type answer struct {
	status    int
	errorType string
	requestID string
	body      string
}

// call sends a request as plain HTTP.
func (s *service) call(t *testing.T, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("x-amzn-ErrorType"), resp.Header.Get("x-amzn-RequestId"), string(text)}
}
