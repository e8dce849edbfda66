package apigateway

import (
	"context"
	"maps"
	"slices"
	"strings"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// stagesOf tells which stages there are.
func stagesOf(view catalog.View) restapi.StageExists {
	return func(id, stage string) bool {
		api, ok, err := apis.Get(view, id)
		return err == nil && ok && api.Stages[stage] != nil
	}
}

func (s *Service) createUsagePlan(ctx context.Context, in *wire.CreateUsagePlanRequest) (out *wire.UsagePlan, err error) {
	spec := restapi.NewPlan{Name: in.Name, Description: awswire.Value(in.Description), Throttle: throttleOf(in.Throttle), Tags: in.Tags}
	if q := in.Quota; q != nil {
		spec.Quota = &restapi.Quota{Limit: awswire.Value(q.Limit), Offset: awswire.Value(q.Offset), Period: q.Period}
	}
	for _, st := range in.ApiStages {
		one := restapi.PlanStage{APIID: awswire.Value(st.ApiId), Stage: awswire.Value(st.Stage)}
		for key, t := range st.Throttle {
			if one.Methods == nil {
				one.Methods = map[string]*restapi.Throttle{}
			}
			one.Methods[key] = throttleOf(&t)
		}
		spec.Stages = append(spec.Stages, one)
	}
	err = s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		all, err := keys.Plans(tx)
		if err != nil {
			return err
		}
		if len(all) >= restapi.MaxUsagePlans {
			return fault.New(fault.LimitExceeded, "apigateway.CreateUsagePlan", "", "Maximum number of usage plans has been reached: %d", restapi.MaxUsagePlans)
		}
		p, err := restapi.NewUsagePlan(spec, stagesOf(tx), s.IDs, s.Now())
		if err != nil {
			return err
		}
		out = planView(p, tagsIfAny)
		return keys.PutPlan(tx, p)
	})
	return out, err
}

// throttleOf takes a throttle off the wire; what it leaves out is the account's.
func throttleOf(t *wire.ThrottleSettings) *restapi.Throttle {
	if t == nil {
		return nil
	}
	out := &restapi.Throttle{Rate: restapi.DefaultThrottlingRate, Burst: restapi.DefaultThrottlingBurst}
	if t.RateLimit != nil {
		out.Rate = *t.RateLimit
	}
	if t.BurstLimit != nil {
		out.Burst = *t.BurstLimit
	}
	return out
}

func (s *Service) getUsagePlan(_ context.Context, in *wire.GetUsagePlanRequest) (*wire.UsagePlan, error) {
	p, err := keys.Plan(s.Catalog.Snapshot(), in.UsagePlanId)
	if err != nil {
		return nil, err
	}
	return planView(p, tagsAlways), nil
}

func (s *Service) getUsagePlans(_ context.Context, in *wire.GetUsagePlansRequest) (*wire.UsagePlans, error) {
	all, err := keys.Plans(s.Catalog.Snapshot())
	if err != nil {
		return nil, err
	}
	if in.KeyId != nil {
		all = slices.DeleteFunc(all, func(p *restapi.UsagePlan) bool { return !p.HasKey(*in.KeyId) })
	}
	items, next, err := page(all, func(p *restapi.UsagePlan) string { return p.ID }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.UsagePlans{Position: next, Items: []wire.UsagePlan{}}
	for _, p := range items {
		out.Items = append(out.Items, *planView(p, tagsIfAny))
	}
	return out, nil
}

func (s *Service) updateUsagePlan(ctx context.Context, in *wire.UpdateUsagePlanRequest) (out *wire.UsagePlan, err error) {
	err = s.editPlan(ctx, in.UsagePlanId, func(tx *catalog.Tx, p *restapi.UsagePlan) error {
		list := patches(in.PatchOperations)
		if err := p.Patch(list, stagesOf(tx), s.Now()); err != nil {
			return err
		}
		if slices.ContainsFunc(list, addsStage) { // its keys may be in other plans of the stage
			for _, key := range p.Keys {
				others, err := keys.PlansOf(tx, key)
				if err != nil {
					return err
				}
				if err := p.CheckAlone(key, others); err != nil {
					return err
				}
			}
		}
		out = planView(p, tagsAlways)
		return nil
	})
	return out, err
}

// addsStage reports whether a patch makes a plan cover one stage more.
func addsStage(p restapi.Patch) bool { return p.Op == restapi.OpAdd && p.Path == "/apiStages" }

// editPlan changes a usage plan.
func (s *Service) editPlan(ctx context.Context, id string, change func(*catalog.Tx, *restapi.UsagePlan) error) error {
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		p, err := keys.Plan(tx, id)
		if err != nil {
			return err
		}
		if err := change(tx, p); err != nil {
			return err
		}
		return keys.PutPlan(tx, p)
	})
}

func (s *Service) deleteUsagePlan(ctx context.Context, in *wire.DeleteUsagePlanRequest) error {
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		p, err := keys.Plan(tx, in.UsagePlanId)
		if err != nil {
			return err
		}
		if err := p.CheckDelete(); err != nil {
			return err
		}
		keys.DeletePlan(tx, p.ID)
		return nil
	})
}

const keyTypeAPIKey = "API_KEY"

var errNoPlan = fault.New(fault.NotFound, "apigateway", "", "Invalid Usage Plan ID specified")

var errNoPlanKey = fault.New(fault.NotFound, "apigateway", "", "Invalid Usage Plan Key ID specified")

func (s *Service) createUsagePlanKey(ctx context.Context, in *wire.CreateUsagePlanKeyRequest) (out *wire.UsagePlanKey, err error) {
	if in.KeyType != keyTypeAPIKey {
		return nil, fault.New(fault.Invalid, "apigateway.CreateUsagePlanKey", "", "Invalid key type specified: %s. Valid options are %s", in.KeyType, keyTypeAPIKey)
	}
	err = s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if _, err := keys.Plan(tx, in.UsagePlanId); err != nil {
			return err
		}
		k, err := keys.Key(tx, in.KeyId)
		if err != nil {
			return err
		}
		out = planKeyView(k)
		return s.addToPlan(tx, in.UsagePlanId, k.ID)
	})
	return out, err
}

func (s *Service) addToPlan(tx *catalog.Tx, plan, key string) error {
	p, err := keys.Plan(tx, plan)
	if err != nil {
		return err
	}
	others, err := keys.PlansOf(tx, key)
	if err != nil {
		return err
	}
	if err := p.AddKey(key, others); err != nil {
		return err
	}
	return keys.PutPlan(tx, p)
}

func (s *Service) getUsagePlanKey(_ context.Context, in *wire.GetUsagePlanKeyRequest) (*wire.UsagePlanKey, error) {
	view := s.Catalog.Snapshot()
	p, err := keys.Plan(view, in.UsagePlanId)
	if err != nil {
		return nil, err
	}
	if !p.HasKey(in.KeyId) {
		return nil, errNoPlanKey
	}
	k, err := keys.Key(view, in.KeyId)
	if err != nil {
		return nil, err
	}
	return planKeyView(k), nil
}

// getUsagePlanKeys lists the keys of a plan; one that is unknown has none, which the service does not call an error.
func (s *Service) getUsagePlanKeys(_ context.Context, in *wire.GetUsagePlanKeysRequest) (*wire.UsagePlanKeys, error) {
	view := s.Catalog.Snapshot()
	p, err := keys.Plan(view, in.UsagePlanId)
	if fault.Is(err, fault.NotFound) {
		p, err = &restapi.UsagePlan{}, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*restapi.APIKey
	for _, id := range slices.Sorted(slices.Values(p.Keys)) {
		k, err := keys.Key(view, id)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(k.Name, awswire.Value(in.NameQuery)) {
			all = append(all, k)
		}
	}
	items, next, err := page(all, func(k *restapi.APIKey) string { return k.ID }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.UsagePlanKeys{Position: next, Items: []wire.UsagePlanKey{}}
	for _, k := range items {
		out.Items = append(out.Items, *planKeyView(k))
	}
	return out, nil
}

func (s *Service) deleteUsagePlanKey(ctx context.Context, in *wire.DeleteUsagePlanKeyRequest) error {
	return s.editPlan(ctx, in.UsagePlanId, func(_ *catalog.Tx, p *restapi.UsagePlan) error {
		if !p.HasKey(in.KeyId) {
			return errNoPlanKey
		}
		p.RemoveKey(in.KeyId)
		return nil
	})
}

// planKeyView shows the value, as the service does here without being asked.
func planKeyView(k *restapi.APIKey) *wire.UsagePlanKey {
	kind := keyTypeAPIKey
	return &wire.UsagePlanKey{Id: &k.ID, Type: &kind, Value: &k.Value, Name: text(k.Name)}
}

func planView(p *restapi.UsagePlan, rule tagRule) *wire.UsagePlan {
	v := &wire.UsagePlan{
		Id: &p.ID, Name: &p.Name, Description: text(p.Description), ProductCode: text(p.ProductCode),
		ApiStages: []wire.ApiStage{}, Throttle: throttleView(p.Throttle), Tags: someOf(p.Tags),
	}
	if q := p.Quota; q != nil {
		v.Quota = &wire.QuotaSettings{Limit: &q.Limit, Offset: &q.Offset, Period: q.Period}
	}
	for i := range p.Stages {
		s := &p.Stages[i]
		one := wire.ApiStage{ApiId: &s.APIID, Stage: &s.Stage}
		for _, key := range slices.Sorted(maps.Keys(s.Methods)) {
			if one.Throttle == nil {
				one.Throttle = map[string]wire.ThrottleSettings{}
			}
			one.Throttle[key] = *throttleView(s.Methods[key])
		}
		v.ApiStages = append(v.ApiStages, one)
	}
	if rule == tagsAlways && v.Tags == nil {
		v.Tags = map[string]string{}
	}
	return v
}

func throttleView(t *restapi.Throttle) *wire.ThrottleSettings {
	if t == nil {
		return nil
	}
	return &wire.ThrottleSettings{BurstLimit: &t.Burst, RateLimit: &t.Rate}
}
