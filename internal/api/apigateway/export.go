package apigateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
)

// getExport answers with a file: its kind and its name are in headers, its bytes are the body.
func (s *Service) getExport(_ context.Context, r *awswire.Request, header http.Header) ([]byte, error) {
	in, err := decode[wire.GetExportRequest](r)
	if err != nil {
		return nil, err
	}
	kind, ok := map[string]string{"": "json", "*/*": "json", "application/json": "json", "application/yaml": "yaml"}[awswire.Value(in.Accepts)]
	if !ok {
		return nil, fault.New(fault.Invalid, "apigateway.GetExport", "", "Invalid Accept header specified: %s. Valid options are application/json,application/yaml", *in.Accepts)
	}
	api, err := s.read(in.RestApiId, s.noAPI(in.RestApiId))
	if err != nil {
		return nil, err
	}
	stage, err := api.Stage(in.StageName)
	if err != nil {
		return nil, err
	}
	deployed, err := apis.Deployment(s.Catalog.Snapshot(), api, stage.DeploymentID)
	if err != nil {
		return nil, err
	}
	export := openapi.Export{Kind: in.ExportType, YAML: kind == "yaml", Extensions: extensions(in.Parameters["extensions"]), Stage: stage.Name, Host: s.executeHost(api)}
	body, err := export.Write(api, &deployed.Definition)
	if err != nil {
		return nil, err
	}
	version := api.Version
	if version == "" {
		version = api.Created.UTC().Format(time.RFC3339)
	}
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Disposition", `attachment; filename="`+fileName(in.ExportType+"_"+version)+"."+kind+`"`)
	return body, nil
}

// fileName keeps what may stand in a header between quotes: a version is any text.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '/' {
			return '_'
		}
		return r
	}, s)
}

func extensions(list string) (all []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// executeHost is the name that the service gives an API.
func (s *Service) executeHost(api *restapi.API) string {
	return api.ID + ".execute-api." + s.Account.Region + ".amazonaws.com"
}
