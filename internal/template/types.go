package template

import (
	"maps"
	"slices"
)

// resourceType says what a type of CloudFormation takes here, and what becomes of it.
type resourceType struct {
	name string
	note string // for the table
	sam  bool   // needs the SAM transform
	// phase orders the making: an API before its resources, those before their methods.
	phase        int
	nameProperty string // that holds the physical name
	// properties that are taken; a text says why one has no effect. All others are refused by name.
	properties map[string]string
	required   []string
	generate   func(b *build, r *resource) string                  // a physical name; default STACK-LOGICALID-RANDOM
	ref        func(b *build, r *resource, physical string) string // the value of Ref; default the physical name
	attributes map[string]func(b *build, r *resource, physical string) string
	made       bool // generate tells the name from the properties, each time anew
	make       func(b *build, r *resource, p *properties) (done bool)
}

// The phases.
const (
	phaseAlone = iota
	phaseAPI
	phaseModel
	phaseResource
	phaseMethod
	phaseDeployment
	phaseStage
	phasePlan
	phases
)

const (
	served    = ""
	rolesNote = "roles are checked and stored, not evaluated"
)

var types []*resourceType

func init() { // the types refer to functions that look types up
	types = []*resourceType{
		streamType, bucketType, bucketPolicyType, deliveryType,
		restAPIType, apiResourceType, methodType, modelType, validatorType, authorizerType, deploymentType, stageType, accountType, serverlessType,
		gatewayResponseType, apiKeyType, usagePlanType, usagePlanKeyType,
	}
	types = append(types, domainType, mappingType, databaseType, tableType)
	types = append(types, recordedTypes...)
}

func typeNamed(name string) *resourceType {
	i := slices.IndexFunc(types, func(t *resourceType) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return types[i]
}

// Supported is a line of the table of what definition files may hold.
type Supported struct {
	Type, Property string // an empty property is the type itself
	Effect         bool   // false: accepted without effect
	Note           string
}

// Support lists resource types and their properties; what is not in it is refused by name.
func Support() (all []Supported) {
	for _, t := range types {
		all = append(all, Supported{t.name, "", t.note == "" || t.note[0] != '-', t.note})
		for _, p := range slices.Sorted(maps.Keys(t.properties)) {
			note := t.properties[p]
			all = append(all, Supported{t.name, p, note == served, note})
		}
	}
	return all
}
