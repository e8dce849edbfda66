package template

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/yamldoc"
)

// eval gives a node with its functions replaced by their values; nil means that there is none, AWS::NoValue, or a problem
// that was told.
func (b *build) eval(n *yaml.Node, where string) *yaml.Node {
	if n == nil {
		return nil
	}
	if name, arg, ok := function(n); ok {
		return b.call(n, name, arg, where)
	}
	if !strings.HasPrefix(n.Tag, "!!") && n.Tag != "" {
		b.tell(n, where, "there is no function %s", n.Tag)
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		if strings.Contains(n.Value, "{{resolve:") {
			b.tell(n, where, "dynamic references ({{resolve:...}}) are not supported by this version of Millrace")
		}
		return n
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Line: n.Line, Column: n.Column, Style: n.Style}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if v := b.eval(c, where+"["+strconv.Itoa(i)+"]"); v != nil {
				out.Content = append(out.Content, v)
			}
		}
	case yaml.MappingNode:
		for key, value := range yamldoc.Pairs(n) {
			if v := b.eval(value, where+"."+key.Value); v != nil {
				out.Content = append(out.Content, key, v)
			}
		}
	}
	return out
}

// function recognizes the long form {"Fn::Join": ...} and the short one !Join.
func function(n *yaml.Node) (name string, arg *yaml.Node, ok bool) {
	if short, ok := strings.CutPrefix(n.Tag, "!"); ok && !strings.HasPrefix(n.Tag, "!!") && short != "" {
		arg := *n
		arg.Tag = map[yaml.Kind]string{yaml.ScalarNode: "!!str", yaml.SequenceNode: "!!seq", yaml.MappingNode: "!!map"}[n.Kind]
		if short != "Ref" && short != "Condition" {
			short = "Fn::" + short
		}
		return short, &arg, slices.Contains(functions, short)
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
		if key := n.Content[0].Value; key == "Ref" || strings.HasPrefix(key, "Fn::") {
			return key, n.Content[1], true
		}
	}
	return "", nil, false
}

// functions lists those that call knows; those of conditions are known to condition.
var functions = []string{"Ref", "Fn::GetAtt", "Fn::Sub", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::If", "Fn::FindInMap", "Fn::Base64",
	"Condition", "Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not",
	"Fn::ImportValue", "Fn::GetAZs", "Fn::Cidr", "Fn::Transform", "Fn::Length", "Fn::ToJsonString", "Fn::ForEach"}

func (b *build) call(n *yaml.Node, name string, arg *yaml.Node, where string) *yaml.Node {
	switch name {
	case "Ref":
		return b.ref(n, arg, where)
	case "Fn::GetAtt":
		return b.getAtt(n, arg, where)
	case "Fn::Sub":
		return b.sub(n, arg, where)
	case "Fn::Join":
		return b.join(n, arg, where)
	case "Fn::Select":
		return b.selectOne(n, arg, where)
	case "Fn::Split":
		return b.split(n, arg, where)
	case "Fn::If":
		return b.ifThenElse(n, arg, where)
	case "Fn::FindInMap":
		return b.findInMap(n, arg, where)
	case "Fn::Base64":
		if text, ok := b.text(arg, where); ok {
			return yamldoc.Scalar(n, base64.StdEncoding.EncodeToString([]byte(text)))
		}
		return nil
	}
	b.tell(n, where, "the function %s is not supported by this version of Millrace here", name)
	return nil
}

// text evaluates an argument that is to be a text.
func (b *build) text(n *yaml.Node, where string) (string, bool) {
	v := b.eval(n, where)
	if v == nil {
		return "", false
	}
	text, ok := yamldoc.Text(v)
	if !ok {
		b.tell(n, where, "a text is expected here")
	}
	return text, ok
}

// arguments gives the arguments of a function that takes between least and most.
func (b *build) arguments(arg *yaml.Node, name string, least, most int, where string) ([]*yaml.Node, bool) {
	if arg.Kind != yaml.SequenceNode || len(arg.Content) < least || len(arg.Content) > most {
		b.tell(arg, where, "%s takes a list of %d arguments", name, least)
		return nil, false
	}
	return arg.Content, true
}

func (b *build) ref(n, arg *yaml.Node, where string) *yaml.Node {
	name, ok := yamldoc.Text(arg)
	if !ok {
		b.tell(n, where, "Ref takes a name")
		return nil
	}
	if strings.HasPrefix(name, "AWS::") {
		return b.pseudo(n, name, where)
	}
	if p := b.t.parameters[name]; p != nil {
		return b.parameterValue(n, p, where)
	}
	value, ok := b.refTo(n, name, where)
	if !ok {
		return nil
	}
	return yamldoc.Scalar(n, value)
}

func (b *build) parameterValue(n *yaml.Node, p *parameter, where string) *yaml.Node {
	if !p.known {
		b.tell(n, where, "the parameter %s is of type %s, and there is no parameter store; give its value with --parameter %s=VALUE", p.name, p.kind, p.name)
		return nil
	}
	if !p.isList {
		return yamldoc.Scalar(n, p.value)
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Column: n.Column}
	for part := range strings.SplitSeq(p.value, ",") {
		list.Content = append(list.Content, yamldoc.Scalar(n, strings.TrimSpace(part)))
	}
	return list
}

func (b *build) pseudo(n *yaml.Node, name, where string) *yaml.Node {
	a := b.t.opts.Account
	value := ""
	switch name {
	case "AWS::Region":
		value = a.Region
	case "AWS::AccountId":
		value = a.ID
	case "AWS::Partition":
		value = a.Partition
	case "AWS::URLSuffix":
		value = "amazonaws.com"
		if a.Partition == "aws-cn" {
			value = "amazonaws.com.cn"
		}
	case "AWS::StackName":
		value = b.t.opts.Stack
	case "AWS::StackId":
		value = "arn:" + a.Partition + ":cloudformation:" + a.Region + ":" + a.ID + ":stack/" + b.t.opts.Stack + "/" + b.record.ID
	case "AWS::NotificationARNs":
		return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Column: n.Column}
	case "AWS::NoValue":
		return nil
	default:
		b.tell(n, where, "there is no pseudo parameter %s", name)
		return nil
	}
	return yamldoc.Scalar(n, value)
}

func (b *build) getAtt(n, arg *yaml.Node, where string) *yaml.Node {
	logical, attribute := "", ""
	if text, ok := yamldoc.Text(arg); ok {
		logical, attribute, _ = strings.Cut(text, ".")
	} else if arg.Kind == yaml.SequenceNode && len(arg.Content) == 2 {
		logical, _ = yamldoc.Text(arg.Content[0])
		attribute, _ = b.text(arg.Content[1], where)
	}
	if logical == "" || attribute == "" {
		b.tell(n, where, "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
		return nil
	}
	value, ok := b.attributeOf(n, logical, attribute, where)
	if !ok {
		return nil
	}
	return yamldoc.Scalar(n, value)
}

func (b *build) sub(n, arg *yaml.Node, where string) *yaml.Node {
	body, variables := arg, (*yaml.Node)(nil)
	if arg.Kind == yaml.SequenceNode {
		args, ok := b.arguments(arg, "Fn::Sub", 2, 2, where)
		if !ok {
			return nil
		}
		body, variables = args[0], args[1]
	}
	text, ok := yamldoc.Text(body)
	if !ok {
		b.tell(n, where, "Fn::Sub takes a text, or a text and a mapping")
		return nil
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			b.tell(n, where, "Fn::Sub: ${ is not closed")
			return nil
		}
		text = after
		if literal, is := strings.CutPrefix(name, "!"); is {
			out.WriteString("${" + literal + "}")
			continue
		}
		value, ok := b.variable(n, strings.TrimSpace(name), variables, where)
		if !ok {
			return nil
		}
		out.WriteString(value)
	}
	return b.eval(yamldoc.Scalar(body, out.String()), where)
}

// variable gives the value of ${name} in Fn::Sub.
func (b *build) variable(n *yaml.Node, name string, variables *yaml.Node, where string) (string, bool) {
	if v := yamldoc.Get(variables, name); v != nil {
		return b.text(v, where)
	}
	arg := yamldoc.Scalar(n, name)
	var value *yaml.Node
	if strings.Contains(name, ".") {
		value = b.getAtt(n, arg, where)
	} else {
		value = b.ref(n, arg, where)
	}
	if value == nil {
		return "", false
	}
	text, ok := yamldoc.Text(value)
	if !ok {
		b.tell(n, where, "Fn::Sub: ${%s} is no text", name)
	}
	return text, ok
}

func (b *build) join(n, arg *yaml.Node, where string) *yaml.Node {
	args, ok := b.arguments(arg, "Fn::Join", 2, 2, where)
	if !ok {
		return nil
	}
	delimiter, ok := b.text(args[0], where)
	list := b.eval(args[1], where)
	if !ok || list == nil {
		return nil
	}
	parts, ok := b.textsOf(list, where)
	if !ok {
		return nil
	}
	return yamldoc.Scalar(n, strings.Join(parts, delimiter))
}

// textsOf gives the texts of an evaluated list.
func (b *build) textsOf(list *yaml.Node, where string) (texts []string, ok bool) {
	if list.Kind != yaml.SequenceNode {
		b.tell(list, where, "a list of texts is expected here")
		return nil, false
	}
	for _, c := range list.Content {
		text, ok := yamldoc.Text(c)
		if !ok {
			b.tell(c, where, "a text is expected here")
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, true
}

func (b *build) selectOne(n, arg *yaml.Node, where string) *yaml.Node {
	args, ok := b.arguments(arg, "Fn::Select", 2, 2, where)
	if !ok {
		return nil
	}
	text, ok := b.text(args[0], where)
	list := b.eval(args[1], where)
	if !ok || list == nil {
		return nil
	}
	i, err := strconv.Atoi(text)
	if err != nil || list.Kind != yaml.SequenceNode || i < 0 || i >= len(list.Content) {
		b.tell(n, where, "Fn::Select requires a list argument with two elements: an integer index and a list that has it")
		return nil
	}
	return list.Content[i]
}

func (b *build) split(n, arg *yaml.Node, where string) *yaml.Node {
	args, ok := b.arguments(arg, "Fn::Split", 2, 2, where)
	if !ok {
		return nil
	}
	delimiter, ok1 := b.text(args[0], where)
	text, ok2 := b.text(args[1], where)
	if !ok1 || !ok2 {
		return nil
	}
	if delimiter == "" {
		b.tell(n, where, "Fn::Split: the delimiter is empty")
		return nil
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Column: n.Column}
	for part := range strings.SplitSeq(text, delimiter) {
		list.Content = append(list.Content, yamldoc.Scalar(n, part))
	}
	return list
}

func (b *build) ifThenElse(n, arg *yaml.Node, where string) *yaml.Node {
	args, ok := b.arguments(arg, "Fn::If", 3, 3, where)
	if !ok {
		return nil
	}
	name, ok := yamldoc.Text(args[0])
	if !ok {
		b.tell(n, where, "Fn::If names a condition first")
		return nil
	}
	holds, ok := b.conditionNamed(args[0], name, where)
	switch {
	case !ok:
		return nil
	case holds:
		return b.eval(args[1], where)
	}
	return b.eval(args[2], where)
}

func (b *build) findInMap(n, arg *yaml.Node, where string) *yaml.Node {
	args, ok := b.arguments(arg, "Fn::FindInMap", 3, 3, where)
	if !ok {
		return nil
	}
	at, path := yamldoc.Get(b.t.root, "Mappings"), []string{}
	for _, a := range args {
		key, ok := b.text(a, where)
		if !ok {
			return nil
		}
		path = append(path, key)
		at = yamldoc.Get(at, key)
	}
	if at == nil {
		b.tell(n, where, "Unable to get mapping for %s", strings.Join(path, "::"))
		return nil
	}
	return b.eval(at, where)
}

// conditionNamed evaluates an entry of Conditions, once.
func (b *build) conditionNamed(at *yaml.Node, name, where string) (holds, ok bool) {
	if c, done := b.conditions[name]; done {
		if c.pending {
			b.tell(at, where, "the condition %s depends on itself", name)
			return false, false
		}
		return c.holds, c.ok
	}
	n := yamldoc.Get(yamldoc.Get(b.t.root, "Conditions"), name)
	if n == nil {
		b.tell(at, where, "there is no condition %s", name)
		return false, false
	}
	b.conditions[name] = conditionState{pending: true}
	holds, ok = b.condition(n, "Conditions."+name)
	b.conditions[name] = conditionState{holds: holds, ok: ok}
	return holds, ok
}

type conditionState struct{ pending, holds, ok bool }

func (b *build) condition(n *yaml.Node, where string) (holds, ok bool) {
	name, arg, isFunction := function(n)
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "Condition" {
		name, arg, isFunction = "Condition", n.Content[1], true
	}
	if !isFunction {
		b.tell(n, where, "a condition is one of Fn::And, Fn::Equals, Fn::Not, Fn::Or, Condition")
		return false, false
	}
	switch name {
	case "Condition":
		text, _ := yamldoc.Text(arg)
		return b.conditionNamed(n, text, where)
	case "Fn::Equals":
		args, ok := b.arguments(arg, name, 2, 2, where)
		if !ok {
			return false, false
		}
		x, y := b.eval(args[0], where), b.eval(args[1], where)
		if x == nil || y == nil {
			return false, false
		}
		return equal(x, y), true
	case "Fn::Not":
		args, ok := b.arguments(arg, name, 1, 1, where)
		if !ok {
			return false, false
		}
		holds, ok = b.condition(args[0], where)
		return !holds, ok
	case "Fn::And", "Fn::Or":
		args, ok := b.arguments(arg, name, 2, 10, where)
		if !ok {
			return false, false
		}
		return b.several(args, name == "Fn::And", where)
	}
	b.tell(n, where, "the function %s gives no condition", name)
	return false, false
}

func (b *build) several(args []*yaml.Node, and bool, where string) (holds, ok bool) {
	holds = and
	for _, a := range args {
		one, ok := b.condition(a, where)
		if !ok {
			return false, false
		}
		if and {
			holds = holds && one
		} else {
			holds = holds || one
		}
	}
	return holds, true
}

func equal(x, y *yaml.Node) bool {
	if a, ok := yamldoc.Text(x); ok {
		c, ok := yamldoc.Text(y)
		return ok && a == c
	}
	return string(yamldoc.JSON(x)) == string(yamldoc.JSON(y))
}
