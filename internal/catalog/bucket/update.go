package bucket

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/peers"
)

// Update implements [catalog.Store]. It returns once every node that lives has the writes, or the lease has passed.
func (s *Store) Update(ctx context.Context, edit func() (catalog.Writes, error)) (uint64, error) {
	limited, cancel := context.WithTimeout(ctx, updateTime)
	defer cancel()
	if err := s.lock(limited, s.updating); err != nil {
		return 0, err
	}
	u := &update{s: s, edit: edit}
	err := u.run(limited)
	<-s.updating
	if err != nil {
		return 0, err
	}
	if !u.made {
		return u.version, nil
	}
	err = s.opts.Peers.Await(ctx, func(p peers.Peer) bool { return uint64(p.Values[appliedValue]) >= u.version })
	u.tidy(context.WithoutCancel(ctx))
	return u.version, err
}

// update is one call of Update.
type update struct {
	s       *Store
	edit    func() (catalog.Writes, error)
	version uint64
	made    bool
	garbage []string // documents that the root named, and that nobody can name any more
}

// run tries until no other node's update comes in between.
func (u *update) run(ctx context.Context) error {
	for range updateTries {
		first, err := u.try(ctx)
		if err != nil || first {
			return err
		}
		if !pause(ctx, time.Duration(u.s.opts.IDs.Uint64()%uint64(retryPause))) { // jitter
			break
		}
	}
	return fault.New(fault.Unavailable, "catalog.Update", "", "other nodes' updates came first; nothing was changed")
}

// try makes the update on the newest root. first is false when another node's came in between: nothing has happened then.
func (u *update) try(ctx context.Context) (first bool, err error) {
	s := u.s
	if err := s.lock(ctx, s.reading); err != nil {
		return false, err
	}
	defer func() { <-s.reading }()
	if err := s.refresh(ctx); err != nil {
		return false, err
	}
	base := s.root
	u.version = base.Version
	writes, err := u.edit()
	if err != nil || len(writes) == 0 {
		return true, err
	}
	id := s.opts.IDs.String(ids.LowerAlnum, 16)
	next := base.next(id)
	apart := place(next, writes, id)
	text, err := next.encode()
	if err != nil {
		return false, err
	}
	written := make([]string, len(apart))
	err = each(len(apart), func(i int) error {
		d := next.docs[apart[i]]
		written[i] = d.Object
		_, err := s.put(ctx, s.docKey(d.Object), writes[apart[i]], object.Conditions{})
		return err
	})
	if err != nil {
		u.drop(ctx, written)
		return false, err
	}
	happened, err := u.commit(ctx, base, next, text)
	switch {
	case err != nil:
		return false, err
	case !happened:
		u.drop(ctx, written)
		return false, nil
	}
	u.made, u.version = true, next.Version
	u.garbage = superseded(base, next)
	s.publish(next, writes)
	return true, nil
}

// place puts writes into a root, and tells which of the documents lie apart.
func place(next *root, writes catalog.Writes, id string) (apart []catalog.Key) {
	for k, text := range writes {
		if text == nil {
			delete(next.docs, k)
			continue
		}
		d := doc{Kind: k.Kind, Name: k.Name, Inline: text}
		if len(text) > inlineBytes {
			sum := sha256.Sum256(text)
			d.Inline, d.SHA256, d.Object = nil, sum[:], docName(next.Version-1, id, len(apart))
			apart = append(apart, k)
		}
		next.docs[k] = d
	}
	return apart
}

// superseded gives the documents that one root names and the next one does not.
func superseded(base, next *root) (names []string) {
	named := objectsOf(next)
	for _, name := range objectsOf(base) {
		if _, ok := slices.BinarySearch(named, name); !ok {
			names = append(names, name)
		}
	}
	return names
}

// commit replaces the root. It puts it again, as it is, until it is known whether that has happened.
func (u *update) commit(ctx context.Context, base, next *root, text []byte) (happened bool, err error) {
	s := u.s
	cond := object.Conditions{IfMatch: base.etag}
	if base.etag == "" {
		cond = object.Conditions{IfNoneMatch: "*"}
	}
	etag, cause := s.put(ctx, s.rootKey(), text, cond)
	if cause == nil {
		next.etag = etag
		return true, nil
	}
	// The caller's time may be over; what has happened must still be known to who asks next.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fateTime)
	defer cancel()
	for {
		have, err := s.readRoot(ctx)
		if err == nil && have.Version > base.Version {
			switch have.updateAt(next.Version) {
			case next.Recent[len(next.Recent)-1]:
				next.etag = unread // others may have followed: the next look reads all
				return true, nil
			case "": // too long ago
			default:
				return false, nil
			}
			break
		}
		if fault.Is(err, fault.Corrupt) {
			return false, err
		}
		if !pause(ctx, retryPause) {
			break
		}
		if etag, err := s.put(ctx, s.rootKey(), text, cond); err == nil {
			next.etag = etag
			return true, nil
		}
	}
	return false, fault.New(fault.Unavailable, "catalog.Update", s.rootKey(), "whether the change was made is not known: %w", cause)
}

// unread is no object's ETag.
const unread = "?"

// drop removes documents of a try that has not happened. What stays a sweep finds.
func (u *update) drop(ctx context.Context, names []string) {
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	if err := u.s.remove(ctx, names); err != nil {
		u.s.opts.Log.Debug("documents of an update that was not made stay until the next sweep", "error", err)
	}
}

// tidy removes what the update has replaced.
func (u *update) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fateTime)
	defer cancel()
	if err := u.s.remove(ctx, u.garbage); err != nil {
		u.s.opts.Log.Debug("documents that were replaced stay until the next sweep", "error", err)
	}
}
