package offline

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"millrace/internal/gateway"
	"millrace/internal/yamldoc"
)

// CaseFile holds the cases of a definition. docs/testing-templates.md describes the file.
type CaseFile struct {
	File       string
	Definition *Definition
	Cases      []*Case
}

// Case is a request and what must come of it.
type Case struct {
	Name    string
	Request Request
	Answer  *Answer // nil: the service's own
	want    want
}

// want is what a case says of an exchange; what it does not say may be anything.
type want struct {
	status      int // 0: any
	headers     []wantHeader
	body        *check
	calls       bool // the integration request is looked at
	noCall      bool // there is none
	action      string
	contentType string
	method, url string
	sent        []wantHeader
	request     *check
	records     []wantRecord
	allRecords  bool // the records are looked at: these, and no others
}

type wantHeader struct {
	name, value string
	absent      bool
}

type wantRecord struct {
	stream, deliveryStream string
	partitionKey           *string
	data                   *check
}

// check is what a text must be.
type check struct {
	kind    checkKind
	text    string // exact; or JSON
	pattern *regexp.Regexp
}

type checkKind uint8

const (
	isText  checkKind = iota // to the byte
	isJSON                   // the same JSON, however it is written
	hasJSON                  // JSON that has these members
	matches                  // an expression that fits the whole text
)

// IsCaseFile tells a file of cases from other files of YAML or JSON.
func IsCaseFile(file string, body []byte) bool {
	root, err := yamldoc.Parse(file, body)
	return err == nil && yamldoc.Get(root, "cases") != nil
}

// maxFile bounds what a case file and its payloads may be: more than a request can carry.
const maxFile = 16 << 20

// LoadCases reads a case file and the definition beside it. Errors are all that is wrong with it.
func LoadCases(file string, body []byte) (*CaseFile, error) {
	root, err := yamldoc.Parse(file, body)
	if err != nil {
		return nil, err
	}
	r := &reader{file: file}
	f := &CaseFile{File: file}
	var o Options
	definition := ""
	r.members(root, "a case file", map[string]func(*yaml.Node){
		"definition": func(n *yaml.Node) { definition = r.text(n) },
		"parameters": func(n *yaml.Node) { o.Parameters = r.texts(n) },
		"stage":      func(n *yaml.Node) { o.Stage = r.text(n) },
		"streams":    func(n *yaml.Node) { o.Streams = r.list(n) },
		"cases":      func(n *yaml.Node) { f.Cases = r.cases(n) },
	})
	if definition == "" {
		r.tell(root, "definition: the definition file is to be named")
	}
	if len(f.Cases) == 0 && len(r.problems) == 0 {
		r.tell(root, "cases: there is none")
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b *yamldoc.Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, r.problems
	}
	path := r.beside(definition)
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f.Definition, err = Load(path, text, o)
	return f, err
}

// readFile reads a file within its bound.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return body, err
}

// reader reads the nodes of a case file; what is unknown is a problem with its line.
type reader struct {
	file     string
	problems yamldoc.Problems
}

func (r *reader) tell(n *yaml.Node, format string, args ...any) {
	if len(r.problems) < yamldoc.MaxProblems {
		r.problems = append(r.problems, &yamldoc.Problem{File: r.file, Line: n.Line, Column: n.Column, Reason: fmt.Sprintf(format, args...)})
	}
}

// beside gives the path of a file that is named relative to the case file.
func (r *reader) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.file), name)
}

// members reads a mapping, each member by its own function.
func (r *reader) members(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.tell(n, "%s is a mapping", what)
		return
	}
	for key, value := range yamldoc.Pairs(n) {
		read := known[key.Value]
		if read == nil {
			var names []string
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			r.tell(key, "%q is no member of %s; those are %s", key.Value, what, strings.Join(names, ", "))
			continue
		}
		read(value)
	}
}

func (r *reader) text(n *yaml.Node) string {
	text, ok := yamldoc.Text(n)
	if !ok {
		r.tell(n, "a text belongs here")
	}
	return text
}

func (r *reader) texts(n *yaml.Node) map[string]string {
	all := map[string]string{}
	if n.Kind != yaml.MappingNode {
		r.tell(n, "names with their values belong here")
	}
	for key, value := range yamldoc.Pairs(n) {
		all[key.Value] = r.text(value)
	}
	return all
}

func (r *reader) list(n *yaml.Node) (all []string) {
	if n.Kind != yaml.SequenceNode {
		r.tell(n, "a list belongs here")
	}
	for _, one := range n.Content {
		all = append(all, r.text(one))
	}
	return all
}

// several reads names with a value, or with a list of values.
func (r *reader) several(n *yaml.Node, add func(name, value string)) {
	if n.Kind != yaml.MappingNode {
		r.tell(n, "names with their values belong here")
	}
	for key, value := range yamldoc.Pairs(n) {
		if value.Kind != yaml.SequenceNode {
			add(key.Value, r.text(value))
			continue
		}
		for _, one := range r.list(value) {
			add(key.Value, one)
		}
	}
}

func (r *reader) cases(n *yaml.Node) (all []*Case) {
	if n.Kind != yaml.SequenceNode {
		r.tell(n, "cases is a list")
		return nil
	}
	names := map[string]bool{}
	for _, one := range n.Content {
		c := &Case{}
		hasRequest, hasWant := false, false
		r.members(one, "a case", map[string]func(*yaml.Node){
			"name":    func(n *yaml.Node) { c.Name = r.text(n) },
			"request": func(n *yaml.Node) { c.Request, hasRequest = r.request(n), true },
			"answer":  func(n *yaml.Node) { c.Answer = r.answer(n) },
			"want":    func(n *yaml.Node) { c.want, hasWant = r.want(n), true },
		})
		switch {
		case c.Name == "":
			r.tell(one, "a case has a name")
		case names[c.Name]:
			r.tell(one, "there is another case %q", c.Name)
		case !hasRequest || !hasWant:
			r.tell(one, "a case has a request and a want")
		}
		names[c.Name] = true
		all = append(all, c)
	}
	return all
}

func (r *reader) request(n *yaml.Node) (req Request) {
	var query []string
	bodies := 0
	body := func(b []byte) { req.Body, bodies = b, bodies+1 }
	r.members(n, "a request", map[string]func(*yaml.Node){
		"api":    func(n *yaml.Node) { req.API = r.text(n) },
		"method": func(n *yaml.Node) { req.Method = r.text(n) },
		"path":   func(n *yaml.Node) { req.Target = r.text(n) },
		"query": func(n *yaml.Node) {
			r.several(n, func(name, value string) { query = append(query, url.QueryEscape(name)+"="+url.QueryEscape(value)) })
		},
		"headers": func(n *yaml.Node) {
			r.several(n, func(name, value string) { req.Header = append(req.Header, gateway.Field{Name: name, Value: value}) })
		},
		"body": func(n *yaml.Node) { body([]byte(r.text(n))) },
		"json": func(n *yaml.Node) { body(yamldoc.JSON(n)) },
		"base64": func(n *yaml.Node) {
			b, err := base64.StdEncoding.DecodeString(r.text(n))
			if err != nil {
				r.tell(n, "%v", err)
			}
			body(b)
		},
		"file": func(n *yaml.Node) {
			b, err := readFile(r.beside(r.text(n)))
			if err != nil {
				r.tell(n, "%v", err)
			}
			body(b)
		},
		"signer":     func(n *yaml.Node) { req.Signer = r.text(n) },
		"authorizer": func(n *yaml.Node) { req.Authorizer = string(yamldoc.JSON(n)) },
		"sourceIp":   func(n *yaml.Node) { req.SourceIP = r.text(n) },
		"time": func(n *yaml.Node) {
			var err error
			if req.Time, err = time.Parse(time.RFC3339, r.text(n)); err != nil {
				r.tell(n, "a time such as 2026-01-31T12:00:00Z belongs here")
			}
			req.Time = req.Time.UTC()
		},
	})
	if bodies > 1 {
		r.tell(n, "a request has one of body, json, base64 and file")
	}
	if !strings.HasPrefix(req.Target, "/") {
		r.tell(n, "a request has a path that begins with its stage, such as /prod/orders")
	}
	if req.Method == "" {
		req.Method = "GET"
		if bodies > 0 {
			req.Method = "POST"
		}
	}
	if len(query) > 0 {
		separator := "?"
		if strings.Contains(req.Target, "?") {
			separator = "&"
		}
		req.Target += separator + strings.Join(query, "&")
	}
	return req
}

func (r *reader) answer(n *yaml.Node) *Answer {
	a := &Answer{Status: 200}
	r.members(n, "an answer", map[string]func(*yaml.Node){
		"status": func(n *yaml.Node) { a.Status = r.status(n) },
		"headers": func(n *yaml.Node) {
			r.several(n, func(name, value string) { a.Header = append(a.Header, gateway.Field{Name: name, Value: value}) })
		},
		"body": func(n *yaml.Node) { a.Body = r.text(n) },
		"json": func(n *yaml.Node) { a.Body = string(yamldoc.JSON(n)) },
	})
	return a
}

func (r *reader) status(n *yaml.Node) int {
	status, ok := yamldoc.Int(n)
	if !ok || status < 100 || status > 599 {
		r.tell(n, "a status from 100 to 599 belongs here")
	}
	return status
}

func (r *reader) want(n *yaml.Node) (w want) {
	said := 0
	r.members(n, "want", map[string]func(*yaml.Node){
		"response":           func(n *yaml.Node) { said++; r.wantResponse(n, &w) },
		"integrationRequest": func(n *yaml.Node) { said++; r.wantRequest(n, &w) },
		"records":            func(n *yaml.Node) { said++; r.wantRecords(n, &w) },
	})
	if said == 0 {
		r.tell(n, "want says at least one of integrationRequest, records and response")
	}
	return w
}

func (r *reader) wantResponse(n *yaml.Node, w *want) {
	known := r.checks(&w.body, "body")
	known["status"] = func(n *yaml.Node) { w.status = r.status(n) }
	known["headers"] = func(n *yaml.Node) { w.headers = r.wantHeaders(n) }
	r.members(n, "want.response", known)
}

func (r *reader) wantHeaders(n *yaml.Node) (all []wantHeader) {
	if n.Kind != yaml.MappingNode {
		r.tell(n, "names with their values belong here")
	}
	for key, value := range yamldoc.Pairs(n) {
		if yamldoc.IsNull(value) {
			all = append(all, wantHeader{name: key.Value, absent: true})
			continue
		}
		all = append(all, wantHeader{name: key.Value, value: r.text(value)})
	}
	return all
}

func (r *reader) wantRequest(n *yaml.Node, w *want) {
	w.calls = true
	if yamldoc.IsNull(n) {
		w.noCall = true
		return
	}
	known := r.checks(&w.request, "body")
	known["action"] = func(n *yaml.Node) { w.action = r.text(n) }
	known["contentType"] = func(n *yaml.Node) { w.contentType = r.text(n) }
	known["method"] = func(n *yaml.Node) { w.method = r.text(n) }
	known["url"] = func(n *yaml.Node) { w.url = r.text(n) }
	known["headers"] = func(n *yaml.Node) { w.sent = r.wantHeaders(n) }
	r.members(n, "want.integrationRequest", known)
}

func (r *reader) wantRecords(n *yaml.Node, w *want) {
	w.allRecords = true
	if n.Kind != yaml.SequenceNode {
		r.tell(n, "records is a list; [] says that there is none")
		return
	}
	for _, one := range n.Content {
		var rec wantRecord
		known := r.checks(&rec.data, "data")
		known["stream"] = func(n *yaml.Node) { rec.stream = r.text(n) }
		known["deliveryStream"] = func(n *yaml.Node) { rec.deliveryStream = r.text(n) }
		known["partitionKey"] = func(n *yaml.Node) {
			key := r.text(n)
			rec.partitionKey = &key
		}
		r.members(one, "a record", known)
		w.records = append(w.records, rec)
	}
}

// checks are the members that say what a text must be; whole names the one that says it to the byte.
func (r *reader) checks(to **check, whole string) map[string]func(*yaml.Node) {
	set := func(n *yaml.Node, c *check) {
		if *to != nil {
			r.tell(n, "one of %s, json, jsonHas and matches is enough", whole)
		}
		*to = c
	}
	return map[string]func(*yaml.Node){
		whole:     func(n *yaml.Node) { set(n, &check{kind: isText, text: r.text(n)}) },
		"json":    func(n *yaml.Node) { set(n, &check{kind: isJSON, text: string(yamldoc.JSON(n))}) },
		"jsonHas": func(n *yaml.Node) { set(n, &check{kind: hasJSON, text: string(yamldoc.JSON(n))}) },
		"matches": func(n *yaml.Node) {
			if _, err := regexp.Compile(r.text(n)); err != nil { // alone first: "a)|(b" would fit into the brackets below
				r.tell(n, "%v", err)
				return
			}
			set(n, &check{kind: matches, text: n.Value, pattern: regexp.MustCompile(`(?s)\A(?:` + n.Value + `)\z`)})
		},
	}
}
