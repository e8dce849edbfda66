package restapi

import (
	"strings"
	"time"

	"millrace/internal/ids"
)

// The bounds of API keys, as the service documents and answers them.
const (
	MaxAPIKeys             = 10000 // of an account in a region
	maxKeyNameChars        = 1024
	minKeyValueChars       = 20
	maxKeyValueChars       = 128
	maxKeyDescriptionBytes = 125000
	generatedKeyChars      = 40
	keyIDChars             = 10
)

// NewKey says what API key to make.
type NewKey struct {
	Name        string
	Description string
	CustomerID  string
	Value       string // default: made up
	Enabled     bool
	StageKeys   []string // "{api}/{stage}"
	Tags        map[string]string
}

// NewAPIKey makes an API key. Whether its id and its value are free is its keeper's to see.
func NewAPIKey(spec NewKey, source *ids.Source, now time.Time) (*APIKey, error) {
	const op = "restapi.NewAPIKey"
	switch {
	case len(spec.Name) > maxKeyNameChars:
		return nil, invalid(op, "Invalid API Key name, can be at most %d characters.", maxKeyNameChars)
	case spec.Value != "" && len(spec.Value) < minKeyValueChars:
		return nil, invalid(op, "API Key value should be at least %d characters", minKeyValueChars)
	case len(spec.Value) > maxKeyValueChars:
		return nil, invalid(op, "API Key value exceeds maximum size of %d characters", maxKeyValueChars)
	case strings.ContainsFunc(spec.Value, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, invalid(op, "Invalid API Key value specified.") // no header could carry it
	}
	if err := checkKeyDescription(op, spec.Description); err != nil {
		return nil, err
	}
	if err := CheckTags(spec.Tags); err != nil {
		return nil, err
	}
	k := &APIKey{
		ID: source.String(ids.LowerAlnum, keyIDChars), Value: spec.Value, Name: spec.Name, Description: spec.Description, CustomerID: spec.CustomerID,
		Enabled: spec.Enabled, Created: now.UTC(), Updated: wholeSecond(now), StageKeys: spec.StageKeys, Tags: spec.Tags,
	}
	if k.Value == "" {
		k.Value = source.String(ids.Alnum, generatedKeyChars)
	}
	return k, nil
}

func checkKeyDescription(op, description string) error {
	if len(description) > maxKeyDescriptionBytes {
		return invalid(op, "Invalid API Key description specified.")
	}
	return nil
}

// Patch changes an API key.
func (k *APIKey) Patch(patches []Patch, now time.Time) error {
	const op = "restapi.PatchAPIKey"
	for _, p := range patches {
		switch {
		case p.Path != "/description" && p.Path != "/enabled" && p.Path != "/name" && p.Path != "/customerId":
			return strictPath(op, p, "/description", "/enabled", "/name", "/customerId")
		case p.Op != OpReplace:
			return strictOp(op, p)
		}
		switch p.Path {
		case "/description":
			if err := checkKeyDescription(op, p.Value); err != nil {
				return err
			}
			k.Description = p.Value
		case "/enabled":
			k.Enabled = p.Value == "true"
		case "/name":
			if len(p.Value) > maxKeyNameChars {
				return invalid(op, "Invalid API Key name, can be at most %d characters.", maxKeyNameChars)
			}
			k.Name = p.Value
		case "/customerId":
			k.CustomerID = p.Value
		}
	}
	k.Updated = wholeSecond(now)
	return nil
}
