package topic

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/fault"
	"millrace/internal/kafka"
)

// Drained tells the others that this node has no produce in flight to a shard that was closing at or before version.
func (s *Store) Drained(version int64) {
	s.change(func() { s.drained = max(s.drained, version) })
	s.kick()
}

// AwaitDrained returns when every node has said so of version, or when the lease has passed.
//
// It first reads the nodes' topic to its end: a node that serves has beaten before it read the catalog, so that
// either it has seen what version brought, or it is among those that are waited for.
func (s *Store) AwaitDrained(ctx context.Context, version int64) error {
	began := time.Now()
	if err := s.readNodes(ctx, began); err != nil {
		return err
	}
	s.mu.Lock()
	own := s.drained
	s.mu.Unlock()
	if own < version {
		if err := s.await(ctx, func() bool { return s.drained >= version || time.Since(began) >= s.opts.Lease }); err != nil {
			return fault.New(fault.Unavailable, "catalog.AwaitDrained", "", "produces in flight have not ended: %w", err)
		}
	}
	return s.awaitOthers(ctx, func(b Beat) bool { return b.Drained >= version })
}

// Node is a node as the others see it.
type Node struct {
	Beat
	Age time.Duration // since its last beat was read
}

// Nodes lists the nodes that live, by id.
func (s *Store) Nodes() []Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Node
	for _, n := range s.nodes {
		if age := time.Since(n.at); age < s.opts.Lease {
			all = append(all, Node{n.Beat, age})
		}
	}
	slices.SortFunc(all, func(a, b Node) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// followNodes keeps what the nodes tell of themselves.
func (s *Store) followNodes() {
	reader := kafka.Reader{Client: s.client, Topic: s.settings.NodesTopic(), MaxBytes: fetchBytes}
	s.follow(&reader, func(records []*kgo.Record) {
		now := time.Now()
		s.change(func() {
			for _, r := range records {
				node := string(r.Key)
				if r.Value == nil {
					delete(s.nodes, node)
					continue
				}
				var b Beat
				if err := json.Unmarshal(r.Value, &b); err != nil {
					continue
				}
				s.nodes[node] = seen{b, now}
				if node == s.opts.Node {
					s.meets(b.Run)
				}
			}
		})
	}, func(f kafka.Fetched) {
		if f.AtEnd {
			s.change(func() { s.nodesRead = f.Asked })
		}
	})
}

// meets looks at who beats under this node's name. Who began later is right: it may have been started in place of this
// process. The caller holds mu.
func (s *Store) meets(run string) {
	switch {
	case run == s.run:
		s.met = true
	case !s.met:
		s.before[run] = true // from before our first beat
	case !s.before[run]:
		s.before[run] = true // it is told once
		s.opts.Fatal(fault.New(fault.InUse, "catalog.Follow", s.opts.Node,
			"another process has joined the cluster as node %s; give every node a name of its own", s.opts.Node))
	}
}

// readNodes returns when all beats that were taken before a moment have been read.
func (s *Store) readNodes(ctx context.Context, moment time.Time) error {
	if err := s.await(ctx, func() bool { return s.nodesRead.After(moment) }); err != nil {
		return fault.New(fault.Unavailable, "catalog.Await", s.settings.NodesTopic(), "who lives could not be read in time: %w", err)
	}
	return nil
}

// kick makes a beat go out now.
func (s *Store) kick() {
	select {
	case s.beats <- struct{}{}:
	default:
	}
}

// runBeats beats at intervals, and at once when there is something to tell.
func (s *Store) runBeats() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.beats:
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.Lease)
		err := s.beat(ctx)
		cancel()
		if err != nil && s.ctx.Err() == nil {
			s.opts.Log.Warn("this node can't tell the others that it lives; it is tried again", "error", err)
		}
	}
}

// beat tells the others how far this node is.
func (s *Store) beat(ctx context.Context) error {
	s.mu.Lock()
	b := Beat{Node: s.opts.Node, Run: s.run, Applied: s.view.version, Drained: s.drained}
	s.mu.Unlock()
	value, err := json.Marshal(b)
	if err != nil {
		return fault.New(fault.Internal, "catalog.Beat", "", "%w", err)
	}
	sent := time.Now()
	if err := s.tell(ctx, value); err != nil {
		return err
	}
	s.change(func() {
		if sent.Sub(s.beaten) > s.opts.Lease {
			s.floor = time.Now() // the others may have taken this node for dead, and have gone on without it
		}
		s.beaten = sent
	})
	return nil
}

func (s *Store) leave(ctx context.Context) error { return s.tell(ctx, nil) }

func (s *Store) tell(ctx context.Context, value []byte) error {
	r := &kgo.Record{Topic: s.settings.NodesTopic(), Key: []byte(s.opts.Node), Value: value}
	return kafka.Fault("catalog.Beat", s.settings.NodesTopic(), s.client.ProduceSync(ctx, r).FirstErr())
}
