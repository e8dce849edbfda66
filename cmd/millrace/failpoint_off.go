//go:build !failpoints

package main

// failpoint is nil but in builds for crash tests.
func failpoint() func(string) { return nil }
