package catalog

import (
	"maps"
	"slices"
	"strings"

	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// Keys is access to API keys, usage plans, and what was used of them. A key and a plan are documents, of kinds
// "restapi-key" and "restapi-plan", by id. Usage is a document of kind "restapi-usage" for each day and node, named
// DAY/NODE, that this node alone writes: what a key has used is the sum over the nodes.
type Keys struct{}

const (
	kindKey   = "restapi-key"
	kindPlan  = "restapi-plan"
	kindUsage = "restapi-usage"
)

var (
	keys  = NewCollection[restapi.APIKey](kindKey)
	plans = NewCollection[restapi.UsagePlan](kindPlan)
	used  = NewCollection[restapi.Counts](kindUsage)
)

// Key reads an API key.
func (Keys) Key(view View, id string) (*restapi.APIKey, error) {
	k, ok, err := keys.Get(view, id)
	if err == nil && !ok {
		return nil, fault.New(fault.NotFound, "catalog.Key", id, "Invalid API Key identifier specified")
	}
	return k, err
}

// Keys reads all API keys, in the order of their ids.
func (Keys) Keys(view View) ([]*restapi.APIKey, error) { return keys.All(view) }

// AddKey writes a new API key, whose id and value nobody has.
func (c Keys) AddKey(tx *Tx, k *restapi.APIKey) error {
	ring, err := c.Ring(tx)
	if err != nil {
		return err
	}
	return ring.Add(k)
}

// KeyRing knows the ids and values that are taken, so that many keys can be added in one transaction.
type KeyRing struct {
	tx          *Tx
	ids, values map[string]bool
}

// Ring reads all API keys once.
func (c Keys) Ring(tx *Tx) (*KeyRing, error) {
	all, err := c.Keys(tx)
	if err != nil {
		return nil, err
	}
	r := &KeyRing{tx, make(map[string]bool, len(all)), make(map[string]bool, len(all))}
	for _, k := range all {
		r.ids[k.ID], r.values[k.Value] = true, true
	}
	return r, nil
}

// Add writes a new API key, whose id and value nobody has.
func (r *KeyRing) Add(k *restapi.APIKey) error {
	const op = "catalog.AddKey"
	switch {
	case len(r.ids) >= restapi.MaxAPIKeys:
		return fault.New(fault.LimitExceeded, op, "", "Maximum number of API keys has been reached: %d", restapi.MaxAPIKeys)
	case r.ids[k.ID] || r.values[k.Value]:
		return fault.New(fault.InUse, op, "", "API Key already exists")
	}
	r.ids[k.ID], r.values[k.Value] = true, true
	return Keys{}.PutKey(r.tx, k)
}

// PutKey writes an API key.
func (Keys) PutKey(tx *Tx, k *restapi.APIKey) error { return keys.Put(tx, k.ID, k) }

// DeleteKey removes an API key, from its plans too.
func (c Keys) DeleteKey(tx *Tx, id string) error {
	of, err := c.PlansOf(tx, id)
	if err != nil {
		return err
	}
	for _, p := range of {
		p.RemoveKey(id)
		if err := c.PutPlan(tx, p); err != nil {
			return err
		}
	}
	keys.Delete(tx, id)
	return nil
}

// Plan reads a usage plan.
func (Keys) Plan(view View, id string) (*restapi.UsagePlan, error) {
	p, ok, err := plans.Get(view, id)
	if err == nil && !ok {
		return nil, fault.New(fault.NotFound, "catalog.Plan", id, "Invalid Usage Plan ID specified")
	}
	return p, err
}

// Plans reads all usage plans, in the order of their ids.
func (Keys) Plans(view View) ([]*restapi.UsagePlan, error) { return plans.All(view) }

// PlansOf reads the usage plans that a key is in.
func (c Keys) PlansOf(view View, key string) ([]*restapi.UsagePlan, error) {
	all, err := c.Plans(view)
	return slices.DeleteFunc(all, func(p *restapi.UsagePlan) bool { return !p.HasKey(key) }), err
}

// PutPlan writes a usage plan.
func (Keys) PutPlan(tx *Tx, p *restapi.UsagePlan) error { return plans.Put(tx, p.ID, p) }

// DeletePlan removes a usage plan. What was used of it stays until its days are over.
func (Keys) DeletePlan(tx *Tx, id string) { plans.Delete(tx, id) }

// LeavePlans takes a stage that is deleted out of all usage plans, as the service does; without a name, all stages of an
// API.
func (c Keys) LeavePlans(tx *Tx, apiID, stage string) error {
	all, err := c.Plans(tx)
	if err != nil {
		return err
	}
	for _, p := range all {
		before := len(p.Stages)
		p.Stages = slices.DeleteFunc(p.Stages, func(s restapi.PlanStage) bool { return s.APIID == apiID && (stage == "" || s.Stage == stage) })
		if len(p.Stages) == before {
			continue
		}
		if len(p.Stages) == 0 {
			p.Stages = nil
		}
		if err := c.PutPlan(tx, p); err != nil {
			return err
		}
	}
	return nil
}

// Usage reads what all nodes have counted on the days from one on, to another.
func (Keys) Usage(view View, from, to string) (restapi.Usage, error) {
	all := restapi.Usage{}
	for _, name := range view.Names(kindUsage) {
		day, _, _ := strings.Cut(name, "/")
		if day < from || day > to {
			continue
		}
		counts, ok, err := used.Get(view, name)
		if err != nil {
			return nil, err
		}
		if ok {
			all.Add(day, *counts)
		}
	}
	return all, nil
}

// NodeUsage reads what a node has counted, from a day on.
func (Keys) NodeUsage(view View, node, from string) (restapi.Usage, error) {
	all := restapi.Usage{}
	for _, name := range view.Names(kindUsage) {
		day, by, _ := strings.Cut(name, "/")
		if by != node || day < from {
			continue
		}
		counts, ok, err := used.Get(view, name)
		if err != nil {
			return nil, err
		}
		if ok {
			all[day] = *counts
		}
	}
	return all, nil
}

// PutUsage writes what a node has counted: all of the given days, keys that are not given stay as they were. Of
// all nodes the days that are kept are the last [restapi.UsageDays] on which something was counted: not those up to now, so that a
// clock that is years ahead removes no more than one.
func (c Keys) PutUsage(tx *Tx, node string, counted restapi.Usage) error {
	for _, day := range slices.Sorted(maps.Keys(counted)) {
		name := day + "/" + node
		have, ok, err := used.Get(tx, name)
		if err != nil {
			return err
		}
		if !ok || *have == nil {
			have = &restapi.Counts{}
		}
		for plan, of := range counted[day] {
			if (*have)[plan] == nil {
				(*have)[plan] = map[string]int64{}
			}
			maps.Copy((*have)[plan], of)
		}
		if err := used.Put(tx, name, have); err != nil {
			return err
		}
	}
	names := tx.Names(kindUsage) // in the order of days
	days, last := 0, ""
	for i := len(names) - 1; i >= 0; i-- {
		day, _, _ := strings.Cut(names[i], "/")
		if day != last {
			days, last = days+1, day
		}
		if days > restapi.UsageDays {
			used.Delete(tx, names[i])
		}
	}
	return nil
}

// sameOf reports whether two snapshots have the same documents of some kinds. Documents are compared by what
// they are, not by what they say: a snapshot has those of the one before that have not been written since.
func (s *Snapshot) sameOf(other *Snapshot, of func(kind string) bool) bool {
	if other == nil {
		return false
	}
	same := func(a, b *Snapshot) bool {
		for k, doc := range a.docs {
			if !of(k.Kind) {
				continue
			}
			was, ok := b.docs[k]
			if !ok || len(was) != len(doc) || len(doc) > 0 && &was[0] != &doc[0] {
				return false
			}
		}
		return true
	}
	return same(s, other) && same(other, s)
}

// SameUsage reports whether nothing was counted since another snapshot.
func (s *Snapshot) SameUsage(other *Snapshot) bool {
	return s.sameOf(other, func(kind string) bool { return kind == kindUsage })
}

// SameKeys reports whether API keys and usage plans are those of another snapshot.
func (s *Snapshot) SameKeys(other *Snapshot) bool {
	return s.sameOf(other, func(kind string) bool { return kind == kindKey || kind == kindPlan })
}

// SameBesideUsage reports whether another snapshot differs in what was counted at most.
func (s *Snapshot) SameBesideUsage(other *Snapshot) bool {
	return s.sameOf(other, func(kind string) bool { return kind != kindUsage })
}
