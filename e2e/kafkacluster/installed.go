package kafkacluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNotInstalled says that there is no Kafka to be run.
var ErrNotInstalled = errors.New("no Apache Kafka here: run e2e/kafka/install")

// installed is what e2e/kafka/install has made.
type installed struct {
	lib     string // the folder of the jars
	classes string // Java's archive of Kafka's classes, if it is there
}

// findInstalled looks below the folder of go.mod, which is this process's or one above it.
func findInstalled() (installed, error) {
	at, err := os.Getwd()
	if err != nil {
		return installed{}, err
	}
	for folder := at; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			artifacts := filepath.Join(folder, "e2e", "kafka", ".artifacts")
			if _, err := os.Stat(filepath.Join(artifacts, "stamp")); err != nil {
				return installed{}, ErrNotInstalled
			}
			return installed{filepath.Join(artifacts, "lib"), filepath.Join(artifacts, "classes.jsa")}, nil
		}
		if folder == filepath.Dir(folder) {
			return installed{}, fmt.Errorf("no go.mod above %s", at)
		}
	}
}

// archived gives Java's options for the archive. One that another Java has written is not used, silently.
func (k installed) archived() []string {
	if _, err := os.Stat(k.classes); err != nil {
		return nil
	}
	return []string{"-XX:SharedArchiveFile=" + k.classes, "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"}
}

// Archive runs a broker and lets it write an archive of the classes that it has loaded: with it a broker starts with
// half the work. For e2e/kafka/install.
func Archive(ctx context.Context) error {
	kafka, err := findInstalled()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(kafka.classes); err != nil {
		return err
	}
	fresh := kafka.classes + ".new"
	c, err := start(ctx, Options{Brokers: 1, Security: true}, fresh)
	if err != nil {
		return err
	}
	if err := errors.Join(c.Stop(0), c.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, kafka.classes)
}
