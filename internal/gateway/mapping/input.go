package mapping

import (
	"fmt"

	"millrace/internal/gateway/mapping/payload"
	"millrace/vtl"
)

// inputObject is $input.
type inputObject struct {
	s      *scope
	parsed bool
	root   vtl.Value
	params *vtl.Map
}

// emptyPayload is what a template sees where there is none.
const emptyPayload = "{}"

func (o *inputObject) body() string {
	if o.s.in.Body == "" {
		return emptyPayload
	}
	return o.s.in.Body
}

// Property gives the raw payload as $input.body.
func (o *inputObject) Property(_ *vtl.Runtime, name string) (vtl.Value, error) {
	if name == "body" {
		return vtl.String(o.body()), nil
	}
	return vtl.Value{}, nil
}

// Call gives json(path), path(path), params() and params(name).
func (o *inputObject) Call(rt *vtl.Runtime, method string, args []vtl.Value) (vtl.Value, bool, error) {
	switch method {
	case "params":
		if len(args) == 0 {
			return vtl.FromMap(o.allParams()), true, nil
		}
		if name, ok := args[0].Str(); ok && len(args) == 1 {
			return o.param(name), true, nil
		}
	case "json", "path":
		if len(args) != 1 {
			return vtl.Value{}, false, nil
		}
		path, ok := args[0].Str()
		if !ok {
			return vtl.Value{}, false, nil
		}
		if method == "json" {
			v, err := o.json(rt, path)
			return v, true, err
		}
		v, _, err := o.find(rt, path)
		return v, true, err
	}
	return vtl.Value{}, false, nil
}

// param looks a name up in path, query string and headers.
func (o *inputObject) param(name string) vtl.Value {
	in := o.s.in
	if v, ok := in.Path.Get(name); ok {
		return vtl.String(v)
	}
	if v, ok := in.Query.Get(name); ok {
		return vtl.String(v)
	}
	if v, ok := in.Header.GetFold(name); ok {
		return vtl.String(v)
	}
	return vtl.Value{}
}

func (o *inputObject) allParams() *vtl.Map {
	if o.params == nil {
		o.params = &vtl.Map{}
		o.params.Put(vtl.String("path"), vtl.FromMap(paramsMap(o.s.in.Path)))
		o.params.Put(vtl.String("querystring"), vtl.FromMap(paramsMap(o.s.in.Query)))
		o.params.Put(vtl.String("header"), vtl.FromMap(paramsMap(o.s.in.Header)))
	}
	return o.params
}

// tree parses the payload, once.
func (o *inputObject) tree(rt *vtl.Runtime) (vtl.Value, error) {
	if o.parsed {
		return o.root, nil
	}
	body := o.body()
	if err := rt.Charge(len(body) / 8); err != nil {
		return vtl.Value{}, err
	}
	root, err := payload.Parse(body, rt)
	if err != nil {
		return vtl.Value{}, err
	}
	o.parsed, o.root = true, root
	return root, nil
}

func (o *inputObject) find(rt *vtl.Runtime, path string) (vtl.Value, bool, error) {
	root, err := o.tree(rt)
	if err != nil {
		return vtl.Value{}, false, err
	}
	if path == "$" {
		return root, true, nil
	}
	p, err := payload.CompilePath(path)
	if err != nil {
		return vtl.Value{}, false, err
	}
	return p.Find(root, rt)
}

// slack is room for what a re-printed payload may grow by without a new buffer.
const slack = 64

func (o *inputObject) json(rt *vtl.Runtime, path string) (vtl.Value, error) {
	if path == "$" && !o.parsed {
		body := o.body()
		if err := rt.Charge(len(body) / 16); err != nil {
			return vtl.Value{}, err
		}
		buf, err := rt.Buffer(len(body) + slack)
		if err != nil {
			return vtl.Value{}, err
		}
		if out, ok := payload.Compact(buf, body); ok {
			if grown := len(out) - cap(buf); grown > 0 {
				if err := rt.Alloc(grown); err != nil {
					return vtl.Value{}, err
				}
			}
			return vtl.Own(out), nil
		}
	}
	v, found, err := o.find(rt, path)
	if err != nil {
		return vtl.Value{}, err
	}
	if !found {
		return vtl.String(`""`), nil
	}
	out, err := payload.Append(nil, v, maxJSON)
	if err != nil {
		return vtl.Value{}, err
	}
	if err := rt.Alloc(len(out)); err != nil {
		return vtl.Value{}, err
	}
	return vtl.Own(out), nil
}

// maxJSON bounds the text of one $input.json: a payload of 10 MB, and what escapes add.
const maxJSON = 32 << 20

// FindText gives the text of a JSONPath in a payload, as parameter mappings use it: a string bare, anything else as
// JSON. Found is false when the path leads nowhere or to null.
func FindText(body, path string) (text string, found bool, err error) {
	p, err := payload.CompilePath(path)
	if err != nil {
		return "", false, err
	}
	root, err := payload.Parse(body, &meter{})
	if err != nil {
		return "", false, err
	}
	v, found, err := p.Find(root, nil)
	if err != nil || !found || v.IsNull() {
		return "", false, err
	}
	if s, ok := v.Str(); ok {
		return s, true, nil
	}
	out, err := payload.Append(nil, v, maxJSON)
	return string(out), err == nil, err
}

// meter bounds a tree that is parsed outside of a rendering.
type meter struct{ used int }

// maxTree is what the tree of a payload may take.
const maxTree = 128 << 20

// Alloc counts bytes.
func (m *meter) Alloc(n int) error {
	if m.used += n; m.used > maxTree {
		return fmt.Errorf("the payload needs more than %d MiB when parsed", maxTree>>20)
	}
	return nil
}
