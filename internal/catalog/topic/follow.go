package topic

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/kafka"
)

const (
	txHeader  = "tx"  // which transaction a record belongs to
	endHeader = "end" // it is the last of its transaction
)

// Fresh gives the moment up to which the snapshot of the catalog is known to be complete. See the package comment for
// what it takes.
func (s *Store) Fresh() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.view.fresh.Before(s.floor):
		return time.Time{}
	case s.beaten.Before(s.view.fresh):
		return s.beaten
	}
	return s.view.fresh
}

// Refresh returns when all that was committed before the call has been published here.
func (s *Store) Refresh(ctx context.Context) error {
	const op = "catalog.Refresh"
	asked := time.Now()
	name := s.settings.CatalogTopic()
	offsets, err := s.admin.ListCommittedOffsets(ctx, name)
	if err != nil {
		return kafka.Fault(op, name, err)
	}
	end, ok := offsets.Lookup(name, 0)
	if !ok || end.Err != nil {
		return kafka.Fault(op, name, end.Err)
	}
	err = s.await(ctx, func() bool { return s.view.next >= end.Offset || s.view.fresh.After(asked) })
	if err != nil {
		return fault.New(fault.Unavailable, op, name, "the end of the catalog was not reached in time: %w", err)
	}
	s.change(func() {
		if s.view.fresh.Before(asked) {
			s.view.fresh = asked
		}
	})
	return nil
}

// followCatalog publishes transactions as they are committed, until the store closes.
func (s *Store) followCatalog() {
	reader := kafka.Reader{Client: s.client, Topic: s.settings.CatalogTopic(), MaxBytes: fetchBytes}
	pending := catalog.Writes{}
	s.follow(&reader, func(records []*kgo.Record) {
		for _, r := range records {
			key, ok := catalog.ParseKey(r.Key)
			if !ok {
				s.opts.Log.Error("a record of the catalog's topic is no document; it is passed over", "offset", r.Offset)
				continue
			}
			pending[key] = r.Value // nil when deleted
			if tx, end := headers(r); end {
				s.publish(pending, r.Offset+1, tx)
				pending = catalog.Writes{}
			}
		}
	}, func(f kafka.Fetched) {
		s.change(func() {
			s.view.next = reader.Next
			if f.AtEnd && s.view.fresh.Before(f.Asked) {
				s.view.fresh = f.Asked
			}
		})
	})
}

// follow reads for ever: take gets the records, then after learns how far that was. A broker that does not answer is
// asked again.
func (s *Store) follow(r *kafka.Reader, take func([]*kgo.Record), after func(kafka.Fetched)) {
	for s.ctx.Err() == nil {
		f, err := r.Fetch(s.ctx, fetchWait)
		if fault.Is(err, fault.Expired) && r.Next < f.Start {
			r.Next = f.Start // of the nodes' topic, whose old beats are deleted
			continue
		}
		if s.ctx.Err() != nil {
			return
		}
		s.change(func() { s.trouble[r.Topic] = err })
		if err != nil {
			s.opts.Log.Warn("the cluster's topic can't be followed; it is tried again", "topic", r.Topic, "error", err)
			pause(s.ctx, retryPause)
			continue
		}
		take(f.Records)
		after(f)
	}
}

func headers(r *kgo.Record) (tx string, end bool) {
	for _, h := range r.Headers {
		switch h.Key {
		case txHeader:
			tx = string(h.Value)
		case endHeader:
			end = true
		}
	}
	return tx, end
}

func (s *Store) publish(writes catalog.Writes, version int64, tx string) {
	s.catalog.Apply(writes, uint64(version))
	s.change(func() {
		s.view.version = version
		s.view.known = append(s.view.known, tx)
		if len(s.view.known) > remembered {
			s.view.known = s.view.known[1:]
		}
	})
	s.kick()
}

// hasApplied tells whether a transaction has been published. The caller holds mu.
func (v *view) hasApplied(tx string) bool {
	for i := len(v.known) - 1; i >= 0; i-- {
		if v.known[i] == tx {
			return true
		}
	}
	return false
}

// awaitOthers waits until every node that lives has got as far as ok demands, or the lease has passed.
func (s *Store) awaitOthers(ctx context.Context, ok func(Beat) bool) error {
	limited, cancel := context.WithTimeout(ctx, s.opts.Lease)
	defer cancel()
	began := time.Now()
	err := s.await(limited, func() bool {
		for _, n := range s.nodes {
			if n.Node != s.opts.Node && began.Sub(n.at) < s.opts.Lease && !ok(n.Beat) {
				return false
			}
		}
		return true
	})
	if err != nil && ctx.Err() != nil {
		return fault.New(fault.Unavailable, "catalog.Await", "", "other nodes have not followed in time: %w", err)
	}
	return nil // all have, or the lease has passed, or this node is stopping
}
