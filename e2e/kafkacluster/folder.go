package kafkacluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// What lies in a cluster's folder:
//
//	broker-1.properties   broker-1.log   keystore.pem   authority.pem   data/1/...
func (l *layout) dataFolder(broker int) string {
	return filepath.Join(l.folder, "data", fmt.Sprint(nodeID(broker)))
}

func (l *layout) propertiesFile(broker int) string {
	return filepath.Join(l.folder, fmt.Sprintf("broker-%d.properties", nodeID(broker)))
}

func (l *layout) logFile(broker int) string {
	return filepath.Join(l.folder, fmt.Sprintf("broker-%d.log", nodeID(broker)))
}

func (l *layout) keystore() string { return filepath.Join(l.folder, "keystore.pem") }

// ErrNotInstalled says that there is no Kafka to be run.
var ErrNotInstalled = errors.New("Apache Kafka is not installed: run e2e/kafka/install")

// jars gives the folder that e2e/kafka/install fills.
func jars() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := at; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			artifacts := filepath.Join(folder, "e2e", "kafka", ".artifacts")
			if _, err := os.Stat(filepath.Join(artifacts, "stamp")); err != nil {
				return "", ErrNotInstalled
			}
			return filepath.Join(artifacts, "lib"), nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no go.mod above %s", at)
		}
	}
}

// tailKept bounds what is shown of a broker's log.
const tailKept = 8 << 10

// logTail gives the last part of a broker's log.
func (l *layout) logTail(broker int) string {
	f, err := os.Open(l.logFile(broker))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(0, info.Size()-tailKept)
	text := make([]byte, info.Size()-from)
	n, err := f.ReadAt(text, from)
	if n == 0 && err != nil {
		return err.Error()
	}
	return string(text[:n])
}
