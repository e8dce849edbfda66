// Package vtl renders the Velocity Template Language, as Apache Velocity 1.7
// defines it and as mapping templates of Amazon API Gateway use it.
//
// A template is compiled once, to closures, and rendered many times, by many
// goroutines at once:
//
//	t, err := vtl.Compile("greeting", `Hello $name.toUpperCase()!`, vtl.Options{})
//	out, err := t.Render(nil, vtl.Names{"name": vtl.String("ada")})
//
// Compile and Render return an [*Error] that bears line and column.
//
// # What it promises
//
// Values behave like the Java objects that Velocity sees: strings count in UTF-16
// units, integers widen and never wrap, doubles print like Java's, split takes a
// regular expression. Text comes out byte for byte as Velocity 1.7 prints it,
// whitespace included.
//
// A hostile template or hostile data ends in an error: never in a panic, a hang or
// memory without end. [Limits] names every bound.
//
// # Structure
//
//	source ── parse ──> Node tree ── compile ──> closures ── Render ──> bytes
//	                      └ Walk, for linters
//
// A host adds its own variables through a [Scope], whose values may be [Object]s
// with properties and methods.
//
// # Memory
//
// What a rendering makes lives in an arena that the next rendering reuses. A host
// that keeps a string from a [Value] beyond the call that gave it must clone it
// (strings.Clone).
//
// # What is left out
//
// #include and #parse are refused when compiled: there is nothing to load from.
// Regular expressions run in linear time, so back-references and look-around are
// refused when they are met.
package vtl
