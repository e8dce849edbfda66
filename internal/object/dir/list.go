package dir

import (
	"context"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// maxPage is the largest page of a listing.
const maxPage = 1000

// List scans the index from where the page begins. It seeks past a common prefix, so that a listing costs what it
// shows and not what lies below.
func (s *Store) List(ctx context.Context, bucket string, o object.ListOptions) (object.Page, error) {
	page, _, _, err := s.list(ctx, "object.List", bucket, o)
	return page, err
}

// list also tells how many keys it has stepped over, and how often it has sought one.
func (s *Store) list(ctx context.Context, op, bucket string, o object.ListOptions) (page object.Page, steps, seeks int, err error) {
	if o.Max < 1 || o.Max > maxPage {
		return page, 0, 0, fault.New(fault.Invalid, op, bucket, "a page holds 1 to %d keys, not %d", maxPage, o.Max)
	}
	if _, err := s.share(op, bucket); err != nil {
		return page, 0, 0, err
	}
	defer s.bucketsMu.RUnlock()
	base := s.objectKey(bucket, "")
	prefix := s.objectKey(bucket, o.Prefix)
	it, err := s.opts.DB.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return page, 0, 0, s.unavailable(op, bucket, err)
	}
	defer it.Close()
	l := lister{it: it, o: o, bucket: bucket, base: base}
	if err := l.run(op); err != nil {
		return page, l.steps, l.seeks, err
	}
	return l.page, l.steps, l.seeks, nil
}

type lister struct {
	it     *pebble.Iterator
	o      object.ListOptions
	bucket string
	base   []byte // of the index's keys
	page   object.Page
	last   string // key or common prefix that was taken last
	seek   []byte

	steps, seeks int
}

func (l *lister) run(op string) error {
	ok := false
	if l.o.After != "" {
		ok = l.from(l.o.After, "\x00")
	} else {
		l.seeks++
		ok = l.it.First()
	}
	for ok {
		key := string(l.it.Key()[len(l.base):])
		common, rolls := l.rollUp(key)
		switch {
		case rolls && common <= l.o.After: // its keys are after, it is not
		case l.full():
			l.page.Truncated, l.page.Next = true, l.last
			return nil
		case rolls:
			l.page.CommonPrefixes = append(l.page.CommonPrefixes, common)
			l.last = common
		default:
			if err := l.take(op, key); err != nil {
				return err
			}
		}
		if rolls {
			ok = l.from(common, "\xff") // keys are UTF-8: none has this byte
		} else {
			l.steps++
			ok = l.it.Next()
		}
	}
	if err := l.it.Error(); err != nil {
		return fault.New(fault.Unavailable, op, l.bucket, "%w", err)
	}
	return nil
}

func (l *lister) full() bool {
	return len(l.page.Objects)+len(l.page.CommonPrefixes) >= l.o.Max
}

// from seeks to the first key at or after the text and end.
func (l *lister) from(text, end string) bool {
	l.seek = append(append(append(l.seek[:0], l.base...), text...), end...)
	l.seeks++
	return l.it.SeekGE(l.seek)
}

// rollUp gives the common prefix that a key belongs to.
func (l *lister) rollUp(key string) (string, bool) {
	if l.o.Delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(l.o.Prefix):], l.o.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(l.o.Prefix)+i+len(l.o.Delimiter)], true
}

func (l *lister) take(op, key string) error {
	value, err := l.it.ValueAndErr()
	if err != nil {
		return fault.New(fault.Unavailable, op, l.bucket, "%w", err)
	}
	r, err := decodeRow(value, true)
	if err != nil {
		return fault.New(fault.Corrupt, op, l.bucket+"/"+key, "%w", err)
	}
	l.page.Objects = append(l.page.Objects, r.info(l.bucket, key))
	l.last = key
	return nil
}
