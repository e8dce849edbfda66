package restapi

import (
	"maps"
	"slices"
	"strings"

	"millrace/internal/ids"
)

// CopyFrom takes over the working copy of another API, as CloneFrom of CreateRestApi does: under ids of its own, and
// without stages and deployments. What this API already says of itself (media types, key source, compression, policy)
// stays.
func (a *API) CopyFrom(other *API, source *ids.Source) {
	d := other.Definition.Clone()
	renamed, taken := map[string]string{other.RootResourceID: a.RootResourceID}, map[string]bool{}
	for _, id := range slices.Concat(slices.Sorted(maps.Keys(d.Resources)), slices.Sorted(maps.Keys(d.Validators)), slices.Sorted(maps.Keys(d.Authorizers))) {
		if id != other.RootResourceID {
			renamed[id] = freshID(source, func(id string) bool { return taken[id] })
			taken[renamed[id]] = true
		}
	}
	a.Resources = make(map[string]*Resource, len(d.Resources))
	for _, r := range d.Resources {
		r.ID, r.ParentID = renamed[r.ID], renamed[r.ParentID]
		for _, m := range r.Methods {
			m.ValidatorID, m.AuthorizerID = renamed[m.ValidatorID], renamed[m.AuthorizerID]
			if i := m.Integration; i != nil && renamed[i.CacheNamespace] != "" {
				i.CacheNamespace = renamed[i.CacheNamespace]
			}
		}
		a.Resources[r.ID] = r
	}
	a.Models = d.Models
	for _, name := range slices.Sorted(maps.Keys(d.Models)) {
		m := d.Models[name]
		m.ID = source.String(ids.LowerAlnum, 6)
		m.Schema = strings.ReplaceAll(m.Schema, "/restapis/"+other.ID+"/models/", "/restapis/"+a.ID+"/models/")
	}
	a.Validators, a.Authorizers = nil, nil
	for id, v := range d.Validators {
		if a.Validators == nil {
			a.Validators = map[string]*Validator{}
		}
		v.ID = renamed[id]
		a.Validators[v.ID] = v
	}
	for id, v := range d.Authorizers {
		if a.Authorizers == nil {
			a.Authorizers = map[string]*Authorizer{}
		}
		v.ID = renamed[id]
		a.Authorizers[v.ID] = v
	}
	a.GatewayResponses = d.GatewayResponses
	if len(a.BinaryMediaTypes) == 0 {
		a.BinaryMediaTypes = d.BinaryMediaTypes
	}
	if a.MinimumCompressionSize == nil {
		a.MinimumCompressionSize = d.MinimumCompressionSize
	}
	if a.Policy == "" {
		a.Policy = d.Policy
	}
}
