package mapping

import (
	"fmt"
	"strconv"
	"strings"

	"millrace/vtl"
)

// Overrides are what templates left in $context.requestOverride and responseOverride. The value that the request
// template has filled goes to the response template, which can read it. The zero value is empty.
type Overrides struct {
	request, response overrideObject
}

func (o *Overrides) begin() {
	o.request.begin("requestOverride", requestGroups)
	o.response.begin("responseOverride", responseGroups)
}

var (
	requestGroups  = []string{"path", "header", "querystring"}
	responseGroups = []string{"header"}
)

// Reset empties the overrides for another request.
func (o *Overrides) Reset() { *o = Overrides{} }

// Values of one overridden parameter: one, or several for a header of several values.
type Values struct {
	Name   string
	Values []string
}

// Path, Query and Header are the overridden parameters of the integration request.
func (o *Overrides) Path() []Values { return o.request.values("path") }

// Query gives the overridden query parameters.
func (o *Overrides) Query() []Values { return o.request.values("querystring") }

// Header gives the overridden headers of the integration request.
func (o *Overrides) Header() []Values { return o.request.values("header") }

// ResponseHeader gives the overridden headers of the method response.
func (o *Overrides) ResponseHeader() []Values { return o.response.values("header") }

// Status gives the overridden status; anything but an integer from 100 to 599 is ignored, as the service does.
func (o *Overrides) Status() (int, bool) {
	if o.response.own == nil {
		return 0, false
	}
	v := o.response.own.GetString("status")
	n, ok := v.Int64()
	if s, isText := v.Str(); isText {
		parsed, err := strconv.ParseInt(s, 10, 32)
		n, ok = parsed, err == nil
	}
	if !ok || n < 100 || n > 599 {
		return 0, false
	}
	return int(n), true
}

// overrideObject is $context.requestOverride or responseOverride: groups of parameters, and members of its own.
type overrideObject struct {
	name   string
	groups []string
	group  [3]groupObject
	own    *vtl.Map
	set    map[string]bool // by this rendering
}

func (o *overrideObject) begin(name string, groups []string) {
	o.name, o.groups = name, groups
	clear(o.set)
	for i, g := range groups {
		o.group[i].owner, o.group[i].name = o, g
	}
}

// once notes that this rendering overrides a parameter, and refuses a second time: the service answers 5XX.
func (o *overrideObject) once(name string) error {
	if o.set[name] {
		return fmt.Errorf("$context.%s.%s is overridden twice", o.name, name)
	}
	if o.set == nil {
		o.set = map[string]bool{}
	}
	o.set[strings.Clone(name)] = true
	return nil
}

// maxOverrides bounds the parameters that templates override in one request.
const maxOverrides = 1000

var errOverrides = fmt.Errorf("more than %d parameters are overridden", maxOverrides)

func put(m **vtl.Map, name string, v vtl.Value) error {
	if *m == nil {
		*m = &vtl.Map{}
	}
	if (*m).Len() >= maxOverrides {
		return errOverrides
	}
	kept, err := keep(v, 0)
	if err != nil {
		return err
	}
	(*m).Put(vtl.String(strings.Clone(name)), kept)
	return nil
}

// keep copies a value out of the rendering's arena. Collections other than lists of scalars become their text.
func keep(v vtl.Value, depth int) (vtl.Value, error) {
	switch v.Kind() {
	case vtl.Text:
		s, _ := v.Str()
		return vtl.String(strings.Clone(s)), nil
	case vtl.ListKind:
		if depth > 0 {
			break
		}
		items := v.List().Items
		if len(items) > maxOverrides {
			return vtl.Value{}, errOverrides
		}
		l := &vtl.List{Items: make([]vtl.Value, len(items))}
		for i := range items {
			kept, err := keep(items[i], depth+1)
			if err != nil {
				return vtl.Value{}, err
			}
			l.Items[i] = kept
		}
		return vtl.FromList(l), nil
	case vtl.MapKind, vtl.ObjectKind:
	default:
		return v, nil
	}
	text, err := v.AppendText(nil, maxPrinted)
	return vtl.String(string(text)), err
}

// Property gives a group, or a member that a template has set.
func (o *overrideObject) Property(_ *vtl.Runtime, name string) (vtl.Value, error) {
	for i, g := range o.groups {
		if g == name {
			return vtl.FromObject(&o.group[i]), nil
		}
	}
	if o.own == nil {
		return vtl.Value{}, nil
	}
	return o.own.GetString(name), nil
}

// SetProperty sets a member: the status, or one of the template's own.
func (o *overrideObject) SetProperty(_ *vtl.Runtime, name string, v vtl.Value) error {
	for i, g := range o.groups {
		if g != name {
			continue
		}
		m := v.Map()
		if m == nil {
			return fmt.Errorf("$context.%s.%s takes a map", o.name, name)
		}
		for _, e := range m.Entries() {
			key, _ := e.Key.Str()
			if err := o.group[i].SetProperty(nil, key, e.Value); err != nil {
				return err
			}
		}
		return nil
	}
	if err := o.once(name); err != nil {
		return err
	}
	return put(&o.own, name, v)
}

// Call calls the methods of a map.
func (o *overrideObject) Call(rt *vtl.Runtime, method string, args []vtl.Value) (vtl.Value, bool, error) {
	return callMap(rt, o, method, args, func() *vtl.Map {
		m := &vtl.Map{Silent: true}
		for i, g := range o.groups {
			m.Put(vtl.String(g), vtl.FromObject(&o.group[i]))
		}
		if o.own != nil {
			for _, e := range o.own.Entries() {
				m.Put(e.Key, e.Value)
			}
		}
		return m
	})
}

func (o *overrideObject) values(group string) []Values {
	for i, g := range o.groups {
		if g == group {
			return o.group[i].values()
		}
	}
	return nil
}

// Members gives what was set, group by group, for case files and traces.
func (o *Overrides) Members() (request, response *vtl.Map) {
	return o.request.members(), o.response.members()
}

func (o *overrideObject) members() *vtl.Map {
	m := &vtl.Map{}
	for i, g := range o.groups {
		if o.group[i].m != nil {
			m.Put(vtl.String(g), vtl.FromMap(o.group[i].m))
		}
	}
	if o.own != nil {
		for _, e := range o.own.Entries() {
			m.Put(e.Key, e.Value)
		}
	}
	return m
}

// groupObject is one group of parameters, such as $context.requestOverride.header.
type groupObject struct {
	owner *overrideObject
	name  string
	m     *vtl.Map
}

// Property gives a parameter that a template has set.
func (g *groupObject) Property(_ *vtl.Runtime, name string) (vtl.Value, error) {
	if g.m == nil {
		return vtl.Value{}, nil
	}
	return g.m.GetString(name), nil
}

// SetProperty overrides a parameter.
func (g *groupObject) SetProperty(_ *vtl.Runtime, name string, v vtl.Value) error {
	if err := g.owner.once(g.name + "." + name); err != nil {
		return err
	}
	return put(&g.m, name, v)
}

// Call calls the methods of a map.
func (g *groupObject) Call(rt *vtl.Runtime, method string, args []vtl.Value) (vtl.Value, bool, error) {
	return callMap(rt, g, method, args, func() *vtl.Map {
		m := &vtl.Map{Silent: true}
		if g.m != nil {
			for _, e := range g.m.Entries() {
				m.Put(e.Key, e.Value)
			}
		}
		return m
	})
}

func (g *groupObject) values() []Values {
	if g.m == nil {
		return nil
	}
	var all []Values
	for _, e := range g.m.Entries() {
		name, _ := e.Key.Str()
		v := Values{Name: name}
		if l := e.Value.List(); l != nil {
			for _, item := range l.Items {
				v.Values = append(v.Values, text(item))
			}
		} else {
			v.Values = []string{text(e.Value)}
		}
		all = append(all, v)
	}
	return all
}

func text(v vtl.Value) string {
	b, _ := v.AppendText(nil, maxPrinted) // what keep has kept is bounded
	return string(b)
}

// callMap calls a method on an object that behaves like a map: put sets a property, everything else reads a copy.
func callMap(rt *vtl.Runtime, o vtl.Indexed, method string, args []vtl.Value, snapshot func() *vtl.Map) (vtl.Value, bool, error) {
	if name, ok := firstString(args); ok {
		switch {
		case method == "get" && len(args) == 1:
			v, err := o.Property(rt, name)
			return v, true, err
		case method == "put" && len(args) == 2:
			old, err := o.Property(rt, name)
			if err == nil {
				err = o.SetProperty(rt, name, args[1])
			}
			return old, true, err
		}
	}
	return rt.Invoke(vtl.FromMap(snapshot()), method, args)
}

func firstString(args []vtl.Value) (string, bool) {
	if len(args) == 0 {
		return "", false
	}
	return args[0].Str()
}
