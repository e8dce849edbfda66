package openapi

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/yamldoc"
)

// servers reads the extensions of OpenAPI 3's servers: the endpoint's configuration is one of the document in Swagger 2,
// and of a server in OpenAPI 3.
func (im *importer) servers(n *yaml.Node) {
	if n == nil || n.Kind != yaml.SequenceNode {
		return
	}
	for i, server := range n.Content {
		for key, value := range yamldoc.Pairs(server) {
			where := fmt.Sprintf("servers[%d].%s", i, key.Value)
			switch {
			case key.Value == endpointExtension:
				im.endpoint(value, where)
			case strings.HasPrefix(key.Value, "x-amazon-"):
				im.tell(key, where, "an extension that Millrace does not know")
			}
		}
	}
}
