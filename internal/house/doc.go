// Package house holds tests only: the rules of the house, each with its reason.
//
// Who may import whom, that every package says what it owns, which calls are
// forbidden where, and that the list of dependencies is the one that
// ARCHITECTURE.md explains. A rule that no longer helps is changed here and in
// ARCHITECTURE.md in one commit.
package house
