// Package examples holds definition files that `millrace up` runs and the tests run.
// Each says in a comment how to send it an event.
package examples

import "embed"

// Files are the definition files by name.
//
//go:embed *.yaml
var Files embed.FS

// Reference is the pipeline that `millrace up` starts without a file.
const Reference = "reference.yaml"
