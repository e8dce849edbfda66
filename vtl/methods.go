package vtl

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
)

// invoke calls a method by name and argument types. An unknown method, or one whose arguments don't fit, gives null;
// what would throw in Java is an error.
func (rt *Runtime) invoke(recv Value, name string, args []Value) (Value, bool, error) {
	switch recv.kind {
	case Text:
		return rt.stringMethod(recv, name, args)
	case ListKind:
		return rt.listMethod(recv, name, args)
	case MapKind:
		return rt.mapMethod(recv, name, args)
	case ObjectKind:
		return recv.ref.(Object).Call(rt, name, args)
	case Boolean:
		return rt.booleanMethod(recv, name, args)
	case Null:
		return Value{}, false, nil
	}
	return rt.numberMethod(recv, name, args)
}

var errTooMany = errors.New("it takes no arguments")

// nullary are the methods that take no arguments; giving them some is an error, not an unknown method.
var nullary = map[string]bool{
	"length": true, "isEmpty": true, "trim": true, "toLowerCase": true, "toUpperCase": true, "hashCode": true,
	"size": true, "clear": true, "iterator": true, "keySet": true, "values": true, "entrySet": true,
	"intValue": true, "longValue": true, "doubleValue": true, "booleanValue": true,
}

func unknownMethod(name string, args []Value) (Value, bool, error) {
	if len(args) > 0 && nullary[name] {
		return Value{}, true, errTooMany
	}
	return Value{}, false, nil
}

func known(v Value, err error) (Value, bool, error) { return v, true, err }

// strs gives the arguments when there are n of them and all are strings.
func strs(args []Value, n int) bool {
	if len(args) != n {
		return false
	}
	for i := range args {
		if args[i].kind != Text {
			return false
		}
	}
	return true
}

// nullString reports whether an argument is null where a string belongs: Java throws.
func nullString(args []Value) bool {
	for i := range args {
		if args[i].kind == Null {
			return true
		}
	}
	return false
}

func ints(args []Value, n int) bool {
	if len(args) != n {
		return false
	}
	for i := range args {
		if args[i].kind != Integer {
			return false
		}
	}
	return true
}

var errNull = errors.New("its argument is null")

func (rt *Runtime) stringMethod(recv Value, name string, args []Value) (Value, bool, error) {
	s := recv.str()
	if err := rt.Charge(len(s) / 64); err != nil {
		return Value{}, true, err
	}
	if len(args) == 0 {
		return rt.plainStringMethod(recv, name)
	}
	if nullString(args) && stringMethods[name] {
		return Value{}, true, errNull
	}
	switch name {
	case "split":
		switch {
		case strs(args, 1):
			return known(rt.split(s, args[0].str(), 0))
		case len(args) == 2 && args[0].kind == Text && args[1].kind == Integer:
			return known(rt.split(s, args[0].str(), int(int32(args[1].bits))))
		}
	case "equals":
		if len(args) == 1 {
			return Bool(args[0].kind == Text && args[0].str() == s), true, nil
		}
	case "charAt", "substring", "indexOf", "lastIndexOf":
		return rt.indexMethod(s, name, args)
	}
	if strs(args, 1) {
		switch a := args[0].str(); name {
		case "contains":
			return Bool(strings.Contains(s, a)), true, nil
		case "startsWith":
			return Bool(strings.HasPrefix(s, a)), true, nil
		case "endsWith":
			return Bool(strings.HasSuffix(s, a)), true, nil
		case "equalsIgnoreCase":
			return Bool(strings.EqualFold(s, a)), true, nil
		case "compareTo":
			return Int(int64(compareStrings(s, a))), true, nil
		case "compareToIgnoreCase":
			return Int(int64(compareStrings(strings.ToLower(s), strings.ToLower(a)))), true, nil
		case "concat":
			return known(rt.concat(recv, args[0]))
		case "matches":
			return known(rt.matches(s, a))
		}
	}
	if strs(args, 2) {
		switch a, b := args[0].str(), args[1].str(); name {
		case "replace":
			return known(rt.replace(s, a, b))
		case "replaceAll":
			return known(rt.replaceRegex(s, a, b, -1))
		case "replaceFirst":
			return known(rt.replaceRegex(s, a, b, 1))
		}
	}
	return unknownMethod(name, args)
}

// stringMethods are those that throw when an argument is null.
var stringMethods = map[string]bool{"contains": true, "startsWith": true, "endsWith": true, "compareTo": true, "concat": true,
	"split": true, "replace": true, "replaceAll": true, "replaceFirst": true, "matches": true, "indexOf": true, "lastIndexOf": true}

func (rt *Runtime) plainStringMethod(recv Value, name string) (Value, bool, error) {
	s := recv.str()
	switch name {
	case "length":
		return Int(int64(utf16Len(s))), true, nil
	case "isEmpty":
		return Bool(s == ""), true, nil
	case "trim":
		return String(strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })), true, nil
	case "toString", "intern":
		return recv, true, nil
	case "toUpperCase", "toLowerCase":
		if err := rt.Alloc(len(s)); err != nil {
			return Value{}, true, err
		}
		if name == "toUpperCase" {
			return String(strings.ToUpper(s)), true, nil
		}
		return String(strings.ToLower(s)), true, nil
	case "hashCode":
		var h int32
		for _, u := range toUTF16(s) {
			h = 31*h + int32(u)
		}
		return Int(int64(h)), true, nil
	}
	return Value{}, false, nil
}

// compareStrings gives what String.compareTo gives.
func compareStrings(a, b string) int {
	x, y := toUTF16(a), toUTF16(b)
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] != y[i] {
			return int(x[i]) - int(y[i])
		}
	}
	return len(x) - len(y)
}

func (rt *Runtime) indexMethod(s, name string, args []Value) (Value, bool, error) {
	if name == "indexOf" || name == "lastIndexOf" {
		from := 0
		if len(args) == 2 && args[1].kind == Integer {
			from = int(int32(args[1].bits))
			args = args[:1]
		} else if len(args) != 1 {
			return unknownMethod(name, args)
		}
		if args[0].kind != Text {
			return unknownMethod(name, args)
		}
		if name == "indexOf" {
			return Int(int64(indexUTF16(s, args[0].str(), from))), true, nil
		}
		i := strings.LastIndex(s, args[0].str())
		if i >= 0 {
			i = utf16Len(s[:i])
		}
		return Int(int64(i)), true, nil
	}
	n := utf16Len(s)
	switch {
	case name == "charAt" && ints(args, 1):
		i := int(int32(args[0].bits))
		if i < 0 || i >= n {
			return Value{}, true, fmt.Errorf("%d is out of range; the length is %d", i, n)
		}
		return known(rt.slice(s, n, i, i+1))
	case name == "substring" && ints(args, 1):
		return known(rt.slice(s, n, int(int32(args[0].bits)), n))
	case name == "substring" && ints(args, 2):
		return known(rt.slice(s, n, int(int32(args[0].bits)), int(int32(args[1].bits))))
	}
	return unknownMethod(name, args)
}

// slice gives the units from i to j of s, which has n.
func (rt *Runtime) slice(s string, n, i, j int) (Value, error) {
	if i < 0 || j > n || i > j {
		return Value{}, fmt.Errorf("%d to %d is out of range; the length is %d", i, j, n)
	}
	if n == len(s) {
		return String(s[i:j]), nil
	}
	if err := rt.Alloc(len(s)); err != nil {
		return Value{}, err
	}
	return String(fromUTF16(toUTF16(s)[i:j])), nil
}

func (rt *Runtime) replace(s, from, to string) (Value, error) {
	count := strings.Count(s, from)
	if count == 0 {
		return String(s), nil
	}
	size := len(s) + count*(len(to)-len(from))
	if err := rt.Alloc(size); err != nil {
		return Value{}, err
	}
	if err := rt.Charge(size / 64); err != nil {
		return Value{}, err
	}
	return String(strings.ReplaceAll(s, from, to)), nil
}

func (rt *Runtime) listMethod(recv Value, name string, args []Value) (Value, bool, error) {
	l := recv.ref.(*List)
	if err := rt.Charge(len(l.Items) / 64); err != nil {
		return Value{}, true, err
	}
	switch len(args) {
	case 0:
		switch name {
		case "size":
			return Int(int64(len(l.Items))), true, nil
		case "isEmpty":
			return Bool(len(l.Items) == 0), true, nil
		case "iterator", "listIterator":
			return recv, true, nil
		case "toString", "toJSONString":
			if name == "toJSONString" && l.Flavor != JSONArray {
				return Value{}, false, nil
			}
			return known(rt.text(recv))
		case "clear":
			if l.Flavor == Array {
				return Value{}, false, nil
			}
			l.Items = nil
			return Value{}, true, nil
		case "hashCode":
			return Int(int64(hashText(recv))), true, nil
		}
	case 1:
		switch name {
		case "get":
			if ints(args, 1) {
				return known(l.at(args[0]))
			}
			return Value{}, false, nil
		case "contains":
			i, err := rt.indexOf(l, args[0])
			return Bool(i >= 0), true, err
		case "indexOf":
			i, err := rt.indexOf(l, args[0])
			return Int(int64(i)), true, err
		case "equals":
			ok, err := rt.same(recv, args[0], 0)
			return Bool(ok), true, err
		}
	}
	if l.Flavor != Array {
		return rt.changeList(recv, l, name, args)
	}
	if name == "set" && len(args) == 2 && args[0].kind == Integer {
		return known(l.replace(args[0], args[1]))
	}
	return unknownMethod(name, args)
}

func (rt *Runtime) changeList(recv Value, l *List, name string, args []Value) (Value, bool, error) {
	switch {
	case name == "add" && len(args) == 1:
		err := rt.Alloc(entryBytes)
		l.Items = append(l.Items, args[0])
		return Bool(true), true, err
	case name == "add" && len(args) == 2 && args[0].kind == Integer:
		i := int(int32(args[0].bits))
		if i < 0 || i > len(l.Items) {
			return Value{}, true, errIndex
		}
		err := rt.Alloc(entryBytes)
		l.Items = append(l.Items, Value{})
		copy(l.Items[i+1:], l.Items[i:])
		l.Items[i] = args[1]
		return Value{}, true, err
	case name == "addAll" && len(args) == 1:
		items, ok := iterable(rt, args[0])
		if !ok {
			return Value{}, false, nil
		}
		err := rt.Alloc(entryBytes * len(items))
		if err == nil {
			l.Items = append(l.Items, append([]Value(nil), items...)...)
		}
		return Bool(len(items) > 0), true, err
	case name == "set" && len(args) == 2 && args[0].kind == Integer:
		return known(l.replace(args[0], args[1]))
	case name == "remove" && len(args) == 1:
		return rt.removeFromList(l, args[0])
	case name == "subList" && ints(args, 2):
		i, j := int(int32(args[0].bits)), int(int32(args[1].bits))
		if i < 0 || j > len(l.Items) || i > j {
			return Value{}, true, errIndex
		}
		err := rt.Alloc(entryBytes * (j - i))
		part := &List{Items: append([]Value(nil), l.Items[i:j]...)}
		return FromList(part), true, err
	}
	return unknownMethod(name, args)
}

func (rt *Runtime) removeFromList(l *List, arg Value) (Value, bool, error) {
	if arg.kind == Integer {
		v, err := l.at(arg)
		if err == nil {
			i := int(arg.bits)
			l.Items = append(l.Items[:i:i], l.Items[i+1:]...)
		}
		return v, true, err
	}
	i, err := rt.indexOf(l, arg)
	if i >= 0 {
		l.Items = append(l.Items[:i:i], l.Items[i+1:]...)
	}
	return Bool(i >= 0), true, err
}

func (l *List) at(index Value) (Value, error) {
	i := int(int32(index.bits))
	if i < 0 || i >= len(l.Items) {
		return Value{}, fmt.Errorf("%d is out of range; the size is %d", i, len(l.Items))
	}
	return l.Items[i], nil
}

func (l *List) replace(index, v Value) (Value, error) {
	old, err := l.at(index)
	if err == nil {
		l.Items[int(int32(index.bits))] = v
	}
	return old, err
}

func (rt *Runtime) indexOf(l *List, v Value) (int, error) {
	for i := range l.Items {
		if ok, err := rt.same(l.Items[i], v, 0); ok || err != nil {
			return i, err
		}
	}
	return -1, nil
}

func hashText(v Value) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(toText(v))) // a hash never fails
	return int32(h.Sum32())
}

// mapEntry is an element of entrySet.
type mapEntry struct{ Entry }

// Property gives key and value.
func (e *mapEntry) Property(_ *Runtime, name string) (Value, error) {
	switch name {
	case "key":
		return e.Key, nil
	case "value":
		return e.Value, nil
	}
	return Value{}, nil
}

// Call gives the same by getters.
func (e *mapEntry) Call(_ *Runtime, method string, args []Value) (Value, bool, error) {
	if len(args) == 0 {
		switch method {
		case "getKey":
			return e.Key, true, nil
		case "getValue":
			return e.Value, true, nil
		}
	}
	return Value{}, false, nil
}

// AppendText prints key=value.
func (e *mapEntry) AppendText(dst []byte) []byte {
	dst = append(dst, toText(e.Key)...)
	dst = append(dst, '=')
	return append(dst, toText(e.Value)...)
}

func (rt *Runtime) mapMethod(recv Value, name string, args []Value) (Value, bool, error) {
	m := recv.ref.(*Map)
	switch len(args) {
	case 0:
		return rt.plainMapMethod(recv, m, name)
	case 1:
		switch name {
		case "get":
			v, _ := m.Get(args[0])
			return v, true, nil
		case "containsKey":
			_, ok := m.Get(args[0])
			return Bool(ok), true, nil
		case "containsValue":
			for _, e := range m.entries {
				if ok, err := rt.same(e.Value, args[0], 0); ok || err != nil {
					return Bool(ok), true, err
				}
			}
			return Bool(false), true, nil
		case "remove":
			if err := rt.Charge(m.Len() / 8); err != nil {
				return Value{}, true, err
			}
			return m.Remove(args[0]), true, nil
		case "putAll":
			other := args[0].Map()
			if other == nil {
				return Value{}, false, nil
			}
			err := rt.Alloc(entryBytes * other.Len())
			for _, e := range append([]Entry(nil), other.entries...) {
				m.Put(e.Key, e.Value)
			}
			return Value{}, true, err
		case "equals":
			ok, err := rt.same(recv, args[0], 0)
			return Bool(ok), true, err
		}
	case 2:
		switch name {
		case "put":
			err := rt.Alloc(entryBytes)
			return m.Put(args[0], args[1]), true, err
		case "getOrDefault":
			if v, ok := m.Get(args[0]); ok {
				return v, true, nil
			}
			return args[1], true, nil
		case "putIfAbsent":
			if v, ok := m.Get(args[0]); ok {
				return v, true, nil
			}
			err := rt.Alloc(entryBytes)
			return m.Put(args[0], args[1]), true, err
		}
	}
	return unknownMethod(name, args)
}

func (rt *Runtime) plainMapMethod(recv Value, m *Map, name string) (Value, bool, error) {
	collect := func(item func(*Entry) Value) (Value, bool, error) {
		if err := rt.Alloc(entryBytes * (m.Len() + 1)); err != nil {
			return Value{}, true, err
		}
		l := &List{Items: make([]Value, 0, m.Len())}
		for i := range m.entries {
			l.Items = append(l.Items, item(&m.entries[i]))
		}
		return FromList(l), true, nil
	}
	switch name {
	case "size":
		return Int(int64(m.Len())), true, nil
	case "isEmpty":
		return Bool(m.Len() == 0), true, nil
	case "keySet":
		return collect(func(e *Entry) Value { return e.Key })
	case "values":
		return collect(func(e *Entry) Value { return e.Value })
	case "entrySet":
		return collect(func(e *Entry) Value { return FromObject(&mapEntry{*e}) })
	case "toString":
		return known(rt.text(recv))
	case "clear":
		m.entries, m.index = nil, nil
		return Value{}, true, nil
	case "hashCode":
		return Int(int64(hashText(recv))), true, nil
	}
	return Value{}, false, nil
}
