package payload

import (
	"errors"
	"math"

	"millrace/vtl"
)

var errNested = errors.New("the value nests too deep to be written; does it hold itself?")

// Append appends v as JSON text, compact and in order, as $input.json prints it. It fails when the text becomes
// longer than limit bytes.
func Append(dst []byte, v vtl.Value, limit int) ([]byte, error) {
	return appendJSON(dst, v, len(dst)+limit, 0)
}

var errLong = errors.New("the JSON text is too long")

func appendJSON(dst []byte, v vtl.Value, limit, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, errNested
	}
	if len(dst) > limit {
		return dst, errLong
	}
	var err error
	switch v.Kind() {
	case vtl.Text:
		s, _ := v.Str()
		dst = append(dst, '"')
		dst = vtl.AppendJSONString(dst, s, false)
		return append(dst, '"'), nil
	case vtl.ListKind:
		dst = append(dst, '[')
		for i, item := range v.List().Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendJSON(dst, item, limit, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	case vtl.MapKind:
		dst = append(dst, '{')
		for i, e := range v.Map().Entries() {
			if i > 0 {
				dst = append(dst, ',')
			}
			key, err := e.Key.AppendText(nil, limit)
			if err != nil {
				return dst, err
			}
			dst = append(dst, '"')
			dst = vtl.AppendJSONString(dst, string(key), false)
			dst = append(dst, '"', ':')
			if dst, err = appendJSON(dst, e.Value, limit, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	case vtl.Double:
		if f, _ := v.Float64(); math.IsInf(f, 0) || math.IsNaN(f) {
			return append(dst, "null"...), nil
		}
	}
	return v.AppendText(dst, limit)
}
