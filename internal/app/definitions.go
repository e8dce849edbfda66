package app

import (
	"context"

	"millrace/internal/catalog"
	"millrace/internal/delivery"
)

// definitions keeps the delivery streams' documents in the catalog.
type definitions struct{ catalog *catalog.Catalog }

var deliveryStreams = catalog.NewCollection[delivery.Definition]("deliverystream")

// Put stores a definition under its name.
func (d definitions) Put(ctx context.Context, def *delivery.Definition) error {
	return d.catalog.Update(ctx, func(tx *catalog.Tx) error { return deliveryStreams.Put(tx, def.Name, def) })
}

// Delete removes a definition.
func (d definitions) Delete(ctx context.Context, name string) error {
	return d.catalog.Update(ctx, func(tx *catalog.Tx) error { deliveryStreams.Delete(tx, name); return nil })
}

// All lists the definitions.
func (d definitions) All(context.Context) ([]*delivery.Definition, error) {
	return deliveryStreams.All(d.catalog.Snapshot())
}
