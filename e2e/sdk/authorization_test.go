package sdk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	apitypes "github.com/aws/aws-sdk-go-v2/service/apigateway/types"

	"millrace/e2e/node"
)

const (
	guardKey, guardSecret = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	function              = "arn:aws:lambda:us-east-1:000000000000:function:my-auth"
)

// guardedFile is an API each of whose methods has another guard; it shows who called.
const guardedFile = `
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: guarded}}
  Auth:
    Type: AWS::ApiGateway::Authorizer
    Properties:
      RestApiId: !Ref Api
      Name: mine
      Type: TOKEN
      IdentitySource: method.request.header.Authorization
      AuthorizerUri: arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/` + function + `/invocations
  Any: {Type: AWS::ApiGateway::Resource, Properties: {RestApiId: !Ref Api, ParentId: !GetAtt Api.RootResourceId, PathPart: "{proxy+}"}}
  Post:
    Type: AWS::ApiGateway::Method
    Properties: {RestApiId: !Ref Api, ResourceId: !Ref Any, HttpMethod: POST, AuthorizationType: AWS_IAM, Integration: &mock
      {Type: MOCK, PassthroughBehavior: WHEN_NO_MATCH, RequestTemplates: {application/json: '{"statusCode": 200}'}, IntegrationResponses: [{StatusCode: 200,
      ResponseTemplates: {application/json: "$context.identity.userArn $context.authorizer.principalId $context.authorizer.plan"}}]}, MethodResponses: [{StatusCode: 200}]}
  Get:
    Type: AWS::ApiGateway::Method
    Properties: {RestApiId: !Ref Api, ResourceId: !Ref Any, HttpMethod: GET, AuthorizationType: AWS_IAM, Integration: *mock, MethodResponses: [{StatusCode: 200}]}
  Put:
    Type: AWS::ApiGateway::Method
    Properties: {RestApiId: !Ref Api, ResourceId: !Ref Any, HttpMethod: PUT, AuthorizationType: CUSTOM, AuthorizerId: !Ref Auth, Integration: *mock, MethodResponses: [{StatusCode: 200}]}
  Live: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref Api, StageName: prod}}
Outputs:
  Api: {Value: !Ref Api}
`

// authorizer answers as a function would: to the token "good" with an Allow, to "bad" with a Deny, else that it does
// not know the caller.
func authorizer(t *testing.T, calls *atomic.Int32) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var event struct{ Type, AuthorizationToken, MethodARN string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil || event.Type != "TOKEN" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		effect := map[string]string{"good": "Allow", "bad": "Deny"}[event.AuthorizationToken]
		if effect == "" {
			fmt.Fprint(w, `{"errorMessage":"Unauthorized"}`)
			return
		}
		fmt.Fprintf(w, `{"principalId":"user|42","context":{"plan":"pro"},"policyDocument":{"Version":"2012-10-17",
			"Statement":[{"Action":"execute-api:Invoke","Effect":%q,"Resource":%q}]}}`, effect, event.MethodARN)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func guardedNode(t *testing.T, config, file string, args ...string) (*node.Node, string, error) {
	t.Helper()
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if config != "" {
		args = append(args, "--config", write("millrace.yaml", config))
	}
	args = append(args, "--credentials", write("credentials", "[default]\naws_access_key_id = "+guardKey+"\naws_secret_access_key = "+guardSecret+"\n"))
	opts := node.Options{File: write("api.yaml", file), Args: args, Data: filepath.Join(folder, "data")}
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	var err error
	if opts.Binary, err = node.Binary(); err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), opts)
	return n, opts.File, err
}

// signed makes a request that the SDK's own signer has signed, by header or by query.
func signed(t *testing.T, method, url, body, service string, at time.Time, presigned bool) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	sum := sha256.Sum256([]byte(body))
	who := aws.Credentials{AccessKeyID: guardKey, SecretAccessKey: guardSecret}
	if !presigned {
		if err := v4.NewSigner().SignHTTP(t.Context(), who, r, hex.EncodeToString(sum[:]), service, "us-east-1", at); err != nil {
			t.Fatal(err)
		}
		return r
	}
	uri, header, err := v4.NewSigner().PresignHTTP(t.Context(), who, r, hex.EncodeToString(sum[:]), service, "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
	out, err := http.NewRequestWithContext(t.Context(), method, uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	out.Header = header
	return out
}

func answerOf(t *testing.T, r *http.Request) (status int, errorType, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("x-amzn-ErrorType"), string(text)
}

// Methods that ask who calls, called as programs call them.
func TestGuardedMethods(t *testing.T) {
	var calls atomic.Int32
	n, _, err := guardedNode(t, "authorizers:\n  "+function+": "+authorizer(t, &calls)+"\n", guardedFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}()
	f := func(r *http.Request, status int, errorType, body string) {
		t.Helper()
		gotStatus, gotType, gotBody := answerOf(t, r)
		if gotStatus != status || gotType != errorType || !strings.Contains(gotBody, body) {
			t.Errorf("%s %s: %d %s %s\nwant %d %s %s", r.Method, r.URL, gotStatus, gotType, gotBody, status, errorType, body)
		}
	}
	const service, user = "execute-api", "arn:aws:iam::000000000000:user/" + guardKey
	url, now := n.Ingest+"/prod/v1/a%20b%2Fc", time.Now()
	f(signed(t, "POST", url, `{"a": "ü"}`, service, now, false), 200, "", user)
	f(signed(t, "POST", url+"?b=2&a=x%20y&a=%2B", `{}`, service, now, false), 200, "", user)
	f(signed(t, "GET", url+"?q=1", "", service, now, false), 200, "", user)
	f(signed(t, "GET", url+"?X-Amz-Expires=600&q=1", "", service, now.Add(-6*time.Minute), true), 200, "", user)
	f(signed(t, "GET", url+"?X-Amz-Expires=60", "", service, now.Add(-6*time.Minute), true), 403, "InvalidSignatureException", `{"message":"Signature expired: `)
	f(signed(t, "GET", url, "", service, now.Add(-6*time.Minute), false), 403, "InvalidSignatureException", `{"message":"Signature expired: `)
	f(signed(t, "GET", url, "", "kinesis", now, false), 403, "InvalidSignatureException", `Credential should be scoped to correct service: 'execute-api'.`)
	altered := signed(t, "POST", url, `{"a":1}`, service, now, false)
	altered.Body = io.NopCloser(bytes.NewReader([]byte(`{"a":2}`)))
	f(altered, 403, "InvalidSignatureException", `{"message":"The request signature we calculated does not match`)
	unsigned, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	f(unsigned, 403, "MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`)

	put := func(token string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), "PUT", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		return r
	}
	f(put("good"), 200, "", "user|42 pro")
	f(put("good"), 200, "", "user|42 pro")
	f(put("bad"), 403, "AccessDeniedException", `{"Message":"User is not authorized to access this resource with an explicit deny"}`)
	f(put("nobody"), 401, "UnauthorizedException", `{"message":"Unauthorized"}`)
	f(put(""), 401, "UnauthorizedException", `{"message":"Unauthorized"}`)
	if got := calls.Load(); got != 3 {
		t.Errorf("the authorizer was called %d times, want 3: one answer is kept", got)
	}
	controls(t, n, &calls, func() { f(put("good"), 200, "", "user|42 pro") })
}

// controls calls what the control plane has of authorizers.
func controls(t *testing.T, n *node.Node, calls *atomic.Int32, again func()) {
	t.Helper()
	ctx := t.Context()
	c := clientsOf(n, guardKey, guardSecret).apigateway
	apis, err := c.GetRestApis(ctx, &apigateway.GetRestApisInput{})
	if err != nil || len(apis.Items) != 1 {
		t.Fatal(apis, err)
	}
	api := apis.Items[0].Id
	list, err := c.GetAuthorizers(ctx, &apigateway.GetAuthorizersInput{RestApiId: api})
	if err != nil || len(list.Items) != 1 {
		t.Fatal(list, err)
	}
	id := list.Items[0].Id
	for token, status := range map[string]int32{"good": 200, "nobody": 401} {
		out, err := c.TestInvokeAuthorizer(ctx, &apigateway.TestInvokeAuthorizerInput{RestApiId: api, AuthorizerId: id, Headers: map[string]string{"Authorization": token}})
		if err != nil || out.ClientStatus != status || !strings.HasPrefix(*out.Log, "Execution log for request ") {
			t.Errorf("%s: %+v %v", token, out, err)
		}
	}
	before := calls.Load()
	if _, err := c.FlushStageAuthorizersCache(ctx, &apigateway.FlushStageAuthorizersCacheInput{RestApiId: api, StageName: aws.String("prod")}); err != nil {
		t.Error(err)
	}
	if again(); calls.Load() != before+1 {
		t.Error("a flush has not emptied the cache")
	}
	_, err = c.DeleteAuthorizer(ctx, &apigateway.DeleteAuthorizerInput{RestApiId: api, AuthorizerId: id})
	var conflict *apitypes.ConflictException
	if !errors.As(err, &conflict) {
		t.Errorf("an authorizer that a method asks was deleted: %v", err)
	}
	if _, err := c.UpdateAuthorizer(ctx, &apigateway.UpdateAuthorizerInput{RestApiId: api, AuthorizerId: id, PatchOperations: []apitypes.PatchOperation{
		{Op: apitypes.OpReplace, Path: aws.String("/authorizerResultTtlInSeconds"), Value: aws.String("0")}}}); err != nil {
		t.Error(err)
	}
}

// A node that can't check callers refuses the file, and says what it lacks.
func TestAFileThatCantBeGuardedIsRefused(t *testing.T) {
	n, file, err := guardedNode(t, "", guardedFile)
	if err == nil {
		_ = n.Stop()
		t.Fatal("the node has started")
	}
	want := file + ":21:3: Resources.Put.authorizerId: the authorizer mine is the function " + function +
		", and no URL is configured for it: name one under the key authorizers of the configuration file"
	if !errors.Is(err, node.ErrDied) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
}
