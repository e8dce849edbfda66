package bucket

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/object"
)

func slotName(i int) string { return fmt.Sprintf("%02d", i) }

// views has the newest states that were read of slots of others.
type views struct {
	looking chan struct{} // held while the store is read

	mu     sync.Mutex
	states []*state // by slot; nil: never read
	at     time.Time
}

func (v *views) init(slots int) {
	v.looking, v.states = make(chan struct{}, 1), make([]*state, slots)
}

// learn keeps a state unless a newer one is known.
func (v *views) learn(s *state) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if have := v.states[s.head.Slot]; have == nil || have.head.Sequence < s.head.Sequence {
		v.states[s.head.Slot] = s
	}
}

func (v *views) known() (all []*state, fresh bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.states), !v.at.IsZero() && time.Since(v.at) < viewAge
}

// list gives the ETags of all slots. One that is missing is Corrupt.
func (j *Journal) list(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	etags := make([]string, j.slots)
	after := ""
	for {
		page, err := j.opts.Store.List(ctx, j.opts.Bucket, object.ListOptions{Prefix: j.slotPrefix(), After: after, Max: 1000})
		if err != nil {
			return nil, err
		}
		for i := range page.Objects {
			var slot int
			if _, err := fmt.Sscanf(strings.TrimPrefix(page.Objects[i].Key, j.slotPrefix()), "%d", &slot); err == nil && slot >= 0 && slot < j.slots {
				etags[slot] = page.Objects[i].ETag
			}
		}
		if !page.Truncated {
			break
		}
		after = page.Next
	}
	return etags, nil
}

// refresh reads what has changed of slots that others own, unless that was done within viewAge.
func (j *Journal) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	select {
	case j.views.looking <- struct{}{}:
		defer func() { <-j.views.looking }()
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "journal.Load", "", "another read is under way: %w", ctx.Err())
	}
	known, fresh := j.views.known()
	if fresh {
		return nil
	}
	began := time.Now()
	etags, err := j.list(ctx)
	if err != nil {
		return err
	}
	err = each(j.slots, func(i int) error {
		if j.slot(i) != nil || known[i] != nil && known[i].etag == etags[i] {
			return nil
		}
		s, err := j.get(ctx, i)
		if err == nil {
			j.views.learn(s)
		}
		return err
	})
	if err == nil {
		j.views.mu.Lock()
		j.views.at = began
		j.views.mu.Unlock()
	}
	return err
}

// state gives a slot as it is, or, when another process owns it, as it lately was.
func (j *Journal) state(ctx context.Context, i int) (*state, error) {
	for {
		if s := j.slot(i); s != nil {
			return s.read(ctx)
		}
		if err := j.refresh(ctx); err != nil {
			return nil, err
		}
		if known, _ := j.views.known(); known[i] != nil {
			return known[i], nil
		}
		// It was ours when the others were read, and has been given back since: that state is learned.
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Unavailable, "journal.Load", "", "%w", err)
		}
	}
}

func (j *Journal) all(ctx context.Context) ([]*state, error) {
	all := make([]*state, j.slots)
	for i := range all {
		s, err := j.state(ctx, i)
		if err != nil {
			return nil, err
		}
		all[i] = s
	}
	return all, nil
}

// Deliveries implements [journal.Journal].
func (j *Journal) Deliveries(ctx context.Context) ([]string, error) {
	all, err := j.all(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, s := range all {
		for k := range s.rows {
			ids[k.Delivery] = true
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// Load implements [journal.Journal].
func (j *Journal) Load(ctx context.Context, delivery string) ([]journal.Row, []*journal.Manifest, error) {
	all, err := j.all(ctx)
	if err != nil {
		return nil, nil, err
	}
	of := map[journal.Key]*state{}
	for _, s := range all {
		for k := range s.rows {
			if k.Delivery == delivery {
				of[k] = s
			}
		}
	}
	var rows []journal.Row
	var manifests []*journal.Manifest
	for _, k := range slices.SortedFunc(maps.Keys(of), compareKeys) {
		rows = append(rows, of[k].rows[k].value)
		planned, err := of[k].planned(k)
		if err != nil {
			return nil, nil, err
		}
		manifests = append(manifests, planned...)
	}
	return rows, manifests, nil
}

// planned gives the manifests of a row, each a copy.
func (s *state) planned(k journal.Key) (all []*journal.Manifest, err error) {
	for _, m := range s.manifests[k] {
		own := *m.value
		if err := own.Check(); err != nil {
			return nil, err
		}
		all = append(all, &own)
	}
	return all, nil
}

// LoadShard implements [journal.Journal].
func (j *Journal) LoadShard(ctx context.Context, key journal.Key) (journal.Row, bool, []*journal.Manifest, error) {
	s, err := j.state(ctx, journal.SlotOf(key, j.slots))
	if err != nil {
		return journal.Row{}, false, nil, err
	}
	row, ok := s.rows[key]
	if !ok {
		return journal.Row{Key: key}, false, nil, nil
	}
	manifests, err := s.planned(key)
	return row.value, err == nil, manifests, err
}

// Finals implements [journal.Journal].
func (j *Journal) Finals(ctx context.Context) ([]journal.Final, error) {
	all, err := j.all(ctx)
	if err != nil {
		return nil, err
	}
	return newest(all), nil
}

// newest gives the newest final counts, oldest first.
func newest(all []*state) (finals []journal.Final) {
	for _, s := range all {
		if s == nil {
			continue
		}
		for _, f := range s.finals {
			finals = append(finals, f.value)
		}
	}
	journal.SortFinals(finals)
	return finals[max(0, len(finals)-journal.MaxFinals):]
}

// oldestFinal gives the oldest of the [journal.MaxFinals] newest that are known, when writes add to them; nil: there are
// fewer. What is older is not listed any more, whatever else there is.
func (j *Journal) oldestFinal(group []*write) *journal.Final {
	if !slices.ContainsFunc(group, func(w *write) bool { return w.final != nil }) {
		return nil
	}
	all, _ := j.views.known()
	for i := range all {
		if s := j.slot(i); s != nil {
			s.mu.Lock()
			all[i] = s.current
			s.mu.Unlock()
		}
	}
	finals := newest(all)
	if len(finals) < journal.MaxFinals {
		return nil
	}
	return &finals[0]
}

// Final implements [journal.Journal].
func (j *Journal) Final(ctx context.Context, delivery string) (journal.Final, bool, error) {
	s, err := j.state(ctx, journal.Home(delivery, j.slots))
	if err != nil {
		return journal.Final{}, false, err
	}
	f, ok := s.finals[delivery]
	return f.value, ok, nil
}
