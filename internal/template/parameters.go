package template

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/yamldoc"
)

// parameter is one entry of Parameters with its value.
type parameter struct {
	name   string
	key    *yaml.Node
	node   *yaml.Node
	kind   string
	isList bool
	value  string
	known  bool // false: of the parameter store, which is not there
}

func (l *loader) readParameters(n *yaml.Node) {
	for key, value := range yamldoc.Pairs(n) {
		where := "Parameters." + key.Value
		for k := range yamldoc.Pairs(value) {
			switch k.Value {
			case "Type", "Default", "AllowedValues", "AllowedPattern", "ConstraintDescription", "Description", "MinLength", "MaxLength",
				"MinValue", "MaxValue", "NoEcho":
			default:
				l.tell(k, where+"."+k.Value, "no member of a parameter")
			}
		}
		kind, _ := yamldoc.Text(yamldoc.Get(value, "Type"))
		p := &parameter{name: key.Value, key: key, node: value, kind: kind, known: true}
		switch {
		case kind == "String", kind == "Number":
		case kind == "CommaDelimitedList", strings.HasPrefix(kind, "List<"):
			p.isList = true
		case strings.HasPrefix(kind, "AWS::SSM::Parameter::"):
			p.known = false
		case strings.HasPrefix(kind, "AWS::"): // ids of resources: texts
		default:
			l.tell(value, where+".Type", "%q is no type of a parameter", kind)
			continue
		}
		l.t.parameters[key.Value] = p
	}
}

// bindParameters gives each parameter its value: the caller's, or its default.
func (l *loader) bindParameters() {
	given := l.t.opts.Parameters
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if l.t.parameters[name] == nil {
			l.tell(nil, "Parameters", "the parameter %s was given, and the file has none of that name", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.t.parameters)) {
		p := l.t.parameters[name]
		value, ok := given[name]
		if ok {
			p.known = true
		} else if d := yamldoc.Get(p.node, "Default"); d != nil {
			if value, ok = yamldoc.Text(d); !ok && !yamldoc.IsNull(d) {
				l.tell(d, "Parameters."+name+".Default", "is a text")
			}
		} else {
			l.tell(p.key, "Parameters."+name, "has no default; give it with --parameter %s=VALUE", name)
			continue
		}
		p.value = value
		if p.known {
			l.checkParameter(p)
		}
	}
}

func (l *loader) checkParameter(p *parameter) {
	where := "Parameters." + p.name
	shown := func(v string) string {
		if secret, _ := yamldoc.Bool(yamldoc.Get(p.node, "NoEcho")); secret {
			return "****"
		}
		return v
	}
	parts := []string{p.value}
	if p.isList {
		parts = strings.Split(p.value, ",")
	}
	for _, v := range parts {
		v = strings.TrimSpace(v)
		l.checkValue(p, v, shown(v), where)
	}
	bound := func(member string, than func(bound float64) bool, format string) {
		n := yamldoc.Get(p.node, member)
		if n == nil {
			return
		}
		text, _ := yamldoc.Text(n)
		b, err := strconv.ParseFloat(text, 64)
		if err != nil {
			l.tell(n, where+"."+member, "is a number")
		} else if than(b) {
			l.tell(p.key, where, format, shown(p.value), text)
		}
	}
	bound("MinLength", func(b float64) bool { return float64(len(p.value)) < b }, "%q is shorter than %s")
	bound("MaxLength", func(b float64) bool { return float64(len(p.value)) > b }, "%q is longer than %s")
	if p.kind == "Number" {
		v, _ := strconv.ParseFloat(p.value, 64) // checkValue has told of what is no number
		bound("MinValue", func(b float64) bool { return v < b }, "%s is below %s")
		bound("MaxValue", func(b float64) bool { return v > b }, "%s is above %s")
	}
}

// checkValue checks one value; shown is what a problem may say of it.
func (l *loader) checkValue(p *parameter, v, shown, where string) {
	if p.kind == "Number" || p.kind == "List<Number>" {
		if _, err := strconv.ParseFloat(v, 64); err != nil {
			l.tell(p.key, where, "%q is no number", shown)
		}
	}
	if allowed := yamldoc.Get(p.node, "AllowedValues"); allowed != nil {
		var texts []string
		for _, c := range allowed.Content {
			text, _ := yamldoc.Text(c)
			texts = append(texts, text)
		}
		if !slices.Contains(texts, v) {
			l.tell(p.key, where, "%q is none of %s", shown, strings.Join(texts, ", "))
		}
	}
	if n := yamldoc.Get(p.node, "AllowedPattern"); n != nil {
		pattern, _ := yamldoc.Text(n)
		re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
		if err != nil {
			l.tell(n, where+".AllowedPattern", "%v", err)
		} else if !re.MatchString(v) {
			l.tell(p.key, where, "%q does not fit the pattern %s", shown, pattern)
		}
	}
}
