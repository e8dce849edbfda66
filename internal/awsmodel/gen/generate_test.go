package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The packages that are checked in are what the generator makes of the models, to the byte.
func TestPackagesAreGenerated(t *testing.T) {
	for _, s := range services {
		files, err := generate(s, "../models")
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			got, err := os.ReadFile(filepath.Join("..", s.pkg, name))
			if err != nil {
				t.Error(err)
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s/%s is not what the generator makes: run go generate ./internal/awsmodel", s.pkg, name)
			}
		}
		left, err := os.ReadDir(filepath.Join("..", s.pkg))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range left {
			if files[f.Name()] == nil && filepath.Ext(f.Name()) == ".go" && !bytes.HasSuffix([]byte(f.Name()), []byte("_test.go")) {
				t.Errorf("%s/%s: no generator makes it", s.pkg, f.Name())
			}
		}
	}
}

// Every operation that the table of services names exists in its model.
func TestConfiguredOperationsExist(t *testing.T) {
	for _, s := range services {
		m, err := readModel("../models/" + s.model + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range s.operations {
			if m.Operations[op] == nil {
				t.Errorf("%s: no operation %s", s.model, op)
			}
		}
		for shape := range s.enumOrder {
			if m.Shapes[shape] == nil {
				t.Errorf("%s: no enum %s", s.model, shape)
			}
		}
		for shape := range s.roots {
			if m.Shapes[shape] == nil {
				t.Errorf("%s: no output %s", s.model, shape)
			}
		}
	}
}
