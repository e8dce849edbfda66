package app

import (
	"context"
	"sync"

	"millrace/internal/catalog"
	"millrace/internal/gateway"
	"millrace/internal/restapi"
)

// addressDoc says which API owns http://INGEST/STAGE/PATH. It is the first API that was created unless configured,
// and does not move by itself: the choice is kept in the catalog.
type addressDoc struct {
	API string `json:"api"`
}

const shortAddressName = "short-address"

var addresses = catalog.NewCollection[addressDoc]("address")

// followAPIs publishes every change of an API to the gateway, within the update that makes it: when a caller is told
// that a deployment was made, it is served.
func (n *Node) followAPIs() {
	changed := make(chan struct{}, 1)
	stop := n.catalog.Follow(func(s *catalog.Snapshot) {
		n.publish(s)
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var keeper sync.WaitGroup
	keeper.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				if err := n.keepShortAddress(ctx); err != nil && ctx.Err() == nil {
					n.log.Warn("the owner of the short address can't be kept; it is tried at the next change", "error", err)
				}
			}
		}
	})
	n.onClose("catalog follower", func(context.Context) error { stop(); cancel(); keeper.Wait(); return nil })
}

func (n *Node) publish(s *catalog.Snapshot) {
	was := n.metered
	if err := n.meter(s); err != nil {
		n.log.Error("the API keys and usage plans can't be read; those that were served stay", "error", err)
	}
	if s.SameBesideUsage(was) {
		return // a node has saved what it counted, which each does all the time
	}
	apis, err := catalog.APIs{}.Deployed(s)
	if err != nil {
		n.log.Error("the REST APIs can't be read; what was served stays", "error", err)
		return
	}
	domains, err := catalog.Domains{}.All(s)
	if err != nil {
		n.log.Error("the custom domain names can't be read; what was served stays", "error", err)
	} else {
		n.gateway.PublishDomains(domains)
	}
	for _, warning := range n.gateway.Publish(apis, n.shortOwner(s, apis)) {
		n.log.Warn("part of a deployed API can't run", "problem", warning)
	}
}

// shortOwner decides who has the short address.
func (n *Node) shortOwner(s *catalog.Snapshot, apis []*restapi.API) string {
	if want := n.opts.Config.DefaultAPI; want != "" {
		for _, api := range apis {
			if api.ID == want || api.Name == want {
				return api.ID
			}
		}
		return ""
	}
	doc, ok, err := addresses.Get(s, shortAddressName)
	if err == nil && ok {
		for _, api := range apis {
			if api.ID == doc.API {
				return doc.API
			}
		}
	}
	return gateway.FirstCreated(apis)
}

// keepShortAddress makes the present owner of the short address durable, so that an API that is created later, with an
// earlier date, does not take it.
func (n *Node) keepShortAddress(ctx context.Context) error {
	s := n.catalog.Snapshot()
	apis, err := catalog.APIs{}.Deployed(s)
	if err != nil {
		return err
	}
	owner := n.shortOwner(s, apis)
	if doc, ok, err := addresses.Get(s, shortAddressName); owner == "" || (err == nil && ok && doc.API == owner) {
		return err
	}
	return n.catalog.Update(ctx, func(tx *catalog.Tx) error {
		return addresses.Put(tx, shortAddressName, &addressDoc{API: owner})
	})
}
