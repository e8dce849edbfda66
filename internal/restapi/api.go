// Package restapi owns the nouns of a REST API as Amazon API Gateway defines it,
// and the rules that hold between them.
//
//	API ── Definition (the working copy): Resources ── Methods ── Integration ── IntegrationResponses
//	 ├──── Deployment: a frozen Definition
//	 └──── Stage: points at a Deployment, with variables and method settings
//
// It is plain data with JSON names, kept by the catalog, changed by api/apigateway
// and template through the same functions of this package, and compiled by gateway.
// It does no I/O.
package restapi

import (
	"strings"
	"time"
)

// API is a REST API with everything below it.
type API struct {
	ID                        string            `json:"id"` // 10 of [a-z0-9]
	Name                      string            `json:"name"`
	Description               string            `json:"description,omitempty"`
	Version                   string            `json:"version,omitempty"`
	Created                   time.Time         `json:"created"`
	EndpointTypes             []string          `json:"endpointTypes,omitempty"`
	IPAddressType             string            `json:"ipAddressType,omitempty"`
	DisableExecuteAPIEndpoint bool              `json:"disableExecuteApiEndpoint,omitempty"`
	Tags                      map[string]string `json:"tags,omitempty"`

	Definition // the working copy

	Deployments map[string]*Deployment `json:"deployments,omitempty"` // by id
	Stages      map[string]*Stage      `json:"stages,omitempty"`      // by name
}

// Definition is what a deployment freezes.
type Definition struct {
	RootResourceID   string               `json:"rootResourceId"`
	Resources        map[string]*Resource `json:"resources"` // by id
	BinaryMediaTypes []string             `json:"binaryMediaTypes,omitempty"`
	APIKeySource     string               `json:"apiKeySource,omitempty"` // HEADER, which an empty one means, or AUTHORIZER
	// MinimumCompressionSize is how long a body has to be to be compressed; nil: none is.
	MinimumCompressionSize *int                        `json:"minimumCompressionSize,omitempty"`
	Policy                 string                      `json:"policy,omitempty"`           // a JSON text
	Models                 map[string]*Model           `json:"models,omitempty"`           // by name
	Validators             map[string]*Validator       `json:"validators,omitempty"`       // by id
	Authorizers            map[string]*Authorizer      `json:"authorizers,omitempty"`      // by id
	GatewayResponses       map[string]*GatewayResponse `json:"gatewayResponses,omitempty"` // by type; those that are set
}

// Resource is a node of the path tree.
type Resource struct {
	ID       string             `json:"id"`                 // 10 of [a-z0-9] for the root, else 6
	ParentID string             `json:"parentId,omitempty"` // empty for the root
	PathPart string             `json:"pathPart,omitempty"` // "v1", "{stream-name}", "{proxy+}"
	Path     string             `json:"path"`               // "/v1/{stream-name}"
	Methods  map[string]*Method `json:"methods,omitempty"`  // by verb, "ANY" among them
}

// Method is a verb of a resource.
type Method struct {
	HTTPMethod        string                     `json:"httpMethod"`
	AuthorizationType string                     `json:"authorizationType"` // "NONE"
	AuthorizerID      string                     `json:"authorizerId,omitempty"`
	APIKeyRequired    bool                       `json:"apiKeyRequired,omitempty"`
	ValidatorID       string                     `json:"requestValidatorId,omitempty"`
	OperationName     string                     `json:"operationName,omitempty"`
	RequestParameters map[string]bool            `json:"requestParameters,omitempty"` // "method.request.path.stream-name": required
	RequestModels     map[string]string          `json:"requestModels,omitempty"`     // media type to model name
	Responses         map[string]*MethodResponse `json:"responses,omitempty"`         // by status code
	Integration       *Integration               `json:"integration,omitempty"`
}

// MethodResponse declares a status that a method may answer.
type MethodResponse struct {
	StatusCode         string            `json:"statusCode"`
	ResponseParameters map[string]bool   `json:"responseParameters,omitzero"` // "method.response.header.X"; empty is shown, nil is not
	ResponseModels     map[string]string `json:"responseModels,omitzero"`
}

// The integration types.
const (
	AWS       = "AWS"
	AWSProxy  = "AWS_PROXY"
	HTTP      = "HTTP"
	HTTPProxy = "HTTP_PROXY"
	Mock      = "MOCK"
)

// The passthrough behaviours.
const (
	WhenNoMatch     = "WHEN_NO_MATCH"
	WhenNoTemplates = "WHEN_NO_TEMPLATES"
	Never           = "NEVER"
)

// The transfer modes of responses.
const (
	Buffered = "BUFFERED"
	Stream   = "STREAM"
)

// DefaultTimeoutMillis is an integration's time unless it says otherwise; MinTimeoutMillis is the least, MaxStreamMillis the
// most that one with a streamed response may have.
const (
	DefaultTimeoutMillis = 29000
	MinTimeoutMillis     = 50
	MaxStreamMillis      = 15 * 60 * 1000
)

// Integration is what a method calls.
type Integration struct {
	Type                string                          `json:"type"`
	HTTPMethod          string                          `json:"httpMethod,omitempty"`
	URI                 string                          `json:"uri,omitempty"` // "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"
	Credentials         string                          `json:"credentials,omitempty"`
	PassthroughBehavior string                          `json:"passthroughBehavior,omitempty"`
	ContentHandling     string                          `json:"contentHandling,omitempty"`
	TimeoutMillis       int                             `json:"timeoutInMillis,omitempty"`
	TransferMode        string                          `json:"responseTransferMode,omitempty"`     // "STREAM"; empty counts as "BUFFERED"
	InsecureTLS         bool                            `json:"insecureSkipVerification,omitempty"` // of tlsConfig
	CacheNamespace      string                          `json:"cacheNamespace,omitempty"`
	CacheKeyParameters  []string                        `json:"cacheKeyParameters,omitempty"`
	RequestParameters   map[string]string               `json:"requestParameters,omitempty"` // "integration.request.header.X": "'v'"
	RequestTemplates    map[string]string               `json:"requestTemplates,omitempty"`  // media type to VTL
	Responses           map[string]*IntegrationResponse `json:"responses,omitempty"`         // by status code
}

// IntegrationResponse maps what the backend answered.
type IntegrationResponse struct {
	StatusCode         string            `json:"statusCode"`
	SelectionPattern   string            `json:"selectionPattern,omitempty"` // empty: the default
	ResponseParameters map[string]string `json:"responseParameters,omitzero"`
	ResponseTemplates  map[string]string `json:"responseTemplates,omitzero"`
	ContentHandling    string            `json:"contentHandling,omitempty"`
}

// Model is a JSON schema.
type Model struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	Description string `json:"description,omitempty"`
	Schema      string `json:"schema"`
}

// Validator says what of a request is validated before the integration is called.
type Validator struct {
	ID         string `json:"id"` // 6 of [a-z0-9]
	Name       string `json:"name"`
	Body       bool   `json:"validateRequestBody"`
	Parameters bool   `json:"validateRequestParameters"`
}

// The kinds of authorizer.
const (
	TokenAuthorizer   = "TOKEN"
	RequestAuthorizer = "REQUEST"
)

// Authorizer decides who may call methods of AuthorizationType CUSTOM.
type Authorizer struct {
	ID                 string `json:"id"` // 6 of [a-z0-9]
	Name               string `json:"name"`
	Type               string `json:"type"`
	AuthType           string `json:"authType,omitempty"` // for export alone
	URI                string `json:"authorizerUri,omitempty"`
	Credentials        string `json:"authorizerCredentials,omitempty"`
	IdentitySource     string `json:"identitySource,omitempty"` // "method.request.header.Authorization", several with commas
	IdentityValidation string `json:"identityValidationExpression,omitempty"`
	TTLSeconds         *int   `json:"authorizerResultTtlInSeconds,omitempty"` // nil: 300
}

// GatewayResponse is what the gateway itself answers in a case that its type names.
type GatewayResponse struct {
	Type       string            `json:"responseType"`         // "DEFAULT_4XX"
	StatusCode string            `json:"statusCode,omitempty"` // empty: the type's own
	Parameters map[string]string `json:"responseParameters,omitempty"`
	Templates  map[string]string `json:"responseTemplates,omitempty"`
}

// Deployment is a frozen copy of a Definition.
type Deployment struct {
	ID          string     `json:"id"` // 6 of [a-z0-9]
	Description string     `json:"description,omitempty"`
	Created     time.Time  `json:"created"`
	Definition  Definition `json:"definition"`
}

// Stage is a named, callable pointer to a deployment.
type Stage struct {
	Name           string                    `json:"name"`
	DeploymentID   string                    `json:"deploymentId"`
	Description    string                    `json:"description,omitempty"`
	Created        time.Time                 `json:"created"`
	Updated        time.Time                 `json:"updated"`
	Variables      map[string]string         `json:"variables,omitempty"`
	MethodSettings map[string]*MethodSetting `json:"methodSettings,omitempty"` // by "*/*" or "v1/{stream-name}/POST"
	AccessLog      *AccessLog                `json:"accessLogSettings,omitempty"`
	Canary         *Canary                   `json:"canarySettings,omitempty"`
	TracingEnabled bool                      `json:"tracingEnabled,omitempty"`
	Tags           map[string]string         `json:"tags,omitempty"`
}

// AccessLog says where a stage writes a line for each request, and its form.
type AccessLog struct {
	DestinationARN string `json:"destinationArn,omitempty"`
	Format         string `json:"format,omitempty"`
}

// Canary sends a share of a stage's requests to another deployment.
type Canary struct {
	DeploymentID string            `json:"deploymentId"`
	Percent      float64           `json:"percentTraffic"`
	Overrides    map[string]string `json:"stageVariableOverrides,omitempty"`
	UseCache     bool              `json:"useStageCache,omitempty"`
}

// The logging levels; empty counts as off. Millrace writes errors even when off: its own log is not billed.
const (
	LogOff   = "OFF"
	LogError = "ERROR"
	LogInfo  = "INFO"
)

// MethodSetting of a stage.
type MethodSetting struct {
	LoggingLevel     string `json:"loggingLevel,omitempty"`
	DataTraceEnabled bool   `json:"dataTraceEnabled,omitempty"`
	MetricsEnabled   bool   `json:"metricsEnabled,omitempty"`
	// Throttle is the method's own; nil: the account's, which applies only with --aws-exact=limits.
	Throttle *Throttle    `json:"throttle,omitempty"`
	Cache    CacheSetting `json:"cache,omitzero"`
}

// Throttle is a bucket of tokens: Burst of them at most, Rate new ones a second.
type Throttle struct {
	Rate  float64 `json:"rateLimit"`
	Burst int     `json:"burstLimit"`
}

// SettingFor finds the setting of a method: the method's own, else that of "*/*", else the zero value.
func (s *Stage) SettingFor(resourcePath, verb string) MethodSetting {
	if m := s.MethodSettings[strings.TrimPrefix(resourcePath, "/")+"/"+verb]; m != nil {
		return *m
	}
	if m := s.MethodSettings["*/*"]; m != nil {
		return *m
	}
	return MethodSetting{}
}
