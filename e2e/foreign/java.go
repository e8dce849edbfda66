package foreign

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Java is a program of a Maven module. Module and Main are required.
type Java struct {
	Module     string            // the folder of pom.xml, seen from the test
	Main       string            // the class: "millrace.e2e.Reader"
	Properties map[string]string // of the system: "aws.cborEnabled": "false"
	Options    []string          // of the machine: "--add-opens=java.base/java.util=ALL-UNNAMED"
	Args       []string
}

// heap is plenty for what the programs keep, and little enough for a machine that has other work.
const heap = "-Xmx512m"

// Start runs a program that e2e/foreign/install-java has built.
func (j Java) Start() (*Process, error) {
	artifacts, err := filepath.Abs(filepath.Join(j.Module, ".artifacts"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(artifacts, "stamp")); err != nil {
		return nil, fmt.Errorf("the program is not built; e2e/foreign/install-java does it: %w", err)
	}
	// The quick compiler alone: the programs are short-lived, and the machine is shared with what they test.
	args := []string{heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"}
	args = append(args, j.Options...)
	for k, v := range j.Properties {
		args = append(args, "-D"+k+"="+v)
	}
	args = append(args, "-cp", filepath.Join(artifacts, "target", "classes")+string(os.PathListSeparator)+filepath.Join(artifacts, "lib", "*"), j.Main)
	return Start(exec.Command("java", append(args, j.Args...)...))
}
