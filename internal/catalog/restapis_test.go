package catalog

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
)

// What a deployment froze is written once and lies apart from the API's own document.
func TestDeploymentsAreDocumentsOfTheirOwn(t *testing.T) {
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := Open(db, []byte("c/"))
	if err != nil {
		t.Fatal(err)
	}
	source, now := ids.Seeded(1), time.Unix(1700000000, 0).UTC()
	api, err := restapi.New(restapi.NewAPI{Name: "n"}, source, now)
	if err != nil {
		t.Fatal(err)
	}
	root := api.RootResourceID
	must(t, second(api.PutMethod(root, restapi.Method{HTTPMethod: "GET", AuthorizationType: "NONE"})))
	must(t, second(api.PutIntegration(root, "GET", restapi.Integration{Type: restapi.Mock, RequestTemplates: map[string]string{"application/json": `{"statusCode":200}`}})))
	must(t, second(api.PutMethodResponse(root, "GET", restapi.MethodResponse{StatusCode: "200"})))
	must(t, second(api.PutIntegrationResponse(root, "GET", restapi.IntegrationResponse{StatusCode: "200"})))
	first, err := api.CreateDeployment(restapi.NewDeployment{StageName: "one"}, source, now)
	must(t, err)
	update(t, c, func(tx *Tx) error { return APIs{}.Put(tx, api) })

	// A later edit, on a copy read back, neither needs nor touches what was frozen.
	frozen, _ := c.Snapshot().Get(Key{kindDeployment, deploymentName(api.ID, first.ID)})
	update(t, c, func(tx *Tx) error {
		again, ok, err := APIs{}.Get(tx, api.ID)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if again.Deployments[first.ID].Definition.Resources != nil {
			t.Error("Get decoded what the deployment froze")
		}
		must(t, again.DeleteMethod(root, "GET"))
		return APIs{}.Put(tx, again)
	})
	if doc, _ := c.Snapshot().Get(Key{kindDeployment, deploymentName(api.ID, first.ID)}); &doc[0] != &frozen[0] {
		t.Error("an edit of the API wrote the deployment again")
	}
	served, err := APIs{}.Deployed(c.Snapshot())
	must(t, err)
	if served[0].Deployments[first.ID].Definition.Resources[root].Methods["GET"] == nil {
		t.Error("the deployment lost its method with the working copy")
	}

	// A deleted deployment's document goes, and so does the rest with the API.
	update(t, c, func(tx *Tx) error {
		again, _, _ := APIs{}.Get(tx, api.ID)
		must(t, again.DeleteStage("one"))
		must(t, again.DeleteDeployment(first.ID))
		return APIs{}.Put(tx, again)
	})
	if n := c.Snapshot().Names(kindDeployment); len(n) != 0 {
		t.Errorf("left behind: %q", n)
	}
	update(t, c, func(tx *Tx) error { return APIs{}.Put(tx, api) })
	update(t, c, func(tx *Tx) error { APIs{}.Delete(tx, api.ID); return nil })
	if n := append(c.Snapshot().Names(kindDeployment), c.Snapshot().Names(kindAPI)...); len(n) != 0 {
		t.Errorf("left behind: %q", n)
	}

	// A new deployment without what it froze would be lost: it is refused.
	api.Deployments[first.ID].Definition = restapi.Definition{}
	err = c.Update(context.Background(), func(tx *Tx) error { return APIs{}.Put(tx, api) })
	if !fault.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func update(t *testing.T, c *Catalog, fn func(*Tx) error) {
	t.Helper()
	must(t, c.Update(context.Background(), fn))
}
