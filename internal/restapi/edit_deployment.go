package restapi

import (
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/ids"
)

// NewDeployment says what to deploy, and where.
type NewDeployment struct {
	Description string
	// StageName, when not empty, names a stage that is made, or moved to the new deployment. What is below goes
	// to that stage.
	StageName        string
	HasStageName     bool // an empty name was given: it is told apart from none
	StageDescription string
	Variables        map[string]string
	TracingEnabled   *bool // nil leaves an existing stage as it is
	// Canary, when given, makes the new deployment the canary of the stage, whose own deployment stays.
	Canary *NewCanary
	Gate   Gate // of the node that is to serve it
}

// CreateDeployment freezes the working copy. Later edits do not show until the next deployment.
func (a *API) CreateDeployment(spec NewDeployment, source *ids.Source, now time.Time) (*Deployment, error) {
	const op = "restapi.CreateDeployment"
	if err := a.checkCanaryStage(op, &spec); err != nil {
		return nil, err
	}
	if err := checkDeployable(op, &a.Definition, spec.Gate); err != nil {
		return nil, err
	}
	if len(a.Deployments) >= MaxDeployments {
		return nil, tooMany(op, "Maximum number of deployments for this API has been reached: %d. Delete some that no stage points to", MaxDeployments)
	}
	d := &Deployment{
		ID:          freshID(source, func(id string) bool { return a.Deployments[id] != nil }),
		Description: spec.Description,
		Created:     wholeSecond(now),
		Definition:  *a.Definition.Clone(),
	}
	if a.Deployments == nil {
		a.Deployments = map[string]*Deployment{}
	}
	a.Deployments[d.ID] = d
	if spec.StageName != "" {
		if err := a.deployTo(spec, d.ID, now); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// deployTo moves a stage to a deployment, and makes it when there is none.
func (a *API) deployTo(spec NewDeployment, deploymentID string, now time.Time) error {
	s := a.Stages[spec.StageName]
	if s == nil {
		_, err := a.CreateStage(NewStage{
			Name: spec.StageName, DeploymentID: deploymentID, Description: spec.StageDescription,
			Variables: spec.Variables, TracingEnabled: spec.TracingEnabled != nil && *spec.TracingEnabled,
		}, now)
		return err
	}
	if err := checkVariables("restapi.CreateDeployment", spec.Variables); err != nil {
		return err
	}
	if spec.Canary == nil {
		s.DeploymentID = deploymentID
	} else if err := a.deployCanary("restapi.CreateDeployment", s, deploymentID, *spec.Canary); err != nil {
		return err
	}
	if spec.StageDescription != "" {
		s.Description = spec.StageDescription
	}
	if spec.Variables != nil {
		s.Variables = maps.Clone(spec.Variables)
	}
	if spec.TracingEnabled != nil {
		s.TracingEnabled = *spec.TracingEnabled
	}
	s.Updated = wholeSecond(now)
	return nil
}

// checkDeployable says whether a definition may be deployed: it has methods, each has an integration, and what an
// integration calls is served, and the node can check who calls.
func checkDeployable(op string, d *Definition, gate Gate) error {
	methods := 0
	for _, r := range d.Sorted() {
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			methods++
			i := r.Methods[verb].Integration
			if i == nil {
				return invalid(op, "No integration defined for method")
			}
			if action := i.action(); action != "" && !canBeServed(action) {
				return unsupported(op, "integration "+action+" of "+verb+" "+r.Path, "the actions are "+strings.Join(Actions, ", "))
			}
		}
	}
	if methods == 0 {
		return invalid(op, "The REST API doesn't contain any methods")
	}
	if problems := append(Check(d), gate.Check(d)...); len(problems) > 0 {
		return fault.New(fault.Unsupported, op, problems[0].Property, "%s", problems[0])
	}
	return nil
}

// Actions are what an integration of type AWS may call: by name, and on Amazon S3 by any path.
var Actions = []string{
	"kinesis:action/PutRecord", "kinesis:action/PutRecords", "firehose:action/PutRecord", "firehose:action/PutRecordBatch",
	"s3:path/...", "s3:action/GetObject", "s3:action/HeadObject", "s3:action/PutObject", "s3:action/DeleteObject",
}

// action gives what an AWS integration calls: "kinesis:action/PutRecord". It is empty for other types, and for a
// uri with stage variables, which is known only when a stage is called.
func (i *Integration) action() string {
	if i.Type != AWS || strings.Contains(i.URI, "${") {
		return ""
	}
	_, action, _ := strings.Cut(i.URI, ":apigateway:") // us-east-1:kinesis:action/PutRecord
	_, action, _ = strings.Cut(action, ":")
	return action
}

// Deployment gives a deployment by id.
func (a *API) Deployment(id string) (*Deployment, error) {
	if d := a.Deployments[id]; d != nil {
		return d, nil
	}
	return nil, notFound("restapi.Deployment", "Invalid Deployment identifier specified")
}

// DeleteDeployment removes a deployment that no stage points to, itself or by its canary.
func (a *API) DeleteDeployment(id string) error {
	if _, err := a.Deployment(id); err != nil {
		return err
	}
	for _, s := range a.Stages {
		if s.Uses(id) {
			return invalid("restapi.DeleteDeployment", "Active stages pointing to this deployment must be moved or deleted")
		}
	}
	delete(a.Deployments, id)
	if len(a.Deployments) == 0 {
		a.Deployments = nil
	}
	return nil
}

// Uses reports whether a stage serves a deployment, as its own or as its canary's.
func (s *Stage) Uses(deploymentID string) bool {
	return s.DeploymentID == deploymentID || s.Canary != nil && s.Canary.DeploymentID == deploymentID
}

// PatchDeployment changes a deployment's description; what it froze never changes.
func (a *API) PatchDeployment(id string, patches []Patch) error {
	const op = "restapi.PatchDeployment"
	d, err := a.Deployment(id)
	if err != nil {
		return err
	}
	for _, p := range patches {
		switch {
		case p.Path != "/description":
			return invalid(op, "Invalid patch path %s", p.Path)
		case p.Op != OpReplace:
			return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
		}
		d.Description = p.Value
	}
	return nil
}
