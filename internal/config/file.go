package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

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
		return n, fmt.Errorf("--config: %s: %w", name, err)
	}
	return n, nil
}
