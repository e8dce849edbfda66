package front

import (
	"net/http"
	"strings"

	"millrace/internal/awswire"
)

// Service is an AWS service that the AWS endpoint tells apart, by its signing name.
type Service string

// The services.
const (
	Kinesis    Service = "kinesis"
	Firehose   Service = "firehose"
	APIGateway Service = "apigateway"
	S3         Service = "s3"
	ExecuteAPI Service = "execute-api" // calls of deployed APIs
)

// operator is what /_millrace/ counts as: no AWS service.
const operator Service = "millrace"

// millracePath begins what belongs to the node itself: ledger, metrics, health. No bucket can bear this name.
const millracePath = "/_millrace"

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

// serviceOf decides which service a call on the AWS endpoint is for: an address of a deployed API, else by its
// target, else by the scope that it was signed for, else by its path. What fits nothing else is S3, whose paths are
// free. known is false for a service that Millrace does not have; service then names it as far as the call does.
func serviceOf(r *http.Request) (service Service, known bool) {
	if executeAPI(r) {
		return ExecuteAPI, true
	}
	prefix, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if prefix == "" && r.Header.Get("Smithy-Protocol") != "" {
		prefix = rpcTarget(r.URL.Path)
	}
	if s, ok := targets[prefix]; ok {
		return s, true
	}
	scope := awswire.Scope(r)
	if (scope == "" || scope == string(operator)) && under(r.URL.Path, millracePath) {
		return operator, true
	}
	if scope == "" && prefix != "" {
		return Service(prefix), false
	}
	switch s := Service(scope); s {
	case Kinesis, Firehose, APIGateway, S3, ExecuteAPI:
		return s, true
	case "":
	default:
		return s, false
	}
	for _, p := range apiGatewayPaths {
		if under(r.URL.Path, p) {
			return APIGateway, true
		}
	}
	if r.URL.Path == "/" && (r.Method == http.MethodPost || r.Method == http.MethodOptions) {
		return Kinesis, true // S3 takes no POST at its root; Kinesis says what such a call lacks
	}
	return S3, true
}

// rpcTarget gives what a call of Smithy's RPC protocols has in its path in place of a target: the name of the service in
// "/service/Kinesis_20131202/operation/PutRecord". The service says that it does not speak them.
func rpcTarget(path string) string {
	rest, _ := strings.CutPrefix(path, "/service/")
	name, rest, _ := strings.Cut(rest, "/")
	if strings.HasPrefix(rest, "operation/") {
		return name
	}
	return ""
}

// under reports whether path is base or lies below it.
func under(path, base string) bool {
	rest, ok := strings.CutPrefix(path, base)
	return ok && (rest == "" || rest[0] == '/')
}

// executeAPI reports whether a call on the AWS endpoint is for a deployed API, not for a control plane. It reads the
// address as the gateway does, from the path as it was sent.
func executeAPI(r *http.Request) bool {
	path, _ := target(r.RequestURI)
	if strings.HasPrefix(path, "/_aws/execute-api/") {
		return true
	}
	if strings.HasPrefix(path, "/restapis/") {
		if parts := strings.SplitN(path, "/", 6); len(parts) >= 5 && parts[4] == "_user_request_" {
			return true
		}
	}
	const mark = ".execute-api."
	i := strings.IndexByte(r.Host, '.')
	return i > 0 && len(r.Host) > i+len(mark) && strings.EqualFold(r.Host[i:i+len(mark)], mark)
}
