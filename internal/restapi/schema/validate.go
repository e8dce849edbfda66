package schema

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Unreadable is the refusal of a body that is no JSON.
const Unreadable = "[Unknown error parsing request body]"

// The bounds of one body. Its sender chooses depth and length, its schema how often each part of it is looked at.
const (
	// maxWork bounds how many bytes are looked at, in all; more are allowed in the measure of the body's length, so that
	// a schema of many alternatives takes a body of the service's 10 MB.
	maxWork       = 16 << 20
	workPerByte   = 64
	workPerSchema = 32 // what judging a value by a schema counts as
	// maxReasons and maxReasonBytes bound the text of a refusal.
	maxReasons     = 20
	maxReasonBytes = 512
	// maxJudged is how deep judging may go, so that the stack has a bound: a body's depth times what a schema says of one
	// value by way of other schemas.
	maxJudged = 20_000
	// maxUnique is how many items uniqueItems compares; each takes some 40 bytes meanwhile.
	maxUnique = 1 << 18
)

// Validate judges a body. It gives "" for one that fits, else why it doesn't: "[object has missing required properties
// (["id"])]". An empty body is no JSON.
//
// Of a name that an object has twice every value has to fit: who reads the body later may take either.
func (s *Schema) Validate(body string) string {
	if !wellFormed(body) {
		return Unreadable
	}
	w := walker{src: body, left: maxWork + workPerByte*len(body)}
	start := blanks(body, 0)
	if _, ok := w.judge(s.root, start); ok {
		return ""
	}
	// Once more, for the reasons. It is paid for by what is left, so that a refusal costs no more than an acceptance may.
	w.tells, w.left = true, w.left+maxWork
	w.judge(s.root, start)
	if w.left < 0 {
		w.reasons = append(w.reasons, "validation takes more steps than are allowed")
	}
	return "[" + strings.Join(w.reasons, ", ") + "]"
}

// walker is one judgement on its way. As long as it tells, it goes on after the first fault, to find the others.
type walker struct {
	src     string
	left    int // of its work
	depth   int // schemas that judge, each for the one before
	tells   bool
	reasons []string
}

// spend pays for work; false: there is none left.
func (w *walker) spend(n int) bool {
	w.left -= n
	return w.left >= 0
}

// fault notes a reason. It reports whether to go on.
func (w *walker) fault(format string, args ...any) bool {
	if !w.tells {
		return false
	}
	text := fmt.Sprintf(format, args...)
	if len(text) > maxReasonBytes {
		text = strings.ToValidUTF8(text[:maxReasonBytes], "") + "..."
	}
	w.reasons = append(w.reasons, text)
	w.tells = len(w.reasons) < maxReasons
	return w.tells
}

// quietly judges without telling why.
func (w *walker) quietly(n *node, at int) bool {
	tells := w.tells
	w.tells = false
	_, ok := w.judge(n, at)
	w.tells = tells
	return ok
}

// judge judges the value at a place and gives its end. After a fault the end is known only while the walker tells.
func (w *walker) judge(n *node, at int) (end int, ok bool) {
	if w.depth == maxJudged {
		w.left, w.tells = -1, false
		return 0, false
	}
	w.depth++
	end, ok = w.judgeDeeper(n, at)
	w.depth--
	return end, ok
}

func (w *walker) judgeDeeper(n *node, at int) (end int, ok bool) {
	for n.ref != nil {
		n = n.ref
	}
	if !w.spend(workPerSchema) {
		w.tells = false
		return 0, false
	}
	ok = true
	kind := kindOf(w.src, at)
	if n.types != 0 && n.types&kind == 0 {
		if !w.tells || !w.fault("instance type (%s) does not match any allowed primitive type (allowed: %s)", kind.names()[0], quotedList(n.types.listed())) {
			return 0, false
		}
		return skip(w.src, at), false // the rules for another kind say nothing
	}
	switch {
	case kind == isObject && n.object:
		end, ok = w.members(n, at)
	case kind == isArray && n.array:
		end, ok = w.itemsOf(n, at)
	default:
		end = skip(w.src, at)
		if !w.spend(end - at) {
			w.tells = false
			return 0, false
		}
		switch kind {
		case isString:
			ok = w.text(n, w.src[at:end])
		case isNumber, isInteger:
			ok = w.numeric(n, w.src[at:end])
		}
	}
	if !ok && !w.tells {
		return 0, false
	}
	if n.enum != nil || n.all != nil || n.any != nil || n.one != nil || n.not != nil {
		ok = w.combined(n, at, end) && ok
	}
	return end, ok
}

// listed is a set as refusals list it: that a number may be an integer goes without saying.
func (k kinds) listed() []string {
	if k&isNumber != 0 {
		k &^= isInteger
	}
	return k.names()
}

// kindOf tells what begins at a place. An integer is a number without fraction and exponent, as draft 4 has it.
func kindOf(s string, at int) kinds {
	switch s[at] {
	case '{':
		return isObject
	case '[':
		return isArray
	case '"':
		return isString
	case 't', 'f':
		return isBoolean
	case 'n':
		return isNull
	}
	if i := digits(s, at+1); i < len(s) && (s[i] == '.' || s[i] == 'e' || s[i] == 'E') {
		return isNumber
	}
	return isInteger
}

// combined judges by what holds for values of any kind.
func (w *walker) combined(n *node, at, end int) bool {
	ok := true
	if n.enum != nil && !w.inEnum(n, at, end) {
		if ok = false; !w.tells || !w.fault("instance value (%s) not found in enum (possible values: %s)", w.src[at:end], enumText(n.enum)) {
			return false
		}
	}
	if matched := w.countAll(n.all, at); matched < len(n.all) {
		if ok = false; !w.tells || !w.fault("instance failed to match all required schemas (matched only %d out of %d)", matched, len(n.all)) {
			return false
		}
	}
	if n.any != nil && w.count(n.any, at, 1) == 0 {
		if ok = false; !w.tells || !w.fault("instance failed to match at least one required schema among %d", len(n.any)) {
			return false
		}
	}
	if n.one != nil {
		enough := 2
		if w.tells {
			enough = len(n.one)
		}
		if matched := w.count(n.one, at, enough); matched != 1 {
			if ok = false; !w.tells || !w.fault("instance failed to match exactly one schema (matched %d out of %d)", matched, len(n.one)) {
				return false
			}
		}
	}
	if n.not != nil && w.quietly(n.not, at) {
		if ok = false; !w.tells || !w.fault("instance matched a schema which it should not have") {
			return false
		}
	}
	return ok && w.left >= 0
}

// presence notes which of the names that matter an object has. The first are kept without memory of their own.
type presence struct {
	few  uint64
	many []bool
}

func newPresence(n int) (p presence) {
	const few = 64
	if n > few {
		p.many = make([]bool, n)
	}
	return p
}

func (p *presence) note(i int) {
	if p.many != nil {
		p.many[i] = true
		return
	}
	p.few |= 1 << i
}

func (p *presence) has(i int) bool {
	if p.many != nil {
		return p.many[i]
	}
	return p.few&(1<<i) != 0
}

// members judges an object.
func (w *walker) members(n *node, at int) (end int, ok bool) {
	there := newPresence(n.tracked)
	var strangers []string // names that are not allowed
	ok = true
	count := 0
	i, last := blanks(w.src, at+1), false
	if last = w.src[i] == '}'; last {
		i++
	}
	for !last {
		nameEnd := skipString(w.src, i)
		name := meaning(w.src[i:nameEnd])
		value := blanks(w.src, blanks(w.src, nameEnd)+1)
		if !w.spend(value - i) {
			w.tells = false
			return 0, false
		}
		count++
		valueEnd, fits, stranger := w.member(n, name, value, &there)
		switch {
		case stranger && !w.tells:
			return 0, false
		case stranger:
			strangers, ok = append(strangers, name), false
		case !fits:
			if ok = false; !w.tells {
				return 0, false
			}
		}
		i, last = next(w.src, valueEnd)
	}
	if len(strangers) > 0 && !w.fault("object instance has properties which are not allowed by the schema: %s", quotedList(strangers)) {
		return 0, false
	}
	return i, w.whole(n, at, count, &there) && ok
}

// member judges a member by all that the schema says of its name.
func (w *walker) member(n *node, name string, value int, there *presence) (end int, ok, stranger bool) {
	ok, end = true, -1
	by := func(sub *node) bool {
		e, fits := w.judge(sub, value)
		if fits || w.tells {
			end = e
		}
		ok = ok && fits
		return fits || w.tells
	}
	m, known := n.members[name]
	if known && m.track >= 0 {
		there.note(m.track)
	}
	declared := known && m.schema != nil
	if declared && !by(m.schema) {
		return 0, false, false
	}
	for _, p := range n.patterns {
		if !w.spend(len(name) * p.cost) {
			w.tells = false
			return 0, false, false
		}
		if p.pattern.MatchString(name) {
			if declared = true; !by(p.schema) {
				return 0, false, false
			}
		}
	}
	if !declared && n.closed {
		stranger = true
	}
	if !declared && n.others != nil && !by(n.others) {
		return 0, false, false
	}
	if end < 0 {
		end = skip(w.src, value)
		if !w.spend(end - value) {
			w.tells = false
			return 0, false, false
		}
	}
	return end, ok, stranger
}

// whole judges an object once all of its members are known.
func (w *walker) whole(n *node, at, count int, there *presence) bool {
	ok := true
	if missing := absent(n.required, there); missing != nil {
		if ok = false; !w.tells || !w.fault("object has missing required properties (%s)", quotedList(missing)) {
			return false
		}
	}
	if n.minProps >= 0 && count < n.minProps {
		if ok = false; !w.tells || !w.fault("object has too few properties (found %d but schema requires at least %d)", count, n.minProps) {
			return false
		}
	}
	if n.maxProps >= 0 && count > n.maxProps {
		if ok = false; !w.tells || !w.fault("object has too many properties (found %d but schema requires at most %d)", count, n.maxProps) {
			return false
		}
	}
	for i := range n.needs {
		d := &n.needs[i]
		if !there.has(d.track) {
			continue
		}
		if missing := absent(d.needs, there); missing != nil {
			names := make([]string, len(d.needs))
			for i, o := range d.needs {
				names[i] = o.name
			}
			if ok = false; !w.tells || !w.fault("property %q of object has missing property dependencies (schema requires %s; missing: %s)",
				d.name, quotedList(names), quotedList(missing)) {
				return false
			}
		}
		if d.schema != nil {
			if _, fits := w.judge(d.schema, at); !fits {
				if ok = false; !w.tells {
					return false
				}
			}
		}
	}
	return ok
}

// absent lists the names that an object lacks.
func absent(names []need, there *presence) (missing []string) {
	for i := range names {
		if !there.has(names[i].track) {
			missing = append(missing, names[i].name)
		}
	}
	return missing
}

// itemsOf judges an array.
func (w *walker) itemsOf(n *node, at int) (end int, ok bool) {
	ok = true
	count := 0
	i, last := blanks(w.src, at+1), false
	if last = w.src[i] == ']'; last {
		i++
	}
	for !last {
		sub := n.items
		if n.isTuple {
			if sub = n.otherItems; count < len(n.tuple) {
				sub = n.tuple[count]
			}
		}
		var itemEnd int
		if sub != nil {
			fits := false
			if itemEnd, fits = w.judge(sub, i); !fits {
				if ok = false; !w.tells {
					return 0, false
				}
			}
		} else if itemEnd = skip(w.src, i); !w.spend(itemEnd - i) {
			w.tells = false
			return 0, false
		}
		count++
		i, last = next(w.src, itemEnd)
	}
	if n.tupleEnds && count > len(n.tuple) {
		if ok = false; !w.tells || !w.fault("array only allows %d item(s) but instance has %d", len(n.tuple), count) {
			return 0, false
		}
	}
	if n.minItems >= 0 && count < n.minItems {
		if ok = false; !w.tells || !w.fault("array is too short: must have at least %d elements but instance has %d elements", n.minItems, count) {
			return 0, false
		}
	}
	if n.maxItems >= 0 && count > n.maxItems {
		if ok = false; !w.tells || !w.fault("array is too long: must have at most %d elements but instance has %d elements", n.maxItems, count) {
			return 0, false
		}
	}
	if n.unique && count > 1 && !w.distinct(at, count) {
		if ok = false; !w.tells || !w.fault("array must not contain duplicate elements") {
			return 0, false
		}
	}
	return i, ok
}

// text judges a string, which is given with its quotes.
func (w *walker) text(n *node, quoted string) bool {
	if n.minLength < 0 && n.maxLength < 0 && n.pattern == nil && n.format == nil {
		return true
	}
	ok := true
	s := meaning(quoted)
	length := -1
	if n.minLength >= 0 || n.maxLength >= 0 {
		length = utf8.RuneCountInString(s)
	}
	if n.minLength >= 0 && length < n.minLength {
		if ok = false; !w.tells || !w.fault("string %s is too short (length: %d, required minimum: %d)", quoted, length, n.minLength) {
			return false
		}
	}
	if n.maxLength >= 0 && length > n.maxLength {
		if ok = false; !w.tells || !w.fault("string %s is too long (length: %d, maximum allowed: %d)", quoted, length, n.maxLength) {
			return false
		}
	}
	if n.pattern != nil && (!w.spend(len(s)*n.patternCost) || !n.pattern.MatchString(s)) {
		if ok = false; !w.tells || !w.fault("ECMA 262 regex %q does not match input string %s", n.pattern.String(), quoted) {
			return false
		}
	}
	if n.format != nil && n.format.Validate(s) != nil {
		if ok = false; !w.tells || !w.fault("string %s is invalid against requested format %q", quoted, n.format.Name) {
			return false
		}
	}
	return ok
}

// numeric judges a number.
func (w *walker) numeric(n *node, text string) bool {
	if !n.number {
		return true
	}
	ok := true
	d, _ := parseDecimal(text)
	if m := n.min; m != nil && d.compare(&m.value) < m.least() {
		if ok = false; !w.tells || !w.fault("%s", m.words("numeric instance is not strictly greater than the required minimum %s",
			"numeric instance is lower than the required minimum (minimum: %s, found: %s)", text)) {
			return false
		}
	}
	if m := n.max; m != nil && -d.compare(&m.value) < m.least() {
		if ok = false; !w.tells || !w.fault("%s", m.words("numeric instance is not strictly lower than the required maximum %s",
			"numeric instance is greater than the required maximum (maximum: %s, found: %s)", text)) {
			return false
		}
	}
	if n.multipleOf == nil {
		return ok
	}
	yes, known := multiple(text, &d, n)
	if !known && w.tells {
		w.fault("numeric instance is too large to be divided by %s", decimalText(n.multipleOf))
	} else if !yes && w.tells {
		w.fault("remainder of division is not zero (%s / %s)", text, decimalText(n.multipleOf))
	}
	return ok && yes
}

// least is how a number has to compare with its limit, at the least.
func (l *limit) least() int {
	if l.exclusive {
		return 1
	}
	return 0
}

func (l *limit) words(exclusive, inclusive, found string) string {
	if l.exclusive {
		return fmt.Sprintf(exclusive, l.text)
	}
	return fmt.Sprintf(inclusive, l.text, found)
}

// count tells how many of the schemas a value fits; it stops once there are enough.
func (w *walker) count(list []*node, at, enough int) (matched int) {
	for _, sub := range list {
		if matched == enough {
			break
		}
		if w.quietly(sub, at) {
			matched++
		}
	}
	return matched
}

// countAll tells how many of the schemas a value fits; it stops at the first that it doesn't, unless it tells.
func (w *walker) countAll(list []*node, at int) (matched int) {
	for _, sub := range list {
		if w.quietly(sub, at) {
			matched++
		} else if !w.tells {
			break
		}
	}
	return matched
}

// inEnum reports whether a value is one of an enum's.
func (w *walker) inEnum(n *node, at, end int) bool {
	if w.src[at] == '"' {
		_, in := n.enumTexts[meaning(w.src[at:end])]
		return in
	}
	for _, v := range n.enumOthers {
		if !w.spend(end - at) {
			w.tells = false
			return false
		}
		if equal(w.src, at, v) {
			return true
		}
	}
	return false
}

// equal compares the value at a place with one that was read from a schema.
func equal(s string, at int, v any) bool {
	kind := kindOf(s, at)
	switch v := v.(type) {
	case nil:
		return kind == isNull
	case bool:
		return kind == isBoolean && (s[at] == 't') == v
	case string:
		return kind == isString && meaning(s[at:skipString(s, at)]) == v
	case json.Number:
		if kind != isNumber && kind != isInteger {
			return false
		}
		a, _ := parseDecimal(s[at:skipPlain(s, at)])
		b, _ := parseDecimal(string(v))
		return a.compare(&b) == 0
	case []any:
		return kind == isArray && equalItems(s, at, v)
	case map[string]any:
		return kind == isObject && equalMembers(s, at, v)
	}
	return false
}

func equalItems(s string, at int, v []any) bool {
	i := blanks(s, at+1)
	if s[i] == ']' {
		return len(v) == 0
	}
	for last := false; !last; {
		if len(v) == 0 || !equal(s, i, v[0]) {
			return false
		}
		v = v[1:]
		i, last = next(s, skip(s, i))
	}
	return len(v) == 0
}

func equalMembers(s string, at int, v map[string]any) bool {
	i, count := blanks(s, at+1), 0
	if s[i] == '}' {
		return len(v) == 0
	}
	for last := false; !last; count++ {
		nameEnd := skipString(s, i)
		want, known := v[meaning(s[i:nameEnd])]
		value := blanks(s, blanks(s, nameEnd)+1)
		if !known || !equal(s, value, want) {
			return false
		}
		i, last = next(s, skip(s, value))
	}
	return count == len(v)
}

// seed makes the hashes of values; it is secret, so that nobody can send values that collide.
var seed = maphash.MakeSeed()

// distinct reports whether no two items of an array are equal. Items are told apart by 64 bits of a keyed hash.
func (w *walker) distinct(at, count int) bool {
	if count > maxUnique || !w.spend(count*workPerSchema) {
		w.left, w.tells = -1, false
		return false
	}
	seen := make(map[uint64]struct{}, count)
	i := blanks(w.src, at+1)
	for last := false; !last; {
		h, end := hash(w.src, i)
		if _, twice := seen[h]; twice {
			return false
		}
		seen[h] = struct{}{}
		if !w.spend(end - i) {
			w.tells = false
			return false
		}
		i, last = next(w.src, end)
	}
	return true
}

// hash gives equal values the same number, however they are written, and the end of the value.
func hash(s string, at int) (sum uint64, end int) {
	var h maphash.Hash
	h.SetSeed(seed)
	kind := kindOf(s, at)
	switch kind {
	case isString:
		end = skipString(s, at)
		h.WriteByte('"')
		h.WriteString(meaning(s[at:end]))
	case isNumber, isInteger:
		end = skipPlain(s, at)
		d, _ := parseDecimal(s[at:end])
		h.WriteByte('0')
		d.hash(&h)
	case isArray, isObject:
		return hashAll(s, at, kind)
	default:
		end = skipPlain(s, at)
		h.WriteString(s[at:end])
	}
	return h.Sum64(), end
}

// hashAll hashes an array by its items in their order, an object by its members in any.
func hashAll(s string, at int, kind kinds) (sum uint64, end int) {
	combine := func(a, b uint64) uint64 {
		var h maphash.Hash
		h.SetSeed(seed)
		var pair [17]byte
		pair[0] = byte(kind)
		for i := range 8 {
			pair[1+i], pair[9+i] = byte(a>>(8*i)), byte(b>>(8*i))
		}
		h.Write(pair[:])
		return h.Sum64()
	}
	sum = uint64(kind)
	i := blanks(s, at+1)
	if s[i] == ']' || s[i] == '}' {
		return combine(sum, 0), i + 1
	}
	for last := false; !last; {
		if kind == isArray {
			item, itemEnd := hash(s, i)
			sum = combine(sum, item)
			i, last = next(s, itemEnd)
			continue
		}
		name, nameEnd := hash(s, i)
		value, valueEnd := hash(s, blanks(s, blanks(s, nameEnd)+1))
		sum += combine(name, value)
		i, last = next(s, valueEnd)
	}
	return combine(sum, 1), i
}

// quotedList writes names as refusals do: ["a","b"].
func quotedList(names []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote(name))
		if b.Len() > maxReasonBytes {
			break // the reason is cut there
		}
	}
	b.WriteByte(']')
	return b.String()
}

func enumText(values []any) string {
	text, err := json.Marshal(values)
	if err != nil {
		return "[]"
	}
	return string(text)
}
