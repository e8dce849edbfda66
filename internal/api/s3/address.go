package s3

import (
	"net"
	"strings"
)

// knownHosts are names of the endpoint that need no configuration.
var knownHosts = []string{"s3.localhost", "localhost"}

// address gives the escaped path of the request in path style, "/BUCKET/KEY", and whether the host named the bucket.
// The path is taken as it was sent: "//" and ".." are parts of keys.
func (c *call) address() (path string, bucketHost bool) {
	path = c.r.URL.EscapedPath()
	if bucket, ok := bucketOfHost(c.r.Host, c.Hosts); ok {
		return "/" + bucket + path, true
	}
	return path, false
}

// bucketOfHost finds the bucket in a host of the virtual-host style.
func bucketOfHost(host string, bases []string) (string, bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	bucket := ""
	longest := -1
	for _, base := range bases {
		if host == base {
			return "", false
		}
		if name, ok := strings.CutSuffix(host, "."+base); ok && len(base) > longest {
			bucket, longest = name, len(base)
		}
	}
	if longest >= 0 {
		return bucket, bucket != ""
	}
	return bucketOfServiceHost(host)
}

// bucketOfServiceHost reads BUCKET.s3.amazonaws.com, BUCKET.s3.REGION.amazonaws.com, BUCKET.s3-REGION.amazonaws.com and
// BUCKET.s3.dualstack.REGION.amazonaws.com.
func bucketOfServiceHost(host string) (string, bool) {
	name, ok := strings.CutSuffix(strings.TrimSuffix(host, ".cn"), ".amazonaws.com")
	if !ok {
		return "", false
	}
	labels := strings.Split(name, ".")
	for i := len(labels) - 1; i >= max(0, len(labels)-3); i-- {
		if labels[i] == "s3" || strings.HasPrefix(labels[i], "s3-") {
			return strings.Join(labels[:i], "."), i > 0
		}
	}
	return "", false
}
