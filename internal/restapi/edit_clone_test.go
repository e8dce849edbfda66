package restapi

import (
	"strings"
	"testing"
	"time"

	"millrace/internal/ids"
)

func TestCopyFromKeepsNoIdsOfTheOther(t *testing.T) {
	source := ids.Seeded(1)
	from, err := New(NewAPI{Name: "from", BinaryMediaTypes: []string{"image/png"}}, source, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	r, err := from.AddResource(from.RootResourceID, "v1", source)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.PutMethod(r.ID, Method{HTTPMethod: "GET", AuthorizationType: "NONE"}); err != nil {
		t.Fatal(err)
	}
	if _, err := from.PutIntegration(r.ID, "GET", Integration{Type: Mock}); err != nil {
		t.Fatal(err)
	}
	from.Validators = map[string]*Validator{"aaaaaa": {ID: "aaaaaa", Name: "all", Body: true}}
	from.Authorizers = map[string]*Authorizer{"bbbbbb": {ID: "bbbbbb", Name: "who"}}
	from.Resources[r.ID].Methods["GET"].ValidatorID = "aaaaaa"
	from.Resources[r.ID].Methods["GET"].AuthorizerID = "bbbbbb"
	from.Models["Error"].Schema = `{"$ref":"https://apigateway.amazonaws.com/restapis/` + from.ID + `/models/Empty"}`

	to, err := New(NewAPI{Name: "to", NoModels: true}, source, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	to.CopyFrom(from, source)
	got, ok := to.ByPath("/v1")
	if !ok || got.ID == r.ID || got.ParentID != to.RootResourceID {
		t.Fatalf("%+v", got)
	}
	m := got.Methods["GET"]
	if to.Validators[m.ValidatorID] == nil || to.Authorizers[m.AuthorizerID] == nil || m.Integration.CacheNamespace != got.ID || len(to.BinaryMediaTypes) != 1 {
		t.Errorf("%+v", m)
	}
	if m.ValidatorID == "aaaaaa" || m.AuthorizerID == "bbbbbb" || strings.Contains(to.Models["Error"].Schema, from.ID) || from.Resources[r.ID] == nil {
		t.Errorf("%+v %+v", m, to.Models["Error"])
	}
}
