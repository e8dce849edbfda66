package template

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
)

// deployedBy marks the deployments that this package makes, and may remove.
const deployedBy = "made by millrace up"

// api plans an API with its stages. It gives pairs of tokens and what they stand for.
func (p *planner) api(s *apiSpec) (tokens []string) {
	if !p.own(s.resource, s.id) {
		return nil
	}
	have, found, err := catalog.APIs{}.Get(p.view, s.id)
	if err != nil {
		p.refuse(s.resource, "", "%v", err)
		return nil
	}
	next := s.api
	next.Created = p.target.Now().UTC().Truncate(1e9)
	ids, validators := map[string]string{}, map[string]string{}
	if found {
		next.Created, next.Deployments = have.Created, have.Deployments
		next.Stages = have.Clone().Stages
		ids = adopt(&next.Definition, &have.Definition)
		validators = adoptValidators(&next.Definition, &have.Definition)
		p.methodsLeft(s, next, have)
	}
	if !p.guarded(s) {
		return nil
	}
	changed := !found || !equalJSON(header(next), header(have)) || !equalJSON(&next.Definition, &have.Definition)
	var what []string
	if found && changed {
		what = append(what, "definition")
	}
	deploy, ok := p.stages(s, next, &what)
	if !ok {
		return nil
	}
	put := func(ctx context.Context) error {
		return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error { return catalog.APIs{}.Put(tx, next) })
	}
	switch {
	case !found:
		p.add(Create, s.resource, s.id, next.Name+"; "+strings.Join(what, ", "), put)
	case changed || len(what) > 0:
		p.add(Update, s.resource, s.id, next.Name+"; "+strings.Join(what, ", "), put)
	default:
		p.add(Keep, s.resource, s.id, next.Name, nil)
	}
	for logical, id := range s.resources {
		if was := ids[id]; was != "" {
			id = was
		}
		kind := "resource"
		if logical == "" {
			kind, logical = "root", s.logical
		}
		tokens = append(tokens, token(kind, logical), id)
	}
	for logical, id := range s.validators {
		if was := validators[id]; was != "" {
			id = was
		}
		tokens = append(tokens, token("validator", logical), id)
	}
	for logical, id := range s.authorizers {
		if was := ids[id]; was != "" {
			id = was
		}
		tokens = append(tokens, token("authorizer", logical), id)
	}
	for _, logical := range s.deploys {
		tokens = append(tokens, token("deployment", logical), deploy)
	}
	return tokens
}

// methodsLeft names the methods that the API has and the file has not. Without prune they stay, with the resources and
// models that they need, unless a new path takes their place.
func (p *planner) methodsLeft(s *apiSpec, next, have *restapi.API) {
	for _, r := range have.Sorted() {
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			if now, ok := next.ByPath(r.Path); ok && now.Methods[verb] != nil {
				continue
			}
			step := &Step{Leave, s.logical, "AWS::ApiGateway::Method", verb + " " + r.Path, "kept; --prune removes it", nil}
			if p.prune {
				step.Verb, step.Detail = Remove, ""
			} else if err := p.keepMethod(next, have, r, verb); err != nil {
				step.Verb, step.Detail = Remove, openapi.Reason(err)
			}
			p.Steps = append(p.Steps, step)
		}
	}
}

func (p *planner) keepMethod(next, have *restapi.API, r *restapi.Resource, verb string) error {
	if err := p.keepResource(next, have, r); err != nil {
		return err
	}
	kept, _ := next.ByPath(r.Path)
	m := r.Methods[verb]
	needed := slices.Collect(maps.Values(m.RequestModels))
	for _, answer := range m.Responses {
		needed = slices.AppendSeq(needed, maps.Values(answer.ResponseModels))
	}
	if z := have.Authorizers[m.AuthorizerID]; z != nil && next.Authorizers[z.ID] == nil {
		if next.Authorizers == nil {
			next.Authorizers = map[string]*restapi.Authorizer{}
		}
		next.Authorizers[z.ID] = z
	}
	for _, name := range needed {
		if model := have.Models[name]; model != nil && next.Models[name] == nil {
			if next.Models == nil {
				next.Models = map[string]*restapi.Model{}
			}
			next.Models[name] = model
		}
	}
	keepValidator(next, have, m)
	if kept.Methods == nil {
		kept.Methods = map[string]*restapi.Method{}
	}
	kept.Methods[verb] = m
	return nil
}

// keepResource makes sure of a resource and those above it, under the ids that they had.
func (p *planner) keepResource(next, have *restapi.API, r *restapi.Resource) error {
	if _, ok := next.ByPath(r.Path); ok {
		return nil
	}
	above := have.Resources[r.ParentID]
	if err := p.keepResource(next, have, above); err != nil {
		return err
	}
	parent, _ := next.ByPath(above.Path)
	made, err := next.AddResource(parent.ID, r.PathPart, p.b.source)
	if err != nil {
		return err
	}
	if next.Resources[r.ID] == nil {
		delete(next.Resources, made.ID)
		made.ID = r.ID
		next.Resources[made.ID] = made
	}
	return nil
}

// header gives what an API is beside its definition, stages and deployments.
func header(a *restapi.API) *restapi.API {
	h := *a
	h.Definition, h.Deployments, h.Stages = restapi.Definition{}, nil, nil
	return &h
}

func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// stages brings the stages of the file to a deployment of the present definition, a new one where there is none.
func (p *planner) stages(s *apiSpec, next *restapi.API, what *[]string) (deployment string, ok bool) {
	if len(s.stages) == 0 {
		return "", true
	}
	s.joinCanaries()
	deployment = p.deploymentOf(next)
	if deployment == "" {
		d, err := next.CreateDeployment(restapi.NewDeployment{Description: deployedBy, Gate: p.target.Gate}, p.b.source, p.target.Now())
		if err != nil {
			p.refuse(s.resource, "", "can't be deployed: %s", openapi.Reason(err))
			return "", false
		}
		deployment = d.ID
	}
	for _, spec := range s.stages {
		if spec.canaryOnly {
			if err := p.deployCanary(s, next, spec, deployment, what); err != nil {
				p.refuse(s.resource, "", "stage %s: %s", spec.name, openapi.Reason(err))
				return "", false
			}
			continue
		}
		p.record.Resources[spec.logical] = &RecordEntry{Type: stageType.name, Physical: s.id + "/" + spec.name, Named: true, Retain: spec.retain}
		if err := p.stage(next, spec, deployment, what); err != nil {
			r := s.resource
			if own := p.b.t.resource(spec.logical); own != nil {
				r = own
			}
			p.refuse(r, "", "stage %s: %s", spec.name, openapi.Reason(err))
			return "", false
		}
	}
	for _, id := range slices.Sorted(maps.Keys(next.Deployments)) {
		used := false
		for _, st := range next.Stages {
			used = used || st.Uses(id)
		}
		if !used && next.Deployments[id].Description == deployedBy {
			delete(next.Deployments, id)
		}
	}
	return deployment, true
}

// deploymentOf finds a deployment in use that is what the working copy is.
func (p *planner) deploymentOf(next *restapi.API) string {
	for _, name := range slices.Sorted(maps.Keys(next.Stages)) {
		ids := []string{next.Stages[name].DeploymentID}
		if c := next.Stages[name].Canary; c != nil {
			ids = append(ids, c.DeploymentID)
		}
		for _, id := range ids {
			d, err := catalog.APIs{}.Deployment(p.view, next, id)
			if err == nil && equalJSON(&d.Definition, &next.Definition) {
				return id
			}
		}
	}
	return ""
}

// deployCanary makes a deployment the canary of a stage that the file does not make itself: one that does takes the
// canary into its own (see joinCanaries).
func (p *planner) deployCanary(s *apiSpec, next *restapi.API, spec *stageSpec, deployment string, what *[]string) error {
	have := next.Stages[spec.name]
	if have == nil {
		return fault.New(fault.Invalid, "template.Plan", spec.name, "it must already be there before a canary is deployed to it")
	}
	made := *have
	made.Canary = &restapi.Canary{DeploymentID: deployment, Percent: spec.canary.Percent, Overrides: spec.canary.Overrides, UseCache: spec.canary.UseCache}
	if equalJSON(&made, have) {
		return nil
	}
	*what = append(*what, "deploys to the canary of the stage "+spec.name)
	next.Stages[spec.name] = &made
	return nil
}

// joinCanaries gives stages that the file makes the canaries that its deployments make for them.
func (s *apiSpec) joinCanaries() {
	var left []*stageSpec
	for _, c := range s.stages {
		if c.canaryOnly {
			i := slices.IndexFunc(s.stages, func(o *stageSpec) bool { return o.name == c.name && !o.canaryOnly })
			if i >= 0 {
				s.stages[i].canary = c.canary
				continue
			}
		}
		left = append(left, c)
	}
	s.stages = left
}

func (p *planner) stage(next *restapi.API, spec *stageSpec, deployment string, what *[]string) error {
	have := next.Stages[spec.name]
	want := restapi.NewStage{
		Name: spec.name, DeploymentID: deployment, Description: spec.description, Variables: spec.variables,
		TracingEnabled: spec.tracing, Tags: spec.tags, MethodSettings: spec.settings, AccessLog: spec.access,
	}
	if c := spec.canary; c != nil {
		canary := c.NewCanary
		canary.DeploymentID, want.Canary = deployment, &canary
		if c.keepMain && have != nil {
			want.DeploymentID = have.DeploymentID
		}
	}
	if have == nil {
		*what = append(*what, "deploys to the new stage "+spec.name)
		_, err := next.CreateStage(want, p.target.Now())
		return err
	}
	// The rules of a stage are CreateStage's: one is made on the side, and takes the old one's place.
	delete(next.Stages, spec.name)
	made, err := next.CreateStage(want, p.target.Now())
	if err != nil {
		return err
	}
	made.Created = have.Created
	if made.DeploymentID != have.DeploymentID {
		*what = append(*what, "deploys to the stage "+spec.name)
		return nil
	}
	if made.Canary != nil && (have.Canary == nil || made.Canary.DeploymentID != have.Canary.DeploymentID) {
		*what = append(*what, "deploys to the canary of the stage "+spec.name)
		return nil
	}
	updated := made.Updated
	made.Updated = have.Updated
	if !equalJSON(made, have) {
		made.Updated = updated
		*what = append(*what, "settings of the stage "+spec.name)
	}
	return nil
}

// guarded refuses methods whose callers the node can't check, at the method in the file.
func (p *planner) guarded(s *apiSpec) bool {
	problems := p.target.Gate.Check(&s.api.Definition)
	for _, problem := range problems {
		at, known := s.places[problem.Verb+" "+problem.Path]
		if !known {
			at = place{s.key, "Resources." + s.logical}
		}
		p.b.tell(at.node, at.where+"."+problem.Property, "%s", problem.Message)
	}
	return len(problems) == 0
}

// adopt gives the resources, models and authorizers of a definition the ids that an earlier one had for the same paths and names,
// and returns what became of the new ones.
func adopt(next, have *restapi.Definition) map[string]string {
	ids := map[string]string{}
	for id, r := range next.Resources {
		if was, ok := have.ByPath(r.Path); ok {
			ids[id] = was.ID
		}
	}
	for id, z := range next.Authorizers {
		for _, was := range have.Authorizers {
			if was.Name == z.Name {
				ids[id] = was.ID
			}
		}
	}
	renamed := func(id string) string {
		if was := ids[id]; was != "" {
			return was
		}
		return id
	}
	resources := make(map[string]*restapi.Resource, len(next.Resources))
	for id, r := range next.Resources {
		r.ID, r.ParentID = renamed(id), renamed(r.ParentID)
		for _, m := range r.Methods {
			m.AuthorizerID = renamed(m.AuthorizerID)
			if m.Integration != nil {
				m.Integration.CacheNamespace = renamed(m.Integration.CacheNamespace)
			}
		}
		resources[r.ID] = r
	}
	next.Resources, next.RootResourceID = resources, renamed(next.RootResourceID)
	authorizers := make(map[string]*restapi.Authorizer, len(next.Authorizers))
	for id, z := range next.Authorizers {
		z.ID = renamed(id)
		authorizers[z.ID] = z
	}
	if next.Authorizers = authorizers; len(authorizers) == 0 {
		next.Authorizers = nil
	}
	for name, m := range next.Models {
		if was := have.Models[name]; was != nil {
			m.ID = was.ID
		}
	}
	return ids
}

func (p *planner) removeStage(ctx context.Context, physical string) error {
	id, name, _ := strings.Cut(physical, "/")
	return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		api, ok, err := catalog.APIs{}.Get(tx, id)
		if err != nil || !ok {
			return err
		}
		if err := (catalog.Domains{}).Unmapped(tx, id, name); err != nil {
			return err
		}
		if err := api.DeleteStage(name); err != nil {
			return err
		}
		if err := (catalog.Keys{}).LeavePlans(tx, id, name); err != nil {
			return err
		}
		return catalog.APIs{}.Put(tx, api)
	})
}

func (p *planner) removeAPI(ctx context.Context, id string) error {
	return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if err := (catalog.Domains{}).Unmapped(tx, id, ""); err != nil {
			return err
		}
		catalog.APIs{}.Delete(tx, id)
		return catalog.Keys{}.LeavePlans(tx, id, "")
	})
}

// Apply does what the plan says, step by step; progress is told of each step that changes something. After an error
// what was done stays done, and the next plan goes on from there.
func (p *Plan) Apply(ctx context.Context, progress func(*Step)) ([]Output, error) {
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	if err := p.steps(ctx, progress); err != nil {
		// What was done stays; the claim goes, so that nobody waits for it.
		return nil, errors.Join(err, p.saveRecord(context.WithoutCancel(ctx), p.both()))
	}
	p.record.Applied = p.target.Now().UTC()
	if err := p.saveRecord(ctx, p.record); err != nil {
		return nil, err
	}
	for i := range p.outputs {
		p.outputs[i].Value = p.tokens.Replace(p.outputs[i].Value)
	}
	return p.outputs, nil
}

// begin claims the stack, and fails with ErrClaimed when it is no longer what the plan was made for.
func (p *Plan) begin(ctx context.Context) error {
	return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		now, found, err := Stacks.Get(tx, p.Stack)
		if err != nil {
			return err
		}
		if found != p.found || found && !equalJSON(now, p.had) {
			return fault.New(fault.InUse, "template.Apply", p.Stack, "%w since the plan was made", ErrClaimed)
		}
		return p.claim(tx)
	})
}

// claim stores what was there and what is to be, with who is at it.
func (p *Plan) claim(tx *catalog.Tx) error {
	r := p.both()
	p.claimed = p.target.Now().UTC()
	r.Claim = &Claim{p.target.Node, p.claimed}
	return Stacks.Put(tx, r.Stack, r)
}

func (p *Plan) steps(ctx context.Context, progress func(*Step)) error {
	for _, s := range p.Steps {
		if s.run == nil {
			continue
		}
		if p.target.Now().Sub(p.claimed) > claimTime/4 {
			if err := p.target.Catalog.Update(ctx, p.claim); err != nil {
				return err
			}
		}
		progress(s)
		if err := s.run(ctx); err != nil {
			return fault.New(fault.KindOf(err), "template.Apply", p.place(s.Logical), "%s %s: %w", s.Type, s.Physical, err)
		}
	}
	if p.build.account != nil {
		return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error { return catalog.APIs{}.PutAccount(tx, *p.build.account) })
	}
	return nil
}

// place says where a resource is: "events.yaml:12:3 Resources.Stream", or its logical id when it has left the file.
func (p *Plan) place(logical string) string {
	r := p.build.t.resource(logical)
	if r == nil || r.key == nil {
		return logical
	}
	return fmt.Sprintf("%s:%d:%d Resources.%s", p.build.t.file, r.key.Line, r.key.Column, logical)
}

// both is the record while the plan is being applied: what was there, and what is to be.
func (p *Plan) both() *Record {
	r := p.had.clone()
	r.Claim = nil
	maps.Copy(r.Resources, p.record.Resources)
	for logical, e := range p.had.Resources {
		if now := p.record.Resources[logical]; now != nil && (now.Type != e.Type || now.Physical != e.Physical) {
			r.Resources[fmt.Sprintf("%sx", logical)] = e
		}
	}
	return r
}

func (p *Plan) saveRecord(ctx context.Context, r *Record) error {
	return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error { return Stacks.Put(tx, r.Stack, r) })
}
