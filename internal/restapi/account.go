package restapi

import "time"

// What follows belongs to an account and a region, not to one API.

// APIKey tells callers apart. Its value is a secret: it leaves the node only where a call asks for it, and stands in no
// log.
type APIKey struct {
	ID          string            `json:"id"`    // 10 of [a-z0-9]
	Value       string            `json:"value"` // what callers send
	Name        string            `json:"name,omitempty"`
	Description string            `json:"description,omitempty"`
	CustomerID  string            `json:"customerId,omitempty"`
	Enabled     bool              `json:"enabled"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
	StageKeys   []string          `json:"stageKeys,omitempty"` // "{api}/{stage}", shown and not used since there are usage plans
	Tags        map[string]string `json:"tags,omitempty"`
}

// UsagePlan says which stages its keys may call, how fast, and how often.
type UsagePlan struct {
	ID          string            `json:"id"` // 6 of [a-z0-9]
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	ProductCode string            `json:"productCode,omitempty"`
	Stages      []PlanStage       `json:"apiStages,omitempty"`
	Throttle    *Throttle         `json:"throttle,omitempty"` // of each key
	Quota       *Quota            `json:"quota,omitempty"`    // of each key
	Keys        []string          `json:"keys,omitempty"`     // ids of API keys
	Grants      map[string]Grant  `json:"grants,omitempty"`   // by id of an API key
	Tags        map[string]string `json:"tags,omitempty"`
}

// Grant is what UpdateUsage gave a key beyond its quota, or took from it, for one period.
type Grant struct {
	Period   string `json:"period"` // the first day of it: "2026-11-01"
	Requests int    `json:"requests"`
}

// PlanStage is a stage that a usage plan covers.
type PlanStage struct {
	APIID   string               `json:"apiId"`
	Stage   string               `json:"stage"`
	Methods map[string]*Throttle `json:"throttle,omitempty"` // by "/v1/{stream-name}/POST"
}

// The periods of a quota.
const (
	Daily   = "DAY"
	Weekly  = "WEEK"
	Monthly = "MONTH"
)

// Quota is how many requests a key has in a period.
type Quota struct {
	Limit  int    `json:"limit"`
	Offset int    `json:"offset,omitempty"` // requests that count as made in the first period
	Period string `json:"period"`
	// Since is when the quota began: its period is the first one.
	Since time.Time `json:"since,omitzero"`
}

// Domain is a custom domain name.
type Domain struct {
	Name              string            `json:"domainName"`
	CertificateARN    string            `json:"certificateArn,omitempty"`
	CertificateName   string            `json:"certificateName,omitempty"`
	CertificateUpload time.Time         `json:"certificateUploadDate,omitzero"`
	RegionalARN       string            `json:"regionalCertificateArn,omitempty"`
	EndpointTypes     []string          `json:"endpointTypes,omitempty"`
	IPAddressType     string            `json:"ipAddressType,omitempty"`
	SecurityPolicy    string            `json:"securityPolicy,omitempty"`
	Mappings          []BasePathMapping `json:"mappings,omitempty"` // in the order of their base paths
	Tags              map[string]string `json:"tags,omitempty"`
}

// BasePathMapping sends what comes below a path of a domain to an API.
type BasePathMapping struct {
	BasePath string `json:"basePath"` // empty is "(none)"
	APIID    string `json:"restApiId"`
	Stage    string `json:"stage,omitempty"` // empty: the first segment behind the base path names it
}
