package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 1 << 20

// Load reads a configuration file in YAML over the defaults. A key that is not known is an error with its line.
func Load(name string) (Node, error) {
	n := Default()
	f, err := os.Open(name)
	if err != nil {
		return n, fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return n, fmt.Errorf("--config: %w", err)
	}
	if len(text) > maxFileBytes {
		return n, fmt.Errorf("--config: %s has more than %d bytes, which is no configuration", name, maxFileBytes)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&n); err != nil && !errors.Is(err, io.EOF) { // an empty file says nothing
		return n, fmt.Errorf("--config: %w", located(name, err))
	}
	return n, nil
}

var yamlProblem = regexp.MustCompile(`^line (\d+): (?:field (\S+) not found in type .*|(.*))$`)

// located words the reader's problems as other files' are: "millrace.yaml:3: there is no key replicas".
func located(name string, err error) error {
	var all *yaml.TypeError
	if !errors.As(err, &all) {
		return fmt.Errorf("%s: %w", name, err)
	}
	var problems []error
	for _, text := range all.Errors {
		m := yamlProblem.FindStringSubmatch(text)
		switch {
		case m == nil:
			problems = append(problems, fmt.Errorf("%s: %s", name, text))
		case m[2] != "":
			problems = append(problems, fmt.Errorf("%s:%s: there is no key %s", name, m[1], m[2]))
		default:
			problems = append(problems, fmt.Errorf("%s:%s: %s", name, m[1], m[3]))
		}
	}
	return errors.Join(problems...)
}
