package apigateway

import "strings"

// refusedBecause says why operations are refused for good, by what their names hold; the longest that fits counts.
var refusedBecause = map[string]string{
	"Sdk":                         "SDK generation: export the API as OpenAPI and let a generator of your own read it",
	"VpcLink":                     "VPC links: there is no VPC; an integration of type HTTP reaches what this node reaches",
	"ClientCertificate":           "client certificates: backends are not shown one",
	"DocumentationPart":           "documentation parts: nothing would read them",
	"DocumentationVersion":        "documentation versions: nothing would read them",
	"DomainNameAccessAssociation": "access associations of private domain names: there are no private APIs",
}

// whyRefused gives the reason of an operation, empty where there is none but this version's.
func whyRefused(operation string) (why string) {
	longest := 0
	for part, reason := range refusedBecause {
		if strings.Contains(operation, part) && len(part) > longest {
			longest, why = len(part), reason
		}
	}
	return why
}
