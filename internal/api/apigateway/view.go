package apigateway

import (
	"cmp"
	"maps"
	"slices"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// text is a member that is left out when empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// someOf is a map that is left out when empty.
func someOf[K comparable, V any](m map[K]V) map[K]V {
	if len(m) == 0 {
		return nil
	}
	return m
}

// sorted gives the values of a map in the order of their keys.
func sorted[K cmp.Ordered, V any](m map[K]V) []V {
	all := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[k])
	}
	return all
}

// patches takes patch operations off the wire.
func patches(ops []wire.PatchOperation) []restapi.Patch {
	all := make([]restapi.Patch, len(ops))
	for i, o := range ops {
		all[i] = restapi.Patch{
			Op: o.Op, Path: awswire.Value(o.Path), From: awswire.Value(o.From),
			Value: awswire.Value(o.Value), HasValue: o.Value != nil,
		}
	}
	return all
}

// member is one that the service takes and Millrace does not yet.
type member struct {
	name  string
	given bool
}

// refuse names the first member that was given.
func refuse(members ...member) error {
	for _, m := range members {
		if m.given {
			return fault.New(fault.Unsupported, "apigateway", m.name, "%s is not supported by this version of Millrace", m.name)
		}
	}
	return nil
}
