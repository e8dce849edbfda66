package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"millrace/e2e/node"
)

// sorter holds the book against all that became of the records of one flow.
type sorter struct {
	flow
	book   *book
	moody  *moody
	report *report
	keys   []string
	seen   map[int]*place // by pieceNumber
	last   map[string]lastPiece

	objects, errorObjects   int
	outputs                 int
	delivered, deadLettered int // records, by the first of their pieces
	failures                map[string]int
}

// place is where a piece was seen first.
type place struct {
	times  int
	failed bool // in an error object
	lane   string
	at     spot
}

// lastPiece is the one that was last seen of a shard, in a lane.
type lastPiece struct {
	seq   string
	id, s int
}

func pieceNumber(id, s int) int { return id*piecesMost + s }

// The error-output-types that may be seen.
const (
	processingFailed = "processing-failed"
	metadataFailed   = "metadata-extraction-failed"
	conversionFailed = "format-conversion-failed"
	httpFailed       = "http-endpoint-failed"
)

// stagedFor is where answers of the function are kept that go to the endpoint. Those of a node that was killed may stay until
// they are swept, two hours later.
const stagedFor = ".millrace/staged/"

// sortOut reads what lies in a flow's bucket, and what the endpoint took of it.
func sortOut(f flow, b *book, m *moody, objects []source, taken []*batch, shards []shard) (*sorter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &sorter{flow: f, book: b, moody: m, report: &report{}, seen: map[int]*place{}, last: map[string]lastPiece{}, failures: map[string]int{}}
	slices.SortFunc(objects, func(x, y source) int { return strings.Compare(x.key, y.key) })
	for _, o := range objects {
		if strings.HasPrefix(o.key, stagedFor) {
			continue
		}
		text, err := o.read()
		if err == nil {
			s.keys = append(s.keys, o.key)
			err = s.object(o.key, text)
		}
		if err != nil {
			return nil, fmt.Errorf("object %s/%s: %w", f.bucket, o.key, err)
		}
	}
	for _, taken := range taken {
		if taken.path != "/"+f.name {
			continue
		}
		s.keys = append(s.keys, "request "+taken.id)
		s.objects++
		for n, data := range taken.records {
			s.output(string(data), "", taken.id, int32(n))
		}
	}
	s.absent()
	s.cut()
	if f.stream != "" {
		s.lineage(shards)
	}
	s.report.objects, s.report.lines = s.objects+s.errorObjects, s.outputs
	return s, nil
}

func (s *sorter) tell(count *int, what, format string, args ...any) {
	*count++
	s.report.tell("%s: %s: "+format, append([]any{what, s.flow.name}, args...)...)
}

func (s *sorter) mangled(n int32, format string, args ...any) {
	s.tell(&s.report.mangled, "mangled", "%s line %d: "+format, append([]any{s.keys[len(s.keys)-1], n}, args...)...)
}

var (
	dataKey  = regexp.MustCompile(`^p\d{6}/((?:[a-z]+=[a-z0-9]+/)*)(?:\d{4}/\d\d/\d\d/\d\d/)?[a-z-]+-\d+-\d{4}(-\d\d){5}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.gz|\.parquet)?$`)
	errorKey = regexp.MustCompile(`^errors/p\d{6}/([a-zA-Z-]+)/[a-z-]+-\d+-\d{4}(-\d\d){5}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

func (s *sorter) object(key string, text []byte) error {
	if m := errorKey.FindStringSubmatch(key); m != nil {
		s.errorObjects++
		return s.failed(m[1], text)
	}
	m := dataKey.FindStringSubmatch(key)
	if m == nil {
		return fmt.Errorf("no key that a delivery stream makes")
	}
	s.objects++
	if s.columns {
		return s.rows(m[1], text)
	}
	n := int32(0)
	for line := range strings.Lines(string(text)) {
		n++
		if s.joined {
			line = strings.TrimSuffix(line, "\n")
		}
		s.output(line, "", m[1], n)
	}
	return nil
}

// failed reads an error object.
func (s *sorter) failed(kind string, text []byte) error {
	n := int32(0)
	for line := range bytes.Lines(text) {
		n++
		var e struct {
			RawData                  []byte
			ErrorCode, LastErrorCode string
		}
		if err := json.Unmarshal(line, &e); err != nil || e.ErrorCode+e.LastErrorCode == "" {
			return fmt.Errorf("line %d is none of an error object: %.200q %w", n, line, err)
		}
		s.failures[kind]++
		s.output(string(e.RawData), kind, "", n)
	}
	return nil
}

// row is one of a Parquet file.
type row struct {
	ID   string  `parquet:"id,optional"`
	S    int32   `parquet:"s,optional"`
	K    string  `parquet:"k,optional"`
	N    int64   `parquet:"n,optional"`
	T    string  `parquet:"t,optional"`
	Mood *string `parquet:"mood,optional"`
	Call *int64  `parquet:"call,optional"`
}

func (s *sorter) rows(folder string, file []byte) error {
	rows, err := parquet.Read[row](bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return err
	}
	for i, r := range rows {
		id, err := strconv.Atoi(strings.TrimPrefix(r.ID, "e"))
		if err != nil {
			s.mangled(int32(i+1), "row %+v", r)
			continue
		}
		line := document(id, int(r.S), r.K, strconv.FormatInt(r.N, 10), r.T) + "\n"
		if r.Mood != nil && r.Call != nil {
			line = withMood(line, *r.Mood, int(*r.Call))
		}
		s.output(line, "", folder, int32(i+1))
	}
	return nil
}

// output takes down what one piece has become. kind is an error-output-type, empty in what was delivered; folder is what the
// key says of a partition, or for the endpoint the request.
func (s *sorter) output(text, kind, folder string, n int32) {
	s.outputs++
	id, sub, ok := identify([]byte(text))
	if !ok || id >= len(s.book.entries) || s.book.entries[id].kind != s.kind {
		s.mangled(n, "nobody sent %.120q", text)
		return
	}
	pieces := s.pieces(id)
	if sub >= len(pieces) {
		s.mangled(n, "record %s has no piece %d", idText(id), sub)
		return
	}
	p, mood := &pieces[sub], ""
	if s.function && kind != processingFailed {
		mood = s.changed(&text, p, n)
	}
	if text != p.text {
		s.mangled(n, "%s piece %d %s", idText(id), sub, difference([]byte(text), []byte(p.text)))
	}
	if problem := s.unfounded(p, kind); problem != "" {
		s.mangled(n, "%s piece %d %s", idText(id), sub, problem)
	}
	lane := folder
	switch {
	case kind == conversionFailed:
		lane = kind + " " + mood
		if p.broken && s.function {
			lane = "" // of which partition it was can't be told
		}
	case kind == httpFailed:
		lane = "" // batches that are tried again are overtaken
	case kind != "":
		lane = kind
	case !s.posted:
		if want := s.partition(p, mood); want != folder {
			s.mangled(n, "%s piece %d belongs to the partition %q", idText(id), sub, want)
		}
	}
	s.see(p, place{1, kind != "", lane, spot{int32(len(s.keys) - 1), n}})
}

// moodTail is more than what the function adds to a document.
const moodTail = 100

// changed undoes what the function has made of a piece, if it was one of its answers.
func (s *sorter) changed(text *string, p *piece, n int32) (mood string) {
	if p.broken {
		return ""
	}
	before := max(0, len(*text)-moodTail)
	m := moodRule.FindStringSubmatchIndex((*text)[before:])
	for i := range m {
		m[i] += before
	}
	if m == nil {
		s.mangled(n, "%s piece %d has not been through the function", idText(p.id), p.s)
		return ""
	}
	mood = (*text)[m[2]:m[3]]
	call, _ := strconv.Atoi((*text)[m[4]:m[5]]) // digits
	if result, want := s.moody.outcome(call, p.id, p.s); result != "Ok" || mood != want {
		s.mangled(n, "%s piece %d: call %d of the function has answered %s %s, and not %s", idText(p.id), p.s, call, result, want, mood)
	}
	end := "}"
	if strings.HasSuffix(*text, "\n") {
		end = "}\n"
	}
	*text = (*text)[:m[0]] + end
	return mood
}

// unfounded tells why a piece should not be where it is.
func (s *sorter) unfounded(p *piece, kind string) string {
	partitioned := s.flow.stream != ""
	switch kind {
	case "":
		if p.broken && partitioned || p.unfit && s.columns {
			return "can't be processed, and was delivered"
		}
	case metadataFailed:
		if !p.broken || !partitioned {
			return "has a partition"
		}
	case conversionFailed:
		if !p.unfit || !s.columns {
			return "fits the table"
		}
	case processingFailed:
		if !s.function {
			return "has seen no function"
		}
	case httpFailed:
		if !s.posted {
			return "was for no endpoint"
		}
	default:
		return "failed by " + kind
	}
	return ""
}

// partition is what keys say of it.
func (s *sorter) partition(p *piece, mood string) string {
	all := ""
	if s.flow.stream != "" {
		all = "k=" + p.key + "/"
	}
	if s.function && (s.flow.stream != "" || s.columns) {
		all += "mood=" + mood + "/"
	}
	return all
}

func (s *sorter) see(p *piece, at place) {
	have := s.seen[pieceNumber(p.id, p.s)]
	if have != nil {
		have.times++
		s.tell(&s.report.duplicated, "duplicated", "%s piece %d is in %s line %d and in %s line %d", s.describe(p.id), p.s,
			s.keys[have.at.object], have.at.line, s.keys[at.at.object], at.at.line)
		return
	}
	s.seen[pieceNumber(p.id, p.s)] = &at
	e := &s.book.entries[p.id]
	if e.state != answered || at.lane == "" && at.failed {
		return
	}
	lane := s.book.places[e.place] + " " + at.lane
	last, known := s.last[lane]
	if known && (less(e.seq, last.seq) || e.seq == last.seq && p.s <= last.s) {
		s.tell(&s.report.reordered, "reordered", "%s piece %d in %s line %d comes after %s piece %d", s.describe(p.id), p.s,
			s.keys[at.at.object], at.at.line, s.describe(last.id), last.s)
		return
	}
	s.last[lane] = lastPiece{e.seq, p.id, p.s}
}

func (s *sorter) describe(id int) string { return (&checker{book: s.book}).describe(id) }

// absent counts what was acknowledged and is nowhere, and whether records count as delivered or failed.
func (s *sorter) absent() {
	for id := range s.book.entries {
		e := &s.book.entries[id]
		if e.kind != s.kind {
			continue
		}
		first := true
		for _, p := range s.pieces(id) {
			at := s.seen[pieceNumber(id, p.s)]
			switch {
			case at != nil && first:
				first = false
				if at.failed {
					s.deadLettered++
				} else {
					s.delivered++
				}
			case at == nil && e.state == answered && !(s.function && id%3 == 0):
				s.tell(&s.report.lost, "lost", "%s piece %d", s.describe(id), p.s)
			}
		}
	}
}

// cut counts what a node that drained has stored without answering.
func (s *sorter) cut() {
	for _, d := range s.book.drained {
		for id := d.from; id < d.before; id++ {
			if e := &s.book.entries[id]; e.kind == s.kind && e.state == unanswered && s.seen[pieceNumber(id, 0)] != nil {
				s.tell(&s.report.cut, "cut", "%s was sent to a node that drained, and is there", idText(id))
			}
		}
	}
}

// lineage checks in each lane that what a child shard took stands behind what its ancestors took.
func (s *sorter) lineage(shards []shard) {
	type ends struct{ first, last spot }
	lanes := map[string]map[string]ends{} // by lane and shard
	for number, at := range s.seen {
		e := &s.book.entries[number/piecesMost]
		if e.state != answered || at.lane == "" {
			continue
		}
		if lanes[at.lane] == nil {
			lanes[at.lane] = map[string]ends{}
		}
		shard := strings.TrimPrefix(s.book.places[e.place], s.flow.stream+" ")
		have, known := lanes[at.lane][shard]
		if !known || at.at.before(have.first) {
			have.first = at.at
		}
		if !known || have.last.before(at.at) {
			have.last = at.at
		}
		lanes[at.lane][shard] = have
	}
	for lane, byShard := range lanes {
		lasts := map[string]spot{}
		for _, sh := range shards { // by id: parents come first
			have, delivered := byShard[sh.ShardId]
			last, seen := have.last, delivered
			for _, parent := range []string{sh.ParentShardId, sh.AdjacentParentShardId} {
				end, known := lasts[parent]
				if !known {
					continue
				}
				if delivered && have.first.before(end) {
					s.tell(&s.report.reordered, "reordered", "%s begins in %s, lane %s, before its ancestors' end in %s", sh.ShardId,
						s.keys[have.first.object], lane, s.keys[end.object])
				}
				if !seen || last.before(end) {
					last, seen = end, true
				}
			}
			if seen {
				lasts[sh.ShardId] = last
			}
		}
	}
}

// ledgerProblems tells where the node's ledger and what was found differ.
func (s *sorter) ledgerProblems(ledger *node.Ledger) (problems []error) {
	line, ok := ledger.Delivery(s.flow.name)
	want := node.Line{Name: s.flow.name, Accepted: line.Accepted, Delivered: int64(s.delivered), DeadLettered: int64(s.deadLettered),
		Dropped: line.Accepted - int64(s.delivered+s.deadLettered), Objects: int64(s.objects), ErrorObjects: int64(s.errorObjects), Outputs: line.Outputs}
	if !ok || line != want {
		problems = append(problems, fmt.Errorf("the ledger tells %+v, found was %+v", line, want))
	}
	if found := int64(s.outputs - s.failuresTotal()); line.Outputs != found {
		problems = append(problems, fmt.Errorf("the ledger of %s tells of %d outputs, there are %d", s.flow.name, line.Outputs, found))
	}
	sent, acknowledged := int64(0), int64(0)
	for i := range s.book.entries {
		if e := &s.book.entries[i]; e.kind == s.kind {
			sent++
			if e.state == answered {
				acknowledged++
			}
		}
	}
	if line.Accepted < acknowledged || line.Accepted > sent || want.Dropped < 0 || want.Dropped > 0 && !s.function {
		problems = append(problems, fmt.Errorf("the ledger tells %+v; %d were sent, %d answered", line, sent, acknowledged))
	}
	return problems
}

func (s *sorter) failuresTotal() (n int) {
	for _, times := range s.failures {
		n += times
	}
	return n
}

// sortBackup checks a bucket that holds source records as they came, once each and in order.
func sortBackup(f flow, b *book, objects []source) (*sorter, error) {
	plain := flow{door: f.door, name: f.name + "/backup", bucket: f.backup}
	return sortOut(plain, b, nil, objects, nil, nil)
}
