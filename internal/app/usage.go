package app

import (
	"context"
	"sync"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

// usageEvery is how often a node saves what it has counted of usage plans: what a kill -9 can forget, and what the other
// nodes of a cluster do not know yet. A busy node writes one small document each time, an idle one nothing.
const usageEvery = 10 * time.Second

// keepUsage saves what the gateway counts, now and then and when the node stops.
func (n *Node) keepUsage() {
	ctx, stop := context.WithCancel(context.Background())
	var saver sync.WaitGroup
	saver.Go(func() {
		tick := time.NewTicker(usageEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := n.saveUsage(ctx); err != nil && ctx.Err() == nil {
					n.log.Warn("the use of API keys can't be saved; it is tried again", "error", err)
				}
			}
		}
	})
	n.onClose("usage", func(ctx context.Context) error {
		stop()
		saver.Wait()
		return n.saveUsage(ctx)
	})
}

// saveUsage makes durable what was counted, for all nodes to see.
func (n *Node) saveUsage(ctx context.Context) error {
	n.savingUsage.Lock()
	defer n.savingUsage.Unlock()
	counted := n.gateway.Counted()
	if len(counted) == 0 {
		return nil
	}
	err := n.catalog.Update(ctx, func(tx *catalog.Tx) error { return catalog.Keys{}.PutUsage(tx, n.name, counted) })
	if err != nil {
		return err
	}
	n.gateway.Saved(counted)
	return nil
}

// meter gives the gateway the keys, plans and counts of a snapshot, as far as they differ from those that it has.
func (n *Node) meter(s *catalog.Snapshot) error {
	c := catalog.Keys{}
	if !s.SameUsage(n.metered) {
		from, to := n.gateway.UsageFrom(), restapi.Day(time.Now().AddDate(0, 0, 1)) // another node's clock may be ahead
		all, err := c.Usage(s, from, to)
		if err != nil {
			return err
		}
		own, err := c.NodeUsage(s, n.name, from)
		if err != nil {
			return err
		}
		n.gateway.SetUsage(all, own) // first: tallies of keys go on from it
	}
	if !s.SameKeys(n.metered) {
		keys, err := c.Keys(s)
		if err != nil {
			return err
		}
		plans, err := c.Plans(s)
		if err != nil {
			return err
		}
		n.gateway.SetPlans(keys, plans)
	}
	n.metered = s
	return nil
}
