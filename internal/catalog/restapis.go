package catalog

import (
	"maps"
	"slices"
	"strings"

	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// APIs is access to REST APIs. An API is a document of kind "restapi" that holds its working copy, its stages and
// the names of its deployments; what a deployment froze is a document of its own, of kind "restapi-deployment",
// named API-ID/DEPLOYMENT-ID and written once. So an edit writes the API, not its history, and a reader who edits
// decodes no history.
//
// An API that Get and All return has deployments without a Definition; [APIs.Deployment] and [APIs.Deployed] add
// them. Put keeps what it finds stored of a deployment, and takes a Definition only for a new one.
type APIs struct{}

const (
	kindAPI        = "restapi"
	kindDeployment = "restapi-deployment"
	kindAccount    = "restapi-account"
	theAccount     = "account" // there is one
)

var (
	apis        = NewCollection[restapi.API](kindAPI)
	definitions = NewCollection[restapi.Definition](kindDeployment)
	accounts    = NewCollection[restapi.Account](kindAccount)
)

func deploymentName(apiID, id string) string { return apiID + "/" + id }

// Get reads an API without what its deployments froze.
func (APIs) Get(view View, id string) (api *restapi.API, ok bool, err error) {
	return apis.Get(view, id)
}

// All reads all APIs, in the order of their ids, without what their deployments froze.
func (APIs) All(view View) ([]*restapi.API, error) { return apis.All(view) }

// Deployment fills in what a deployment of the API froze.
func (APIs) Deployment(view View, api *restapi.API, id string) (*restapi.Deployment, error) {
	d, err := api.Deployment(id)
	if err != nil || d.Definition.Resources != nil {
		return d, err
	}
	definition, ok, err := definitions.Get(view, deploymentName(api.ID, id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Corrupt, "catalog.Deployment", deploymentName(api.ID, id), "the catalog lacks what this deployment froze")
	}
	d.Definition = *definition
	return d, nil
}

// Deployed reads all APIs with what the deployments froze that stages and their canaries point to: what the gateway
// serves.
func (c APIs) Deployed(view View) ([]*restapi.API, error) {
	all, err := c.All(view)
	if err != nil {
		return nil, err
	}
	for _, api := range all {
		for _, name := range slices.Sorted(maps.Keys(api.Stages)) {
			s := api.Stages[name]
			if _, err := c.Deployment(view, api, s.DeploymentID); err != nil {
				return nil, err
			}
			if s.Canary == nil {
				continue
			}
			if _, err := c.Deployment(view, api, s.Canary.DeploymentID); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// Put writes an API: what its new deployments froze, and no more what its deleted ones did.
func (c APIs) Put(tx *Tx, api *restapi.API) error {
	old, known, err := c.Get(tx, api.ID)
	if err != nil {
		return err
	}
	if known {
		for id := range old.Deployments {
			if api.Deployments[id] == nil {
				definitions.Delete(tx, deploymentName(api.ID, id))
			}
		}
	}
	stored := *api
	if len(api.Deployments) > 0 {
		stored.Deployments = make(map[string]*restapi.Deployment, len(api.Deployments))
	}
	for id, d := range api.Deployments {
		if !known || old.Deployments[id] == nil {
			if d.Definition.Resources == nil {
				return fault.New(fault.Internal, "catalog.Put", deploymentName(api.ID, id), "a new deployment has frozen nothing")
			}
			if err := definitions.Put(tx, deploymentName(api.ID, id), &d.Definition); err != nil {
				return err
			}
		}
		bare := *d
		bare.Definition = restapi.Definition{}
		stored.Deployments[id] = &bare
	}
	return apis.Put(tx, api.ID, &stored)
}

// Delete removes an API with all that its deployments froze.
func (c APIs) Delete(tx *Tx, id string) {
	for _, name := range tx.Names(kindDeployment) {
		if strings.HasPrefix(name, id+"/") {
			definitions.Delete(tx, name)
		}
	}
	apis.Delete(tx, id)
}

// Account reads what all APIs of the account share.
func (APIs) Account(view View) (restapi.Account, error) {
	a, ok, err := accounts.Get(view, theAccount)
	if err != nil || !ok {
		return restapi.Account{}, err
	}
	return *a, nil
}

// PutAccount writes what all APIs of the account share.
func (APIs) PutAccount(tx *Tx, a restapi.Account) error { return accounts.Put(tx, theAccount, &a) }
