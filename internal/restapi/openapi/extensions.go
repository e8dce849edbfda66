package openapi

// State says what becomes of an extension.
type State string

// The states.
const (
	Served  State = "served"
	Refused State = "refused" // by name, with file and line
	Passed  State = "accepted without effect"
)

// Extension is a line of the table of the service's extensions to OpenAPI.
type Extension struct {
	Name  string // "x-amazon-apigateway-integration"
	At    string // what has it: "operation"
	State State
	Note  string
}

const (
	httpAPIs = "of HTTP APIs alone: the service passes over it too"
	noParts  = "documentation parts are not kept; the import warns, unless ignore=documentation"
)

// Extensions lists every extension that the service documents; any other x-amazon-… is refused. A test imports an example
// of each.
var Extensions = []Extension{
	{"x-amazon-apigateway-any-method", "path", Served, ""},
	{"x-amazon-apigateway-api-key-source", "document", Served, ""},
	{"x-amazon-apigateway-auth", "operation", Served, ""},
	{"x-amazon-apigateway-authorizer", "security scheme", Served, "types token and request; others are refused"},
	{"x-amazon-apigateway-authtype", "security scheme", Served, "awsSigv4, and what says custom; others are refused"},
	{"x-amazon-apigateway-binary-media-types", "document", Served, ""},
	{"x-amazon-apigateway-cors", "document", Passed, httpAPIs},
	{"x-amazon-apigateway-documentation", "document", Passed, noParts},
	{"x-amazon-apigateway-endpoint-access-mode", "document", Refused, ""},
	{"x-amazon-apigateway-endpoint-configuration", "document, server", Served, "disableExecuteApiEndpoint; vpcEndpointIds is refused"},
	{"x-amazon-apigateway-gateway-responses", "document", Served, ""},
	{"x-amazon-apigateway-importexport-version", "document", Passed, "1.0 is the only one"},
	{"x-amazon-apigateway-integration", "operation", Served, "members of VPC links and integrationTarget are refused; responseTransferMode STREAM is of http_proxy alone"},
	{"x-amazon-apigateway-integrations", "components", Passed, httpAPIs},
	{"x-amazon-apigateway-minimum-compression-size", "document", Served, ""},
	{"x-amazon-apigateway-policy", "document", Served, "what is not evaluated in it is refused"},
	{"x-amazon-apigateway-request-validator", "document, operation", Served, ""},
	{"x-amazon-apigateway-request-validators", "document", Served, ""},
	{"x-amazon-apigateway-security-policy", "document", Refused, "TLS is the listener's"},
	{"x-amazon-apigateway-tag-value", "tag", Passed, httpAPIs},
}
