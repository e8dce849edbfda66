package app

import (
	"context"
	"sync"

	"millrace/internal/catalog"
	"millrace/internal/delivery"
)

// definitions keeps the delivery streams' documents in the catalog.
type definitions struct {
	catalog *catalog.Catalog

	mu   sync.Mutex
	read map[string]decoded // by name: what All has decoded, as most of it stays the same
}

// decoded is a definition and the document that it was decoded from, which never changes.
type decoded struct {
	doc *byte
	def *delivery.Definition
}

const deliveryStreamKind = "deliverystream"

var deliveryStreams = catalog.NewCollection[delivery.Definition](deliveryStreamKind)

func newDefinitions(c *catalog.Catalog) *definitions {
	return &definitions{catalog: c, read: map[string]decoded{}}
}

// Update is one transaction of the catalog.
func (d *definitions) Update(ctx context.Context, name string, fn func(have *delivery.Definition) (*delivery.Definition, error)) (*delivery.Definition, error) {
	var def *delivery.Definition
	err := d.catalog.Update(ctx, func(tx *catalog.Tx) error {
		have, _, err := deliveryStreams.Get(tx, name)
		if err != nil {
			return err
		}
		if def, err = fn(have); err != nil {
			return err
		}
		switch {
		case def == have:
			return nil
		case def == nil:
			deliveryStreams.Delete(tx, name)
			return nil
		}
		return deliveryStreams.Put(tx, name, def)
	})
	if err != nil {
		return nil, err
	}
	return def, nil
}

// All lists the definitions of the present snapshot.
func (d *definitions) All(context.Context) ([]*delivery.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	view := d.catalog.Snapshot()
	names := deliveryStreams.Names(view)
	all, read := make([]*delivery.Definition, 0, len(names)), make(map[string]decoded, len(names))
	for _, name := range names {
		doc, _ := view.Get(catalog.Key{Kind: deliveryStreamKind, Name: name})
		known := d.read[name]
		if len(doc) == 0 || known.doc != &doc[0] {
			def, ok, err := deliveryStreams.Get(view, name)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			known = decoded{&doc[0], def}
		}
		read[name] = known
		all = append(all, known.def)
	}
	d.read = read
	return all, nil
}

// Follow tells of every snapshot.
func (d *definitions) Follow(fn func()) (stop func()) {
	return d.catalog.Follow(func(*catalog.Snapshot) { fn() })
}

var _ delivery.Definitions = (*definitions)(nil)
