package kafkacluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// logTails is the last part of every broker's log.
func (l *layout) logTails() string {
	var all strings.Builder
	for i := range l.brokers {
		fmt.Fprintf(&all, "--- %s\n%s\n", filepath.Base(l.logFile(i)), l.logTail(i))
	}
	return all.String()
}
