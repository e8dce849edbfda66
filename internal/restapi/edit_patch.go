package restapi

import (
	"encoding/json"
	"regexp"
	"strings"
)

// The patch operations that are told apart; test and move are legal words that no path takes.
const (
	OpAdd     = "add"
	OpRemove  = "remove"
	OpReplace = "replace"
	OpCopy    = "copy"
)

// Patch is one entry of patchOperations.
type Patch struct {
	Op       string // "replace"
	Path     string // "/requestTemplates/application~1json"
	Value    string // always text: "true", "50.0"
	HasValue bool   // a value was given, be it empty
	From     string // of copy and move
}

// segments splits a path at its slashes and undoes its escapes; ok is false when it does not begin with a slash.
func (p Patch) segments() (segments []string, ok bool) {
	rest, ok := strings.CutPrefix(p.Path, "/")
	if !ok || rest == "" {
		return nil, false
	}
	segments = strings.Split(rest, "/")
	for i, s := range segments {
		segments[i] = unescapePointer(s)
	}
	return segments, true
}

var pointerEscapes = strings.NewReplacer("~1", "/", "~0", "~")

func unescapePointer(s string) string { return pointerEscapes.Replace(s) }

// patchMap applies a patch to an entry of a map. missing is what a replace or remove of an absent entry ends in; a
// nil one lets replace make the entry.
func patchMap[V any](op string, m *map[string]V, p Patch, key string, value V, missing error) error {
	_, there := (*m)[key]
	switch p.Op {
	case OpAdd:
	case OpReplace:
		if !there && missing != nil {
			return missing
		}
	case OpRemove:
		if !there {
			return missing
		}
		delete(*m, key)
		if len(*m) == 0 {
			*m = nil // the last entry takes the member with it
		}
		return nil
	default:
		return invalid(op, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
	}
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
	return nil
}

// mediaTypePattern is type/subtype, either of which may be a star.
var mediaTypePattern = regexp.MustCompile(`^[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+( *;.*)?$`)

func isMediaType(s string) bool { return mediaTypePattern.MatchString(s) }

// cloneJSON copies a document the way the catalog would: what is not JSON is no part of it.
func cloneJSON[T any](v *T) *T {
	doc, err := json.Marshal(v)
	if err != nil {
		panic("restapi: " + err.Error()) // maps, strings, times: marshalling can't fail
	}
	c := new(T)
	if err := json.Unmarshal(doc, c); err != nil {
		panic("restapi: " + err.Error())
	}
	return c
}
