package openapi

import (
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// node is a piece of a document that is being written.
type node struct{ *yaml.Node }

// object is a mapping whose keys keep the order in which they are set.
type object struct{ node }

// piece is a node or an object.
type piece interface{ yamlNode() *yaml.Node }

func (n node) yamlNode() *yaml.Node { return n.Node }

func newObject() object { return object{node{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}}} }

func list(of ...object) node {
	n := node{&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}}
	for _, one := range of {
		n.Content = append(n.Content, one.Node)
	}
	return n
}

func textList(of ...string) node {
	n := list()
	for _, one := range of {
		n.Content = append(n.Content, text(one).Node)
	}
	return n
}

func text(s string) node {
	return node{&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}}
}

func number(digits string) node {
	if _, err := strconv.Atoi(digits); err != nil {
		return text(digits)
	}
	return node{&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: digits}}
}

// keyNode leaves it to the encoder whether a key needs quotes.
func keyNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func (o object) set(key string, value piece) object {
	o.Content = append(o.Content, keyNode(key), value.yamlNode())
	return o
}

// some sets a key to a mapping or list that is not empty.
func (o object) some(key string, value piece) object {
	if len(value.yamlNode().Content) == 0 {
		return o
	}
	return o.set(key, value)
}

func (o object) text(key, value string) object { return o.set(key, text(value)) }

func (o object) someText(key, value string) object {
	if value == "" {
		return o
	}
	return o.text(key, value)
}

func (o object) number(key string, value int) object { return o.set(key, number(strconv.Itoa(value))) }

func (o object) flag(key string, value bool) object {
	return o.set(key, node{&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(value)}})
}

func textMap(m map[string]string) object {
	o := newObject()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		o.text(key, m[key])
	}
	return o
}
