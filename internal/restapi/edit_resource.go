package restapi

import (
	"regexp"
	"slices"
	"strings"

	"millrace/internal/ids"
)

// pathPartPattern is a segment: plain text, {name} or {name+}. It is a little wider than the service's documented
// set ($, ~ and @), since newer versions of the service accept more.
var pathPartPattern = regexp.MustCompile(`^(?:[a-zA-Z0-9._\-:,$~@]+|\{[a-zA-Z0-9._\-:,]+\+?\})$`)

// Resource gives a resource of the working copy by id.
func (a *API) Resource(id string) (*Resource, error) {
	if r := a.Resources[id]; r != nil {
		return r, nil
	}
	return nil, notFound("restapi.Resource", "Invalid Resource identifier specified")
}

// ByPath finds a resource of a definition by its path: "/v1/{stream-name}".
func (d *Definition) ByPath(path string) (r *Resource, ok bool) {
	for _, r := range d.Resources {
		if r.Path == path {
			return r, true
		}
	}
	return nil, false
}

// Sorted lists the resources in the order of their paths.
func (d *Definition) Sorted() []*Resource {
	all := make([]*Resource, 0, len(d.Resources))
	for _, r := range d.Resources {
		all = append(all, r)
	}
	slices.SortFunc(all, func(x, y *Resource) int { return strings.Compare(x.Path, y.Path) })
	return all
}

// AddResource makes a child of a resource.
func (a *API) AddResource(parentID, pathPart string, source *ids.Source) (*Resource, error) {
	const op = "restapi.AddResource"
	parent, err := a.Resource(parentID)
	if err != nil {
		return nil, err
	}
	if err := a.checkPlace(op, parent, pathPart, nil); err != nil {
		return nil, err
	}
	if len(a.Resources) >= MaxResources {
		return nil, tooMany(op, "Maximum number of resources for this API has been reached: %d", MaxResources)
	}
	r := &Resource{
		ID:       freshID(source, func(id string) bool { return a.Resources[id] != nil }),
		ParentID: parentID,
		PathPart: pathPart,
		Path:     join(parent.Path, pathPart),
	}
	a.Resources[r.ID] = r
	return r, nil
}

// checkPlace checks a path part and its place below parent; moved is the resource that goes there, nil for a new one.
func (a *API) checkPlace(op string, parent *Resource, pathPart string, moved *Resource) error {
	if !pathPartPattern.MatchString(pathPart) {
		return invalid(op, "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end")
	}
	if isGreedy(parent.PathPart) {
		return invalid(op, "Cannot create a child of a resource with a greedy path variable: %s", parent.PathPart)
	}
	for _, sibling := range a.Resources {
		if sibling.ParentID != parent.ID || sibling == moved {
			continue
		}
		if sibling.PathPart == pathPart {
			return conflict(op, "Another resource with the same parent already has this name: %s", pathPart)
		}
	}
	for _, sibling := range a.Sorted() {
		if sibling.ParentID == parent.ID && sibling != moved && isVariable(sibling.PathPart) && isVariable(pathPart) {
			return invalid(op, "A sibling (%s) of this resource already has a variable path part -- only one is allowed", sibling.PathPart)
		}
	}
	return nil
}

func isVariable(part string) bool { return strings.HasPrefix(part, "{") }
func isGreedy(part string) bool   { return strings.HasSuffix(part, "+}") }

func join(parentPath, part string) string { return strings.TrimSuffix(parentPath, "/") + "/" + part }

// DeleteResource removes a resource and all below it.
func (a *API) DeleteResource(id string) error {
	if _, err := a.Resource(id); err != nil {
		return err
	}
	if id == a.RootResourceID {
		return invalid("restapi.DeleteResource", "Root resource cannot be deleted")
	}
	for _, r := range a.subtree(id) {
		delete(a.Resources, r.ID)
	}
	return nil
}

// subtree lists a resource and all below it, parents first.
func (a *API) subtree(id string) []*Resource {
	all := []*Resource{a.Resources[id]}
	for i := 0; i < len(all); i++ {
		for _, r := range a.Resources {
			if r.ParentID == all[i].ID {
				all = append(all, r)
			}
		}
	}
	return all
}

// RenameResource changes the last segment of a resource, and with it the paths of all below.
func (a *API) RenameResource(id, pathPart string) error {
	const op = "restapi.RenameResource"
	r, err := a.Resource(id)
	if err != nil {
		return err
	}
	if id == a.RootResourceID {
		return invalid(op, "Root resource cannot update its pathPart.")
	}
	if err := a.checkPlace(op, a.Resources[r.ParentID], pathPart, r); err != nil {
		return err
	}
	if isGreedy(pathPart) && len(a.subtree(id)) > 1 {
		return invalid(op, "Cannot create a child of a resource with a greedy path variable: %s", pathPart)
	}
	r.PathPart = pathPart
	a.repath(id)
	return nil
}

// MoveResource puts a resource and all below it under another parent.
func (a *API) MoveResource(id, parentID string) error {
	const op = "restapi.MoveResource"
	r, err := a.Resource(id)
	if err != nil {
		return err
	}
	if id == a.RootResourceID {
		return invalid(op, "Root resource cannot update its parentId.")
	}
	parent, err := a.Resource(parentID)
	if err != nil {
		return err
	}
	if slices.Contains(a.subtree(id), parent) {
		return invalid(op, "Resources cannot be cyclical.")
	}
	if err := a.checkPlace(op, parent, r.PathPart, r); err != nil {
		return err
	}
	r.ParentID = parentID
	a.repath(id)
	return nil
}

func (a *API) repath(id string) {
	for _, r := range a.subtree(id) {
		r.Path = join(a.Resources[r.ParentID].Path, r.PathPart)
	}
}

// PatchResource renames or moves a resource.
func (a *API) PatchResource(id string, patches []Patch) error {
	const op = "restapi.PatchResource"
	if _, err := a.Resource(id); err != nil {
		return err
	}
	for _, p := range patches {
		var err error
		switch {
		case p.Path != "/pathPart" && p.Path != "/parentId":
			err = strictPath(op, p, "/parentId", "/pathPart")
		case p.Op != OpReplace:
			err = strictOp(op, p)
		case p.Path == "/pathPart":
			err = a.RenameResource(id, p.Value)
		default:
			err = a.MoveResource(id, p.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// strictPath and strictOp are one of the service's two families of patch errors; the two spaces are its own.
func strictPath(op string, p Patch, paths ...string) error {
	return invalid(op, "Invalid patch path  '%s' specified for op '%s'. Must be one of: [%s]", p.Path, p.Op, strings.Join(paths, ", "))
}

func strictOp(op string, p Patch) error {
	return invalid(op, "Invalid patch path  '%s' specified for op '%s'. Please choose supported operations", p.Path, p.Op)
}
