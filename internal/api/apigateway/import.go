package apigateway

import (
	"context"
	"maps"
	"slices"
	"strings"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
)

// ImportDocument is an OpenAPI file to be read into an API.
type ImportDocument struct {
	Body []byte // JSON or YAML
	// BasePath says what becomes of the file's base path: "ignore" (the default), "prepend" or "split".
	BasePath string
	// IgnoreDocumentation keeps the import from warning that documentation parts are not kept.
	IgnoreDocumentation bool
	// Overwrite replaces what the API has by what the file says; without it the file is merged in.
	Overwrite      bool
	FailOnWarnings bool
	IDs            *ids.Source
}

// Importer reads an OpenAPI file into an API, whose name and version it sets too. It answers with warnings that do
// not stop the import. Errors: Invalid ("Invalid OpenAPI input."), Unsupported.
type Importer func(ctx context.Context, doc ImportDocument, into *restapi.API) (warnings []string, err error)

// maxImportBytes is the service's bound of an import file.
const maxImportBytes = 6 << 20

// importParameters are those of a call that imports a file; the last two are members of their own, which come by the same way.
var importParameters = []string{"basepath", "ignore", "endpointConfigurationTypes", "mode", "failonwarnings"}

// untitled stands for the name until the file gives one.
const untitled = "Untitled"

func (s *Service) document(body []byte, parameters map[string]string, failOnWarnings, overwrite bool) (ImportDocument, error) {
	const op = "apigateway.Import"
	if s.Import == nil {
		return ImportDocument{}, fault.New(fault.Unsupported, op, "", "this node reads no OpenAPI files; start it with the file instead")
	}
	if len(body) > maxImportBytes {
		return ImportDocument{}, fault.New(fault.LimitExceeded, op, "", "Import file is too large: %d bytes, at most %d are taken", len(body), maxImportBytes)
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if !slices.Contains(importParameters, name) {
			return ImportDocument{}, fault.New(fault.Invalid, op, name, "Invalid parameter specified: %s. Valid options are %s", name, strings.Join(importParameters[:3], ","))
		}
	}
	// Documentation parts are never kept, so that this has nothing to do; without it the import warns of them.
	if ignore := parameters["ignore"]; ignore != "" && ignore != "documentation" {
		return ImportDocument{}, fault.New(fault.Invalid, op, ignore, "Invalid ignore parameter specified. Valid options are documentation")
	}
	basePath := parameters["basepath"]
	switch basePath {
	case "":
		basePath = "ignore"
	case "ignore", "prepend", "split":
	default:
		return ImportDocument{}, fault.New(fault.Invalid, op, "", "Invalid basepath parameter specified. Valid options are ignore,prepend,split")
	}
	return ImportDocument{Body: body, BasePath: basePath, IgnoreDocumentation: parameters["ignore"] != "", Overwrite: overwrite, FailOnWarnings: failOnWarnings, IDs: s.IDs}, nil
}

func (s *Service) importRestAPI(ctx context.Context, in *wire.ImportRestApiRequest) (*wire.RestApi, error) {
	doc, err := s.document(in.Body, in.Parameters, awswire.Value(in.FailOnWarnings), false)
	if err != nil {
		return nil, err
	}
	spec := restapi.NewAPI{Name: untitled, NoModels: true}
	if t := in.Parameters["endpointConfigurationTypes"]; t != "" {
		spec.EndpointTypes = []string{t}
	}
	var warnings []string
	api, err := s.insert(ctx, spec, func(_ *catalog.Tx, api *restapi.API) (err error) {
		warnings, err = s.Import(ctx, doc, api)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := restAPIView(api, tagsIfAny)
	out.Warnings = warnings
	return out, nil
}

func (s *Service) putRestAPI(ctx context.Context, in *wire.PutRestApiRequest) (out *wire.RestApi, err error) {
	doc, err := s.document(in.Body, in.Parameters, awswire.Value(in.FailOnWarnings), in.Mode == "overwrite")
	if err != nil {
		return nil, err
	}
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		warnings, err := s.Import(ctx, doc, api)
		if err != nil {
			return err
		}
		out = restAPIView(api, tagsAlways)
		out.Warnings = warnings
		return nil
	})
	return out, err
}
