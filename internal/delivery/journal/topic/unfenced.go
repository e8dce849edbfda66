//go:build unfenced

package topic

// unfenced makes the writer commit whatever the group says of it: what a crash suite of a cluster must find. This file is
// in no binary that is not built to be broken.
const unfenced = true
