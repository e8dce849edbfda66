package gateway

import (
	"strings"

	"millrace/internal/gateway/mapping"
)

// verb numbers the methods that a resource can have.
type verb uint8

const (
	verbGET verb = iota
	verbPUT
	verbPOST
	verbDELETE
	verbPATCH
	verbOPTIONS
	verbHEAD
	verbANY
	verbs
)

func verbOf(method string) (v verb, ok bool) {
	switch method {
	case "POST":
		return verbPOST, true
	case "GET":
		return verbGET, true
	case "PUT":
		return verbPUT, true
	case "DELETE":
		return verbDELETE, true
	case "PATCH":
		return verbPATCH, true
	case "OPTIONS":
		return verbOPTIONS, true
	case "HEAD":
		return verbHEAD, true
	case "ANY":
		return verbANY, true
	}
	return 0, false
}

// node is a segment of the resource tree.
type node struct {
	part     string // a fixed segment, or the name of a variable
	fixed    map[string]*node
	variable []*node // {name}
	greedy   []*node // {name+}
	methods  [verbs]*method
}

func (n *node) method(v verb) *method {
	if m := n.methods[v]; m != nil {
		return m
	}
	return n.methods[verbANY]
}

// match finds the method for a path, still encoded, and appends the path's variables to params. Fixed segments come
// before {name}, and {name} before {name+}, with back-tracking; a resource that has neither the verb nor ANY is passed
// over. A node is visited at most once, so that the work is bounded by the number of resources.
func (n *node) match(path string, v verb, params mapping.Params) (*method, mapping.Params) {
	path = strings.TrimLeft(path, "/") // slashes in front count as one
	if path == "" {
		return n.method(v), params
	}
	if path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	return n.below(path, v, params)
}

func (n *node) below(path string, v verb, params mapping.Params) (*method, mapping.Params) {
	segment, rest, more := strings.Cut(path, "/")
	if c := n.fixed[segment]; c != nil {
		if m, p := c.ending(rest, more, v, params); m != nil {
			return m, p
		}
	}
	if segment != "" {
		for _, c := range n.variable {
			if m, p := c.ending(rest, more, v, append(params, mapping.Param{Name: c.part, Value: segment})); m != nil {
				return m, p
			}
		}
	}
	for _, c := range n.greedy {
		if m := c.method(v); m != nil && path != "" {
			return m, append(params, mapping.Param{Name: c.part, Value: path})
		}
	}
	return nil, params
}

func (n *node) ending(rest string, more bool, v verb, params mapping.Params) (*method, mapping.Params) {
	if more {
		return n.below(rest, v, params)
	}
	return n.method(v), params
}

// add hangs a child below n by its path part: "v1", "{stream-name}", "{proxy+}".
func (n *node) add(pathPart string) *node {
	inner, isVariable := strings.CutPrefix(pathPart, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !isVariable || !closed {
		if n.fixed == nil {
			n.fixed = map[string]*node{}
		}
		c := &node{part: pathPart}
		n.fixed[pathPart] = c
		return c
	}
	if name, greedy := strings.CutSuffix(inner, "+"); greedy {
		c := &node{part: name}
		n.greedy = append(n.greedy, c)
		return c
	}
	c := &node{part: inner}
	n.variable = append(n.variable, c)
	return c
}
