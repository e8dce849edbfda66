package gateway

import (
	"encoding/json"
	"strings"

	"millrace/internal/gateway/mapping"
)

// tokenEvent is what an authorizer of type TOKEN is asked with.
type tokenEvent struct {
	Type      string `json:"type"`
	MethodARN string `json:"methodArn"`
	Token     string `json:"authorizationToken"`
}

// requestEvent is what an authorizer of type REQUEST is asked with: the request without its body.
type requestEvent struct {
	Type           string              `json:"type"`
	MethodARN      string              `json:"methodArn"`
	Resource       string              `json:"resource"`
	Path           string              `json:"path"`
	HTTPMethod     string              `json:"httpMethod"`
	Headers        map[string]string   `json:"headers"`
	MultiHeaders   map[string][]string `json:"multiValueHeaders"`
	Query          map[string]string   `json:"queryStringParameters"`
	MultiQuery     map[string][]string `json:"multiValueQueryStringParameters"`
	PathParameters map[string]string   `json:"pathParameters"`
	StageVariables map[string]string   `json:"stageVariables"`
	RequestContext requestContext      `json:"requestContext"`
}

type requestContext struct {
	ResourceID        string            `json:"resourceId"`
	ResourcePath      string            `json:"resourcePath"`
	HTTPMethod        string            `json:"httpMethod"`
	ExtendedRequestID string            `json:"extendedRequestId"`
	RequestTime       string            `json:"requestTime"`
	Path              string            `json:"path"`
	AccountID         string            `json:"accountId"`
	Protocol          string            `json:"protocol"`
	Stage             string            `json:"stage"`
	DomainPrefix      string            `json:"domainPrefix"`
	RequestTimeEpoch  json.Number       `json:"requestTimeEpoch"`
	RequestID         string            `json:"requestId"`
	Identity          map[string]string `json:"identity"`
	DomainName        string            `json:"domainName"`
	DeploymentID      string            `json:"deploymentId"`
	APIID             string            `json:"apiId"`
}

// event makes what the authorizer is asked with.
func (x *exchange) event(z *authorizer, methodARN string, identity []string) ([]byte, error) {
	if z.token != "" {
		return json.Marshal(tokenEvent{"TOKEN", methodARN, identity[0]})
	}
	c := &x.context
	return json.Marshal(requestEvent{
		Type: "REQUEST", MethodARN: methodARN, Resource: x.method.resourcePath, Path: x.pathWithoutStage(),
		HTTPMethod: c.HTTPMethod, Headers: single(x.header), MultiHeaders: multi(x.header), Query: single(x.query), MultiQuery: multi(x.query),
		PathParameters: single(x.path), StageVariables: single(x.in.StageVariables),
		RequestContext: requestContext{
			ResourceID: c.ResourceID, ResourcePath: c.ResourcePath, HTTPMethod: c.HTTPMethod, ExtendedRequestID: c.ExtendedRequestID,
			RequestTime: c.RequestTime, Path: c.Path, AccountID: c.AccountID, Protocol: c.Protocol, Stage: c.Stage, DomainPrefix: c.DomainPrefix,
			RequestTimeEpoch: json.Number(c.RequestTimeEpoch), RequestID: c.RequestID, DomainName: c.DomainName, DeploymentID: c.DeploymentID, APIID: c.APIID,
			Identity: map[string]string{"sourceIp": c.SourceIP, "userAgent": c.UserAgent},
		},
	})
}

// pathWithoutStage is the path as it was sent, without the stage where it begins with that. (Behind a custom domain name
// it begins with a base path.)
func (x *exchange) pathWithoutStage() string {
	rest, found := strings.CutPrefix(x.context.Path, "/"+x.stage.name)
	switch {
	case !found || rest != "" && rest[0] != '/':
		return x.context.Path
	case rest == "":
		return "/"
	}
	return rest
}

// single gives the last value of each name.
func single(p mapping.Params) map[string]string {
	m := make(map[string]string, len(p))
	for i := range p {
		m[p[i].Name] = p[i].Value
	}
	return m
}

func multi(p mapping.Params) map[string][]string {
	m := make(map[string][]string, len(p))
	for i := range p {
		m[p[i].Name] = append(m[p[i].Name], p[i].Value)
	}
	return m
}
