package apigateway_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/apigateway"

	"millrace/internal/api/apigateway"
	"millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// Every operation of the model is listed once, and the list says of the reference pipeline's calls that they are served.
func TestSupportListsTheWholeModel(t *testing.T) {
	served := map[string]bool{}
	for _, s := range apigateway.Support() {
		served[s.Operation] = s.Served
	}
	if len(served) != len(apigatewaywire.Operations) {
		t.Errorf("%d of %d operations", len(served), len(apigatewaywire.Operations))
	}
	n := 0
	for _, yes := range served {
		if yes {
			n++
		}
	}
	if n != apigateway.Served() {
		t.Errorf("%d operations of the model are served, %d are in the table: a name is misspelled", n, apigateway.Served())
	}
	for _, name := range []string{"CreateRestApi", "PutIntegrationResponse", "CreateDeployment", "UpdateStage", "TagResource"} {
		if !served[name] {
			t.Errorf("%s is not served", name)
		}
	}
}

// With credentials configured, what is unsigned or signed with another secret is refused before it is looked at.
func TestSignaturesAreChecked(t *testing.T) {
	s := newService(t, func(o *apigateway.Options) {
		o.Now = time.Now // the SDK signs with its own clock
		o.Credentials = func(id string) (string, bool) { return "secret", id == "AKID" }
	})
	must(s.client(t).GetRestApis(context.Background(), &sdk.GetRestApisInput{}))
	s.secret = "wrong"
	_, err := s.client(t).GetRestApis(context.Background(), &sdk.GetRestApisInput{})
	wantError(t, err, 403, "InvalidSignatureException", "The request signature we calculated does not match")
	if a := s.call(t, "GET", "/restapis", ""); a.status != 403 || a.errorType != "MissingAuthenticationTokenException" {
		t.Errorf("%+v", a)
	}
}

// An import makes an API of the importer's making, or none at all.
func TestImportSeam(t *testing.T) {
	var got apigateway.ImportDocument
	fail := false
	s := newService(t, func(o *apigateway.Options) {
		o.Import = func(_ context.Context, doc apigateway.ImportDocument, into *restapi.API) ([]string, error) {
			got = doc
			if fail {
				return nil, fault.New(fault.Invalid, "test", "", "Invalid OpenAPI input.")
			}
			into.Name = "from the file"
			if doc.Overwrite {
				return nil, nil
			}
			_, err := into.AddResource(into.RootResourceID, "v1", doc.IDs)
			return []string{"a warning"}, err
		}
	})
	c, ctx := s.client(t), context.Background()
	api := must(c.ImportRestApi(ctx, &sdk.ImportRestApiInput{Body: []byte("openapi: 3.0.1"), FailOnWarnings: true,
		Parameters: map[string]string{"basepath": "prepend", "endpointConfigurationTypes": "REGIONAL"}}))
	if aws.ToString(api.Name) != "from the file" || len(api.Warnings) != 1 || api.EndpointConfiguration.Types[0] != "REGIONAL" {
		t.Errorf("%+v", api)
	}
	if string(got.Body) != "openapi: 3.0.1" || got.BasePath != "prepend" || !got.FailOnWarnings || got.Overwrite {
		t.Errorf("%+v", got)
	}
	if models := must(c.GetModels(ctx, &sdk.GetModelsInput{RestApiId: api.Id})); len(models.Items) != 0 {
		t.Errorf("an imported API has only the models of its file: %+v", models.Items)
	}
	fail = true
	_, err := c.PutRestApi(ctx, &sdk.PutRestApiInput{RestApiId: api.Id, Body: []byte("x"), Mode: "overwrite"})
	wantError(t, err, 400, "BadRequestException", "Invalid OpenAPI input.")
	if !got.Overwrite {
		t.Error("mode=overwrite was lost")
	}
	_, err = c.ImportRestApi(ctx, &sdk.ImportRestApiInput{Body: []byte("x")})
	wantError(t, err, 400, "BadRequestException", "Invalid OpenAPI input.")
	if all := must(c.GetRestApis(ctx, &sdk.GetRestApisInput{})); len(all.Items) != 1 {
		t.Errorf("a failed import left %d APIs", len(all.Items))
	}
	_, err = c.ImportRestApi(ctx, &sdk.ImportRestApiInput{Body: []byte("x"), Parameters: map[string]string{"basepath": "other"}})
	wantError(t, err, 400, "BadRequestException", "Invalid basepath parameter specified")
	_, err = c.ImportRestApi(ctx, &sdk.ImportRestApiInput{Body: []byte("x"), Parameters: map[string]string{"ignore": "all"}})
	wantError(t, err, 400, "BadRequestException", "Invalid ignore parameter specified")
	_, err = c.PutRestApi(ctx, &sdk.PutRestApiInput{RestApiId: api.Id, Body: []byte("x"), Parameters: map[string]string{"colour": "red"}})
	wantError(t, err, 400, "BadRequestException", "Invalid parameter specified: colour. Valid options are basepath,ignore,endpointConfigurationTypes")
	fail = false
	must(c.PutRestApi(ctx, &sdk.PutRestApiInput{RestApiId: api.Id, Body: []byte("x"), Mode: "overwrite", Parameters: map[string]string{"ignore": "documentation"}}))
	if !got.IgnoreDocumentation {
		t.Error("ignore=documentation was lost")
	}
}

// The faults of the engines leave as the service's exceptions; of our own faults the caller learns nothing.
func TestFaultsToExceptions(t *testing.T) {
	var fails error
	s := newService(t, func(o *apigateway.Options) {
		o.Import = func(context.Context, apigateway.ImportDocument, *restapi.API) ([]string, error) { return nil, fails }
	})
	for _, c := range []struct {
		err        error
		status     int
		code, text string
		retry      bool
	}{
		{fault.New(fault.Invalid, "t", "", "x"), 400, "BadRequestException", "x", false},
		{fault.New(fault.Unsupported, "t", "", "x"), 400, "BadRequestException", "x", false},
		{fault.New(fault.NotFound, "t", "", "x"), 404, "NotFoundException", "x", false},
		{fault.New(fault.InUse, "t", "", "x"), 409, "ConflictException", "x", false},
		{fault.New(fault.LimitExceeded, "t", "", "x"), 429, "LimitExceededException", "x", true},
		{fault.New(fault.Throttled, "t", "", "x"), 429, "TooManyRequestsException", "x", true},
		{fault.New(fault.Unavailable, "t", "", "%w", fault.ErrLowSpace), 503, "ServiceUnavailableException", "Service unavailable. Please try again later.", true},
		{fault.New(fault.Corrupt, "t", "", "offset 7"), 500, "InternalServerErrorException", "Internal server error", false},
		{errors.New("secret cause"), 500, "InternalServerErrorException", "Internal server error", false},
	} {
		fails = c.err
		resp, err := http.Post(s.url+"/restapis?mode=import", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		a := s.call(t, "POST", "/restapis?mode=import", "{}")
		if a.status != c.status || a.errorType != c.code || a.body != `{"message":"`+c.text+`"}` || (resp.Header.Get("Retry-After") != "") != c.retry {
			t.Errorf("%v: %+v", c.err, a)
		}
	}
}
