package node

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PeakMemory is the most that the running process has had resident, in bytes, on systems that tell.
func (n *Node) PeakMemory() (bytes int64, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, false
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10, err == nil
}
