package restapi

import (
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/internal/ids"
)

// The bounds of usage plans, as the service documents them.
const (
	MaxUsagePlans      = 300 // of an account in a region
	MaxPlansOfKey      = 10
	maxMethodThrottles = 20 // of a plan's stage
	planIDChars        = 6
)

// NewPlan says what usage plan to make.
type NewPlan struct {
	Name        string
	Description string
	Stages      []PlanStage
	Throttle    *Throttle
	Quota       *Quota
	Tags        map[string]string
}

// StageExists tells whether an API has a stage.
type StageExists func(api, stage string) bool

// NewUsagePlan makes a usage plan without keys.
func NewUsagePlan(spec NewPlan, exists StageExists, source *ids.Source, now time.Time) (*UsagePlan, error) {
	const op = "restapi.NewUsagePlan"
	if spec.Name == "" {
		return nil, invalid(op, "Usage Plan name must be non-empty")
	}
	if err := CheckTags(spec.Tags); err != nil {
		return nil, err
	}
	p := &UsagePlan{ID: source.String(ids.LowerAlnum, planIDChars), Name: spec.Name, Description: spec.Description, Throttle: spec.Throttle, Tags: spec.Tags}
	if spec.Quota != nil {
		q := *spec.Quota
		q.Since = wholeSecond(now)
		p.Quota = &q
	}
	for _, s := range spec.Stages {
		if err := p.addStage(op, s, exists); err != nil {
			return nil, err
		}
	}
	return p, p.check(op)
}

// addStage adds a stage, or sets the throttles of one that the plan has.
func (p *UsagePlan) addStage(op string, s PlanStage, exists StageExists) error {
	if s.APIID == "" || s.Stage == "" {
		return invalid(op, "Invalid API Stage specified")
	}
	if !exists(s.APIID, s.Stage) {
		return notFound(op, "API Stage not found: %s:%s", s.APIID, s.Stage)
	}
	if have := p.Covers(s.APIID, s.Stage); have != nil {
		return conflict(op, "API Stage %s:%s is already part of the usage plan", s.APIID, s.Stage)
	}
	p.Stages = append(p.Stages, s)
	return nil
}

// Covers gives what a plan says of a stage; nil when it does not cover it.
func (p *UsagePlan) Covers(api, stage string) *PlanStage {
	for i := range p.Stages {
		if s := &p.Stages[i]; s.APIID == api && s.Stage == stage {
			return s
		}
	}
	return nil
}

// check checks limits and periods.
func (p *UsagePlan) check(op string) error {
	if err := p.Throttle.check(op); err != nil {
		return err
	}
	for i := range p.Stages {
		s := &p.Stages[i]
		if len(s.Methods) > maxMethodThrottles {
			return tooMany(op, "Maximum number of method throttles of an API stage has been reached: %d", maxMethodThrottles)
		}
		for _, key := range slices.Sorted(maps.Keys(s.Methods)) {
			if _, verb := SplitMethodKey(key); !slices.Contains(Verbs, verb) {
				return invalid(op, "Invalid method throttle specified: %s", key)
			}
			if err := s.Methods[key].check(op); err != nil {
				return err
			}
		}
	}
	return p.Quota.check(op)
}

func (q *Quota) check(op string) error {
	switch {
	case q == nil:
		return nil
	case q.Period != Daily && q.Period != Weekly && q.Period != Monthly:
		return invalid(op, "Invalid quota period specified. Valid options are DAY,WEEK,MONTH")
	case q.Limit < 0:
		return invalid(op, "Invalid quota limit specified: %d", q.Limit)
	case q.Offset < 0 || q.Offset > q.Limit:
		return invalid(op, "Invalid quota offset specified: %d", q.Offset)
	}
	return nil
}

// SplitMethodKey takes "/v1/{stream-name}/POST" apart. The path has its slash in front and none behind.
func SplitMethodKey(key string) (path, verb string) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "/", key
	}
	return "/" + strings.Trim(key[:i], "/"), key[i+1:]
}

// HasKey reports whether a key is one of the plan's.
func (p *UsagePlan) HasKey(id string) bool { return slices.Contains(p.Keys, id) }

// AddKey makes a key one of the plan's. others are the plans that the key is in already: of a stage a key has one plan.
func (p *UsagePlan) AddKey(id string, others []*UsagePlan) error {
	const op = "restapi.AddKey"
	if p.HasKey(id) {
		return conflict(op, "Usage Plan Key already exists")
	}
	if len(others) >= MaxPlansOfKey {
		return tooMany(op, "Maximum number of usage plans for this API key has been reached: %d", MaxPlansOfKey)
	}
	if err := p.CheckAlone(id, others); err != nil {
		return err
	}
	p.Keys = append(p.Keys, id)
	return nil
}

// CheckAlone makes sure that no other plan of a key covers a stage that this one does: which of them would count is
// nobody's to guess.
func (p *UsagePlan) CheckAlone(key string, others []*UsagePlan) error {
	for _, other := range others {
		for _, s := range p.Stages {
			if other.ID != p.ID && other.Covers(s.APIID, s.Stage) != nil {
				return conflict("restapi.AddKey", "API Key %s is already in Usage Plan %s, which has the API Stage %s:%s too", key, other.ID, s.APIID, s.Stage)
			}
		}
	}
	return nil
}

// RemoveKey takes a key out of the plan, with what was granted to it.
func (p *UsagePlan) RemoveKey(id string) {
	p.Keys = slices.DeleteFunc(p.Keys, func(k string) bool { return k == id })
	delete(p.Grants, id)
}

// CheckDelete refuses the removal of a plan that covers stages.
func (p *UsagePlan) CheckDelete() error {
	if len(p.Stages) == 0 {
		return nil
	}
	return invalid("restapi.DeleteUsagePlan", "Cannot delete Usage Plan %s because there are API Stages associated with it, including %s:%s",
		p.ID, p.Stages[0].APIID, p.Stages[0].Stage)
}
