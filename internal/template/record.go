package template

import (
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
