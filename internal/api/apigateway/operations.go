package apigateway

import (
	"slices"
	"strings"

	"millrace/internal/awsmodel/apigatewaywire"
)

// operations are those that are served; the rest of the model is refused by name.
var operations = map[string]operation{
	"CreateRestApi": answers((*Service).createRestAPI),
	"DeleteRestApi": done((*Service).deleteRestAPI),
	"GetRestApi":    answers((*Service).getRestAPI),
	"GetRestApis":   answers((*Service).getRestAPIs),
	"ImportRestApi": answers((*Service).importRestAPI),
	"PutRestApi":    answers((*Service).putRestAPI),
	"UpdateRestApi": answers((*Service).updateRestAPI),

	"CreateResource": answers((*Service).createResource),
	"DeleteResource": done((*Service).deleteResource),
	"GetResource":    answers((*Service).getResource),
	"GetResources":   answers((*Service).getResources),
	"UpdateResource": answers((*Service).updateResource),

	"DeleteMethod":         done((*Service).deleteMethod),
	"DeleteMethodResponse": done((*Service).deleteMethodResponse),
	"GetMethod":            answers((*Service).getMethod),
	"GetMethodResponse":    answers((*Service).getMethodResponse),
	"PutMethod":            answers((*Service).putMethod),
	"PutMethodResponse":    answers((*Service).putMethodResponse),
	"UpdateMethod":         answers((*Service).updateMethod),
	"UpdateMethodResponse": answers((*Service).updateMethodResponse),

	"DeleteIntegration":         done((*Service).deleteIntegration),
	"DeleteIntegrationResponse": done((*Service).deleteIntegrationResponse),
	"GetIntegration":            answers((*Service).getIntegration),
	"GetIntegrationResponse":    answers((*Service).getIntegrationResponse),
	"PutIntegration":            answers((*Service).putIntegration),
	"PutIntegrationResponse":    answers((*Service).putIntegrationResponse),
	"UpdateIntegration":         answers((*Service).updateIntegration),
	"UpdateIntegrationResponse": answers((*Service).updateIntegrationResponse),

	"CreateDeployment": answers((*Service).createDeployment),
	"DeleteDeployment": done((*Service).deleteDeployment),
	"GetDeployment":    answers((*Service).getDeployment),
	"GetDeployments":   answers((*Service).getDeployments),
	"UpdateDeployment": answers((*Service).updateDeployment),

	"CreateStage":                answers((*Service).createStage),
	"DeleteStage":                done((*Service).deleteStage),
	"FlushStageAuthorizersCache": done((*Service).flushStageAuthorizersCache),
	"FlushStageCache":            done((*Service).flushStageCache),
	"GetStage":                   answers((*Service).getStage),
	"GetStages":                  answers((*Service).getStages),
	"UpdateStage":                answers((*Service).updateStage),

	"TestInvokeMethod": answers((*Service).testInvokeMethod),

	"CreateAuthorizer":     answers((*Service).createAuthorizer),
	"DeleteAuthorizer":     done((*Service).deleteAuthorizer),
	"GetAuthorizer":        answers((*Service).getAuthorizer),
	"GetAuthorizers":       answers((*Service).getAuthorizers),
	"TestInvokeAuthorizer": answers((*Service).testInvokeAuthorizer),
	"UpdateAuthorizer":     answers((*Service).updateAuthorizer),

	"CreateModel":      answers((*Service).createModel),
	"DeleteModel":      done((*Service).deleteModel),
	"GetModel":         answers((*Service).getModel),
	"GetModelTemplate": answers((*Service).getModelTemplate),
	"GetModels":        answers((*Service).getModels),
	"UpdateModel":      answers((*Service).updateModel),

	"CreateRequestValidator": answers((*Service).createRequestValidator),
	"DeleteRequestValidator": done((*Service).deleteRequestValidator),
	"GetRequestValidator":    answers((*Service).getRequestValidator),
	"GetRequestValidators":   answers((*Service).getRequestValidators),
	"UpdateRequestValidator": answers((*Service).updateRequestValidator),
	"GetExport":              (*Service).getExport,

	"DeleteGatewayResponse": done((*Service).deleteGatewayResponse),
	"GetGatewayResponse":    answers((*Service).getGatewayResponse),
	"GetGatewayResponses":   answers((*Service).getGatewayResponses),
	"PutGatewayResponse":    answers((*Service).putGatewayResponse),
	"UpdateGatewayResponse": answers((*Service).updateGatewayResponse),
	"CreateBasePathMapping": answers((*Service).createBasePathMapping),
	"CreateDomainName":      answers((*Service).createDomainName),
	"DeleteBasePathMapping": done((*Service).deleteBasePathMapping),
	"DeleteDomainName":      done((*Service).deleteDomainName),
	"GetBasePathMapping":    answers((*Service).getBasePathMapping),
	"GetBasePathMappings":   answers((*Service).getBasePathMappings),
	"GetDomainName":         answers((*Service).getDomainName),
	"GetDomainNames":        answers((*Service).getDomainNames),
	"UpdateBasePathMapping": answers((*Service).updateBasePathMapping),
	"UpdateDomainName":      answers((*Service).updateDomainName),

	"CreateApiKey":  answers((*Service).createAPIKey),
	"DeleteApiKey":  done((*Service).deleteAPIKey),
	"GetApiKey":     answers((*Service).getAPIKey),
	"GetApiKeys":    answers((*Service).getAPIKeys),
	"ImportApiKeys": answers((*Service).importAPIKeys),
	"UpdateApiKey":  answers((*Service).updateAPIKey),

	"CreateUsagePlan":    answers((*Service).createUsagePlan),
	"CreateUsagePlanKey": answers((*Service).createUsagePlanKey),
	"DeleteUsagePlan":    done((*Service).deleteUsagePlan),
	"DeleteUsagePlanKey": done((*Service).deleteUsagePlanKey),
	"GetUsage":           answers((*Service).getUsage),
	"GetUsagePlan":       answers((*Service).getUsagePlan),
	"GetUsagePlanKey":    answers((*Service).getUsagePlanKey),
	"GetUsagePlanKeys":   answers((*Service).getUsagePlanKeys),
	"GetUsagePlans":      answers((*Service).getUsagePlans),
	"UpdateUsage":        answers((*Service).updateUsage),
	"UpdateUsagePlan":    answers((*Service).updateUsagePlan),

	"GetAccount":    answers((*Service).getAccount),
	"GetTags":       answers((*Service).getTags),
	"TagResource":   done((*Service).tagResource),
	"UntagResource": done((*Service).untagResource),
	"UpdateAccount": answers((*Service).updateAccount),
}

// Supported tells of one operation of the service's model whether it is served.
type Supported struct {
	Operation string
	Served    bool
	Note      string // "accepted without effect: …"
}

// notes tell of served operations what a user would not expect.
var notes = map[string]string{
	"FlushStageCache":      "accepted without effect: there is no response cache",
	"CreateStage":          "tracingEnabled and what method settings say of a cache are kept and shown, without effect",
	"PutIntegration":       "types AWS (kinesis, firehose, s3), HTTP, HTTP_PROXY and MOCK; no VPC links; responseTransferMode STREAM with HTTP_PROXY, for 15 minutes at most, 5 without a byte, and without the service's bound of 2 MB/s; a caller can't fill in the host of a uri; credentials are checked for their form and not evaluated; cache members are kept and shown, without effect",
	"CreateModel":          "JSON Schema draft 4; a pattern that looks around or refers back is refused",
	"PutGatewayResponse":   "three types are kept and shown, and never answered with: REQUEST_TOO_LARGE, which the service does not customise, RESOURCE_NOT_FOUND, for unknown paths are MISSING_AUTHENTICATION_TOKEN, and WAF_FILTERED",
	"CreateApiKey":         "stageKeys are kept and shown, without effect: usage plans say what a key may call; generateDistinctId false is refused",
	"CreateUsagePlan":      "productCode is kept and shown, without effect; a quota counts in the periods of UTC, weeks from Sunday on",
	"GetUsage":             "of the last 92 days; in a cluster, what other nodes counted in the last 10 s is missing; without a quota 0 is left",
	"UpdateAccount":        "cloudwatchRoleArn is kept and shown; logs need no role here",
	"TestInvokeMethod":     "clientCertificateId is refused; the backend is the real one",
	"CreateAuthorizer":     "types TOKEN and REQUEST; the function's ARN has a URL under the key authorizers of the configuration file; authorizerCredentials is kept and shown, without effect",
	"CreateRestApi":        "a policy is evaluated: Allow and Deny on execute-api:Invoke for everyone, with IpAddress and NotIpAddress on aws:SourceIp; all else in it is refused by name",
	"TestInvokeAuthorizer": "additionalContext is refused",
	"PutMethod":            "authorizationType NONE, AWS_IAM (with --credentials) and CUSTOM; authorizationScopes is refused",
	"CreateDomainName":     "served on the ingest listener by the Host; certificates and securityPolicy are kept and shown: TLS is the listener's own",
	"GetExport":            "OpenAPI 3.0.1 and Swagger 2.0, JSON and YAML; extensions=postman is refused, extensions=documentation has nothing to add",
}

// Support lists all operations of the service's model.
func Support() []Supported {
	all := make([]Supported, 0, len(apigatewaywire.Operations))
	for _, op := range apigatewaywire.Operations {
		s := Supported{op.Name, operations[op.Name] != nil, notes[op.Name]}
		if !s.Served {
			s.Note = whyRefused(op.Name)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Supported) int { return strings.Compare(a.Operation, b.Operation) })
	return all
}
