package template

import (
	"errors"
	"maps"
	"time"

	"millrace/internal/catalog"
)

// Record is what a stack has made on the node, kept in the catalog.
type Record struct {
	Stack     string                  `json:"stack"`
	ID        string                  `json:"id"` // of AWS::StackId
	Applied   time.Time               `json:"applied,omitzero"`
	Resources map[string]*RecordEntry `json:"resources"` // by logical id
	// Claim is set while a node applies a file: the other nodes of a cluster wait for it.
	Claim *Claim `json:"claim,omitempty"`
}

// Claim says who applies a file to a stack.
type Claim struct {
	Node string    `json:"node"`
	At   time.Time `json:"at"` // renewed on the way
}

// ErrClaimed says that another node applies a file to the stack, or has done so since the plan was made: plan again.
var ErrClaimed = errors.New("another node applies a file to this stack")

// claimTime is after how long a claim that was not renewed is void: its node has died. It is several times what the
// slowest step takes.
const claimTime = 2 * time.Minute

// by reports whether another node holds the stack.
func (c *Claim) by(node string, now time.Time) (other string, held bool) {
	if c == nil || c.Node == node || now.Sub(c.At) > claimTime {
		return "", false
	}
	return c.Node, true
}

// RecordEntry is a resource of a stack.
type RecordEntry struct {
	Type     string `json:"type"`
	Physical string `json:"physical"`
	Named    bool   `json:"named,omitempty"` // by the file; else the name was made up and is kept
	Retain   bool   `json:"retain,omitempty"`
	Found    bool   `json:"found,omitempty"` // it was there before the stack, which therefore never removes it
}

// Stacks is access to the records.
var Stacks = catalog.NewCollection[Record]("stack")

func newRecord(stack string) *Record {
	return &Record{Stack: stack, Resources: map[string]*RecordEntry{}}
}

func (r *Record) clone() *Record {
	c := *r
	c.Resources = maps.Clone(r.Resources)
	if c.Resources == nil {
		c.Resources = map[string]*RecordEntry{}
	}
	return &c
}

var zeroTime = time.Unix(0, 0).UTC()
