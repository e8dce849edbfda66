package gateway

import (
	"cmp"
	"slices"
	"strings"

	"millrace/internal/restapi"
)

// domainTable is the custom domain names at one moment. It says where a name leads; what is there is the snapshot's.
type domainTable struct {
	byName map[string]*domain // in lower case; a star stands for the first label
}

type domain struct {
	name     string
	mappings []restapi.BasePathMapping // the longest base path first, the empty one last
}

// PublishDomains serves custom domain names from now on, and no others. They are looked at on the ingest listener alone:
// the AWS endpoint is the service's own.
func (g *Gateway) PublishDomains(domains []*restapi.Domain) {
	next := &domainTable{byName: make(map[string]*domain, len(domains))}
	for _, d := range domains {
		mappings := slices.Clone(d.Mappings)
		slices.SortStableFunc(mappings, func(a, b restapi.BasePathMapping) int { return cmp.Compare(len(b.BasePath), len(a.BasePath)) })
		next.byName[strings.ToLower(d.Name)] = &domain{d.Name, mappings}
	}
	g.domains.Store(next)
}

// find gives the domain that a Host names: itself, else the one with a star for its first label.
func (t *domainTable) find(host string) *domain {
	if len(t.byName) == 0 {
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(hostName(host), "."))
	if d := t.byName[name]; d != nil {
		return d
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		return t.byName["*."+rest]
	}
	return nil
}

// resolve finds API and stage by the longest base path that the path begins with. Only the mappings count, not what
// their APIs have below.
func (d *domain) resolve(s *snapshot, path string) (target, *failure) {
	whole := "/" + strings.TrimLeft(path, "/")
	if whole == "/ping" || whole == "/sping" {
		return target{}, errForbidden // the service keeps them for its own checks of health
	}
	for i := range d.mappings {
		m := &d.mappings[i]
		rest, ok := below(whole, m.BasePath)
		if !ok {
			continue
		}
		a := s.apis[m.APIID]
		if a == nil {
			return target{}, errForbidden
		}
		if m.Stage == "" {
			t, bad := a.staged(rest)
			t.full = whole
			return t, bad
		}
		st := a.stages[m.Stage]
		if st == nil {
			return target{}, errForbidden
		}
		return target{a, st, rest, whole}, nil
	}
	return target{}, errForbidden
}

// below cuts a base path off a path, at the end of a segment.
func below(path, base string) (rest string, ok bool) {
	if base == "" {
		return path, true
	}
	rest, ok = strings.CutPrefix(path[1:], base)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// addresses lists where domains lead to a method of a stage.
func (t *domainTable) addresses(apiID, stage, path string) (all []string) {
	for _, d := range t.byName {
		for _, m := range d.mappings {
			if m.APIID != apiID || m.Stage != "" && m.Stage != stage {
				continue
			}
			at := d.name
			if m.BasePath != "" {
				at += "/" + m.BasePath
			}
			if m.Stage == "" {
				at += "/" + stage
			}
			all = append(all, at+path)
		}
	}
	slices.Sort(all)
	return all
}
