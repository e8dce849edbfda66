package config

import "slices"

// Logs says where the logs of stages and delivery streams go: a line for each request (access logs), what became of
// requests (execution logs), and errors of delivery. The node's own log is another matter.
type Logs struct {
	Folder  string `yaml:"folder"`   // empty: logs in the data folder; "off": no files
	MaxSize Bytes  `yaml:"max-size"` // of a file before it is rotated; 0: the default, 64MiB
	Keep    int    `yaml:"keep"`     // how many rotated files stay of each log; 0: the default, 4
	Stdout  string `yaml:"stdout"`   // which lines go to standard output, too: none (also empty), access, execution, all
}

// The values of Logs.Stdout.
const (
	StdoutNone      = "none"
	StdoutAccess    = "access"
	StdoutExecution = "execution"
	StdoutAll       = "all"
)

// The bounds of log files, against typing errors.
const (
	minLogFileBytes = 64 << 10
	maxLogFiles     = 10000
)

func (l *Logs) check(bad func(field, format string, args ...any)) {
	if !slices.Contains([]string{"", StdoutNone, StdoutAccess, StdoutExecution, StdoutAll}, l.Stdout) {
		bad("logs.stdout", "%q is none of %s, %s, %s and %s", l.Stdout, StdoutNone, StdoutAccess, StdoutExecution, StdoutAll)
	}
	if l.MaxSize != 0 && l.MaxSize < minLogFileBytes {
		bad("logs.max-size", "%d bytes are less than 64KiB", l.MaxSize)
	}
	if l.Keep < 0 || l.Keep > maxLogFiles {
		bad("logs.keep", "%d is no number of files from 1 to %d", l.Keep, maxLogFiles)
	}
}
