// Package foreign runs programs in other languages for the tests below e2e. Those in
// Java are Maven modules in the folders of their tests:
//
//	e2e/foreign/install-java FOLDER ─> FOLDER/.artifacts ─> Java.Start ─┐
//	                                          any other command ─> Start ─> Process ──
//	                                              Lines · Stop · Finish · Log
//
// A program gets its work as arguments, tells what it sees as lines on its standard
// output, logs to its standard error, and ends when its standard input does, so that
// none outlives its test.
package foreign
