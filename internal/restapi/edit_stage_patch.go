package restapi

import (
	"slices"
	"strings"
	"time"
)

// The defaults of a method's settings. Millrace shows those of the cache and has none to set up; the throttle is the
// account's, which applies with --aws-exact=limits only.
const (
	DefaultThrottlingBurst    = 5000
	DefaultThrottlingRate     = 10000.0
	DefaultCacheTTLSeconds    = 300
	DefaultCacheControlDenied = "SUCCEED_WITH_RESPONSE_HEADER"
)

// invalidStagePath is the service's text, missing commas and all.
const invalidStagePath = "Invalid method setting path: %s. Must be one of: [/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, /accessLogSettings, /accessLogSettings/destinationArn, /accessLogSettings/format, /{resourcePath}/{httpMethod}/metrics/enabled, /{resourcePath}/{httpMethod}/logging/dataTrace, /{resourcePath}/{httpMethod}/logging/loglevel, /{resourcePath}/{httpMethod}/throttling/burstLimit/{resourcePath}/{httpMethod}/throttling/rateLimit/{resourcePath}/{httpMethod}/caching/ttlInSeconds, /{resourcePath}/{httpMethod}/caching/enabled, /{resourcePath}/{httpMethod}/caching/dataEncrypted, /{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, /{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, /*/*/metrics/enabled, /*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit /*/*/throttling/rateLimit /*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, /*/*/caching/requireAuthorizationForCacheControl, /*/*/caching/unauthorizedCacheControlHeaderStrategy, /variables/{variable_name}, /tracingEnabled]"

// settings are the patch suffixes of a method's settings.
var settings = map[string]func(op string, m *MethodSetting, value string) error{
	"metrics/enabled": func(_ string, m *MethodSetting, value string) error {
		m.MetricsEnabled = value == "true"
		return nil
	},
	"logging/dataTrace": func(_ string, m *MethodSetting, value string) error {
		m.DataTraceEnabled = value == "true"
		return nil
	},
	"logging/loglevel": func(op string, m *MethodSetting, value string) error {
		m.LoggingLevel = value
		return checkLoggingLevel(op, value)
	},
	"throttling/burstLimit": func(op string, m *MethodSetting, value string) error {
		return m.throttle().patch(op, "burstLimit", value)
	},
	"throttling/rateLimit": func(op string, m *MethodSetting, value string) error {
		return m.throttle().patch(op, "rateLimit", value)
	},
	"caching/ttlInSeconds": cachePatch(setCacheTTL),
	"caching/enabled": cachePatch(func(_ string, c *CacheSetting, value string) error {
		c.Disabled = value != "true"
		return nil
	}),
	"caching/dataEncrypted": cachePatch(func(_ string, c *CacheSetting, value string) error {
		c.Encrypted = value == "true"
		return nil
	}),
	"caching/requireAuthorizationForCacheControl": cachePatch(func(_ string, c *CacheSetting, value string) error {
		c.OpenControl = value != "true"
		return nil
	}),
	"caching/unauthorizedCacheControlHeaderStrategy": cachePatch(func(op string, c *CacheSetting, value string) error {
		c.UnauthorizedStrategy = value
		return c.check(op)
	}),
}

const noCache = "there is no response cache"

// PatchStage changes a stage; it acts at once, without a deployment.
func (a *API) PatchStage(name string, patches []Patch, now time.Time) (*Stage, error) {
	s, err := a.Stage(name)
	if err != nil {
		return nil, err
	}
	for _, p := range patches {
		if err := a.patchStage(s, p); err != nil {
			return nil, err
		}
	}
	s.Updated = wholeSecond(now)
	return s, nil
}

func (a *API) patchStage(s *Stage, p Patch) error {
	const op = "restapi.PatchStage"
	segments, ok := p.segments()
	if !ok {
		return invalid(op, invalidStagePath, p.Path)
	}
	if p.Op == OpCopy {
		return promote(op, s, p)
	}
	switch segments[0] {
	case "variables":
		return patchVariable(op, s, p, segments[1:])
	case "accessLogSettings":
		return patchAccessLog(op, s, p, segments[1:])
	case "canarySettings":
		return a.patchCanary(op, s, p, segments[1:])
	}
	if len(segments) == 1 {
		return a.patchStageMember(op, s, p, segments[0])
	}
	return patchSetting(op, s, p, segments)
}

func (a *API) patchStageMember(op string, s *Stage, p Patch, member string) error {
	if p.Op != OpReplace && !(p.Op == OpRemove && member == "description") {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	switch member {
	case "deploymentId":
		if a.Deployments[p.Value] == nil {
			return invalid(op, "Deployment id does not exist")
		}
		s.DeploymentID = p.Value
	case "description":
		s.Description = p.Value
	case "tracingEnabled":
		s.TracingEnabled = p.Value == "true"
	case "cacheClusterEnabled":
		if p.Value == "true" {
			return unsupported(op, member, noCache)
		}
	case "cacheClusterSize", "clientCertificateId", "documentationVersion":
		if p.Value != "" {
			return unsupported(op, member, "a stage has none")
		}
	default:
		return invalid(op, invalidStagePath, p.Path)
	}
	return nil
}

func patchVariable(op string, s *Stage, p Patch, rest []string) error {
	if len(rest) != 1 || rest[0] == "" {
		return invalid(op, invalidStagePath, p.Path)
	}
	var missing error // a variable is set by replace as well as by add
	if p.Op == OpRemove {
		missing = noSuchSetting(op, p)
	}
	if err := patchMap(op, &s.Variables, p, rest[0], p.Value, missing); err != nil {
		return err
	}
	return checkVariables(op, s.Variables)
}

func noSuchSetting(op string, p Patch) error {
	return invalid(op, "Cannot remove method setting %s because there is no method setting for this method ", strings.TrimPrefix(p.Path, "/"))
}

// patchSetting changes one setting of a method, /{path}/{verb}/{setting}, or removes a method's settings. A key
// that is touched first gets all defaults; "*/*" does not change it any more.
func patchSetting(op string, s *Stage, p Patch, segments []string) error {
	if p.Op == OpRemove {
		key := settingKey(segments)
		if s.MethodSettings[key] == nil {
			return noSuchSetting(op, p)
		}
		delete(s.MethodSettings, key)
		if len(s.MethodSettings) == 0 {
			s.MethodSettings = nil
		}
		return nil
	}
	if len(segments) < 4 {
		return invalid(op, invalidStagePath, p.Path)
	}
	split := len(segments) - 2
	set := settings[strings.Join(segments[split:], "/")]
	verb := segments[split-1]
	if set == nil || verb != "*" && !slices.Contains(Verbs, verb) {
		return invalid(op, invalidStagePath, p.Path)
	}
	if p.Op != OpReplace && p.Op != OpAdd {
		return invalid(op, invalidStagePath, p.Path)
	}
	key := settingKey(segments[:split])
	setting := MethodSetting{}
	if old := s.MethodSettings[key]; old != nil {
		setting = *old
		if old.Throttle != nil {
			own := *old.Throttle
			setting.Throttle = &own
		}
	}
	if err := set(op, &setting, p.Value); err != nil {
		return err
	}
	return s.Set(key, setting)
}

// settingKey joins a path and a verb, both unescaped. The path is one segment, but some tools leave its slashes
// bare, which makes it several.
func settingKey(segments []string) string {
	path := strings.Join(segments[:len(segments)-1], "/")
	return strings.TrimPrefix(path, "/") + "/" + segments[len(segments)-1]
}
