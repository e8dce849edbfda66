// Command gen turns the service models into packages of wire types: structs,
// decoders, encoders and constraint checks. It is run by go generate, and writes
// one package per entry of its services table. Its output depends on the models
// and on that table only.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	models := flag.String("models", "models", "folder of the service models")
	out := flag.String("out", ".", "folder that holds the generated packages")
	flag.Parse()
	for _, s := range services {
		files, err := generate(s, *models)
		if err == nil {
			err = write(filepath.Join(*out, s.pkg), files)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "gen:", s.pkg+":", err)
			os.Exit(1)
		}
	}
}

func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, name := range sortedKeys(files) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o666); err != nil {
			return err
		}
	}
	return nil
}
