package openapi

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
	"millrace/internal/yamldoc"
)

var rewrite = flag.Bool("rewrite", false, "write what the files give instead of comparing")

func newAPI(t testing.TB) *restapi.API {
	t.Helper()
	api, err := restapi.New(restapi.NewAPI{Name: "new", NoModels: true}, ids.Seeded(1), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// Each file of testdata gives the text beside it: the API, or what is wrong with the file.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/[0-9a-z]*.*[nl]")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := outcome(t, filepath.Base(file), body)
			golden := file + ".want"
			if *rewrite {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func outcome(t *testing.T, name string, body []byte) string {
	root, err := yamldoc.Parse(name, body)
	if err != nil {
		return err.Error() + "\n"
	}
	api := newAPI(t)
	warnings, err := Import(t.Context(), Document{Root: root, File: name, Source: ids.Seeded(2)}, api)
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	describe(&b, api)
	return b.String()
}

// describe writes an API as a text, without ids.
func describe(b *strings.Builder, api *restapi.API) {
	fmt.Fprintf(b, "api %q version %q description %q binary %v\n", api.Name, api.Version, api.Description, api.BinaryMediaTypes)
	for _, name := range slices.Sorted(maps.Keys(api.Models)) {
		fmt.Fprintf(b, "model %s %s\n", name, api.Models[name].Schema)
	}
	for _, v := range slices.SortedFunc(maps.Values(api.Validators), func(a, b *restapi.Validator) int { return strings.Compare(a.Name, b.Name) }) {
		fmt.Fprintf(b, "validator %s body %v parameters %v\n", v.Name, v.Body, v.Parameters)
	}
	if size := api.MinimumCompressionSize; size != nil {
		fmt.Fprintf(b, "compresses from %d bytes\n", *size)
	}
	for _, name := range slices.Sorted(maps.Keys(api.GatewayResponses)) {
		r := api.GatewayResponses[name]
		fmt.Fprintf(b, "gateway response %s %s parameters %v templates %q\n", name, r.StatusCode, r.Parameters, r.Templates)
	}
	if api.Policy != "" {
		fmt.Fprintf(b, "policy %s, keys from %s\n", api.Policy, api.APIKeySource)
	}
	names := map[string]string{"": ""}
	for id, z := range api.Authorizers {
		names[id] = " by " + z.Name
	}
	for _, id := range slices.SortedFunc(maps.Keys(api.Authorizers), func(x, y string) int { return strings.Compare(names[x], names[y]) }) {
		z := api.Authorizers[id]
		fmt.Fprintf(b, "authorizer %s %s %s %s %q %q %d s\n", z.Name, z.Type, z.AuthType, z.Function(), z.IdentitySource, z.IdentityValidation, z.TTL())
	}
	for _, r := range api.Definition.Sorted() {
		fmt.Fprintf(b, "%s\n", r.Path)
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			m := r.Methods[verb]
			fmt.Fprintf(b, "  %s %s%s %s parameters %v models %v\n", verb, m.AuthorizationType, names[m.AuthorizerID], m.OperationName, m.RequestParameters, m.RequestModels)
			if v := api.Validators[m.ValidatorID]; v != nil {
				fmt.Fprintf(b, "    validator %s\n", v.Name)
			}
			if m.APIKeyRequired {
				fmt.Fprintf(b, "    with an API key\n")
			}
			for _, code := range slices.Sorted(maps.Keys(m.Responses)) {
				fmt.Fprintf(b, "    response %s %v %v\n", code, m.Responses[code].ResponseParameters, m.Responses[code].ResponseModels)
			}
			if i := m.Integration; i != nil {
				fmt.Fprintf(b, "    integration %s %s %s %s %d %v\n", i.Type, i.HTTPMethod, i.URI, i.PassthroughBehavior, i.TimeoutMillis, i.RequestParameters)
				for _, mt := range slices.Sorted(maps.Keys(i.RequestTemplates)) {
					fmt.Fprintf(b, "      template %s: %d bytes\n", mt, len(i.RequestTemplates[mt]))
				}
				for _, code := range slices.Sorted(maps.Keys(i.Responses)) {
					r := i.Responses[code]
					fmt.Fprintf(b, "      %s when %q parameters %v templates %q\n", code, r.SelectionPattern, r.ResponseParameters, r.ResponseTemplates)
				}
			}
		}
	}
}

func TestMergeAndOverwrite(t *testing.T) {
	parse := func(path string) string {
		return `{"openapi": "3.0.1", "info": {"title": "t"}, "paths": {"` + path + `": {"get": {"responses": {"200": {"description": "x"}},
			"x-amazon-apigateway-integration": {"type": "mock", "responses": {"default": {"statusCode": 200}}}}}}}`
	}
	api := newAPI(t)
	for _, path := range []string{"/a", "/b", "/a"} {
		if _, err := ImportBytes(t.Context(), []byte(parse(path)), Document{Source: ids.Seeded(3)}, false, api); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(api.Resources); n != 3 {
		t.Errorf("after merging /a, /b and /a there are %d resources", n)
	}
	if _, err := ImportBytes(t.Context(), []byte(parse("/c")), Document{Overwrite: true, Source: ids.Seeded(4)}, false, api); err != nil {
		t.Fatal(err)
	}
	if _, gone := api.Definition.ByPath("/a"); gone || len(api.Resources) != 2 {
		t.Errorf("an overwriting import has left %d resources", len(api.Resources))
	}
}

func TestBasePath(t *testing.T) {
	for _, c := range []struct{ mode, doc, want string }{
		{"ignore", `"swagger": "2.0", "basePath": "/one/two"`, "/x"},
		{"prepend", `"swagger": "2.0", "basePath": "/one/two"`, "/one/two/x"},
		{"split", `"swagger": "2.0", "basePath": "/one/two"`, "/two/x"},
		{"prepend", `"openapi": "3.0.0", "servers": [{"url": "https://h/one"}]`, "/one/x"},
		{"prepend", `"openapi": "3.0.0", "servers": [{"url": "https://h/{basePath}", "variables": {"basePath": {"default": "/b"}}}]`, "/b/x"},
	} {
		api := newAPI(t)
		doc := `{` + c.doc + `, "info": {"title": "t"}, "paths": {"/x": {}}}`
		if _, err := ImportBytes(t.Context(), []byte(doc), Document{BasePath: c.mode, Source: ids.Seeded(3)}, false, api); err != nil {
			t.Fatal(err)
		}
		if _, ok := api.Definition.ByPath(c.want); !ok {
			t.Errorf("%s %s: there is no resource %s", c.mode, c.doc, c.want)
		}
	}
}

func TestImportBytesErrors(t *testing.T) {
	for body, want := range map[string]string{
		"":         "Invalid OpenAPI input.",
		"[1]":      "Invalid OpenAPI input.",
		"{":        "Invalid OpenAPI input.",
		`{"a": 1}`: "Invalid OpenAPI input.",
		`{"openapi": 3.1.0, "info": {"title": "t"}, "paths": {}}`:                      "Invalid OpenAPI input.",
		`{"openapi": "3.1.0", "info": {"title": "t"}, "paths": {}}`:                    `version "3.1.0" is not supported`,
		`{"openapi": "3.0.1", "info": {"title": "t"}, "paths": {"/a/{x}/{x+}/b": {}}}`: "Errors found during import",
	} {
		_, err := ImportBytes(t.Context(), []byte(body), Document{Source: ids.Seeded(1)}, false, newAPI(t))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v; want %q", body, err, want)
		}
	}
}

func FuzzImport(f *testing.F) {
	files, _ := filepath.Glob("testdata/[0-9a-z]*.*[nl]")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		root, err := yamldoc.Parse("f", body)
		if err != nil {
			return
		}
		api := newAPI(t)
		if _, err := Import(t.Context(), Document{Root: root, BasePath: BasePathPrepend, Source: ids.Seeded(1)}, api); err == nil {
			for _, r := range api.Resources {
				if r.ParentID != "" && api.Resources[r.ParentID] == nil {
					t.Fatal("a resource without its parent")
				}
			}
		}
		Templates(root)
	})
}
