package main

import (
	"os"
	"runtime/debug"
	"sync"

	"millrace/internal/front"
)

// What a node tells the garbage collector. All that it holds has a bound: at full load some 150 MiB are in use, of which
// 64 MiB are the delivery buffers', 64 MiB the log's memtables. The collector's default would let the heap grow to
// twice that before it looks.
const (
	// softMemory is what the runtime may hold with the default budget of bodies. With some 20 MiB of the program
	// itself it stays below 250 MiB. The collector runs earlier when the heap comes near it, and gives up half of the
	// processor at most: it is no wall.
	softMemory = 210 << 20
	// heapGrowth is by how many percent a small heap may grow between two collections. Far below softMemory there is
	// no reason to collect as often as by default, and each collection costs callers time.
	heapGrowth = 200
)

// shedStart gives back what the start alone needed: compiled patterns that were thrown away, the file and its plan. A node
// that then does little would keep it for long, since the collector waits until the heap has grown.
func shedStart() { debug.FreeOSMemory() }

// boundMemory sets what the environment does not: GOMEMLIMIT and GOGC have the last word. A larger budget of bodies
// comes on top, and so does what the node asks for later by the function that is given back: see app.Options.Allow.
func boundMemory(bodyBudget int64) (allow func(more int64)) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return func(int64) {}
	}
	var mu sync.Mutex
	limit := softMemory + max(0, bodyBudget-front.DefaultBodyBudget)
	allow = func(more int64) {
		mu.Lock()
		defer mu.Unlock()
		limit += more
		debug.SetMemoryLimit(limit)
	}
	allow(0)
	return allow
}
