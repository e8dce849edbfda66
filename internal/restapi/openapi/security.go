package openapi

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/yamldoc"
)

// readSchemes finds which security schemes of the document are API keys: of type apiKey, in the header x-api-key, and
// without an authorizer.
func (im *importer) readSchemes() {
	im.schemes = map[string]bool{}
	definitions := yamldoc.Get(im.doc.Root, "securityDefinitions")
	if !im.swagger2 {
		definitions = yamldoc.Get(yamldoc.Get(im.doc.Root, "components"), "securitySchemes")
	}
	for key, scheme := range yamldoc.Pairs(definitions) {
		kind, _ := yamldoc.Text(yamldoc.Get(scheme, "type"))
		in, _ := yamldoc.Text(yamldoc.Get(scheme, "in"))
		name, _ := yamldoc.Text(yamldoc.Get(scheme, "name"))
		im.schemes[key.Value] = kind == "apiKey" && in == "header" && strings.EqualFold(name, "x-api-key") &&
			yamldoc.Get(scheme, "x-amazon-apigateway-authorizer") == nil
	}
}

// security reads what a method, or all of them, ask of a caller, and tells whether an API key is among it. Whatever else
// would make a method anything but open is refused.
func (im *importer) security(n *yaml.Node, where string) (keyed bool) {
	if n.Kind != yaml.SequenceNode {
		im.tell(n, where, "is a list")
		return false
	}
	for _, one := range n.Content {
		for name := range yamldoc.Pairs(one) {
			isKey, known := im.schemes[name.Value]
			switch {
			case isKey:
				keyed = true
			case known:
				im.later(name, where, "the authorizer "+name.Value)
			default:
				im.tell(name, where, "the document has no security scheme %q", name.Value)
			}
		}
	}
	return keyed
}
