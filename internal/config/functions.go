package config

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Functions say where functions can be called, by their ARN.
type Functions map[string]Function

// Function is one of them: in the file a URL, or a URL with a header that the function's host asks for.
type Function struct {
	URL        string // http or https; credentials in it are sent as basic authentication
	Header     string // name of a further header: "Authorization", "x-functions-key"; empty: none
	HeaderFile string // holds its value, which is a secret
}

// latest is what the console, and with it many a definition, appends to the ARN of a function.
const latest = ":$LATEST"

// Find gives the function of an ARN. An ARN that ends in :$LATEST is the one without.
func (f Functions) Find(arn string) (Function, bool) {
	key, known := f.Key(arn)
	return f[key], known
}

// Key gives the ARN under which the function of an ARN stands in the file.
func (f Functions) Key(arn string) (key string, known bool) {
	for _, key := range []string{arn, strings.TrimSuffix(arn, latest)} {
		if _, known := f[key]; known {
			return key, true
		}
	}
	return "", false
}

// UnmarshalYAML reads either form.
func (f *Function) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return node.Decode(&f.URL)
	}
	var problems []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		var into *string
		switch key.Value {
		case "url":
			into = &f.URL
		case "header":
			into = &f.Header
		case "header-file":
			into = &f.HeaderFile
		default:
			problems = append(problems, fmt.Sprintf("line %d: there is no key %s", key.Line, key.Value))
			continue
		}
		if err := value.Decode(into); err != nil {
			problems = append(problems, fmt.Sprintf("line %d: %s is no text", value.Line, key.Value))
		}
	}
	if problems != nil {
		return &yaml.TypeError{Errors: problems}
	}
	return nil
}

// maxHeaderBytes bounds the file with a header's value.
const maxHeaderBytes = 8 << 10

// HeaderValue reads the header's value; empty where the function has none.
func (f *Function) HeaderValue() (string, error) {
	if f.Header == "" {
		return "", nil
	}
	file, err := os.Open(f.HeaderFile)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxHeaderBytes+1))
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(text))
	if value == "" || len(text) > maxHeaderBytes || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", fmt.Errorf("%s does not hold one line of at most %d bytes", f.HeaderFile, maxHeaderBytes)
	}
	return value, nil
}

var (
	functionPattern = regexp.MustCompile(`^arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_:$-]+$`)
	headerPattern   = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

// ownHeaders are what a call of a function says itself.
var ownHeaders = []string{"content-type", "content-length", "transfer-encoding", "host", "connection", "trailer", "te", "upgrade", "expect", "user-agent"}

func (f Functions) check(bad func(flag, format string, args ...any)) {
	for _, arn := range slices.Sorted(maps.Keys(f)) {
		checkFunction("functions", arn, f[arn].URL, bad)
		switch header, file := f[arn].Header, f[arn].HeaderFile; {
		case (header == "") != (file == ""):
			bad("functions", "%s: header and header-file go together", arn)
		case header == "":
		case !headerPattern.MatchString(header) || slices.Contains(ownHeaders, strings.ToLower(header)):
			bad("functions", "%s: %q is no name of a header that can be added", arn, header)
		default:
			one := f[arn]
			if _, err := one.HeaderValue(); err != nil {
				bad("functions", "%s: %v", arn, err)
			}
		}
	}
}

// checkAuthorizers checks the URLs that stand for functions which decide who may call.
func (n *Node) checkAuthorizers(bad func(flag, format string, args ...any)) {
	for _, arn := range slices.Sorted(maps.Keys(n.Authorizers)) {
		checkFunction("authorizers", arn, n.Authorizers[arn], bad)
	}
}

// checkFunction checks what both kinds of functions have: an ARN, and a URL in its place.
func checkFunction(flag, arn, target string, bad func(flag, format string, args ...any)) {
	if !functionPattern.MatchString(arn) {
		bad(flag, "%q is no ARN of a function such as arn:aws:lambda:us-east-1:000000000000:function:my-function", arn)
	}
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		bad(flag, "%s: %q is no URL such as http://127.0.0.1:9000/", arn, withoutPassword(target))
	}
}

// withoutPassword makes a text fit to be shown that may hold a URL with credentials.
func withoutPassword(target string) string {
	if at := strings.LastIndexByte(target, '@'); at >= 0 {
		return "…" + target[at:]
	}
	return target
}
