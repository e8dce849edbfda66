// Package openapi reads OpenAPI 3.0 and Swagger 2.0 files with the extensions of
// Amazon API Gateway into REST APIs, as ImportRestApi and PutRestApi do, and writes
// them, as GetExport does.
//
//	Parse ─> nodes with lines ─> Import ─> edits of package restapi on an API
//	what a deployment froze ─> Export ─> nodes in the service's order ─> JSON or YAML
//
// What is exported and imported again is the same API ([Export.Write] lists what a
// document can't say). [Extensions] says of each of the service's extensions what
// becomes of it.
//
// What the service accepts and this version does not do is refused with file, line
// and path; what the service passes over with a warning gives a warning here.
// Plain OpenAPI that means nothing to the service (tags, examples, summaries) is
// passed over as it does.
package openapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
	"millrace/internal/yamldoc"
)

// The modes of what becomes of a file's base path.
const (
	BasePathIgnore  = "ignore"
	BasePathPrepend = "prepend"
	BasePathSplit   = "split"
)

// Document is a file to be imported.
type Document struct {
	Root     *yaml.Node
	File     string // for problems
	Where    string // path of the document within the file: "Resources.Api.Properties.DefinitionBody"
	BasePath string // default [BasePathIgnore]
	// Overwrite replaces what the API has by what the document says; without it the document is merged in.
	Overwrite bool
	// IgnoreDocumentation says that the caller knows that documentation parts are not kept.
	IgnoreDocumentation bool
	Source              *ids.Source
}

// IsDocument reports whether a file is of this kind.
func IsDocument(root *yaml.Node) bool {
	return yamldoc.Get(root, "openapi") != nil || yamldoc.Get(root, "swagger") != nil
}

// Import reads a document into an API, which may be half changed after an error. Errors are yamldoc.Problems.
func Import(ctx context.Context, doc Document, into *restapi.API) (warnings []string, err error) {
	im := &importer{doc: &doc, api: into, models: map[string]bool{}, badSchemes: map[*yaml.Node]bool{}}
	im.document(ctx)
	if len(im.problems) > 0 {
		slices.SortStableFunc(im.problems, func(a, b *yamldoc.Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, im.problems
	}
	return im.warnings, nil
}

// ImportBytes reads a file that came by the API; doc says how.
func ImportBytes(ctx context.Context, body []byte, doc Document, failOnWarnings bool, into *restapi.API) ([]string, error) {
	const op = "openapi.Import"
	root, err := yamldoc.Parse("", body)
	if err != nil || root.Kind != yaml.MappingNode || !IsDocument(root) {
		return nil, fault.New(fault.Invalid, op, "", "Invalid OpenAPI input.")
	}
	doc.Root = root
	warnings, err := Import(ctx, doc, into)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "", "Errors found during import:\n\t%s", strings.ReplaceAll(err.Error(), "\n", "\n\t"))
	}
	if failOnWarnings && len(warnings) > 0 {
		return nil, fault.New(fault.Invalid, op, "", "Warnings found during import:\n\t%s", strings.Join(warnings, "\n\t"))
	}
	return warnings, nil
}

// importer is one import on its way.
type importer struct {
	doc      *Document
	api      *restapi.API
	swagger2 bool
	consumes []string // of Swagger 2, for body parameters
	produces []string
	models   map[string]bool
	coming   []string          // models that are still to be made
	schemes  map[string]scheme // security schemes by name
	// badSchemes are names of schemes, in requirements, that have been told: a document's requirement is each method's.
	badSchemes map[*yaml.Node]bool
	warnings   []string
	problems   yamldoc.Problems
}

// tell notes a problem at a node.
func (im *importer) tell(n *yaml.Node, where, format string, args ...any) {
	if len(im.problems) < yamldoc.MaxProblems {
		if im.doc.Where != "" {
			where = im.doc.Where + "." + where
		}
		im.problems = append(im.problems, &yamldoc.Problem{
			File: im.doc.File, Line: n.Line, Column: n.Column, Where: where, Reason: fmt.Sprintf(format, args...)})
	}
}

// later refuses what a later version will do.
func (im *importer) later(n *yaml.Node, where, what string) {
	im.tell(n, where, "%s is not supported by this version of Millrace", what)
}

func (im *importer) warn(where, format string, args ...any) {
	im.warnings = append(im.warnings, where+": "+fmt.Sprintf(format, args...))
}

// edit tells the error of an edit at a node.
func (im *importer) edit(n *yaml.Node, where string, err error) bool {
	if err == nil {
		return true
	}
	im.tell(n, where, "%s", Reason(err))
	return false
}

// Reason gives the words of an error of package restapi without its operation.
func Reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		return f.Err.Error()
	}
	return err.Error()
}

func (im *importer) document(ctx context.Context) {
	root := im.doc.Root
	if root == nil || root.Kind != yaml.MappingNode {
		im.problems = append(im.problems, &yamldoc.Problem{File: im.doc.File, Where: im.doc.Where, Reason: "an OpenAPI document is a mapping"})
		return
	}
	if !im.version() {
		return
	}
	if im.doc.Overwrite {
		im.clear()
	}
	for key, value := range yamldoc.Pairs(root) {
		if err := ctx.Err(); err != nil {
			im.tell(key, key.Value, "%v", err)
			return
		}
		im.member(key, value)
	}
	im.servers(yamldoc.Get(root, "servers"))
	im.paths(yamldoc.Get(root, "paths"))
	if len(im.problems) == 0 {
		im.brokenModels()
	}
}

// version tells the two kinds of document apart.
func (im *importer) version() bool {
	root := im.doc.Root
	if n := yamldoc.Get(root, "swagger"); n != nil {
		if v, _ := yamldoc.Text(n); v != "2.0" {
			im.tell(n, "swagger", "version %q is not supported; the versions are Swagger 2.0 and OpenAPI 3.0", v)
			return false
		}
		im.swagger2 = true
		return true
	}
	n := yamldoc.Get(root, "openapi")
	if n == nil {
		im.tell(root, "openapi", "the document says neither openapi nor swagger")
		return false
	}
	if v, _ := yamldoc.Text(n); !strings.HasPrefix(v, "3.0") {
		im.tell(n, "openapi", "version %q is not supported; the versions are Swagger 2.0 and OpenAPI 3.0", v)
		return false
	}
	return true
}

// clear empties the API for an overwriting import: id, stages, deployments and root stay.
func (im *importer) clear() {
	root := im.api.Resources[im.api.RootResourceID]
	root.Methods = nil
	im.api.Definition = restapi.Definition{RootResourceID: root.ID, Resources: map[string]*restapi.Resource{root.ID: root}, APIKeySource: "HEADER"}
}

// passedOver lists the members of a document that mean nothing to the service, or are read elsewhere.
var passedOver = []string{"swagger", "openapi", "paths", "servers", "host", "basePath", "schemes", "tags", "externalDocs", "consumes",
	"produces", "parameters", "responses", "x-amazon-apigateway-importexport-version", "x-amazon-apigateway-cors", "security",
	"x-amazon-apigateway-request-validator"}

func (im *importer) member(key, value *yaml.Node) {
	switch name := key.Value; {
	case name == "info":
		im.info(value)
	case name == "definitions":
		im.schemas(value, name)
	case name == "components":
		im.components(value)
	case name == "securityDefinitions":
		im.securitySchemes(value, name)
	case name == "x-amazon-apigateway-binary-media-types":
		im.binaryMediaTypes(value, name)
	case name == "x-amazon-apigateway-api-key-source":
		im.apiKeySource(value, name)
	case name == "x-amazon-apigateway-request-validators":
		im.validators(value, name)
	case name == gatewayResponsesExtension:
		im.gatewayResponses(value, name)
	case name == "x-amazon-apigateway-minimum-compression-size":
		im.minimumCompressionSize(value, name)
	case name == "x-amazon-apigateway-policy":
		im.policy(value, name)
	case name == endpointExtension:
		im.endpoint(value, name)
	case name == "x-amazon-apigateway-documentation":
		if !im.doc.IgnoreDocumentation {
			im.warn(name, "documentation parts are not supported by this version of Millrace, and are not kept")
		}
	case name == "x-amazon-apigateway-security-policy", name == "x-amazon-apigateway-endpoint-access-mode":
		im.later(key, name, name)
	case slices.Contains(passedOver, name):
	case strings.HasPrefix(name, "x-amazon-"):
		im.tell(key, name, "an extension that Millrace does not know")
	case strings.HasPrefix(name, "x-"):
	default:
		im.tell(key, name, "no member of an OpenAPI document")
	}
}

func (im *importer) info(n *yaml.Node) {
	title, ok := yamldoc.Text(yamldoc.Get(n, "title"))
	if !ok || title == "" {
		im.tell(n, "info.title", "is required")
		return
	}
	im.api.Name = title
	im.api.Version, _ = yamldoc.Text(yamldoc.Get(n, "version"))
	im.api.Description, _ = yamldoc.Text(yamldoc.Get(n, "description"))
}

func (im *importer) components(n *yaml.Node) {
	for key, value := range yamldoc.Pairs(n) {
		if key.Value == "schemas" {
			im.schemas(value, "components.schemas")
		} else if key.Value == "securitySchemes" {
			im.securitySchemes(value, "components.securitySchemes")
		} else if strings.HasPrefix(key.Value, "x-amazon-") && key.Value != "x-amazon-apigateway-integrations" {
			im.tell(key, "components."+key.Value, "an extension that Millrace does not know")
		}
	}
}

func (im *importer) binaryMediaTypes(n *yaml.Node, where string) {
	types := slices.Clone(im.api.BinaryMediaTypes)
	for _, one := range im.texts(n, where) {
		if !slices.Contains(types, one) {
			types = append(types, one)
		}
	}
	im.edit(n, where, im.api.SetBinaryMediaTypes(types))
}

func (im *importer) texts(n *yaml.Node, where string) (list []string) {
	if n.Kind != yaml.SequenceNode {
		im.tell(n, where, "is a list of texts")
		return nil
	}
	for _, c := range n.Content {
		text, ok := yamldoc.Text(c)
		if !ok {
			im.tell(c, where, "is a list of texts")
			return nil
		}
		list = append(list, text)
	}
	return list
}

func (im *importer) apiKeySource(n *yaml.Node, where string) {
	v, _ := yamldoc.Text(n)
	im.edit(n, where, im.api.SetAPIKeySource(strings.ToUpper(v)))
}

func (im *importer) endpoint(n *yaml.Node, where string) {
	for key, value := range yamldoc.Pairs(n) {
		switch key.Value {
		case "disableExecuteApiEndpoint":
			on, ok := yamldoc.Bool(value)
			if !ok {
				im.tell(value, where+"."+key.Value, "is true or false")
			}
			im.api.DisableExecuteAPIEndpoint = on
		default:
			im.later(key, where+"."+key.Value, key.Value)
		}
	}
}

// deref follows a reference within the document.
func (im *importer) deref(n *yaml.Node, where string) *yaml.Node {
	for range maxReferences {
		ref, ok := yamldoc.Text(yamldoc.Get(n, "$ref"))
		if !ok {
			return n
		}
		path, local := strings.CutPrefix(ref, "#/")
		if !local {
			im.tell(n, where, "the reference %q leaves the document", ref)
			return nil
		}
		at := im.doc.Root
		for part := range strings.SplitSeq(path, "/") {
			at = yamldoc.Get(at, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
		}
		if at == nil {
			im.tell(n, where, "the reference %q leads nowhere", ref)
			return nil
		}
		n = at
	}
	im.tell(n, where, "references in a circle")
	return nil
}

// maxReferences bounds a chain of references.
const maxReferences = 20
