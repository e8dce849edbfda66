package front

import (
	"net/http"
	"strings"
)

// Service is an AWS service that the AWS endpoint tells apart.
type Service string

// The services, by their signing names.
const (
	Kinesis    Service = "kinesis"
	Firehose   Service = "firehose"
	APIGateway Service = "apigateway"
	S3         Service = "s3"
)

// targets maps the first part of X-Amz-Target to its service.
var targets = map[string]Service{
	"Kinesis_20131202":  Kinesis,
	"Firehose_20150804": Firehose,
}

// apiGatewayPaths begin the control plane's paths; an unsigned call to one of them is for API Gateway, although a
// bucket could bear that name.
var apiGatewayPaths = []string{
	"/restapis", "/apikeys", "/usageplans", "/domainnames", "/domainnameaccessassociations", "/account", "/tags",
	"/vpclinks", "/clientcertificates", "/sdktypes",
}

// serviceOf decides which service a call on the AWS endpoint is for: by its target, else by the scope that it was
// signed for, else by its path. What fits nothing else is S3, whose paths are free.
func serviceOf(r *http.Request, scope string) (service Service, known bool) {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		prefix, _, _ := strings.Cut(target, ".")
		if s, ok := targets[prefix]; ok {
			return s, true
		}
		if scope == "" {
			return "", false
		}
	}
	switch s := Service(scope); s {
	case Kinesis, Firehose, APIGateway, S3:
		return s, true
	case "":
	default:
		return s, false
	}
	for _, p := range apiGatewayPaths {
		if rest, ok := strings.CutPrefix(r.URL.Path, p); ok && (rest == "" || rest[0] == '/') {
			return APIGateway, true
		}
	}
	if r.URL.Path == "/" && (r.Method == http.MethodPost || r.Method == http.MethodOptions) {
		return Kinesis, true // S3 takes no POST at its root; Kinesis says what such a call lacks
	}
	return S3, true
}

// executeAPI reports whether a call on the AWS endpoint is for a deployed API, not for a control plane.
func executeAPI(r *http.Request) bool {
	path := r.URL.Path
	if strings.HasPrefix(path, "/_aws/execute-api/") {
		return true
	}
	if strings.HasPrefix(path, "/restapis/") {
		if parts := strings.SplitN(path, "/", 6); len(parts) >= 5 && parts[4] == "_user_request_" {
			return true
		}
	}
	_, rest, found := strings.Cut(r.Host, ".execute-api.")
	return found && rest != ""
}
