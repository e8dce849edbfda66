package restapi

import "strconv"

// CacheSetting is what a method says of a stage's response cache. It is kept and shown, and acts on nothing: a stage's
// cache cluster can't be enabled here, and without one the service does nothing with it either.
type CacheSetting struct {
	Disabled             bool   `json:"disabled,omitempty"` // cachingEnabled is true by default
	TTLSeconds           *int   `json:"ttlInSeconds,omitempty"`
	Encrypted            bool   `json:"dataEncrypted,omitempty"`
	OpenControl          bool   `json:"openControl,omitempty"`          // requireAuthorizationForCacheControl is true by default
	UnauthorizedStrategy string `json:"unauthorizedStrategy,omitempty"` // empty: the default
}

// The strategies for callers who may not steer the cache, in the service's order.
var cacheStrategies = []string{"FAIL_WITH_403", "SUCCEED_WITH_RESPONSE_HEADER", "SUCCEED_WITHOUT_RESPONSE_HEADER"}

// maxCacheTTLSeconds is the service's.
const maxCacheTTLSeconds = 3600

// cachePatch gives a patch of a cache setting.
func cachePatch(set func(op string, c *CacheSetting, value string) error) func(string, *MethodSetting, string) error {
	return func(op string, m *MethodSetting, value string) error { return set(op, &m.Cache, value) }
}

func setCacheTTL(op string, c *CacheSetting, value string) error {
	seconds, err := strconv.Atoi(value)
	if err != nil {
		return invalid(op, "Invalid cacheTtlInSeconds specified: %s", value)
	}
	c.TTLSeconds = &seconds
	return c.check(op)
}

func (c *CacheSetting) check(op string) error {
	if t := c.TTLSeconds; t != nil && (*t < 0 || *t > maxCacheTTLSeconds) {
		return invalid(op, "Invalid cache TTL, expected value between 0 and %d", maxCacheTTLSeconds)
	}
	if c.UnauthorizedStrategy != "" {
		return oneOf(op, c.UnauthorizedStrategy, "unauthorizedCacheControlHeaderStrategy", cacheStrategies...)
	}
	return nil
}
