package lint

import (
	"millrace/internal/gateway/mapping"
	"millrace/vtl"
)

// gatewayRoots begin the variables of a gateway response's template; all other text is printed as it is.
var gatewayRoots = map[string]bool{"context": true, "stageVariables": true, "method": true}

// GatewayResponse looks at the template of a gateway response, which knows variables and no language: directives, methods and
// $input are text there.
func GatewayResponse(text string) (findings []Finding) {
	t, err := mapping.Compile("template", text)
	if err != nil {
		return nil // what is no VTL was not meant to be
	}
	tell := func(n *vtl.Node, what string) {
		findings = append(findings, Finding{RuleNoTemplate, n.Line, n.Column, what + " is not evaluated in a gateway response: callers see it as it is written"})
	}
	t.VTL().Walk(func(n *vtl.Node) bool {
		switch n.Kind {
		case vtl.SetNode, vtl.IfNode, vtl.ForeachNode, vtl.DefineNode, vtl.MacroNode, vtl.CallNode, vtl.EvaluateNode, vtl.StopNode, vtl.BreakNode:
			tell(n, "a directive")
			return false
		case vtl.ReferenceNode:
			switch {
			case n.Text == "input" || n.Text == "util":
				tell(n, "$"+n.Text)
			case n.Quiet:
				tell(n, n.Source)
			case gatewayRoots[n.Text] && calls(n):
				tell(n, "a method of "+n.Source)
			}
			return false
		}
		return true
	})
	return findings
}

func calls(n *vtl.Node) bool {
	for _, part := range n.Kids {
		if part.Kind == vtl.MethodNode {
			return true
		}
	}
	return false
}
