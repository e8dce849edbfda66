package openapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
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

// meaning gives an API as a text in which ids are names and paths, so that two APIs can be compared. What a document
// can't say is left out of it.
func meaning(t testing.TB, api *restapi.API) string {
	t.Helper()
	a := api.Clone()
	names := map[string]string{"": ""}
	for id, v := range a.Validators {
		names[id] = v.Name
	}
	for id, v := range a.Authorizers {
		names[id] = v.Name
	}
	resources := map[string]*restapi.Resource{}
	for _, r := range a.Resources {
		resources[r.Path] = r
		for _, m := range r.Methods {
			m.ValidatorID, m.AuthorizerID = names[m.ValidatorID], names[m.AuthorizerID]
			plainMethod(r, m)
		}
		r.ID, r.ParentID = "", ""
	}
	models := map[string]string{}
	for name, m := range a.Models {
		models[name] = sameRefs.Replace(withoutDollarSchema(t, m.Schema))
	}
	validators, authorizers := map[string]restapi.Validator{}, map[string]restapi.Authorizer{}
	for _, v := range a.Validators {
		v.ID = ""
		validators[v.Name] = *v
	}
	for _, v := range a.Authorizers {
		v.ID, v.AuthType = "", cmp.Or(v.AuthType, "custom") // which an export says where the API says nothing
		authorizers[v.Name] = *v
	}
	return asJSON(t, []any{
		a.Name, a.Description, a.Version, a.DisableExecuteAPIEndpoint, resources, models, validators, authorizers, a.GatewayResponses,
		a.BinaryMediaTypes, a.APIKeySource, a.MinimumCompressionSize, a.Policy,
	})
}

// sameRefs makes a reference within a document the same in both kinds.
var sameRefs = strings.NewReplacer("#/definitions/", "#/components/schemas/")

func plainMethod(r *restapi.Resource, m *restapi.Method) {
	for _, x := range m.Responses {
		for name := range x.ResponseParameters {
			x.ResponseParameters[name] = false
		}
		x.ResponseParameters, x.ResponseModels = some(x.ResponseParameters), some(x.ResponseModels)
	}
	m.RequestParameters, m.RequestModels = some(m.RequestParameters), some(m.RequestModels)
	if i := m.Integration; i != nil {
		if i.CacheNamespace == r.ID {
			i.CacheNamespace = ""
		}
		for _, x := range i.Responses {
			x.ResponseParameters, x.ResponseTemplates = some(x.ResponseParameters), some(x.ResponseTemplates)
		}
		i.CacheKeyParameters = slices.Clip(i.CacheKeyParameters)
		if len(i.CacheKeyParameters) == 0 {
			i.CacheKeyParameters = nil
		}
	}
}

func some[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return m
}

func withoutDollarSchema(t testing.TB, text string) string {
	t.Helper()
	var v map[string]any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	delete(v, "$schema")
	return asJSON(t, v)
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func export(t testing.TB, api *restapi.API, kind string, inYAML bool) []byte {
	t.Helper()
	out, err := Export{Kind: kind, YAML: inYAML, Extensions: []string{"apigateway"}, Host: api.ID + ".execute-api.us-east-1.amazonaws.com", Stage: "v1"}.Write(api, &api.Definition)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameAgain checks that an export of an API, imported, is the API.
func sameAgain(t *testing.T, api *restapi.API, kinds ...string) {
	t.Helper()
	want := meaning(t, api)
	for _, kind := range kinds {
		for _, inYAML := range []bool{false, true} {
			doc := export(t, api, kind, inYAML)
			again := newAPI(t)
			if _, err := ImportBytes(t.Context(), doc, Document{Source: ids.Seeded(9)}, false, again); err != nil {
				t.Fatalf("%s: %v\n%s", kind, err, doc)
			}
			if again.Version = api.Version; meaning(t, again) != want { // an API without a version is exported with its date
				t.Fatalf("%s, YAML %v: after export and import:\n%s\nwant:\n%s\nthe document:\n%s", kind, inYAML, meaning(t, again), want, doc)
			}
		}
	}
}

func TestImportsAreExportedAsTheyWere(t *testing.T) {
	files, err := filepath.Glob("testdata/[0-9a-z]*.*[nl]")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "testdata/export/petstore.json")
	imported := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			api := newAPI(t)
			if _, err := ImportBytes(t.Context(), body, Document{Source: ids.Seeded(2)}, false, api); err != nil {
				return // a file of refusals
			}
			imported++
			sameAgain(t, api, ExportOAS30, ExportSwagger)
		})
	}
	if imported < 2 {
		t.Errorf("%d files of testdata could be imported", imported)
	}
}

func TestAPIsAreExportedAsTheyAre(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			sameAgain(t, randomAPI(t, r, false), ExportOAS30)
			sameAgain(t, randomAPI(t, r, true), ExportSwagger)
		})
	}
}

// randomAPI makes an API by calls. plain leaves out what Swagger 2 can't say: several models of one method.
func randomAPI(t *testing.T, r *rand.Rand, plain bool) *restapi.API {
	source := ids.Seeded(r.Uint64())
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	odd := func() bool { return r.IntN(2) == 1 }
	texts := []string{"", "true", "1.0", "null", "~", "a: b", "line\nline \n", " lead", "'q'", `"q"`, "#x", "ü\u2028", "$input.json('$')", "\t", "---"}
	text := func() string { return pick(texts...) }
	api, err := restapi.New(restapi.NewAPI{Name: "n" + text(), Description: text(), Version: pick("", "1.0", "2"), NoModels: true,
		DisableExecuteAPIEndpoint: odd()}, source, time.Unix(1700000000, 0))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	if odd() {
		must(api.SetBinaryMediaTypes([]string{"image/png", "*/*"}[:1+r.IntN(2)]))
	}
	models := []string{"Empty", "Event", "Batch"}
	for _, name := range models {
		_, err := api.AddModel(restapi.Model{Name: name, ContentType: "application/json",
			Schema: `{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","title":"` + name + `","properties":{"n":{"type":"integer","maximum":1e3},"s":{"enum":["1","true"]}}}`}, source)
		must(err)
	}
	for _, name := range []string{"all", "body"} {
		_, err := api.AddValidator(restapi.NewValidator{Name: name, Body: odd(), Parameters: odd()}, source)
		must(err)
	}
	ttl := 60
	for _, name := range []string{"who", "api_key"} { // the second has the name that the service gives API keys
		_, err := api.AddAuthorizer(restapi.Authorizer{Name: name, Type: pick(restapi.TokenAuthorizer, restapi.RequestAuthorizer),
			IdentitySource: "method.request.header.Authorization", TTLSeconds: &ttl, Credentials: pick("", "arn:aws:iam::000000000000:role/r"),
			URI: "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:f/invocations"}, source)
		must(err)
	}
	if odd() {
		_, err := api.PutGatewayResponse(restapi.GatewayResponse{Type: "DEFAULT_4XX", StatusCode: "418",
			Parameters: map[string]string{"gatewayresponse.header.X": "'v'"}, Templates: map[string]string{"application/json": "{\"m\": $context.error.messageString}"}})
		must(err)
	}
	if size := 10; odd() {
		must(api.SetMinimumCompressionSize(&size))
	}
	if odd() {
		must(api.SetPolicy(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*"}]}`))
	}
	at := api.Resources[api.RootResourceID]
	for range 1 + r.IntN(6) {
		if made, err := api.AddResource(at.ID, pick("v1", "events", "{id}", "a.b-c", "{proxy+}"), source); err == nil {
			at = made
		}
		if odd() {
			at = api.Resources[api.RootResourceID]
		}
		for range r.IntN(3) {
			randomMethod(t, api, at, pick(restapi.Verbs...), models, r, text, plain)
		}
	}
	return api
}

func randomMethod(t *testing.T, api *restapi.API, at *restapi.Resource, verb string, models []string, r *rand.Rand, text func() string, plain bool) {
	odd := func() bool { return r.IntN(2) == 1 }
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if at.Methods[verb] != nil {
		return
	}
	m := restapi.Method{HTTPMethod: verb, AuthorizationType: "NONE", OperationName: []string{"", "op1"}[r.IntN(2)],
		RequestParameters: map[string]bool{"method.request.header.X-A": odd(), "method.request.querystring.q": odd()}, RequestModels: map[string]string{}}
	switch r.IntN(4) {
	case 0:
		m.AuthorizationType = restapi.IAM
	case 1:
		ids := slices.Sorted(maps.Keys(api.Authorizers))
		m.AuthorizationType, m.AuthorizerID = restapi.Custom, ids[r.IntN(len(ids))]
	}
	m.APIKeyRequired = odd()
	if ids := slices.Sorted(maps.Keys(api.Validators)); odd() {
		m.ValidatorID = ids[r.IntN(len(ids))]
	}
	for part := range strings.SplitSeq(at.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && !strings.HasSuffix(part, "+}") {
			m.RequestParameters["method.request.path."+strings.TrimSuffix(name, "}")] = true // import adds it
		}
	}
	for i, mediaType := range []string{"application/json", "text/plain"} {
		if odd() {
			m.RequestModels[mediaType] = models[i]
			if plain {
				m.RequestModels[mediaType] = models[0]
			}
		}
	}
	must(api.PutMethod(at.ID, m))
	for _, code := range []string{"200", "400"} {
		must(api.PutMethodResponse(at.ID, verb, restapi.MethodResponse{StatusCode: code, ResponseParameters: map[string]bool{"method.response.header.Y": true},
			ResponseModels: map[string]string{"application/json": models[r.IntN(3)]}}))
	}
	in := restapi.Integration{Type: restapi.Mock, RequestTemplates: map[string]string{"application/json": text(), "$default": text()},
		PassthroughBehavior: []string{restapi.Never, restapi.WhenNoMatch, restapi.WhenNoTemplates}[r.IntN(3)]}
	if odd() {
		in = restapi.Integration{Type: restapi.AWS, HTTPMethod: "POST", URI: "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord",
			Credentials: "arn:aws:iam::000000000000:role/r", TimeoutMillis: 50 + r.IntN(1000), ContentHandling: []string{"", "CONVERT_TO_TEXT"}[r.IntN(2)],
			RequestParameters: map[string]string{"integration.request.header.Z": "method.request.header.X-A"}, RequestTemplates: in.RequestTemplates,
			CacheKeyParameters: []string{"method.request.querystring.q"}[:r.IntN(2)], CacheNamespace: []string{"", "ns"}[r.IntN(2)]}
	}
	must(api.PutIntegration(at.ID, verb, in))
	for i, code := range []string{"200", "400"} {
		must(api.PutIntegrationResponse(at.ID, verb, restapi.IntegrationResponse{StatusCode: code, SelectionPattern: []string{"", `4\d{2}`}[i],
			ResponseParameters: map[string]string{"method.response.header.Y": "'v'"}, ResponseTemplates: map[string]string{"application/json": text()}}))
	}
}

// The shapes that were recorded from the service.
func TestExportShapes(t *testing.T) {
	files, err := filepath.Glob("testdata/export/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		api := newAPI(t)
		if _, err := ImportBytes(t.Context(), body, Document{Source: ids.Seeded(2)}, false, api); err != nil {
			t.Fatal(err)
		}
		api.ID = "abc1234567"
		for kind, forms := range map[string][]bool{ExportOAS30: {false, true}, ExportSwagger: {false, true}} {
			for _, inYAML := range forms {
				golden := strings.TrimSuffix(file, ".json") + "." + kind + map[bool]string{false: ".want", true: ".yaml-want"}[inYAML]
				got := string(export(t, api, kind, inYAML))
				if *rewrite {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s: got:\n%s\nwant:\n%s", golden, got, want)
				}
			}
		}
	}
}

func TestExportWithoutExtensionsHoldsNone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		api := randomAPI(t, r, false)
		for _, m := range allMethods(api) {
			m.OperationName = "" // "x-amazon" may stand in no text of the API itself
		}
		out, err := Export{Kind: ExportOAS30, Host: "h", Stage: "s"}.Write(api, &api.Definition)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.ReplaceAll(string(out), "x-amazon-apigateway-any-method", ""); strings.Contains(text, "x-amazon") {
			t.Errorf("%s", out)
		}
	}
}

func allMethods(api *restapi.API) (all []*restapi.Method) {
	for _, r := range api.Resources {
		all = slices.AppendSeq(all, maps.Values(r.Methods))
	}
	return all
}

func TestExportRefusals(t *testing.T) {
	api := newAPI(t)
	for _, c := range []struct {
		e    Export
		kind fault.Kind
		want string
	}{
		{Export{Kind: "oas31"}, fault.Invalid, "No API exporter for type 'oas31'"},
		{Export{Kind: ExportOAS30, Extensions: []string{"postman"}}, fault.Unsupported, "extensions=postman is not supported"},
		{Export{Kind: ExportOAS30, Extensions: []string{"all"}}, fault.Invalid, "Invalid extensions parameter specified: all"},
	} {
		_, err := c.e.Write(api, &api.Definition)
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.e, err)
		}
	}
}

func FuzzExport(f *testing.F) {
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
		if _, err := Import(t.Context(), Document{Root: root, Source: ids.Seeded(1)}, api); err != nil {
			return
		}
		for _, kind := range []string{ExportOAS30, ExportSwagger} {
			for _, inYAML := range []bool{false, true} {
				doc := export(t, api, kind, inYAML)
				if _, err := yamldoc.Parse("f", doc); err != nil {
					t.Fatalf("an export that can't be read: %v\n%s", err, doc)
				}
			}
		}
		again := newAPI(t)
		if _, err := ImportBytes(t.Context(), export(t, api, ExportOAS30, false), Document{Source: ids.Seeded(9)}, false, again); err != nil {
			t.Fatalf("an export that can't be imported: %v", err)
		}
		if again.Version = api.Version; meaning(t, again) != meaning(t, api) {
			t.Fatalf("after export and import:\n%s\nwant:\n%s", meaning(t, again), meaning(t, api))
		}
	})
}
