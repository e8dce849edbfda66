// Command encode makes files as delivery streams do, for tests that read them by programs of others:
//
//	encode KIND OUT < BYTES        compresses: GZIP, ZIP, Snappy, HADOOP_SNAPPY
//	encode PARQUET OUT < JOB       converts: {"spec": {…}, "records": ["…"]}; prints failures as JSON, by the record's number
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"millrace/internal/delivery/format"
	"millrace/internal/delivery/parquet"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "encode:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("a kind and a file are expected")
	}
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer out.Close()
	if args[0] == "PARQUET" {
		err = convert(in, out)
	} else {
		err = compress(format.Kind(args[0]), in, out)
	}
	if err != nil {
		return err
	}
	return out.Close()
}

func compress(kind format.Kind, in []byte, out io.Writer) error {
	var pool format.Pool
	w, err := pool.New(format.Options{Kind: kind, Level: 1, Entry: "5a1d1d9e-8d0c-4b4e-9d5e-0123456789ab"}, out)
	if err != nil {
		return err
	}
	if _, err := w.Write(in); err != nil {
		return err
	}
	return w.Close()
}

func convert(job []byte, out io.Writer) error {
	var j struct {
		Spec    parquet.Spec `json:"spec"`
		Records []string     `json:"records"`
	}
	if err := json.Unmarshal(job, &j); err != nil {
		return err
	}
	c, err := parquet.Compile(j.Spec)
	if err != nil {
		return err
	}
	w := c.NewWriter(out)
	failures := map[int]*parquet.Failure{}
	for i, r := range j.Records {
		if f := w.Write([]byte(r)); f != nil {
			failures[i] = f
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(failures)
}
