package openapi

import (
	"go.yaml.in/yaml/v3"

	"millrace/internal/restapi"
	"millrace/internal/yamldoc"
)

// gatewayResponses reads x-amazon-apigateway-gateway-responses.
func (im *importer) gatewayResponses(n *yaml.Node, where string) {
	if n.Kind != yaml.MappingNode {
		im.tell(n, where, "is a mapping of types to responses")
		return
	}
	texts := &operation{im: im}
	for key, value := range yamldoc.Pairs(n) {
		at := where + "." + key.Value
		for member := range yamldoc.Pairs(value) {
			switch member.Value {
			case "statusCode", "responseParameters", "responseTemplates":
			default:
				im.tell(member, at+"."+member.Value, "no member of a gateway response")
			}
		}
		r := restapi.GatewayResponse{
			Type:       key.Value,
			Parameters: texts.textMap(yamldoc.Get(value, "responseParameters"), at+".responseParameters", false),
			Templates:  texts.textMap(yamldoc.Get(value, "responseTemplates"), at+".responseTemplates", false),
		}
		r.StatusCode, _ = yamldoc.Text(yamldoc.Get(value, "statusCode"))
		_, err := im.api.PutGatewayResponse(r)
		im.edit(key, at, err)
	}
}

// minimumCompressionSize reads x-amazon-apigateway-minimum-compression-size.
func (im *importer) minimumCompressionSize(n *yaml.Node, where string) {
	if yamldoc.IsNull(n) {
		im.edit(n, where, im.api.SetMinimumCompressionSize(nil))
		return
	}
	size, ok := yamldoc.Int(n)
	if !ok {
		im.tell(n, where, "is a number")
		return
	}
	im.edit(n, where, im.api.SetMinimumCompressionSize(&size))
}
