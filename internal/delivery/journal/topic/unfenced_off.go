//go:build !unfenced

package topic

// unfenced is the one deliberate fault of the cluster's crash suite: see unfenced.go.
const unfenced = false
