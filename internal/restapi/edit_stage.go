package restapi

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// NewStage says what stage to make.
type NewStage struct {
	Name           string
	DeploymentID   string
	Description    string
	Variables      map[string]string
	TracingEnabled bool
	Tags           map[string]string
	// MethodSettings by "*/*" or "v1/{stream-name}/POST", see [SettingKey].
	MethodSettings map[string]*MethodSetting
	AccessLog      *AccessLog // nil: none
	Canary         *NewCanary // nil: none
}

// The bounds of stage variables, as the service documents them.
const (
	maxVariables          = 100
	maxVariableNameChars  = 64
	maxVariableValueChars = 512
)

var (
	stageNamePattern     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	variableNamePattern  = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	variableValuePattern = regexp.MustCompile(`^[A-Za-z0-9\-._~:/?#&=, ]*$`)
)

// CreateStage makes a stage that points to a deployment.
func (a *API) CreateStage(spec NewStage, now time.Time) (*Stage, error) {
	const op = "restapi.CreateStage"
	if !stageNamePattern.MatchString(spec.Name) {
		return nil, invalid(op, "Stage name only allows a-zA-Z0-9_-")
	}
	if a.Stages[spec.Name] != nil {
		return nil, conflict(op, "Stage already exists")
	}
	if a.Deployments[spec.DeploymentID] == nil {
		return nil, notFound(op, "Invalid Deployment identifier specified")
	}
	if len(a.Stages) >= MaxStages {
		return nil, tooMany(op, "Maximum number of stages for this API has been reached: %d", MaxStages)
	}
	if err := checkVariables(op, spec.Variables); err != nil {
		return nil, err
	}
	if err := CheckTags(spec.Tags); err != nil {
		return nil, err
	}
	if err := spec.AccessLog.check(op); err != nil {
		return nil, err
	}
	created := wholeSecond(now)
	s := &Stage{
		Name:           spec.Name,
		DeploymentID:   spec.DeploymentID,
		Description:    spec.Description,
		Created:        created,
		Updated:        created,
		Variables:      maps.Clone(spec.Variables),
		TracingEnabled: spec.TracingEnabled,
		Tags:           maps.Clone(spec.Tags),
	}
	if spec.AccessLog != nil {
		own := *spec.AccessLog
		s.AccessLog = &own
	}
	if spec.Canary != nil {
		canary := *spec.Canary
		if canary.DeploymentID == "" {
			canary.DeploymentID = s.DeploymentID
		}
		var err error
		if s.Canary, err = a.canary(op, canary); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(spec.MethodSettings)) {
		if err := s.Set(key, *spec.MethodSettings[key]); err != nil {
			return nil, err
		}
	}
	if a.Stages == nil {
		a.Stages = map[string]*Stage{}
	}
	a.Stages[s.Name] = s
	return s, nil
}

// Stage gives a stage by name.
func (a *API) Stage(name string) (*Stage, error) {
	if s := a.Stages[name]; s != nil {
		return s, nil
	}
	return nil, notFound("restapi.Stage", "Invalid stage identifier specified")
}

// DeleteStage removes a stage; its deployment stays.
func (a *API) DeleteStage(name string) error {
	if _, err := a.Stage(name); err != nil {
		return err
	}
	delete(a.Stages, name)
	if len(a.Stages) == 0 {
		a.Stages = nil
	}
	return nil
}

// Set sets the settings of a method, or of all methods ("*/*"), as a whole.
func (s *Stage) Set(key string, setting MethodSetting) error {
	if err := checkLoggingLevel("restapi.Set", setting.LoggingLevel); err != nil {
		return err
	}
	if err := setting.Throttle.check("restapi.Set"); err != nil {
		return err
	}
	if err := setting.Cache.check("restapi.Set"); err != nil {
		return err
	}
	if s.MethodSettings == nil {
		s.MethodSettings = map[string]*MethodSetting{}
	}
	s.MethodSettings[key] = &setting
	return nil
}

// SettingKey gives the key of a method's settings. Both a path of a definition file ("/v1/{stream-name}", also in
// its escaped forms "~1v1" and "/~1v1") and "/*" are taken; "/*" with "*" is every method.
func SettingKey(resourcePath, verb string) string {
	if rest, ok := strings.CutPrefix(resourcePath, "/~1"); ok {
		resourcePath = rest
	}
	return strings.TrimPrefix(unescapePointer(resourcePath), "/") + "/" + verb
}

func checkLoggingLevel(op, level string) error {
	switch level {
	case "", LogOff, LogError, LogInfo:
		return nil
	}
	return invalid(op, "Invalid logging level specified. Valid options are OFF,ERROR,INFO")
}

func checkVariables(op string, variables map[string]string) error {
	if len(variables) > maxVariables {
		return tooMany(op, "Maximum number of stage variables has been reached: %d", maxVariables)
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		value := variables[name]
		switch {
		case len(name) > maxVariableNameChars || !variableNamePattern.MatchString(name):
			return invalid(op, "Invalid stage variable name: %s. Please use up to %d letters, digits and underscores", name, maxVariableNameChars)
		case len(value) > maxVariableValueChars || !variableValuePattern.MatchString(value):
			return invalid(op, "Invalid stage variable value: %s. Please use values with alphanumeric characters and the symbols '-', '.', '_', '~', ':', '/', '?', '#', '&', '=', and ','.", value)
		}
	}
	return nil
}
