//go:build faulty

package delivery

// commitBeforePut makes the engine commit a manifest before its object is stored: what a crash suite must find. This
// file is in no binary that is not built to be broken.
const commitBeforePut = true
