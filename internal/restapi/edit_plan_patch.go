package restapi

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Patch changes a usage plan.
func (p *UsagePlan) Patch(patches []Patch, exists StageExists, now time.Time) error {
	const op = "restapi.PatchUsagePlan"
	for _, one := range patches {
		if err := p.patch(op, one, exists, now); err != nil {
			return err
		}
	}
	return p.check(op)
}

func (p *UsagePlan) patch(op string, one Patch, exists StageExists, now time.Time) error {
	segments, ok := one.segments()
	if !ok {
		return invalid(op, "Invalid patch path %s", one.Path)
	}
	switch segments[0] {
	case "apiStages":
		return p.patchStages(op, one, segments[1:], exists)
	case "throttle":
		return patchThrottle(op, one, &p.Throttle, segments[1:])
	case "quota":
		return p.patchQuota(op, one, segments[1:], now)
	}
	if len(segments) != 1 {
		return invalid(op, "Invalid patch path %s", one.Path)
	}
	var member *string
	switch segments[0] {
	case "name":
		if member = &p.Name; one.Value == "" {
			return invalid(op, "Usage Plan name must be non-empty")
		}
	case "description":
		member = &p.Description
	case "productCode":
		member = &p.ProductCode
	default:
		return invalid(op, "Invalid patch path %s", one.Path)
	}
	if one.Op != OpReplace {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	*member = one.Value
	return nil
}

// patchThrottle changes or removes a throttle by the path behind it.
func patchThrottle(op string, one Patch, t **Throttle, rest []string) error {
	switch {
	case len(rest) == 0 && one.Op == OpRemove:
		*t = nil
		return nil
	case len(rest) != 1 || rest[0] != "rateLimit" && rest[0] != "burstLimit":
		return invalid(op, "Invalid patch path %s", one.Path)
	case one.Op != OpReplace && one.Op != OpAdd:
		return invalid(op, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
	}
	if *t == nil {
		*t = &Throttle{Rate: DefaultThrottlingRate, Burst: DefaultThrottlingBurst}
	}
	return (*t).patch(op, rest[0], one.Value)
}

func (p *UsagePlan) patchQuota(op string, one Patch, rest []string, now time.Time) error {
	if len(rest) == 0 && one.Op == OpRemove {
		p.Quota, p.Grants = nil, nil
		return nil
	}
	if len(rest) != 1 {
		return invalid(op, "Invalid patch path %s", one.Path)
	}
	if one.Op != OpReplace && one.Op != OpAdd {
		return invalid(op, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
	}
	q := Quota{Since: wholeSecond(now)}
	if p.Quota != nil {
		q = *p.Quota
	}
	switch rest[0] {
	case "period":
		if q.Period != one.Value { // another period begins anew
			q.Since, p.Grants = wholeSecond(now), nil
		}
		q.Period = one.Value
	case "limit", "offset":
		n, err := strconv.Atoi(one.Value)
		if err != nil {
			return invalid(op, "Invalid quota %s specified: %s", rest[0], one.Value)
		}
		if rest[0] == "limit" {
			q.Limit = n
		} else {
			q.Offset = n
		}
	default:
		return invalid(op, "Invalid patch path %s", one.Path)
	}
	p.Quota = &q
	return nil
}

// patchStages adds and removes stages, /apiStages with the value API:STAGE, and changes the throttles of their methods,
// /apiStages/API:STAGE/throttle/~1v1/POST/rateLimit. Some tools leave the slashes of the path bare.
func (p *UsagePlan) patchStages(op string, one Patch, rest []string, exists StageExists) error {
	if len(rest) == 0 {
		api, stage, ok := strings.Cut(one.Value, ":")
		if !ok || api == "" || stage == "" || strings.Contains(stage, ":") {
			return invalid(op, "Invalid API Stage specified")
		}
		switch one.Op {
		case OpAdd:
			return p.addStage(op, PlanStage{APIID: api, Stage: stage}, exists)
		case OpRemove:
			if p.Covers(api, stage) == nil {
				return p.unknownStage(op, api, stage)
			}
			p.Stages = slices.DeleteFunc(p.Stages, func(s PlanStage) bool { return s.APIID == api && s.Stage == stage })
			return nil
		}
		return invalid(op, "Invalid patch operation specified. Must be one of: [add, remove]")
	}
	api, stage, _ := strings.Cut(rest[0], ":")
	s := p.Covers(api, stage)
	if s == nil {
		return p.unknownStage(op, api, stage)
	}
	if len(rest) < 2 || rest[1] != "throttle" {
		return invalid(op, "Invalid patch path %s", one.Path)
	}
	return s.patchThrottle(op, one, rest[2:])
}

func (p *UsagePlan) unknownStage(op, api, stage string) error {
	return notFound(op, "Invalid API Stage {api: %s, stage: %s} specified for usageplan %s", api, stage, p.ID)
}

func (s *PlanStage) patchThrottle(op string, one Patch, rest []string) error {
	if one.Op == OpRemove {
		if len(rest) == 0 {
			s.Methods = nil
			return nil
		}
		key := s.methodKey(rest)
		if s.Methods[key] == nil {
			return notFound(op, "Invalid method throttle specified: %s", key)
		}
		delete(s.Methods, key)
		if len(s.Methods) == 0 {
			s.Methods = nil
		}
		return nil
	}
	if len(rest) < 3 {
		return invalid(op, "Invalid patch path %s", one.Path)
	}
	limit := len(rest) - 1
	key := s.methodKey(rest[:limit])
	t := s.Methods[key]
	if err := patchThrottle(op, one, &t, rest[limit:]); err != nil {
		return err
	}
	if s.Methods == nil {
		s.Methods = map[string]*Throttle{}
	}
	s.Methods[key] = t
	return nil
}

// methodKey gives the key of a method that a patch names, as the plan spells it where it has it.
func (s *PlanStage) methodKey(segments []string) string {
	path, verb := SplitMethodKey(strings.Join(segments, "/"))
	for key := range s.Methods {
		if p, v := SplitMethodKey(key); p == path && v == verb {
			return key
		}
	}
	return path + "/" + verb
}
