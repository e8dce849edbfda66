package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"millrace/internal/api/apigateway"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/gateway"
	"millrace/internal/restapi"
)

// gate says what this node can check callers of deployed APIs with.
func (n *Node) gate() restapi.Gate {
	return restapi.Gate{Signatures: n.opts.Config.Credentials != "", Functions: n.opts.Config.Authorizers}
}

// gatekeeper checks callers for the gateway: signatures with the node's credentials, and authorizers by HTTP. It has
// connections of its own, so that a slow authorizer takes none of anybody else's.
type gatekeeper struct {
	verifier *awswire.Verifier
	urls     map[string]string // of authorizers, by the ARN of their function
	client   *http.Client
}

// The bounds of calls to one authorizer's host. Calls that find no connection wait for one, within their time.
const (
	maxAuthorizerConns  = 128
	idleAuthorizerConns = 16
	idleAuthorizerTime  = 30 * time.Second
)

func (n *Node) newGatekeeper(credentials awswire.Lookup) *gatekeeper {
	transport := &http.Transport{
		MaxConnsPerHost: maxAuthorizerConns, MaxIdleConnsPerHost: idleAuthorizerConns, IdleConnTimeout: idleAuthorizerTime,
		DisableCompression: true, // an answer is bounded as it comes
	}
	n.onClose("authorizer connections", func(context.Context) error { transport.CloseIdleConnections(); return nil })
	return &gatekeeper{
		verifier: awswire.NewVerifier("execute-api", credentials, time.Now),
		urls:     n.opts.Config.Authorizers,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the configuration names the place; an answer does not
		}},
	}
}

// Signer checks the signature of a request.
func (k *gatekeeper) Signer(req *gateway.Request) (accessKey string, refused *gateway.SignatureFault) {
	uri := req.RawPath
	if req.RawQuery != "" {
		uri += "?" + req.RawQuery
	}
	r := &http.Request{
		Method: req.Method, Host: req.Host, RequestURI: uri, URL: &url.URL{Path: req.RawPath, RawQuery: req.RawQuery},
		Header: make(http.Header, len(req.Header)), ContentLength: int64(len(req.Body)),
	}
	for _, f := range req.Header {
		r.Header.Add(f.Name, f.Value)
	}
	caller, refusal := k.verifier.Verify(r, req.Body)
	if refusal != nil {
		return "", &gateway.SignatureFault{
			Code: refusal.Code, Message: refusal.Message,
			Missing: refusal.Code == "MissingAuthenticationTokenException",
			Expired: strings.HasPrefix(refusal.Message, "Signature expired"),
		}
	}
	return caller.AccessKeyID, nil
}

// Ask posts an event to an authorizer.
func (k *gatekeeper) Ask(ctx context.Context, function string, event []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.urls[function], bytes.NewReader(event))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered with status %d", k.urls[function], resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, gateway.MaxAuthorizerAnswer+1))
	if err == nil && len(answer) > gateway.MaxAuthorizerAnswer {
		err = fmt.Errorf("%s answered with more than %d bytes", k.urls[function], gateway.MaxAuthorizerAnswer)
	}
	return answer, err
}

// authorizers gives the control plane what the gateway has of authorizers.
type authorizers struct{ n *Node }

// Try tests an authorizer.
func (a authorizers) Try(ctx context.Context, api *restapi.API, id string, test apigateway.AuthorizerTest) (*apigateway.AuthorizerResult, error) {
	t := gateway.AuthorizerTest{Path: test.Path, StageVariables: test.StageVariables}
	for _, h := range test.Header {
		t.Header = append(t.Header, gateway.Field(h))
	}
	r, why := a.n.gateway.TestAuthorizer(ctx, api, id, t)
	if why != "" {
		return nil, fault.New(fault.Unsupported, "app.TestAuthorizer", id, "%s", why)
	}
	return &apigateway.AuthorizerResult{Status: r.Status, Log: r.Log, Principal: r.Principal, Policy: r.Policy, Latency: r.Latency}, nil
}

// Flush forgets what authorizers have said for a stage.
func (a authorizers) Flush(api, stage string) { a.n.gateway.FlushAuthorizers(api, stage) }
