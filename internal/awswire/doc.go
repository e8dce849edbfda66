// Package awswire owns what AWS services have in common on the wire: the strict
// JSON of JSON 1.1 and REST-JSON, the CBOR of CBOR 1.1, the XML of REST-XML, where a
// REST request keeps its members, constraint violations and their texts, error
// bodies, request ids, timestamps, and Signature Version 4.
//
//	request ── Verifier (SigV4, skew, payload hash, aws-chunked) ──> who called
//	        ── Router (method, path, query) ──> operation            REST services
//	        ── JSON | CBOR | XMLReader | Request ──> generated shape  package awsmodel/*wire
//	        ── Violations ──> one ValidationException for all faults
//	answer  <─ generated shape ── Append*  ── Answer (ids, headers, error bodies)
//	        <─ BeginEvent, EndEvent: messages of an event stream
//
// It knows no service: names, shapes and constraints are generated from the
// published models (package awsmodel), texts of one service live in its surface.
// Nothing here uses reflection.
package awswire

// Value gives what p points to, the zero value when p is nil.
func Value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Emptied gives an empty, non-nil list that reuses the memory of s. Generated decoders use it, so that a pooled
// request keeps its lists, and an empty list differs from an absent one.
func Emptied[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s[:0]
}
