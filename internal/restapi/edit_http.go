package restapi

import (
	"net/url"
	"strings"
)

// Internet is the one connection type: there are no VPC links.
const Internet = "INTERNET"

// IsHTTP reports whether an integration is of type HTTP or HTTP_PROXY; only those show a connection type.
func (i *Integration) IsHTTP() bool { return i.Type == HTTP || i.Type == HTTPProxy }

// checkHTTP checks an HTTP integration. A uri may begin with a stage variable; what that holds is seen when a request
// fills it in.
func checkHTTP(op string, i *Integration) error {
	if i.HTTPMethod == "" {
		return invalid(op, "Enumeration value for HttpMethod must be non-empty")
	}
	if err := checkVerb(op, i.HTTPMethod); err != nil {
		return err
	}
	if !isEndpoint(i.URI) {
		return invalid(op, "Invalid HTTP endpoint specified for URI")
	}
	return nil
}

// isEndpoint reports whether a uri is a url of a host, once its variables are filled in.
func isEndpoint(uri string) bool {
	filled := uri
	if rest, ok := strings.CutPrefix(uri, "${stageVariables."); ok {
		_, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return false
		}
		filled = rest
		if !strings.HasPrefix(rest, "://") {
			filled = "http://host" + rest
		} else {
			filled = "http" + rest
		}
	}
	u, err := url.Parse(withoutVariables(filled))
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}

// withoutVariables puts a digit, which may stand in a host, a port and a path, in the place of each variable.
func withoutVariables(uri string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(uri, "{")
		_, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			b.WriteString(uri)
			return b.String()
		}
		b.WriteString(strings.TrimSuffix(before, "$"))
		b.WriteByte('1')
		uri = after
	}
}

// hostFromCaller gives the name of a path parameter in the host of the uri that anything but a literal or a stage
// variable fills in; empty when there is none. The gateway looks at every request, too: a stage variable may hold less
// than the whole host.
func (i *Integration) hostFromCaller() string {
	_, rest, ok := strings.Cut(i.URI, "://")
	if !ok {
		return "" // the host comes from a stage variable
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	for {
		before, after, found := strings.Cut(host, "{")
		name, after, closed := strings.Cut(after, "}")
		if !found || !closed {
			return ""
		}
		source := i.RequestParameters["integration.request.path."+name]
		if !strings.HasSuffix(before, "$") && !strings.HasPrefix(source, "'") && !strings.HasPrefix(source, "stageVariables.") {
			return name
		}
		host = after
	}
}

func patchTLS(op string, i *Integration, p Patch, member string) error {
	if member != "insecureSkipVerification" {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if p.Op != OpReplace {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	i.InsecureTLS = p.Value == "true"
	return nil
}
