package app

import (
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
	"millrace/internal/outbound"
	"millrace/internal/restapi"
)

// gate says what this node can check callers of deployed APIs with.
func (n *Node) gate() restapi.Gate {
	return restapi.Gate{Signatures: n.opts.Config.Credentials != "", Functions: n.opts.Config.Authorizers}
}

// gatekeeper checks callers for the gateway: signatures with the node's credentials, and authorizers by HTTP. It has
// connections of its own, so that a slow authorizer takes none of anybody else's.
type gatekeeper struct {
	verifier  *awswire.Verifier
	urls      map[string]*url.URL // of authorizers, by the ARN of their function
	transport *http.Transport     // follows no redirect: the configuration names the place, an answer does not
}

// The bounds of calls to one authorizer's host. Calls that find no connection wait for one, within their time.
const (
	maxAuthorizerConns  = 128
	idleAuthorizerConns = 16
	maxAuthorizerHead   = 64 << 10
)

func (n *Node) newGatekeeper(credentials awswire.Lookup, out outbound.Options) (*gatekeeper, error) {
	k := &gatekeeper{
		verifier: awswire.NewVerifier("execute-api", credentials, time.Now),
		urls:     make(map[string]*url.URL, len(n.opts.Config.Authorizers)),
		transport: out.Transport(outbound.Bounds{
			PerHost: maxAuthorizerConns, IdlePerHost: idleAuthorizerConns, IdleInAll: maxAuthorizerConns, HeaderBytes: maxAuthorizerHead,
		}),
	}
	for arn, text := range n.opts.Config.Authorizers {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "app.authorizers", arn, "it has no URL") // the text may hold a password
		}
		k.urls[arn] = u
	}
	n.onClose("authorizer connections", func(context.Context) error { k.transport.CloseIdleConnections(); return nil })
	return k, nil
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

// Ask posts an event to an authorizer. Errors name its function: a URL may hold a password, and they are logged.
func (k *gatekeeper) Ask(ctx context.Context, function string, event []byte) ([]byte, error) {
	u := k.urls[function]
	if u == nil {
		return nil, fault.New(fault.Invalid, "app.Ask", function, "it has no URL")
	}
	answer, err := k.post(ctx, u, event)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", function, err)
	}
	return answer, nil
}

func (k *gatekeeper) post(ctx context.Context, u *url.URL, event []byte) ([]byte, error) {
	body := outbound.NewBody(event)
	defer body.Release()
	resp, err := k.transport.RoundTrip(outbound.Request(ctx, u, body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d", resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, gateway.MaxAuthorizerAnswer+1))
	if err == nil && len(answer) > gateway.MaxAuthorizerAnswer {
		err = fmt.Errorf("answered with more than %d bytes", gateway.MaxAuthorizerAnswer)
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
