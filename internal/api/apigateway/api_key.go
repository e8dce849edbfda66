package apigateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

var keys catalog.Keys

func (s *Service) createAPIKey(ctx context.Context, in *wire.CreateApiKeyRequest) (*wire.ApiKey, error) {
	if err := refuse(member{"generateDistinctId false", in.GenerateDistinctId != nil && !*in.GenerateDistinctId}); err != nil {
		return nil, err
	}
	spec := restapi.NewKey{
		Name: awswire.Value(in.Name), Description: awswire.Value(in.Description), CustomerID: awswire.Value(in.CustomerId),
		Value: awswire.Value(in.Value), Enabled: awswire.Value(in.Enabled), Tags: in.Tags,
	}
	for _, k := range in.StageKeys {
		spec.StageKeys = append(spec.StageKeys, awswire.Value(k.RestApiId)+"/"+awswire.Value(k.StageName))
	}
	k, err := restapi.NewAPIKey(spec, s.IDs, s.Now())
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.Update(ctx, func(tx *catalog.Tx) error { return keys.AddKey(tx, k) }); err != nil {
		return nil, err
	}
	return keyView(k, withValue, tagsIfAny), nil
}

func (s *Service) getAPIKey(_ context.Context, in *wire.GetApiKeyRequest) (*wire.ApiKey, error) {
	k, err := keys.Key(s.Catalog.Snapshot(), in.ApiKey)
	if err != nil {
		return nil, err
	}
	return keyView(k, valueRule(awswire.Value(in.IncludeValue)), tagsAlways), nil
}

// keyOrder lists the newest first; it is what a page's position tells.
func keyOrder(k *restapi.APIKey) string {
	return fmt.Sprintf("%016x%s", ^uint64(k.Created.UnixNano()), k.ID)
}

func (s *Service) getAPIKeys(_ context.Context, in *wire.GetApiKeysRequest) (*wire.ApiKeys, error) {
	all, err := keys.Keys(s.Catalog.Snapshot())
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(k *restapi.APIKey) bool {
		return !strings.HasPrefix(k.Name, awswire.Value(in.NameQuery)) || in.CustomerId != nil && k.CustomerID != *in.CustomerId
	})
	slices.SortFunc(all, func(a, b *restapi.APIKey) int { return cmp.Compare(keyOrder(a), keyOrder(b)) })
	items, next, err := page(all, keyOrder, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.ApiKeys{Position: next, Items: []wire.ApiKey{}}
	for _, k := range items {
		out.Items = append(out.Items, *keyView(k, valueRule(awswire.Value(in.IncludeValues)), tagsIfAny))
	}
	return out, nil
}

func (s *Service) updateAPIKey(ctx context.Context, in *wire.UpdateApiKeyRequest) (out *wire.ApiKey, err error) {
	err = s.editKey(ctx, in.ApiKey, func(k *restapi.APIKey) error {
		if err := k.Patch(patches(in.PatchOperations), s.Now()); err != nil {
			return err
		}
		out = keyView(k, withoutValue, tagsAlways)
		return nil
	})
	return out, err
}

// editKey changes an API key.
func (s *Service) editKey(ctx context.Context, id string, change func(*restapi.APIKey) error) error {
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		k, err := keys.Key(tx, id)
		if err != nil {
			return err
		}
		if err := change(k); err != nil {
			return err
		}
		return keys.PutKey(tx, k)
	})
}

func (s *Service) deleteAPIKey(ctx context.Context, in *wire.DeleteApiKeyRequest) error {
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if _, err := keys.Key(tx, in.ApiKey); err != nil {
			return err
		}
		return keys.DeleteKey(tx, in.ApiKey)
	})
}

// importAPIKeys makes keys of a file, and puts them into the usage plans that it names. What can't be made is a warning;
// with failonwarnings the first one ends the import, and nothing is made.
func (s *Service) importAPIKeys(ctx context.Context, in *wire.ImportApiKeysRequest) (out *wire.ApiKeyIds, err error) {
	rows, err := restapi.ParseKeyFile(in.Body)
	if err != nil {
		return nil, err
	}
	err = s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		im := keyImport{s: s, changed: map[string]bool{}}
		var err error
		if im.ring, err = keys.Ring(tx); err != nil {
			return err
		}
		if im.plans, err = keys.Plans(tx); err != nil {
			return err
		}
		for _, row := range rows {
			im.add(row)
			if len(im.warnings) > 0 && awswire.Value(in.FailOnWarnings) {
				return fault.New(fault.Invalid, "apigateway.ImportApiKeys", "", "Import failed: %s", im.warnings[0])
			}
		}
		for _, p := range im.plans {
			if im.changed[p.ID] {
				if err := keys.PutPlan(tx, p); err != nil {
					return err
				}
			}
		}
		out = &wire.ApiKeyIds{Ids: im.ids, Warnings: im.warnings}
		return nil
	})
	return out, err
}

// keyImport is one file on its way into the catalog; it reads keys and plans once for all lines.
type keyImport struct {
	s             *Service
	ring          *catalog.KeyRing
	plans         []*restapi.UsagePlan
	changed       map[string]bool // plans, by id
	ids, warnings []string
}

func (im *keyImport) add(row restapi.KeyRow) {
	warn := func(what string, err error) { im.warnings = append(im.warnings, row.Where()+": "+what+warningOf(err)) }
	k, err := restapi.NewAPIKey(row.Key, im.s.IDs, im.s.Now())
	if err == nil {
		err = im.ring.Add(k)
	}
	if err != nil {
		warn("", err)
		return
	}
	im.ids = append(im.ids, k.ID)
	var joined []*restapi.UsagePlan
	for _, id := range row.Plans {
		i := slices.IndexFunc(im.plans, func(p *restapi.UsagePlan) bool { return p.ID == id })
		if i < 0 {
			warn(id+": ", errNoPlan)
			continue
		}
		if err := im.plans[i].AddKey(k.ID, joined); err != nil {
			warn(id+": ", err)
			continue
		}
		joined = append(joined, im.plans[i])
		im.changed[id] = true
	}
}

// warningOf gives the words of an error that the import goes on after.
func warningOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message()
	}
	return err.Error()
}

// valueRule says whether an answer holds the key's value.
type valueRule bool

const (
	withValue    valueRule = true
	withoutValue valueRule = false
)

func keyView(k *restapi.APIKey, values valueRule, rule tagRule) *wire.ApiKey {
	v := &wire.ApiKey{
		Id: &k.ID, Name: text(k.Name), CustomerId: text(k.CustomerID), Description: text(k.Description), Enabled: &k.Enabled,
		CreatedDate: k.Created.Truncate(time.Second), LastUpdatedDate: k.Updated, StageKeys: k.StageKeys, Tags: someOf(k.Tags),
	}
	if v.StageKeys == nil {
		v.StageKeys = []string{}
	}
	if values == withValue {
		v.Value = &k.Value
	}
	if rule == tagsAlways && v.Tags == nil {
		v.Tags = map[string]string{}
	}
	return v
}
