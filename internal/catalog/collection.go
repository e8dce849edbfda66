package catalog

import (
	"encoding/json"

	"millrace/internal/fault"
)

// Collection is typed access to the documents of one kind.
type Collection[T any] struct{ kind string }

// NewCollection gives access to the documents of a kind: NewCollection[restapi.API]("restapi").
func NewCollection[T any](kind string) Collection[T] { return Collection[T]{kind} }

// Get decodes a document into a value of the caller's own; ok is false when there is none.
func (c Collection[T]) Get(view View, name string) (value *T, ok bool, err error) {
	doc, ok := view.Get(Key{c.kind, name})
	if !ok {
		return nil, false, nil
	}
	value = new(T)
	if err := json.Unmarshal(doc, value); err != nil {
		return nil, false, fault.New(fault.Corrupt, "catalog.Get", c.kind+" "+name, "%w", err)
	}
	return value, true, nil
}

// All decodes all documents, in byte order of their names.
func (c Collection[T]) All(view View) ([]*T, error) {
	names := view.Names(c.kind)
	all := make([]*T, 0, len(names))
	for _, name := range names {
		value, ok, err := c.Get(view, name)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, value)
		}
	}
	return all, nil
}

// Names lists the documents, in byte order.
func (c Collection[T]) Names(view View) []string { return view.Names(c.kind) }

// Put writes a document.
func (c Collection[T]) Put(tx *Tx, name string, value *T) error {
	doc, err := json.Marshal(value)
	if err != nil {
		return fault.New(fault.Internal, "catalog.Put", c.kind+" "+name, "%w", err)
	}
	tx.Put(Key{c.kind, name}, doc)
	return nil
}

// Delete removes a document.
func (c Collection[T]) Delete(tx *Tx, name string) { tx.Delete(Key{c.kind, name}) }
