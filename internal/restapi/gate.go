package restapi

// The types of authorization.
const (
	Open   = "NONE"
	IAM    = "AWS_IAM"
	Custom = "CUSTOM"
)

// Gate is what a node has to check callers with; the zero value has nothing.
type Gate struct {
	Signatures bool              // credentials are configured, with which requests can be signed
	Functions  map[string]string // URLs of authorizers, by the ARN of their function
}

// Check lists the methods whose callers the node can't check. Such a method is not left open: it is not deployed, and
// answers 500 when it is there all the same.
func (g Gate) Check(d *Definition) []Problem {
	var all []Problem
	d.eachMethod(func(r *Resource, m *Method) {
		if property, why := g.refuses(d, m); why != "" {
			all = append(all, Problem{r.Path, m.HTTPMethod, property, why})
		}
	})
	return all
}

// Refuses says why the node can't check a method's callers, "" when it can.
func (g Gate) Refuses(d *Definition, m *Method) string {
	_, why := g.refuses(d, m)
	return why
}

func (g Gate) refuses(d *Definition, m *Method) (property, why string) {
	switch m.AuthorizationType {
	case "", Open:
	case IAM:
		if !g.Signatures {
			return "authorizationType", "AWS_IAM checks signatures, and this node has no credentials: start it with --credentials FILE"
		}
	case Custom:
		z := d.Authorizers[m.AuthorizerID]
		if z == nil {
			return "authorizerId", "there is no authorizer " + m.AuthorizerID
		}
		if g.Functions[z.Function()] == "" {
			return "authorizerId", "the authorizer " + z.Name + " is the function " + z.Function() + ", and no URL is configured for it: " +
				"name one under the key authorizers of the configuration file"
		}
	default:
		return "authorizationType", m.AuthorizationType + " is not supported by this version of Millrace"
	}
	return "", ""
}
