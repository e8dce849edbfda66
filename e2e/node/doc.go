// Package node builds the millrace binary and runs it as users do: as a process of
// its own, known only by its command line, its output, and its listeners.
//
// It serves the tests below e2e and shares no code with the node: what a test learns
// about a node it learns from outside.
//
//	Main ── Binary (built once per test process, per set of tags)
//	          └ Start ─> Node ── Kill (as kill -9) · Stop (drains) · Freeze · Thaw ·
//	                Ledger · Settled
package node
