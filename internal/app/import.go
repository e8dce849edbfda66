package app

import (
	"context"

	"millrace/internal/api/apigateway"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
)

// importOpenAPI reads OpenAPI files for ImportRestApi and PutRestApi.
func importOpenAPI(ctx context.Context, doc apigateway.ImportDocument, into *restapi.API) (warnings []string, err error) {
	return openapi.ImportBytes(ctx, doc.Body, openapi.Document{
		BasePath: doc.BasePath, Overwrite: doc.Overwrite, IgnoreDocumentation: doc.IgnoreDocumentation, Source: doc.IDs,
	}, doc.FailOnWarnings, into)
}
