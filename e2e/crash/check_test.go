package crash

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// source is an object to check: its key, and how to read its bytes, decompressed.
type source struct {
	key  string
	read func() ([]byte, error)
}

// report is what the check found. Each list holds the first offences, in words.
type report struct {
	objects, lines                       int
	lost, duplicated, reordered, mangled int
	cut                                  int // delivered, and not answered by a node that ended in the orderly way
	details                              []string
	keys                                 map[string][]string // by bucket
}

// detailsKept bounds the offences that are told in full: the first are the ones that explain.
const detailsKept = 12

func (r *report) tell(format string, args ...any) {
	if len(r.details) < detailsKept {
		r.details = append(r.details, fmt.Sprintf(format, args...))
	}
}

func (r *report) bad() bool { return r.lost+r.duplicated+r.reordered+r.mangled+r.cut > 0 }

func (r *report) String() string {
	return fmt.Sprintf("%d lost, %d duplicated, %d reordered", r.lost, r.duplicated, r.reordered)
}

// sighting is where an event was seen first.
type sighting struct {
	times  uint8
	object int32 // index into checker.keys
	line   int32
}

// checker holds the book against the objects.
type checker struct {
	book      *book
	elsewhere []kind
	report    *report
	keys      []string
	seen      []sighting
	counts    map[string]int // of lines that bear no number
	last      []lastSeen     // by place
}

type lastSeen struct {
	seq string
	id  int
}

// check reads the objects of all buckets, each bucket's keys sorted, and compares them with the book and the lineage of
// shards. Events of the kinds of elsewhere are not looked for.
func check(b *book, buckets map[string][]source, shards []shard, elsewhere ...kind) (*report, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &checker{book: b, elsewhere: elsewhere, report: &report{keys: map[string][]string{}}, seen: make([]sighting, len(b.entries)),
		counts: map[string]int{}, last: make([]lastSeen, len(b.places))}
	for _, bucket := range sortedKeys(buckets) {
		objects := buckets[bucket]
		slices.SortFunc(objects, func(x, y source) int { return strings.Compare(x.key, y.key) })
		for _, o := range objects {
			c.report.keys[bucket] = append(c.report.keys[bucket], o.key)
			c.keys = append(c.keys, bucket+"/"+o.key)
			text, err := o.read()
			if err != nil {
				return nil, fmt.Errorf("object %s/%s: %w", bucket, o.key, err)
			}
			c.object(text)
		}
	}
	c.absent()
	c.cut()
	c.anonymous()
	c.sequences()
	c.lineage(shards)
	c.report.objects = len(c.keys)
	return c.report, nil
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// object checks the lines of one object.
func (c *checker) object(text []byte) {
	at := int32(len(c.keys) - 1)
	for n := int32(1); len(text) > 0; n++ {
		end := bytes.IndexByte(text, '\n') + 1
		if end == 0 {
			c.report.mangled++
			c.report.tell("mangled: the last line of %s is cut: %.80q", c.keys[at], text)
			end = len(text)
		}
		c.line(text[:end], at, n)
		text = text[end:]
	}
}

func (c *checker) line(line []byte, object, n int32) {
	c.report.lines++
	id, ok := idOf(line)
	switch {
	case !ok:
		if _, known := anonymousLines[string(line)]; !known {
			c.report.mangled++
			c.report.tell("mangled: %s line %d was never sent: %.120q", c.keys[object], n, line)
		}
		c.counts[string(line)]++
		return
	case id >= len(c.seen):
		c.report.mangled++
		c.report.tell("mangled: %s line %d bears number %d, which was never given: %.120q", c.keys[object], n, id, line)
		return
	}
	e := &c.book.entries[id]
	if want := e.kind.event(id).line; !bytes.Equal(line, want) {
		c.report.mangled++
		c.report.tell("mangled: %s in %s line %d: %s", c.describe(id), c.keys[object], n, difference(line, want))
	}
	s := &c.seen[id]
	if s.times++; s.times > 1 {
		c.report.duplicated++
		c.report.tell("duplicated: %s is in %s line %d and in %s line %d", c.describe(id), c.keys[s.object], s.line, c.keys[object], n)
		return
	}
	s.object, s.line = object, n
	if e.state == answered {
		c.order(id, e)
	}
}

// order compares an event's place among the objects with its sequence number.
func (c *checker) order(id int, e *entry) {
	last := &c.last[e.place]
	if last.seq != "" && !less(last.seq, e.seq) {
		c.report.reordered++
		c.report.tell("reordered: %s in %s line %d comes after %s in %s line %d", c.describe(id), c.keys[c.seen[id].object],
			c.seen[id].line, c.describe(last.id), c.keys[c.seen[last.id].object], c.seen[last.id].line)
		return // what follows is held against the later one
	}
	*last = lastSeen{e.seq, id}
}

// less compares decimal numbers as texts.
func less(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

// absent counts what was acknowledged and is nowhere.
func (c *checker) absent() {
	for id := range c.book.entries {
		e := &c.book.entries[id]
		if e.state == answered && !e.kind.anonymous() && c.seen[id].times == 0 && !slices.Contains(c.elsewhere, e.kind) {
			if c.report.lost++; len(c.report.details) < detailsKept { // to look for neighbours takes time
				c.report.tell("lost: %s; %s", c.describe(id), c.neighbours(id))
			}
		}
	}
}

// cut counts what a node that drained has stored without answering.
func (c *checker) cut() {
	for _, d := range c.book.drained {
		for id := d.from; id < d.before; id++ {
			if s, e := c.seen[id], &c.book.entries[id]; e.node == d.node && e.state == unanswered && s.times > 0 {
				c.report.cut++
				c.report.tell("cut: %s was sent to a node that drained, and is in %s line %d", c.describe(id), c.keys[s.object], s.line)
			}
		}
	}
}

// neighbours names the objects that hold the events of the same shard just before and after a lost one: where it
// should have been.
func (c *checker) neighbours(lost int) string {
	place, seq := c.book.entries[lost].place, c.book.entries[lost].seq
	before, after := -1, -1
	for id := range c.book.entries {
		e := &c.book.entries[id]
		if e.state != answered || e.place != place || c.seen[id].times == 0 {
			continue
		}
		if less(e.seq, seq) && (before < 0 || less(c.book.entries[before].seq, e.seq)) {
			before = id
		}
		if less(seq, e.seq) && (after < 0 || less(e.seq, c.book.entries[after].seq)) {
			after = id
		}
	}
	where := func(id int) string {
		if id < 0 {
			return "nothing"
		}
		return fmt.Sprintf("%s in %s line %d", idText(id), c.keys[c.seen[id].object], c.seen[id].line)
	}
	return "before it in its shard " + where(before) + ", after it " + where(after)
}

// anonymousLines are those of events that are too short for a number.
var anonymousLines = map[string][]kind{
	"{}\n":             {anonymousJSONEmpty, anonymousFormEmpty},
	"7\n":              {anonymousJSONByte},
	"{\"a\" : \"\"}\n": {anonymousFormByte},
}

// anonymous compares the counts of lines that bear no number: at least the answered ones, at most all that were sent.
func (c *checker) anonymous() {
	sent, acknowledged := map[string]int{}, map[string]int{}
	for id := range c.book.entries {
		if e := &c.book.entries[id]; e.kind.anonymous() {
			line := string(e.kind.event(id).line)
			sent[line]++
			if e.state == answered {
				acknowledged[line]++
			}
		}
	}
	for _, line := range sortedKeys(anonymousLines) {
		found := c.counts[line]
		if missing := acknowledged[line] - found; missing > 0 {
			c.report.lost += missing
			c.report.tell("lost: of %d answered events whose line is %q, %d are there", acknowledged[line], line, found)
		}
		if extra := found - sent[line]; extra > 0 {
			c.report.duplicated += extra
			c.report.tell("duplicated: %d events whose line is %q were sent, %d are there", sent[line], line, found)
		}
	}
}

// sequences checks that no two events were given the same place in a shard.
func (c *checker) sequences() {
	given := map[string]int{}
	for id := range c.book.entries {
		e := &c.book.entries[id]
		if e.state != answered {
			continue
		}
		key := fmt.Sprintf("%d %s", e.place, e.seq)
		if other, twice := given[key]; twice {
			c.report.reordered++
			c.report.tell("reordered: %s and %s were given the same sequence number", c.describe(id), c.describe(other))
		}
		given[key] = id
	}
}

func (c *checker) describe(id int) string {
	e := &c.book.entries[id]
	switch e.state {
	case answered:
		return fmt.Sprintf("%s (kind %d, answered %s %s)", idText(id), e.kind, c.book.places[e.place], e.seq)
	case refused:
		return fmt.Sprintf("%s (kind %d, refused)", idText(id), e.kind)
	}
	return fmt.Sprintf("%s (kind %d, not answered)", idText(id), e.kind)
}

// difference shows where two lines part.
func difference(got, want []byte) string {
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	from := max(0, at-20)
	return fmt.Sprintf("from byte %d on it is %.80q (%d bytes), not %.80q (%d bytes)", at, got[from:], len(got), want[from:], len(want))
}

// folder lists a bucket's objects as plain files.
func folder(path string) ([]source, error) {
	var all []source
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key, err := filepath.Rel(path, name)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(key), func() ([]byte, error) { return readObject(name) }})
		return nil
	})
	return all, err
}

func readObject(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !strings.HasSuffix(name, ".gz") {
		return io.ReadAll(file)
	}
	gz, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(gz)
}
