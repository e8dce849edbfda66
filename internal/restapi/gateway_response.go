package restapi

// ResponseType is a case in which the gateway itself answers.
type ResponseType struct {
	Name   string // "DEFAULT_4XX"
	Status string // "403"; empty where the case that falls back on the type brings its own
}

// The types that every unset one of their class shows.
const (
	Default4XX = "DEFAULT_4XX"
	Default5XX = "DEFAULT_5XX"
)

// ResponseTypes are the types of gateway responses, in the order in which the service prints them in errors.
var ResponseTypes = []ResponseType{
	{"REQUEST_TOO_LARGE", "413"},
	{"RESOURCE_NOT_FOUND", "404"},
	{"AUTHORIZER_CONFIGURATION_ERROR", "500"},
	{"MISSING_AUTHENTICATION_TOKEN", "403"},
	{"BAD_REQUEST_BODY", "400"},
	{"INVALID_SIGNATURE", "403"},
	{"INVALID_API_KEY", "403"},
	{"BAD_REQUEST_PARAMETERS", "400"},
	{"AUTHORIZER_FAILURE", "500"},
	{"UNAUTHORIZED", "401"},
	{"INTEGRATION_TIMEOUT", "504"},
	{"ACCESS_DENIED", "403"},
	{Default4XX, ""},
	{Default5XX, ""},
	{"WAF_FILTERED", "403"},
	{"QUOTA_EXCEEDED", "429"},
	{"THROTTLED", "429"},
	{"API_CONFIGURATION_ERROR", "500"},
	{"UNSUPPORTED_MEDIA_TYPE", "415"},
	{"INTEGRATION_FAILURE", "504"},
	{"EXPIRED_TOKEN", "403"},
}
