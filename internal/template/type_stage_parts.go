package template

import (
	"strings"

	"millrace/internal/restapi"
	"millrace/internal/yamldoc"
)

// canarySpec is a canary as the file says it. All deployments of a file are of the definition that the file holds, so
// that the one that is new is the canary's; with keepMain the stage itself stays at the one that it has.
type canarySpec struct {
	restapi.NewCanary
	keepMain bool
}

// canaryMembers are those of both kinds of canary settings.
var canaryMembers = []string{"PercentTraffic", "StageVariableOverrides", "UseStageCache"}

// canary reads the canary settings below name. own is the logical id of the stage's deployment; empty: they are a
// deployment's.
func (p *properties) canary(name, own string) *canarySpec {
	c := p.nested(name)
	if c == nil {
		return nil
	}
	for key, value := range yamldoc.Pairs(c.node) {
		if key.Value != "DeploymentId" {
			p.b.refuseTokens(value, c.at(key.Value))
		}
	}
	spec := &canarySpec{NewCanary: restapi.NewCanary{
		Percent: c.percent("PercentTraffic"), Overrides: c.textMap("StageVariableOverrides"), UseCache: c.boolean("UseStageCache"),
	}}
	if own == "" {
		c.only(canaryMembers...)
		spec.keepMain = true
		return spec
	}
	c.only(append([]string{"DeploymentId"}, canaryMembers...)...)
	if c.has("DeploymentId") {
		logical, ok := fromToken("deployment", c.text("DeploymentId"))
		if !ok {
			c.tell("DeploymentId", "%q is no deployment of this file", c.text("DeploymentId"))
		}
		spec.keepMain = logical != own
	}
	return spec
}

// percent reads a share of traffic.
func (p *properties) percent(name string) float64 {
	v := p.number(name, 0)
	if !(v >= 0 && v <= 100) {
		p.tell(name, "is a number from 0 to 100")
		return 0
	}
	return v
}

// accessLog reads AccessLogSetting. A log group's Arn ends with :*, which names its streams.
func (p *properties) accessLog() *restapi.AccessLog {
	l := p.nested("AccessLogSetting")
	if l == nil {
		return nil
	}
	l.only("DestinationArn", "Format")
	return &restapi.AccessLog{DestinationARN: strings.TrimSuffix(l.text("DestinationArn"), ":*"), Format: l.text("Format")}
}

// noCacheCluster takes a CacheClusterEnabled of false.
func (p *properties) noCacheCluster() {
	if p.boolean("CacheClusterEnabled") {
		p.tell("CacheClusterEnabled", "is not supported by this version of Millrace: there is no response cache")
	}
}

// cacheSetting reads what is kept of a method's cache.
func (p *properties) cacheSetting() (c restapi.CacheSetting) {
	if p.has("CachingEnabled") {
		c.Disabled = !p.boolean("CachingEnabled")
	}
	if p.has("CacheTtlInSeconds") {
		seconds := p.integer("CacheTtlInSeconds", restapi.DefaultCacheTTLSeconds)
		c.TTLSeconds = &seconds
	}
	c.Encrypted = p.boolean("CacheDataEncrypted")
	return c
}

// settingMembers are those of a method's settings, which StageDescription has for all methods, too.
var settingMembers = []string{"LoggingLevel", "DataTraceEnabled", "MetricsEnabled", "CachingEnabled", "CacheTtlInSeconds", "CacheDataEncrypted",
	"ThrottlingRateLimit", "ThrottlingBurstLimit"}

// methodSetting reads the settings of a method.
func (p *properties) methodSetting() *restapi.MethodSetting {
	return &restapi.MethodSetting{
		LoggingLevel: p.text("LoggingLevel"), DataTraceEnabled: p.boolean("DataTraceEnabled"), MetricsEnabled: p.boolean("MetricsEnabled"),
		Cache: p.cacheSetting(), Throttle: p.methodThrottle(),
	}
}

// methodThrottle reads a method's throttle; nil: it says none.
func (p *properties) methodThrottle() *restapi.Throttle {
	if !p.has("ThrottlingRateLimit") && !p.has("ThrottlingBurstLimit") {
		return nil
	}
	return &restapi.Throttle{
		Rate: p.number("ThrottlingRateLimit", restapi.DefaultThrottlingRate), Burst: p.integer("ThrottlingBurstLimit", restapi.DefaultThrottlingBurst),
	}
}

// stageDescription reads what a deployment says of its stage.
func (p *properties) stageDescription(s *stageSpec) {
	d := p.nested("StageDescription")
	if d == nil {
		return
	}
	if s.name == "" {
		p.tell("StageDescription", "needs a StageName")
		return
	}
	d.only(append([]string{"AccessLogSetting", "CacheClusterEnabled", "CanarySetting", "Description", "MethodSettings", "Tags", "TracingEnabled", "Variables"},
		settingMembers...)...)
	d.noCacheCluster()
	s.description, s.variables, s.tracing, s.tags = d.text("Description"), d.textMap("Variables"), d.boolean("TracingEnabled"), d.tags("Tags")
	s.access, s.settings = d.accessLog(), d.methodSettings()
	s.canary = d.canary("CanarySetting", s.logical)
	for _, name := range settingMembers {
		if !d.has(name) {
			continue
		}
		if s.settings == nil {
			s.settings = map[string]*restapi.MethodSetting{}
		}
		if s.settings["*/*"] == nil {
			s.settings["*/*"] = d.methodSetting()
		}
	}
}
