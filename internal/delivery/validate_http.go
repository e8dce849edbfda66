package delivery

import (
	"net/url"
	"regexp"
	"strings"
)

// maxCommonAttributes bounds the attributes that go with every request, as the service does.
const maxCommonAttributes = 50

var endpointRule = regexp.MustCompile(`^https?://.+$`) // plain HTTP is the engine's to allow

// validateHTTP checks an HTTP endpoint whose defaults are filled in, and the bucket beside it.
func validateHTTP(op, member string, d *Definition) error {
	h := d.HTTPEndpoint
	if h.EndpointConfiguration == nil {
		return violated(op, member+".endpointConfiguration", "Member must not be null")
	}
	if err := h.EndpointConfiguration.validate(op, member+".endpointConfiguration."); err != nil {
		return err
	}
	switch {
	case d.Destination.BucketARN == "" && d.Destination.RoleARN == "":
		return violated(op, member+".s3Configuration", "Member must not be null")
	case h.RoleARN != "" && !roleRule.MatchString(h.RoleARN):
		return pattern(op, member+".roleARN", roleRule)
	}
	err := first(
		oneOf(op, member+".s3BackupMode", h.S3BackupMode, "FailedDataOnly", "AllData"),
		h.BufferingHints.validate(op, member, 64),
		within(op, member+".retryOptions.durationInSeconds", *h.RetryOptions.DurationInSeconds, 0, 7200),
		h.RequestConfiguration.validate(op, member+".requestConfiguration."),
		h.CloudWatchLoggingOptions.validate(op),
		validateProcessing(op, member, h.ProcessingConfiguration, false),
		d.Destination.S3Configuration.validate(op, member+".s3Configuration"),
	)
	if err != nil {
		return err
	}
	return validatePrefixes(op, member+".s3Configuration", &d.Destination)
}

func (e *HTTPEndpoint) validate(op, path string) error {
	u, err := url.Parse(e.Url)
	switch {
	case !endpointRule.MatchString(e.Url) || len([]rune(e.Url)) > 1000:
		return violated(op, path+"url", "Member must satisfy regular expression pattern: https://.*")
	case err != nil || u.Host == "":
		return invalid(op, "%surl: %q is no URL with a host", path, e.Url)
	case u.User != nil || u.Fragment != "":
		return invalid(op, "%surl: a URL with a user or a fragment is not supported by this version of Millrace", path)
	case e.Name != "" && (len([]rune(e.Name)) > 256 || strings.TrimSpace(e.Name) == ""):
		return violated(op, path+"name", "Member must have length less than or equal to 256")
	case e.AccessKey == nil:
		return nil
	case len(*e.AccessKey) > 4096:
		return violated(op, path+"accessKey", "Member must have length less than or equal to 4096")
	case strings.ContainsFunc(string(*e.AccessKey), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return invalid(op, "%saccessKey: it goes into a header of HTTP, which has no control characters", path)
	}
	return nil
}

func (r *HTTPRequestConfiguration) validate(op, path string) error {
	if err := oneOf(op, path+"contentEncoding", r.ContentEncoding, "NONE", "GZIP"); err != nil {
		return err
	}
	if len(r.CommonAttributes) > maxCommonAttributes {
		return violated(op, path+"commonAttributes", "Member must have length less than or equal to "+itoa(maxCommonAttributes))
	}
	seen := map[string]bool{}
	for i, a := range r.CommonAttributes {
		at := path + "commonAttributes." + itoa(i+1) + ".member."
		switch {
		case strings.TrimSpace(a.AttributeName) == "" || len([]rune(a.AttributeName)) > 256:
			return violated(op, at+"attributeName", "Member must have length between 1 and 256")
		case len([]rune(a.AttributeValue)) > 1024:
			return violated(op, at+"attributeValue", "Member must have length less than or equal to 1024")
		case seen[a.AttributeName]:
			return invalid(op, "Http Endpoint Common Attributes have duplicate name %s", a.AttributeName)
		}
		seen[a.AttributeName] = true
	}
	return nil
}
