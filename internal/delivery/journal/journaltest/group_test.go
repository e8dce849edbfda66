package journaltest

import (
	"testing"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
)

func TestGroup(t *testing.T) {
	Run(t, func(*testing.T) *Cluster {
		g := NewGroup(6)
		return &Cluster{
			Open: func(*testing.T) journal.Journal { return g.Node() }, Several: true,
			Expel: func(_ *testing.T, j journal.Journal) func() {
				g.Expel(j.(*Node))
				return func() { g.Return(j.(*Node)) }
			},
			LoseAnswers: func(_ *testing.T, j journal.Journal) func() {
				n, times := j.(*Node), 0
				n.Answer(func() (bool, error) {
					times++
					return times%2 == 0, fault.New(fault.Unavailable, "journal.Write", "", "lost answer")
				})
				return func() { n.Answer(nil) }
			},
		}
	})
}
