package openapi

import (
	"slices"
	"strings"
	"testing"

	"millrace/internal/ids"
	"millrace/internal/yamldoc"
)

// extensionExamples are pieces of a document, by extension: where the piece goes, and the piece.
var extensionExamples = map[string][2]string{
	"x-amazon-apigateway-any-method":               {"path", `{"responses": {}}`},
	"x-amazon-apigateway-api-key-source":           {"document", `"HEADER"`},
	"x-amazon-apigateway-auth":                     {"operation", `{"type": "NONE"}`},
	"x-amazon-apigateway-authorizer":               {"scheme", `{"type": "token", "authorizerUri": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:f/invocations"}`},
	"x-amazon-apigateway-authtype":                 {"scheme", `"awsSigv4"`},
	"x-amazon-apigateway-binary-media-types":       {"document", `["image/png"]`},
	"x-amazon-apigateway-cors":                     {"document", `{"allowOrigins": ["*"]}`},
	"x-amazon-apigateway-documentation":            {"document", `{"version": "1", "documentationParts": []}`},
	"x-amazon-apigateway-endpoint-access-mode":     {"document", `"STRICT"`},
	"x-amazon-apigateway-endpoint-configuration":   {"server", `{"disableExecuteApiEndpoint": true}`},
	"x-amazon-apigateway-gateway-responses":        {"document", `{"DEFAULT_4XX": {"statusCode": 400}}`},
	"x-amazon-apigateway-importexport-version":     {"document", `"1.0"`},
	"x-amazon-apigateway-integration":              {"operation", `{"type": "mock"}`},
	"x-amazon-apigateway-integrations":             {"components", `{"i": {"type": "mock"}}`},
	"x-amazon-apigateway-minimum-compression-size": {"document", `100`},
	"x-amazon-apigateway-policy":                   {"document", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "*"}]}`},
	"x-amazon-apigateway-request-validator":        {"operation", `"all"`},
	"x-amazon-apigateway-request-validators":       {"document", `{"all": {"validateRequestBody": true, "validateRequestParameters": true}}`},
	"x-amazon-apigateway-security-policy":          {"document", `"TLS_1_2"`},
	"x-amazon-apigateway-tag-value":                {"tag", `"v"`},
}

const extensionFrame = `{
  "openapi": "3.0.1", "info": {"title": "t"},
  "servers": [{"url": "https://h/{basePath}" SERVER}],
  "tags": [{"name": "n" TAG}],
  "components": {"securitySchemes": {"scheme": {"type": "apiKey", "in": "header", "name": "Authorization" SCHEME}} COMPONENTS},
  "paths": {"/a": {"get": {"responses": {} OPERATION} PATH}}
  DOCUMENT
}`

func TestExtensions(t *testing.T) {
	for _, e := range Extensions {
		t.Run(e.Name, func(t *testing.T) {
			example, ok := extensionExamples[e.Name]
			if !ok {
				t.Fatal("there is no example of it")
			}
			doc, piece := extensionFrame, `, "`+e.Name+`": `+example[1]
			switch {
			case example[0] == "scheme": // a scheme counts where a method names it
				doc = strings.Replace(doc, " OPERATION", `, "security": [{"scheme": []}]`, 1)
			case e.Name == "x-amazon-apigateway-request-validator":
				doc = strings.Replace(doc, "DOCUMENT", `, "x-amazon-apigateway-request-validators": {"all": {"validateRequestBody": true}} DOCUMENT`, 1)
			}
			doc = strings.Replace(doc, strings.ToUpper(example[0]), piece, 1)
			for _, place := range []string{"SERVER", "TAG", "SCHEME", "COMPONENTS", "OPERATION", "PATH", "DOCUMENT"} {
				doc = strings.Replace(doc, place, "", 1)
			}
			root, err := yamldoc.Parse("d.json", []byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Import(t.Context(), Document{Root: root, File: "d.json", Source: ids.Seeded(1)}, newAPI(t))
			if e.State == Refused {
				if err == nil || !strings.Contains(err.Error(), "not supported by this version of Millrace") || !strings.HasPrefix(err.Error(), "d.json:") {
					t.Errorf("refused, the table says: %v", err)
				}
			} else if err != nil {
				t.Errorf("%s, the table says: %v", e.State, err)
			}
		})
	}
}

// documented are the extensions in the contents of the developer guide's chapter "OpenAPI extensions for API Gateway",
// objects within others left out.
var documented = strings.Fields(`
	any-method cors api-key-source auth authorizer authtype binary-media-types documentation endpoint-access-mode endpoint-configuration
	gateway-responses importexport-version integration integrations minimum-compression-size policy request-validator request-validators
	security-policy tag-value`)

// The table that is printed has every extension that there is, once.
func TestEveryExtensionIsInTheTable(t *testing.T) {
	var listed, want []string
	for _, e := range Extensions {
		listed = append(listed, e.Name)
	}
	for _, name := range documented {
		want = append(want, "x-amazon-apigateway-"+name)
	}
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("the table has %v\nwant %v", listed, want)
	}
}
