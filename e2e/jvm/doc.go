// Package jvm runs the Java programs of the tests below e2e, which are Maven modules
// in the folders of their tests:
//
//	e2e/jvm/install FOLDER ─> FOLDER/.artifacts ─> Start ─> Process ── Lines · Stop · Wait · Log
//
// A program gets its work as arguments, tells what it sees as lines on its standard
// output, logs to its standard error, and ends when its standard input does, so that
// none outlives its test.
package jvm
