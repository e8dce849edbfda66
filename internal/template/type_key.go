package template

import (
	"context"
	"strings"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// keySpec, planSpec and planKeySpec are what the file says of an API key, a usage plan, and a key of a plan.
type (
	keySpec struct {
		*resource
		id   string
		spec restapi.NewKey
	}
	planSpec struct {
		*resource
		id   string
		spec restapi.NewPlan // an empty name is made up once
	}
	planKeySpec struct {
		*resource
		key, plan string
	}
)

func ownID(_ *build, _ *resource, id string) string { return id }

var apiKeyType = &resourceType{
	name: "AWS::ApiGateway::ApiKey", phase: phasePlan,
	properties: map[string]string{
		"Name": served, "Description": served, "Enabled": served, "Value": served, "CustomerId": served, "Tags": served,
		"GenerateDistinctId": served, "StageKeys": "kept and shown: usage plans say what a key may call",
	},
	generate:   func(b *build, _ *resource) string { return b.source.String(ids.LowerAlnum, apiIDLength) },
	attributes: map[string]func(*build, *resource, string) string{"APIKeyId": ownID},
	make: func(b *build, r *resource, p *properties) bool {
		id, ok := b.physical(r)
		if !ok {
			return true
		}
		if p.has("GenerateDistinctId") && !p.boolean("GenerateDistinctId") {
			p.tell("GenerateDistinctId", "false is not supported by this version of Millrace: an id is never a key's value")
		}
		spec := restapi.NewKey{
			Name: p.text("Name"), Description: p.text("Description"), CustomerID: p.text("CustomerId"), Value: p.text("Value"),
			Enabled: p.boolean("Enabled"), Tags: p.tags("Tags"),
		}
		for _, k := range p.list("StageKeys") {
			k.only("RestApiId", "StageName")
			spec.StageKeys = append(spec.StageKeys, k.text("RestApiId")+"/"+k.text("StageName"))
		}
		if _, err := restapi.NewAPIKey(spec, b.source, zeroTime); err != nil {
			n, where := locate(p.node, p.where, openapi.Reason(err))
			b.tell(n, where, "%s", openapi.Reason(err))
			return true
		}
		b.keys = append(b.keys, &keySpec{r, id, spec})
		return true
	},
}

var usagePlanType = &resourceType{
	name: "AWS::ApiGateway::UsagePlan", phase: phasePlan,
	properties: map[string]string{
		"UsagePlanName": served, "Description": served, "ApiStages": served, "Quota": served, "Throttle": served, "Tags": served,
	},
	generate:   func(b *build, _ *resource) string { return b.source.String(ids.LowerAlnum, 6) },
	attributes: map[string]func(*build, *resource, string) string{"Id": ownID},
	make: func(b *build, r *resource, p *properties) bool {
		id, ok := b.physical(r)
		if !ok {
			return true
		}
		s := &planSpec{r, id, restapi.NewPlan{Name: p.text("UsagePlanName"), Description: p.text("Description"), Tags: p.tags("Tags"), Throttle: p.throttle("Throttle")}}
		if q := p.nested("Quota"); q != nil {
			q.only("Limit", "Offset", "Period")
			s.spec.Quota = &restapi.Quota{Limit: q.integer("Limit", 0), Offset: q.integer("Offset", 0), Period: q.text("Period")}
		}
		for _, one := range p.list("ApiStages") {
			one.only("ApiId", "Stage", "Throttle")
			stage := restapi.PlanStage{APIID: one.text("ApiId"), Stage: one.text("Stage")}
			if methods := one.nested("Throttle"); methods != nil {
				stage.Methods = map[string]*restapi.Throttle{}
				for key := range yamldoc.Pairs(methods.node) {
					stage.Methods[key.Value] = methods.throttle(key.Value)
				}
			}
			s.spec.Stages = append(s.spec.Stages, stage)
		}
		probe := s.spec
		probe.Name = s.id
		// Whether the stages are there is known when the file is compared with the node.
		if _, err := restapi.NewUsagePlan(probe, func(string, string) bool { return true }, b.source, zeroTime); err != nil {
			n, where := locate(p.node, p.where, openapi.Reason(err))
			b.tell(n, where, "%s", openapi.Reason(err))
			return true
		}
		b.plans = append(b.plans, s)
		return true
	},
}

// throttle reads a RateLimit and a BurstLimit; what is left out is the account's.
func (p *properties) throttle(name string) *restapi.Throttle {
	n := p.nested(name)
	if n == nil {
		return nil
	}
	n.only("RateLimit", "BurstLimit")
	return &restapi.Throttle{Rate: n.number("RateLimit", restapi.DefaultThrottlingRate), Burst: n.integer("BurstLimit", restapi.DefaultThrottlingBurst)}
}

var usagePlanKeyType = &resourceType{
	name: "AWS::ApiGateway::UsagePlanKey", phase: phasePlan,
	properties: map[string]string{"KeyId": served, "KeyType": served, "UsagePlanId": served},
	required:   []string{"KeyId", "KeyType", "UsagePlanId"},
	// Its id says what it joins, and changes with it.
	generate: func(b *build, r *resource) string {
		where := "Resources." + r.logical + ".Properties."
		key, _ := b.text(yamldoc.Get(r.properties, "KeyId"), where+"KeyId")
		plan, _ := b.text(yamldoc.Get(r.properties, "UsagePlanId"), where+"UsagePlanId")
		return key + ":" + plan
	},
	made:       true,
	attributes: map[string]func(*build, *resource, string) string{"Id": ownID},
	make: func(b *build, r *resource, p *properties) bool {
		if kind := p.text("KeyType"); kind != "API_KEY" {
			p.tell("KeyType", "%q is no type of a key: it is API_KEY", kind)
		}
		b.planKeys = append(b.planKeys, &planKeySpec{r, p.text("KeyId"), p.text("UsagePlanId")})
		return true
	},
}

var keys catalog.Keys

func (p *planner) key(s *keySpec) {
	if !p.own(s.resource, s.id) {
		return
	}
	update := func(change func(tx *catalog.Tx) error) func(context.Context) error {
		return func(ctx context.Context) error { return p.target.Catalog.Update(ctx, change) }
	}
	have, err := keys.Key(p.view, s.id)
	if fault.Is(err, fault.NotFound) {
		p.add(Create, s.resource, s.id, s.spec.Name, update(func(tx *catalog.Tx) error {
			k, err := restapi.NewAPIKey(s.spec, p.target.IDs, p.target.Now())
			if err != nil {
				return err
			}
			k.ID = s.id
			return keys.AddKey(tx, k)
		}))
		return
	}
	if err != nil {
		p.refuse(s.resource, "", "%v", err)
		return
	}
	if s.spec.Value != "" && s.spec.Value != have.Value {
		p.refuse(s.resource, "Value", "the value of an API key can't change in place; CloudFormation would replace the key. Give the new one another logical id")
		return
	}
	next := s.settled(have)
	if equalJSON(next, have) {
		p.add(Keep, s.resource, s.id, s.spec.Name, nil)
		return
	}
	p.add(Update, s.resource, s.id, s.spec.Name, update(func(tx *catalog.Tx) error {
		now, err := keys.Key(tx, s.id)
		if err != nil {
			return err
		}
		next := s.settled(now)
		next.Updated = p.target.Now().UTC().Truncate(1e9)
		return keys.PutKey(tx, next)
	}))
}

// settled is a key as the file says it; what the file does not say stays.
func (s *keySpec) settled(have *restapi.APIKey) *restapi.APIKey {
	next := *have
	next.Name, next.Description, next.CustomerID, next.Enabled = s.spec.Name, s.spec.Description, s.spec.CustomerID, s.spec.Enabled
	next.StageKeys, next.Tags = s.spec.StageKeys, s.spec.Tags
	return &next
}

func (p *planner) usagePlan(s *planSpec) {
	if !p.own(s.resource, s.id) {
		return
	}
	have, err := keys.Plan(p.view, s.id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		p.refuse(s.resource, "", "%v", err)
		return
	}
	next, bad := p.settledPlan(s, have, p.stageInFile)
	if bad != nil {
		p.refuse(s.resource, "ApiStages", "%s", openapi.Reason(bad))
		return
	}
	run := func(ctx context.Context) error {
		return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
			now, err := keys.Plan(tx, s.id)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			made, err := p.settledPlan(s, now, func(api, stage string) bool {
				a, ok, err := catalog.APIs{}.Get(tx, api)
				return err == nil && ok && a.Stages[stage] != nil
			})
			if err != nil {
				return err
			}
			for _, key := range made.Keys { // which may be in other plans of a stage that is new to this one
				others, err := keys.PlansOf(tx, key)
				if err != nil {
					return err
				}
				if err := made.CheckAlone(key, others); err != nil {
					return err
				}
			}
			return keys.PutPlan(tx, made)
		})
	}
	switch {
	case have == nil:
		p.add(Create, s.resource, s.id, s.spec.Name, run)
	case equalJSON(next, have):
		p.add(Keep, s.resource, s.id, have.Name, nil)
	default:
		p.add(Update, s.resource, s.id, next.Name, run)
	}
}

// settledPlan is a plan as the file says it; its keys, and what was granted to them, stay.
func (p *planner) settledPlan(s *planSpec, have *restapi.UsagePlan, exists restapi.StageExists) (*restapi.UsagePlan, error) {
	spec := s.spec
	if spec.Name == "" && have != nil {
		spec.Name = have.Name
	} else if spec.Name == "" {
		spec.Name = p.b.madeUp(s.resource, 128)
	}
	next, err := restapi.NewUsagePlan(spec, exists, p.b.source, p.target.Now())
	if err != nil {
		return nil, err
	}
	next.ID = s.id
	if have == nil {
		return next, nil
	}
	next.Keys, next.Grants, next.ProductCode = have.Keys, have.Grants, have.ProductCode
	switch {
	case next.Quota == nil || have.Quota == nil || next.Quota.Period != have.Quota.Period:
		next.Grants = nil // of another quota
	default:
		next.Quota.Since = have.Quota.Since
	}
	return next, nil
}

// stageInFile tells whether there will be a stage once the file is applied.
func (p *planner) stageInFile(api, stage string) bool {
	if s := apiWithID(p.b, api); s != nil {
		for _, one := range s.stages {
			if one.name == stage {
				return true
			}
		}
	}
	a, ok, err := catalog.APIs{}.Get(p.view, api)
	return err == nil && ok && a.Stages[stage] != nil
}

func (p *planner) planKey(s *planKeySpec) {
	physical := s.key + ":" + s.plan
	p.keepRecord(s.resource, physical)
	for property, known := range map[string]bool{
		"KeyId":       known(p.b.keys, func(k *keySpec) bool { return k.id == s.key }) || found(keys.Key(p.view, s.key)),
		"UsagePlanId": known(p.b.plans, func(u *planSpec) bool { return u.id == s.plan }) || found(keys.Plan(p.view, s.plan)),
	} {
		if !known {
			p.refuse(s.resource, property, "names nothing that is in the file or on the node")
			return
		}
	}
	if have, err := keys.Plan(p.view, s.plan); err == nil && have.HasKey(s.key) {
		p.add(Keep, s.resource, physical, "", nil)
		return
	}
	p.add(Create, s.resource, physical, "", func(ctx context.Context) error {
		return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
			plan, err := keys.Plan(tx, s.plan)
			if err != nil || plan.HasKey(s.key) {
				return err
			}
			others, err := keys.PlansOf(tx, s.key)
			if err != nil {
				return err
			}
			if err := plan.AddKey(s.key, others); err != nil {
				return err
			}
			return keys.PutPlan(tx, plan)
		})
	})
}

func known[T any](all []T, is func(T) bool) bool {
	for _, one := range all {
		if is(one) {
			return true
		}
	}
	return false
}

func found[T any](_ T, err error) bool { return err == nil }

// removeMetered removes a key, a plan, or a key of a plan.
func (p *planner) removeMetered(ctx context.Context, e *RecordEntry) error {
	return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		switch e.Type {
		case apiKeyType.name:
			return keys.DeleteKey(tx, e.Physical)
		case usagePlanType.name:
			keys.DeletePlan(tx, e.Physical)
			return nil
		}
		key, plan, _ := strings.Cut(e.Physical, ":")
		have, err := keys.Plan(tx, plan)
		if err != nil {
			return err
		}
		have.RemoveKey(key)
		return keys.PutPlan(tx, have)
	})
}
