package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// root is the folder of go.mod, seen from here.
const root = "../.."

// floors orders the packages from the top of the house to the bottom. A package may import packages of lower
// floors only; packages of one floor do not import one another. The first prefix that fits decides.
var floors = []struct {
	prefix string
	floor  int
	why    string
}{
	{"cmd/", 70, "the commands: flags and printing"},
	{"e2e/kafkacluster/cmd", 71, "a cluster to try"},

	{"e2e/node", 69, "the built binary, for tests and measurements"},
	{"e2e/kafkacluster", 69, "a real Kafka, for tests and measurements"},
	{"e2e/foreign", 69, "programs in other languages, for tests"},
	{"e2e/numbered", 69, "records that tell what became of them, for tests"},
	{"e2e", 70, "tests on the built binary"},
	{"bench/load", 25, "leaf: load generator"},
	{"bench", 70, "measurements of the built binary"},
	{"internal/offline", 65, "definitions run without a node: knows the wiring of actions"},
	{"internal/app", 60, "wiring: the only place that names concrete backends"},
	{"internal/front", 55, "listeners: knows the gateway and handlers of the surfaces"},
	{"internal/api/", 50, "surfaces: one AWS service each"},
	{"internal/template", 50, "surface: definition files"},
	{"internal/delivery/journal/journaltest", 42, "the suite that journals share"},
	{"internal/delivery/journal/topic", 42, "the journal on Kafka"},
	{"internal/delivery/journal/bucket", 42, "the journal in an object store"},
	{"internal/delivery/journal", 41, "part of the delivery engine"},
	{"internal/delivery/objectkey", 41, "part of the delivery engine"},
	{"internal/delivery/process", 41, "part of the delivery engine: what is computed from a record alone"},
	{"internal/delivery/format", 40, "leaf of the delivery engine: compressions"},
	{"internal/delivery/parquet", 40, "leaf of the delivery engine: JSON to Parquet"},
	{"internal/delivery/transform", 41, "part of the delivery engine: calls of functions"},
	{"internal/delivery/httpendpoint", 41, "part of the delivery engine: the protocol of HTTP endpoints"},
	{"internal/delivery/errorline", 41, "part of the delivery engine: lines of error objects"},
	{"internal/delivery", 43, "engine"},
	{"internal/mirror", 43, "engine: between two backends"},
	{"internal/replay", 43, "engine: from objects into a backend"},
	{"internal/gateway/httpcall", 41, "leaf of the gateway: sends the requests of HTTP integrations"},
	{"internal/gateway/mapping/lint", 38, "part of the gateway"},
	{"internal/gateway/mapping/vtlcase", 38, "part of the gateway"},
	{"internal/gateway/mapping/payload", 36, "part of the gateway"},
	{"internal/gateway/mapping", 37, "part of the gateway"},
	{"internal/gateway", 40, "engine"},
	{"internal/catalog/topic", 41, "the catalog's store on Kafka"},
	{"internal/catalog/bucket", 41, "the catalog's store in an object store"},
	{"internal/peers/peerstest", 59, "stores and nodes for tests"},
	{"internal/peers", 40, "leaf of engines: which nodes share an object store"},
	{"internal/catalog", 40, "engine"},
	{"internal/stream/streamtest", 39, "the suite that backends share"},
	{"internal/stream/limits", 41, "engine: limits before a backend"},
	{"internal/stream/seal", 41, "engine: encryption before a backend"},
	{"internal/stream/topics", 41, "engine: topics of other clusters, on the backend's reading"},
	{"internal/stream/local", 40, "engine: a backend"},
	{"internal/stream/kafka", 40, "engine: a backend"},
	{"internal/stream/kinesis", 40, "engine: a backend"},
	{"internal/object/objecttest", 39, "the suite that stores share"},
	{"internal/object/dir", 40, "engine: a store"},
	{"internal/object/s3", 40, "engine: a store"},
	{"internal/restapi/schema", 29, "leaf of nouns: JSON schemas, and payloads judged by them"},
	{"internal/restapi/openapi", 31, "nouns: reading OpenAPI into them"},
	{"internal/restapi", 30, "nouns"},
	{"internal/stream", 30, "nouns"},
	{"internal/object", 30, "nouns"},
	{"examples", 51, "definition files, embedded"},
	{"internal/awsmodel/gen", 22, "generator"},
	{"internal/awsmodel/", 21, "generated shapes"},
	{"internal/awsmodel", 20, "service models"},
	{"internal/awswire", 20, "leaf: protocols"},
	{"internal/policy", 20, "leaf: policies on calls of methods and of buckets"},
	{"internal/config", 20, "leaf"},
	{"internal/telemetry", 20, "leaf"},
	{"internal/logfile", 20, "leaf: logs as files"},
	{"internal/store", 20, "leaf: opens Pebble"},
	{"internal/kafka", 20, "leaf: opens clients of Kafka"},
	{"internal/outbound", 20, "leaf: HTTP calls that leave the node"},
	{"internal/space", 20, "leaf: watches the disk"},
	{"internal/yamldoc", 20, "leaf: definition files as nodes with lines"},
	{"internal/glue", 15, "leaf: tables of a data catalog"},
	{"internal/ids", 10, "leaf"},
	{"internal/fault", 10, "leaf"},
	{"internal/house", 0, "tests only"},
	{"vtl", 10, "public library: standard library only"},
}

func floorOf(pkg string) (floor int, known bool) {
	for _, f := range floors {
		if pkg == strings.TrimSuffix(f.prefix, "/") || strings.HasPrefix(pkg+"/", strings.TrimSuffix(f.prefix, "/")+"/") {
			return f.floor, true
		}
	}
	return 0, false
}

// onlyHere says which packages may name an outside library in code that ships: once a contract takes its types,
// the library is the domain.
var onlyHere = map[string][]string{
	"github.com/cockroachdb/pebble": {"internal/store", "internal/stream/local", "internal/object/dir", "internal/catalog",
		"internal/delivery/journal", "internal/app"},
	"github.com/aws/aws-sdk-go-v2":          {"internal/stream/kinesis", "internal/object/s3"},
	"github.com/twmb/franz-go":              {"internal/kafka", "internal/stream/kafka", "internal/catalog/topic", "internal/delivery/journal/topic"},
	"github.com/aws/smithy-go":              {"internal/object/s3", "internal/stream/kinesis"},
	"github.com/prometheus/client_golang":   {"internal/telemetry"},
	"github.com/santhosh-tekuri/jsonschema": {"internal/restapi/schema"},
	"github.com/klauspost/compress":         {"internal/delivery", "internal/front", "internal/gateway"},
	"github.com/itchyny/gojq":               {"internal/delivery/process"},
	"github.com/parquet-go/parquet-go":      {"internal/delivery/parquet"},
	"github.com/minio/crc64nvme":            {"internal/object"},
	"go.yaml.in/yaml":                       {"internal/config", "internal/template", "internal/restapi/openapi", "internal/yamldoc", "internal/offline"},
	"github.com/rogpeppe/go-internal":       {"internal/offline"},
}

// file is one parsed Go file of the project.
type file struct {
	pkg  string // "internal/stream"
	name string // "internal/stream/backend.go"
	test bool
	ast  *ast.File
	fset *token.FileSet
}

func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, file{path.Dir(rel), rel, strings.HasSuffix(rel, "_test.go"), parsed, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found only %d Go files: is root right?", len(all))
	}
	return all
}

func imports(f file) []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// Imports point down, and packages of one floor do not know one another: an engine that can be read alone can
// be replaced alone.
func TestImportsPointDown(t *testing.T) {
	for _, f := range files(t) {
		from, known := floorOf(f.pkg)
		if !known {
			t.Errorf("%s: package %s is on no floor; add it to the table and to ARCHITECTURE.md", f.name, f.pkg)
			continue
		}
		if f.test {
			continue // a test may stand on what it tests from outside
		}
		for _, p := range imports(f) {
			to, ours := strings.CutPrefix(p, "millrace/")
			if !ours {
				continue
			}
			if floor, ok := floorOf(to); !ok || floor >= from {
				t.Errorf("%s imports %s: imports point down (floor %d to %d)", f.name, to, from, floor)
			}
		}
	}
}

// An outside library stays in the rooms that are listed for it; vtl stands on the standard library alone.
func TestLibrariesStayInTheirRooms(t *testing.T) {
	for _, f := range files(t) {
		if f.test || strings.HasPrefix(f.pkg, "e2e") || strings.HasPrefix(f.pkg, "bench") || f.pkg == "internal/house" {
			continue
		}
		for _, p := range imports(f) {
			first, _, _ := strings.Cut(p, "/")
			if f.pkg == "vtl" && (strings.Contains(first, ".") || strings.HasPrefix(p, "millrace/")) {
				t.Errorf("%s imports %s: vtl is a public library on the standard library", f.name, p)
			}
			for lib, rooms := range onlyHere {
				if !strings.HasPrefix(p, lib) {
					continue
				}
				if !inRooms(f.pkg, rooms) {
					t.Errorf("%s imports %s, which belongs to %v only", f.name, p, rooms)
				}
			}
		}
	}
}

func inRooms(pkg string, rooms []string) bool {
	for _, room := range rooms {
		if pkg == room || strings.HasPrefix(pkg, room+"/") {
			return true
		}
	}
	return false
}

// Every package says what it owns, attached to the package clause.
func TestEveryPackageIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		doc := ""
		if f.ast.Doc != nil {
			doc = f.ast.Doc.Text()
		}
		documented[f.pkg] = documented[f.pkg] || len(strings.Fields(doc)) >= 8
	}
	var missing []string
	for pkg, ok := range documented {
		if !ok {
			missing = append(missing, pkg)
		}
	}
	sort.Strings(missing)
	for _, pkg := range missing {
		t.Errorf("package %s has no doc comment that says what it owns", pkg)
	}
}

// Some calls have one owner. Data timestamps come from a clock given at construction, output from a writer
// given at construction, and a leaf never ends the process.
func TestForbiddenCalls(t *testing.T) {
	forbidden := map[string]string{
		"os.Exit":        "only cmd ends the process",
		"log.Fatal":      "only cmd ends the process",
		"log.Printf":     "logs go through slog",
		"log.Println":    "logs go through slog",
		"fmt.Println":    "packages print to a writer they were given",
		"fmt.Printf":     "packages print to a writer they were given",
		"http.Get":       "the default client has no time limit",
		"http.Post":      "the default client has no time limit",
		"ioutil.ReadAll": "reads are bounded",
	}
	for _, f := range files(t) {
		if f.test || strings.HasPrefix(f.pkg, "cmd/") || strings.HasPrefix(f.pkg, "e2e") ||
			strings.HasPrefix(f.pkg, "bench") || f.pkg == "internal/awsmodel/gen" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok {
				if why, bad := forbidden[x.Name+"."+sel.Sel.Name]; bad {
					t.Errorf("%s: %s.%s: %s", f.fset.Position(sel.Pos()), x.Name, sel.Sel.Name, why)
				}
			}
			return true
		})
	}
}

// Dependencies are few, and ARCHITECTURE.md gives the reason of each that go.mod requires directly.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	arch, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || strings.Contains(line, "// indirect") || !strings.Contains(fields[0], ".") {
			continue
		}
		name := fields[0]
		if fields[0] == "tool" {
			name = fields[1]
		}
		if strings.HasPrefix(name, "github.com/aws/aws-sdk-go-v2") {
			name = "github.com/aws/aws-sdk-go-v2"
		}
		if !strings.Contains(string(arch), name) {
			t.Errorf("ARCHITECTURE.md does not explain the dependency %s", name)
		}
	}
}
