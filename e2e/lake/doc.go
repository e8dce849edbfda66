// Package lake holds tests only: the examples for delivery on the built binary, from
// the POST of an event to what lies in the bucket, or comes to the endpoint.
package lake
