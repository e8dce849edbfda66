package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
)

var functionPattern = regexp.MustCompile(`^arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_:$-]+$`)

// checkAuthorizers checks the URLs that stand for functions.
func (n *Node) checkAuthorizers(bad func(flag, format string, args ...any)) {
	for _, arn := range slices.Sorted(maps.Keys(n.Authorizers)) {
		if !functionPattern.MatchString(arn) {
			bad("authorizers", "%q is no ARN of a function such as arn:aws:lambda:us-east-1:000000000000:function:my-auth", arn)
		}
		u, err := url.Parse(n.Authorizers[arn])
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad("authorizers", "%s: %q is no URL such as http://127.0.0.1:9000/auth", arn, n.Authorizers[arn])
		}
	}
}
