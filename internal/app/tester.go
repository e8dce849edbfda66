package app

import (
	"context"

	"millrace/internal/api/apigateway"
	"millrace/internal/gateway"
	"millrace/internal/restapi"
)

// tester gives the control plane the gateway, for TestInvokeMethod.
type tester struct{ node *Node }

// TestMethod runs a method of a working copy.
func (t tester) TestMethod(ctx context.Context, api *restapi.API, resourceID, verb string, req apigateway.MethodTest) (*apigateway.MethodTested, error) {
	in := gateway.TestRequest{PathWithQuery: req.PathWithQuery, Body: req.Body, StageVariables: req.StageVariables}
	for _, h := range req.Header {
		in.Header = append(in.Header, gateway.Field{Name: h[0], Value: h[1]})
	}
	r, err := t.node.gateway.Test(ctx, api, resourceID, verb, in)
	if err != nil {
		return nil, err
	}
	out := &apigateway.MethodTested{Status: r.Status, Body: r.Body, Log: r.Log, Latency: r.Latency}
	for _, h := range r.Header {
		out.Header = append(out.Header, [2]string{h.Name, h.Value})
	}
	return out, nil
}
