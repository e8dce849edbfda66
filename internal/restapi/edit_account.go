package restapi

import "regexp"

// Account is what all APIs of an account and region share.
type Account struct {
	// CloudWatchRoleARN is kept and shown: the role that execution logs would be written with. Millrace writes them
	// to its own log and needs none.
	CloudWatchRoleARN string `json:"cloudwatchRoleArn,omitempty"`
}

var roleARNPattern = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::\d{12}:role/.+$`)

// Patch sets or clears the role.
func (a *Account) Patch(patches []Patch) error {
	const op = "restapi.PatchAccount"
	for _, p := range patches {
		switch {
		case p.Path == "/features":
			// Usage plans are a feature that every account has had since 2017; adding it again changes nothing.
		case p.Path != "/cloudwatchRoleArn":
			return invalid(op, "Invalid patch path %s", p.Path)
		case p.Op != OpReplace && p.Op != OpAdd && p.Op != OpRemove:
			return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
		case p.Op == OpRemove || p.Value == "":
			a.CloudWatchRoleARN = ""
		case !roleARNPattern.MatchString(p.Value):
			return invalid(op, "Invalid ARN specified in the request")
		default:
			a.CloudWatchRoleARN = p.Value
		}
	}
	return nil
}
