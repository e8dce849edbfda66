package catalog

import (
	"strings"

	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// Domains is access to custom domain names. A domain name is a document of kind "restapi-domain" that holds its base
// path mappings.
type Domains struct{}

var domains = NewCollection[restapi.Domain]("restapi-domain")

// Get reads a domain name.
func (Domains) Get(view View, name string) (*restapi.Domain, error) {
	d, ok, err := domains.Get(view, name)
	if err == nil && !ok {
		return nil, fault.New(fault.NotFound, "catalog.Domain", name, "Invalid domain name identifier specified")
	}
	return d, err
}

// All reads all domain names, in their order.
func (Domains) All(view View) ([]*restapi.Domain, error) { return domains.All(view) }

// Add writes a domain name that is not there yet.
func (c Domains) Add(tx *Tx, d *restapi.Domain) error {
	const op = "catalog.AddDomain"
	names := domains.Names(tx)
	if len(names) >= restapi.MaxDomains {
		return fault.New(fault.LimitExceeded, op, "", "Maximum number of domain names has been reached: %d", restapi.MaxDomains)
	}
	for _, name := range names {
		if name == d.Name {
			return fault.New(fault.Invalid, op, d.Name, "The domain name you provided already exists.")
		}
	}
	return c.Put(tx, d)
}

// Put writes a domain name.
func (Domains) Put(tx *Tx, d *restapi.Domain) error { return domains.Put(tx, d.Name, d) }

// Delete removes a domain name with its mappings.
func (Domains) Delete(tx *Tx, name string) { domains.Delete(tx, name) }

// CheckTarget checks that what a mapping leads to is there.
func (Domains) CheckTarget(view View, m *restapi.BasePathMapping) error {
	const op = "catalog.CheckTarget"
	api, ok, err := APIs{}.Get(view, m.APIID)
	switch {
	case err != nil:
		return err
	case !ok:
		return fault.New(fault.Invalid, op, m.APIID, "Invalid REST API identifier specified")
	case m.Stage != "" && api.Stages[m.Stage] == nil:
		return fault.New(fault.Invalid, op, m.Stage, "Invalid stage identifier specified")
	}
	return nil
}

// MappedTo lists the domain names that have mappings to an API, or with a stage to that stage by name.
func (c Domains) MappedTo(view View, apiID, stage string) (names []string, err error) {
	all, err := c.All(view)
	for _, d := range all {
		for _, m := range d.Mappings {
			if m.APIID == apiID && (stage == "" || stage == m.Stage) {
				names = append(names, d.Name)
				break
			}
		}
	}
	return names, err
}

// Unmapped fails with the service's words where a domain name is mapped to an API, or with a stage to that stage by name:
// neither can be deleted then.
func (c Domains) Unmapped(view View, apiID, stage string) error {
	names, err := c.MappedTo(view, apiID, stage)
	if err != nil || len(names) == 0 {
		return err
	}
	what, kind := apiID, "RestApi"
	if stage != "" {
		what, kind = stage, "stage"
	}
	return fault.New(fault.Invalid, "catalog.Delete", what, "Deleting %s %s failed. Please remove all base path mappings related to the %s in your domains: %s",
		kind, what, kind, strings.Join(names, ", "))
}
