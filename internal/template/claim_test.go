package template

import (
	"errors"
	"testing"
	"time"

	"millrace/internal/catalog"
)

// Of two nodes that apply one file at the same time, one waits for the other, and then finds nothing to do.
func TestOneNodeAppliesAtATime(t *testing.T) {
	n := newNode(t)
	n.Node = "a"
	plan := func(node string) (*Plan, error) {
		t.Helper()
		file, err := Load("t.yaml", []byte(small), Options{Account: account})
		if err != nil {
			t.Fatal(err)
		}
		target := n.Target
		target.Node = node
		return file.Plan(t.Context(), target, false)
	}
	mine, err := plan("a")
	if err != nil {
		t.Fatal(err)
	}
	stale, err := plan("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stale.Apply(t.Context(), func(*Step) {}); !errors.Is(err, ErrClaimed) {
		t.Errorf("a plan from before the claim: %v", err)
	}
	if _, err := plan("b"); !errors.Is(err, ErrClaimed) {
		t.Errorf("a plan while another applies: %v", err)
	}
	if _, err := plan("a"); err != nil { // its own claim, from before it died
		t.Errorf("the claim's owner: %v", err)
	}
	if err := mine.steps(t.Context(), func(*Step) {}); err != nil {
		t.Fatal(err)
	}
	if err := mine.saveRecord(t.Context(), mine.record); err != nil {
		t.Fatal(err)
	}
	late, err := plan("b")
	if err != nil || late.Changes() != 0 {
		t.Errorf("after it: %v", err)
	}
}

func TestClaimOfADeadNodeIsVoid(t *testing.T) {
	n := newNode(t)
	err := n.Catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		r := newRecord("t")
		r.ID, r.Claim = "id", &Claim{"dead", time.Now().Add(-claimTime - time.Second)}
		return Stacks.Put(tx, r.Stack, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	n.mustUp(small, Options{}, false)
	r, _, err := Stacks.Get(n.Catalog.Snapshot(), "t")
	if err != nil || r.Claim != nil {
		t.Errorf("the record is %+v, %v", r, err)
	}
}
