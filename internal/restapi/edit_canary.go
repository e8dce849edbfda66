package restapi

import (
	"maps"
	"strconv"
	"strings"
)

// NewCanary is a canary as a deployment or a stage is given one.
type NewCanary struct {
	DeploymentID string // empty: the deployment that is being made, or the stage's own
	Percent      float64
	Overrides    map[string]string
	UseCache     bool
}

// canary makes the canary of a stage.
func (a *API) canary(op string, spec NewCanary) (*Canary, error) {
	c := &Canary{DeploymentID: spec.DeploymentID, Percent: spec.Percent, Overrides: maps.Clone(spec.Overrides), UseCache: spec.UseCache}
	return c, a.checkCanary(op, c)
}

// maxPercent is the whole traffic.
const maxPercent = 100

func (a *API) checkCanary(op string, c *Canary) error {
	if a.Deployments[c.DeploymentID] == nil {
		return invalid(op, "Deployment id does not exist")
	}
	if !(c.Percent >= 0 && c.Percent <= maxPercent) { // NaN is neither
		return invalid(op, "Invalid canary settings: percentTraffic must be between 0.0 and 100.0")
	}
	return checkVariables(op, c.Overrides)
}

// deployCanary makes a new deployment the canary of a stage, in the place of the one before; the stage's own stays.
func (a *API) deployCanary(op string, s *Stage, deploymentID string, spec NewCanary) (err error) {
	spec.DeploymentID = deploymentID
	s.Canary, err = a.canary(op, spec)
	return err
}

// checkCanaryStage refuses a canary deployment to a stage that is not there.
func (a *API) checkCanaryStage(op string, spec *NewDeployment) error {
	const bad = "Invalid deployment content specified."
	switch {
	case spec.Canary == nil:
		return nil
	case spec.StageName == "" && spec.HasStageName:
		return invalid(op, bad+"Non null and non empty stageName must be provided for canary deployment. Provided value is ")
	case spec.StageName == "":
		return invalid(op, bad+"Non null and non empty stageName must be provided for canary deployment. Provided value is null")
	case a.Stages[spec.StageName] == nil:
		return invalid(op, bad+"Stage %s must already be created before making a canary release deployment", spec.StageName)
	}
	return nil
}

// The members of a canary, as patches name them.
const (
	canaryDeployment = "deploymentId"
	canaryPercent    = "percentTraffic"
	canaryCache      = "useStageCache"
	canaryOverrides  = "stageVariableOverrides"
)

// patchCanary changes /canarySettings and what is below it. The first member that is set makes a canary of the
// stage's own deployment.
func (a *API) patchCanary(op string, s *Stage, p Patch, rest []string) error {
	if p.Op == OpRemove {
		return removeCanary(op, s, p, rest)
	}
	known := len(rest) == 1 && (rest[0] == canaryDeployment || rest[0] == canaryPercent || rest[0] == canaryCache) ||
		len(rest) == 2 && rest[0] == canaryOverrides && rest[1] != ""
	switch {
	case !known:
		return invalid(op, invalidStagePath, p.Path)
	case p.Op != OpReplace && (p.Op != OpAdd || rest[0] == canaryDeployment):
		return invalid(op, "Invalid %s operation with path: %s", p.Op, p.Path)
	}
	c := &Canary{DeploymentID: s.DeploymentID}
	if s.Canary != nil {
		*c = *s.Canary
		c.Overrides = maps.Clone(c.Overrides)
	}
	switch rest[0] {
	case canaryDeployment:
		c.DeploymentID = p.Value
	case canaryPercent:
		percent, err := strconv.ParseFloat(p.Value, 64)
		if err != nil {
			return invalid(op, "Invalid canary settings: percentTraffic must be between 0.0 and 100.0")
		}
		c.Percent = percent
	case canaryCache:
		c.UseCache = p.Value == "true"
	case canaryOverrides:
		if c.Overrides == nil {
			c.Overrides = map[string]string{}
		}
		c.Overrides[rest[1]] = p.Value
	}
	if err := a.checkCanary(op, c); err != nil {
		return err
	}
	s.Canary = c
	return nil
}

// removeCanary removes a canary, all of its overrides or one. Numbers and switches go back to their defaults.
func removeCanary(op string, s *Stage, p Patch, rest []string) error {
	c := s.Canary
	if c == nil {
		return noSuchSetting(op, p)
	}
	switch {
	case len(rest) == 0:
		s.Canary = nil
		return nil
	case len(rest) == 1 && rest[0] == canaryPercent:
		c.Percent = 0
		return nil
	case len(rest) == 1 && rest[0] == canaryCache:
		c.UseCache = false
		return nil
	case len(rest) == 1 && rest[0] == canaryDeployment:
		return invalid(op, "Invalid remove operation with path: %s", p.Path)
	case len(rest) == 1 && rest[0] == canaryOverrides && len(c.Overrides) > 0:
		c.Overrides = nil
		return nil
	case len(rest) == 2 && rest[0] == canaryOverrides:
		if _, there := c.Overrides[rest[1]]; there {
			if delete(c.Overrides, rest[1]); len(c.Overrides) == 0 {
				c.Overrides = nil
			}
			return nil
		}
	}
	return noSuchSetting(op, p)
}

// promote takes over what a canary has: its deployment, or its variables beside the stage's own. The canary stays.
func promote(op string, s *Stage, p Patch) error {
	const toDeployment, toVariables, from = "/deploymentId", "/variables", "/canarySettings/"
	switch {
	case p.Path == toDeployment && p.From == from+canaryDeployment:
		if s.Canary == nil {
			break
		}
		s.DeploymentID = s.Canary.DeploymentID
		return nil
	case p.Path == toVariables && p.From == from+canaryOverrides:
		if s.Canary == nil {
			break
		}
		merged := maps.Clone(s.Variables)
		if merged == nil && len(s.Canary.Overrides) > 0 {
			merged = map[string]string{}
		}
		maps.Copy(merged, s.Canary.Overrides)
		s.Variables = merged
		return checkVariables(op, s.Variables)
	default:
		return invalid(op, "Invalid copy operation with path: %s and from %s. Valid copy:path are [%s] and valid copy:from are [%s]", p.Path, p.From,
			strings.Join([]string{toDeployment, toVariables}, ", "), strings.Join([]string{from + canaryDeployment, from + canaryOverrides}, ", "))
	}
	return invalid(op, "Promotion not available. Canary does not exist.")
}
