package app

import (
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/glue"
)

// tables finds tables for delivery streams: those that definition files have made, then those of the configuration.
func (n *Node) tables() (func(database, name string) (*glue.Table, error), error) {
	configured, err := n.opts.Config.Tables()
	if err != nil {
		return nil, err
	}
	return func(database, name string) (*glue.Table, error) {
		t, err := catalog.Tables{}.Table(n.catalog.Snapshot(), database, name)
		if !fault.Is(err, fault.NotFound) {
			return t, err
		}
		if t := configured[glue.Key(database, name)]; t != nil {
			return t, nil
		}
		return nil, err
	}, nil
}
