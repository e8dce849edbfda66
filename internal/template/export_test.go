package template

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/ids"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
)

// What every conformance file deploys is exported, and the export, imported and exported again, is the same document.
func TestConformanceIsExportedAsItIs(t *testing.T) {
	files, err := filepath.Glob("testdata/[0-9]*.*[nl]")
	if err != nil {
		t.Fatal(err)
	}
	exported := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n := newNode(t)
			if _, _, err := n.up(filepath.Base(file), string(body), Options{Stack: "conformance"}, false); err != nil {
				return // its golden text says what is wrong with it
			}
			all, err := catalog.APIs{}.Deployed(n.Catalog.Snapshot())
			if err != nil || len(all) == 0 {
				t.Fatal(len(all), err)
			}
			for _, api := range all {
				for name, stage := range api.Stages {
					exported++
					exportTwice(t, api, &api.Deployments[stage.DeploymentID].Definition, name)
				}
			}
		})
	}
	if exported == 0 {
		t.Error("nothing was exported")
	}
}

func exportTwice(t *testing.T, api *restapi.API, deployed *restapi.Definition, stage string) {
	t.Helper()
	for _, kind := range []string{openapi.ExportOAS30, openapi.ExportSwagger} {
		for _, inYAML := range []bool{false, true} {
			export := openapi.Export{Kind: kind, YAML: inYAML, Extensions: []string{"apigateway"}, Host: "h", Stage: stage}
			first, err := export.Write(api, deployed)
			if err != nil {
				t.Fatal(err)
			}
			again, err := restapi.New(restapi.NewAPI{Name: "again", NoModels: true}, ids.Seeded(3), time.Unix(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := openapi.ImportBytes(t.Context(), first, openapi.Document{Source: ids.Seeded(4)}, false, again); err != nil {
				t.Fatalf("%s: %v\n%s", kind, err, first)
			}
			second, err := export.Write(again, &again.Definition)
			if err != nil {
				t.Fatal(err)
			}
			if string(first) != string(second) {
				t.Errorf("%s: exported first:\n%s\nand after an import:\n%s", kind, first, second)
			}
		}
	}
}
