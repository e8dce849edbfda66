package apigateway

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// Tester runs a method of a working copy; who holds the gateway is one.
type Tester interface {
	TestMethod(ctx context.Context, api *restapi.API, resourceID, verb string, req MethodTest) (*MethodTested, error)
}

// MethodTest is a request to a method.
type MethodTest struct {
	PathWithQuery  string
	Header         [][2]string // names and values, in the order of names
	Body           []byte
	StageVariables map[string]string
}

// MethodTested is what came of it.
type MethodTested struct {
	Status  int
	Header  [][2]string
	Body    []byte
	Log     string
	Latency time.Duration
}

// testInvokeMethod runs a method as it stands in the working copy, with its real backend: what it puts is put. The
// answer is 200 also where the method fails.
func (s *Service) testInvokeMethod(ctx context.Context, in *wire.TestInvokeMethodRequest) (*wire.TestInvokeMethodResponse, error) {
	if err := refuse(member{"clientCertificateId", awswire.Value(in.ClientCertificateId) != ""}); err != nil {
		return nil, err
	}
	if s.Tester == nil {
		return nil, fault.New(fault.Unsupported, "apigateway", "TestInvokeMethod", "TestInvokeMethod is not supported here: this node serves no APIs")
	}
	api, err := s.read(in.RestApiId, errNoSuchResource)
	if err != nil {
		return nil, err
	}
	out, err := s.Tester.TestMethod(ctx, api, in.ResourceId, in.HttpMethod, MethodTest{
		PathWithQuery: awswire.Value(in.PathWithQueryString), Header: testHeader(in),
		Body: []byte(awswire.Value(in.Body)), StageVariables: in.StageVariables,
	})
	if err != nil {
		return nil, err
	}
	body, log, latency := strings.ToValidUTF8(string(out.Body), "\uFFFD"), strings.ToValidUTF8(out.Log, "\uFFFD"), out.Latency.Milliseconds()
	v := &wire.TestInvokeMethodResponse{
		Status: &out.Status, Body: &body, Log: &log, Latency: &latency,
		Headers: map[string]string{}, MultiValueHeaders: map[string][]string{},
	}
	for _, h := range out.Header {
		v.Headers[h[0]] = h[1]
		v.MultiValueHeaders[h[0]] = append(v.MultiValueHeaders[h[0]], h[1])
	}
	return v, nil
}

// testHeader joins the two members that give headers: a name that has several values is not taken from the other.
func testHeader(in *wire.TestInvokeMethodRequest) (all [][2]string) {
	names := maps.Clone(in.MultiValueHeaders)
	if names == nil {
		names = map[string][]string{}
	}
	for name, value := range in.Headers {
		if _, several := names[name]; !several {
			names[name] = []string{value}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, value := range names[name] {
			all = append(all, [2]string{name, value})
		}
	}
	return all
}
