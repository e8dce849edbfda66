//go:build race

package gateway

// raceDetector tells that pools drop what they are given at random.
const raceDetector = true
