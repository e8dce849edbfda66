package openapi

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/yamldoc"
)

// Embedded is a mapping template within a document.
type Embedded struct {
	Where     string // "paths./v1.post.x-amazon-apigateway-integration.requestTemplates.application/json"
	MediaType string
	URI       string // of its integration: what the template writes for
	Request   bool   // a request template; else a response template
	Gateway   bool   // of a gateway response: it knows variables and no language
	Node      *yaml.Node
}

// Templates finds the mapping templates of a document, in its order.
func Templates(root *yaml.Node) (all []Embedded) {
	for path, item := range yamldoc.Pairs(yamldoc.Get(root, "paths")) {
		for verb, op := range yamldoc.Pairs(item) {
			in := yamldoc.Get(op, "x-amazon-apigateway-integration")
			if _, isMethod := verbs[verb.Value]; !isMethod || in == nil {
				continue
			}
			where := strings.Join([]string{"paths", path.Value, verb.Value, "x-amazon-apigateway-integration"}, ".")
			uri, _ := yamldoc.Text(yamldoc.Get(in, "uri"))
			collect := func(n *yaml.Node, where string, request bool) {
				for mediaType, text := range yamldoc.Pairs(n) {
					if text.Kind == yaml.ScalarNode {
						all = append(all, Embedded{where + "." + mediaType.Value, mediaType.Value, uri, request, false, text})
					}
				}
			}
			collect(yamldoc.Get(in, "requestTemplates"), where+".requestTemplates", true)
			for code, r := range yamldoc.Pairs(yamldoc.Get(in, "responses")) {
				collect(yamldoc.Get(r, "responseTemplates"), where+".responses."+code.Value+".responseTemplates", false)
			}
		}
	}
	for kind, r := range yamldoc.Pairs(yamldoc.Get(root, gatewayResponsesExtension)) {
		for mediaType, text := range yamldoc.Pairs(yamldoc.Get(r, "responseTemplates")) {
			if text.Kind == yaml.ScalarNode {
				where := gatewayResponsesExtension + "." + kind.Value + ".responseTemplates." + mediaType.Value
				all = append(all, Embedded{Where: where, MediaType: mediaType.Value, Gateway: true, Node: text})
			}
		}
	}
	return all
}

const gatewayResponsesExtension = "x-amazon-apigateway-gateway-responses"

// Operation is a method of a document.
type Operation struct {
	Verb, Path string
	Where      string
	Key        *yaml.Node
}

// Operations lists the methods of a document, in its order.
func Operations(root *yaml.Node) (all []Operation) {
	for path, item := range yamldoc.Pairs(yamldoc.Get(root, "paths")) {
		for key := range yamldoc.Pairs(item) {
			if verb, isMethod := verbs[key.Value]; isMethod {
				all = append(all, Operation{verb, path.Value, "paths." + path.Value + "." + key.Value, key})
			}
		}
	}
	return all
}
