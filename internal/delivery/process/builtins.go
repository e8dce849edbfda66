package process

// cost says what a function's work depends on, and so what is put in front of a call of it.
type cost uint8

const (
	// inSteps: gojq makes steps of it, or it is about as cheap as one.
	inSteps cost = iota
	// ofInput: it looks at the whole of its input and of what its arguments give: _weigh.
	ofInput
	// ofProduct: it compares all of its input with all of its argument: _product.
	ofProduct
	// ofMatch: a regular expression, matched once. It must be a literal: gojq keeps every one that it has compiled.
	ofMatch
	// ofMatches: matched again and again (unless its flags have no g), in the square of the input: _square. A literal, too.
	ofMatches
	// ofPattern: strptime, whose format must be a literal without a zone's name.
	ofPattern
)

// functions are those of jq 1.6 that a program may call. What is not here, not in refused and not defined by the program is
// unknown: later versions of jq have more, and a query that works here shall work in the service.
var functions = map[string]cost{
	"not/0": inSteps, "map/1": inSteps, "map_values/1": inSteps, "select/1": inSteps, "empty/0": inSteps, "type/0": inSteps,
	"length/0": inSteps, "utf8bytelength/0": inSteps, "has/1": inSteps, "in/1": inSteps, "path/1": inSteps, "paths/0": inSteps,
	"paths/1": inSteps, "getpath/1": inSteps, "del/1": inSteps, "delpaths/1": inSteps, "recurse/0": inSteps, "recurse/1": inSteps,
	"recurse/2": inSteps, "with_entries/1": inSteps, "walk/1": inSteps, "while/2": inSteps, "until/2": inSteps, "repeat/1": inSteps,
	"range/1": inSteps, "range/2": inSteps, "range/3": inSteps, "first/0": inSteps, "first/1": inSteps, "last/0": inSteps,
	"last/1": inSteps, "nth/1": inSteps, "nth/2": inSteps, "limit/2": inSteps, "isempty/1": inSteps, "all/0": inSteps, "all/1": inSteps,
	"all/2": inSteps, "any/0": inSteps, "any/1": inSteps, "any/2": inSteps, "arrays/0": inSteps, "objects/0": inSteps,
	"iterables/0": inSteps, "booleans/0": inSteps, "numbers/0": inSteps, "finites/0": inSteps, "normals/0": inSteps,
	"strings/0": inSteps, "nulls/0": inSteps, "values/0": inSteps, "scalars/0": inSteps,

	"add/0": ofInput, "tostring/0": ofInput, "tonumber/0": ofInput, "tojson/0": ofInput, "fromjson/0": ofInput, "format/1": ofInput,
	"reverse/0": ofInput, "keys/0": ofInput, "to_entries/0": ofInput, "from_entries/0": ofInput, "flatten/0": ofInput,
	"flatten/1": ofInput, "min/0": ofInput, "max/0": ofInput, "sort/0": ofInput, "unique/0": ofInput, "min_by/1": ofInput,
	"max_by/1": ofInput, "sort_by/1": ofInput, "group_by/1": ofInput, "unique_by/1": ofInput, "bsearch/1": ofInput, "explode/0": ofInput,
	"implode/0": ofInput, "split/1": ofInput, "startswith/1": ofInput, "endswith/1": ofInput, "ltrimstr/1": ofInput,
	"rtrimstr/1": ofInput, "ascii_downcase/0": ofInput, "ascii_upcase/0": ofInput, "error/0": ofInput, "error/1": ofInput,
	"IN/1": ofInput, "IN/2": ofInput,

	"join/1": ofProduct, "contains/1": ofProduct, "inside/1": ofProduct, "index/1": ofProduct, "rindex/1": ofProduct,
	"indices/1": ofProduct,

	"test/1": ofMatch, "test/2": ofMatch, "match/1": ofMatch, "capture/1": ofMatch,
	"match/2": ofMatches, "capture/2": ofMatches, "scan/1": ofMatches, "split/2": ofMatches, "splits/1": ofMatches,
	"splits/2": ofMatches, "sub/2": ofMatches, "sub/3": ofMatches, "gsub/2": ofMatches, "gsub/3": ofMatches,

	"gmtime/0": inSteps, "mktime/0": inSteps, "strftime/1": ofInput, "todate/0": inSteps, "todateiso8601/0": inSteps,
	"strptime/1": ofPattern, "fromdate/0": ofInput, "fromdateiso8601/0": ofInput,

	"infinite/0": inSteps, "nan/0": inSteps, "isfinite/0": inSteps, "isinfinite/0": inSteps, "isnan/0": inSteps, "isnormal/0": inSteps,
	"floor/0": inSteps, "ceil/0": inSteps, "round/0": inSteps, "trunc/0": inSteps, "rint/0": inSteps, "nearbyint/0": inSteps,
	"fabs/0": inSteps, "sqrt/0": inSteps,
}

// refused are functions of jq 1.6 that a program may not call, each with the reason.
var refused = map[string]string{
	"now": notOfRecord, "input": notOfRecord, "inputs": notOfRecord, "env": notOfRecord, "$ENV": notOfRecord, "input_filename": notOfRecord,
	"input_line_number": notOfRecord, "localtime": notOfRecord, "strflocaltime": notOfRecord, "builtins": notOfRecord,
	"get_search_list": notOfRecord, "get_jq_origin": notOfRecord, "get_prog_origin": notOfRecord, "modulemeta": notOfRecord,
	"debug": "it writes to a terminal", "stderr": "it writes to a terminal", "halt": "it ends the program", "halt_error": "it ends the program",
	"setpath": unbounded, "fromstream": unbounded, "tostream": unbounded, "truncate_stream": unbounded, "transpose": unbounded,
	"combinations": unbounded, "INDEX": unbounded, "JOIN": unbounded,
	// The results of these differ in their last digit from one processor to another, as compilers fuse operations.
	"acos": inexact, "acosh": inexact, "asin": inexact, "asinh": inexact, "atan": inexact, "atan2": inexact, "atanh": inexact,
	"cbrt": inexact, "copysign": inexact, "cos": inexact, "cosh": inexact, "drem": inexact, "erf": inexact, "erfc": inexact,
	"exp": inexact, "exp10": inexact, "exp2": inexact, "expm1": inexact, "fdim": inexact, "fma": inexact, "fmax": inexact,
	"fmin": inexact, "fmod": inexact, "frexp": inexact, "gamma": inexact, "hypot": inexact, "j0": inexact, "j1": inexact, "jn": inexact,
	"ldexp": inexact, "lgamma": inexact, "lgamma_r": inexact, "log": inexact, "log10": inexact, "log1p": inexact, "log2": inexact,
	"logb": inexact, "modf": inexact, "nextafter": inexact, "nexttoward": inexact, "pow": inexact, "pow10": inexact,
	"remainder": inexact, "scalb": inexact, "scalbln": inexact, "significand": inexact, "sin": inexact, "sinh": inexact,
	"tan": inexact, "tanh": inexact, "tgamma": inexact, "y0": inexact, "y1": inexact, "yn": inexact,
	"keys_unsorted": absent, "leaf_paths": absent, "recurse_down": absent, "scalars_or_empty": absent,
}

const (
	notOfRecord = "its value does not depend on the record alone"
	unbounded   = "what it costs is not bounded"
	inexact     = "its result depends on the processor"
	absent      = "Millrace does not have it"
)
