//go:build !faulty

package delivery

// commitBeforePut is the one deliberate fault of the crash suite: see faulty.go.
const commitBeforePut = false
