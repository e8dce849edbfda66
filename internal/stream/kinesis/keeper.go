package kinesis

import (
	"context"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// keeper keeps the view young: it lists the streams at every RefreshInterval and describes those that are due, the
// most overdue first, at a rate that leaves the service's limits to others too.
type keeper struct {
	describes, lists, tags pacer

	mu       sync.Mutex
	due      map[string]time.Time // when a stream is to be described
	seen     map[string]time.Time // when it last was
	tagSeen  map[string]time.Time // when its tags last were
	issued   uint64               // the last ticket
	applied  map[string]uint64    // the ticket of the description that the view shows, of gone streams too
	goneAt   map[string]time.Time
	nextList time.Time

	kicked chan struct{} // something became due
}

const (
	listsPerDescribe = 6                // so many listings pass before a stream that seems unchanged is described again
	tagsAge          = 5 * time.Minute  // how old tags may be that others change
	goneFor          = 10 * time.Minute // how long a late description of a stream that is gone is told from a new one
)

func (k *keeper) init(unpaced bool) {
	if !unpaced {
		k.describes = newPacer(describesPerSecond, describesPerSecond)
		k.lists = newPacer(listsPerSecond, listsPerSecond)
		k.tags = newPacer(tagsPerSecond, tagsPerSecond)
	}
	k.due, k.seen, k.tagSeen = map[string]time.Time{}, map[string]time.Time{}, map[string]time.Time{}
	k.applied, k.goneAt = map[string]uint64{}, map[string]time.Time{}
	k.kicked = make(chan struct{}, 1)
}

// ticket numbers a description before it is asked for: of two, the one that was asked for later is shown.
func (k *keeper) ticket() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.issued++
	return k.issued
}

func (k *keeper) tagsDue(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.tagSeen[name]) >= tagsAge
}

func (k *keeper) tagged(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tagSeen[name] = time.Now()
}

// want makes a stream due at a time, unless it is due earlier.
func (k *keeper) want(name string, at time.Time) {
	k.mu.Lock()
	if old, ok := k.due[name]; !ok || at.Before(old) {
		k.due[name] = at
	}
	k.mu.Unlock()
	select {
	case k.kicked <- struct{}{}:
	default:
	}
}

// next gives the stream that is most overdue, or how long nothing is; list: the streams are to be listed.
func (k *keeper) next() (name string, list bool, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	at := k.nextList
	for n, due := range k.due {
		if due.Before(at) {
			name, at = n, due
		}
	}
	if wait = at.Sub(now); wait > 0 {
		return "", false, wait
	}
	if name == "" {
		return "", true, 0
	}
	delete(k.due, name)
	return name, false, 0
}

// kick makes a stream due: a reader came to the end of a shard, or a call was refused that should not have been. Many
// kicks are one description a FollowInterval.
func (b *Backend) kick(name string) {
	b.keeper.mu.Lock()
	at := b.keeper.seen[name].Add(b.opts.FollowInterval)
	b.keeper.mu.Unlock()
	b.keeper.want(name, at)
}

// publish shows a description, or with nil that the stream is gone, unless a later one is shown already.
func (b *Backend) publish(name string, st *stream.Stream, ticket uint64) {
	k := &b.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.seen[name] = now
	if ticket <= k.applied[name] {
		return
	}
	k.applied[name] = ticket
	delete(k.goneAt, name)
	old := b.view.Load()
	if st == nil {
		delete(k.seen, name)
		delete(k.tagSeen, name)
		delete(k.due, name)
		k.goneAt[name] = now
	} else if st.Status != stream.Active {
		if at, ok := k.due[name]; !ok || at.After(now.Add(b.opts.FollowInterval)) {
			k.due[name] = now.Add(b.opts.FollowInterval)
		}
		select {
		case k.kicked <- struct{}{}:
		default:
		}
	}
	if reflect.DeepEqual(old.byName[name], st) {
		return
	}
	byName := maps.Clone(old.byName)
	if byName == nil {
		byName = map[string]*stream.Stream{}
	}
	if st == nil {
		delete(byName, name)
	} else {
		byName[name] = st
	}
	next := newView(byName)
	b.view.Store(next)
	close(old.changed)
	b.readers.prune(next, name)
	if st == nil {
		b.gatherers.Delete(name)
	}
}

// load fills the view for the first time.
func (b *Backend) load(ctx context.Context) error {
	if err := b.list(ctx); err != nil {
		return err
	}
	for {
		b.keeper.mu.Lock()
		var name string
		for name = range b.keeper.due {
			if _, known := b.keeper.seen[name]; !known {
				break
			}
			name = ""
		}
		delete(b.keeper.due, name)
		b.keeper.mu.Unlock()
		if name == "" {
			return nil
		}
		if _, err := b.describe(ctx, "kinesis.Open", name, described{}); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
}

// keep runs until the backend closes.
func (b *Backend) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		name, list, wait := b.keeper.next()
		switch {
		case list:
			if err := b.list(b.base); err != nil && b.base.Err() == nil {
				b.opts.Log.Warn("the streams can't be listed", "error", err)
			}
			continue
		case name != "":
			if _, err := b.describe(b.base, "kinesis.keep", name, described{}); err != nil && !fault.Is(err, fault.NotFound) && b.base.Err() == nil {
				b.opts.Log.Warn("a stream can't be described", "stream", name, "error", err)
				b.keeper.want(name, time.Now().Add(max(b.opts.RefreshInterval, b.opts.FollowInterval)))
			}
			if b.base.Err() == nil {
				continue
			}
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-b.keeper.kicked:
		case <-b.base.Done():
			return
		case <-b.closing:
			return
		}
	}
}

// list lists the streams and makes due what is new, gone, changing, or was described long ago. A stream leaves the view
// only when its own description says that it is gone: a list may miss one that was just made.
func (b *Backend) list(ctx context.Context) error {
	b.keeper.mu.Lock()
	b.keeper.nextList = time.Now().Add(b.opts.RefreshInterval)
	for name, at := range b.keeper.goneAt {
		if time.Since(at) > goneFor {
			delete(b.keeper.goneAt, name)
			delete(b.keeper.applied, name)
		}
	}
	b.keeper.mu.Unlock()

	shown, listed := b.view.Load(), map[string]bool{}
	in := &sdk.ListStreamsInput{}
	for {
		if err := b.keeper.lists.wait(ctx); err != nil {
			return faultOf("kinesis.list", "", err)
		}
		limited, cancel := context.WithTimeout(ctx, controlTimeout)
		out, err := b.client.ListStreams(limited, in)
		cancel()
		if err != nil {
			return faultOf("kinesis.list", "", err)
		}
		b.clock.learn(out.ResultMetadata, b.opts.Now())
		status := map[string]stream.Status{} // older services tell names alone
		for _, sum := range out.StreamSummaries {
			status[aws.ToString(sum.StreamName)] = stream.Status(sum.StreamStatus)
		}
		for _, name := range out.StreamNames {
			listed[name] = true
			b.notice(name, shown.byName[name], status[name])
		}
		if !aws.ToBool(out.HasMoreStreams) || len(out.StreamNames) == 0 {
			break
		}
		in = &sdk.ListStreamsInput{ExclusiveStartStreamName: &out.StreamNames[len(out.StreamNames)-1]}
	}
	for name := range shown.byName {
		if !listed[name] {
			b.keeper.want(name, time.Now())
		}
	}
	return nil
}

// notice makes a listed stream due when it should be looked at.
func (b *Backend) notice(name string, known *stream.Stream, status stream.Status) {
	b.keeper.mu.Lock()
	seen := b.keeper.seen[name]
	b.keeper.mu.Unlock()
	if known == nil || status != "" && status != known.Status || time.Since(seen) >= listsPerDescribe*b.opts.RefreshInterval {
		b.keeper.want(name, time.Now())
	}
}
