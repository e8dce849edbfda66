package dir

import (
	"errors"
	"io/fs"
	"path"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// settleDelay gathers changes, so that many share the fsync of their folder.
	settleDelay = 100 * time.Millisecond
	// settleMax is how many unsettled changes there may be before those who make more settle them themselves. It bounds
	// memory and what the next start has to look at.
	settleMax = 4096
)

// settler makes the folders of renamed and removed files durable, then clears the notes about them; and tries again
// to rename what could not be. All that it does can be lost in a crash: the next start does it.
type settler struct {
	mu      sync.Mutex
	pending []unset
	astray  map[string]unset // committed objects whose rename has failed, by version

	round sync.Mutex // one round at a time
	wake  chan struct{}
	quit  chan struct{}
	ended sync.WaitGroup
}

func (q *settler) run(s *Store) {
	q.wake = make(chan struct{}, 1)
	q.quit = make(chan struct{})
	if q.displaced() > 0 { // the start could not rename them either
		q.nudge()
	}
	q.ended.Go(func() {
		for {
			select {
			case <-q.quit:
				q.settle(s)
				return
			case <-q.wake:
			}
			delay := time.NewTimer(settleDelay)
			select {
			case <-q.quit:
			case <-delay.C:
			}
			delay.Stop()
			q.settle(s)
		}
	})
}

func (q *settler) stop() {
	close(q.quit)
	q.ended.Wait()
}

// add queues a change whose file is renamed or removed.
func (q *settler) add(s *Store, u *unset) {
	q.mu.Lock()
	q.pending = append(q.pending, *u)
	q.mu.Unlock()
	q.nudge()
}

// bound is called before a change and without a lock: it settles when too much is not.
func (q *settler) bound(s *Store) {
	q.mu.Lock()
	full := len(q.pending) >= settleMax
	q.mu.Unlock()
	if full {
		q.settle(s)
	}
}

func (q *settler) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// displace remembers an object that has to be read from its temporary file.
func (q *settler) displace(s *Store, u *unset, cause error) {
	s.opts.Log.Error("an object is stored and can't be moved to its path; it is tried again",
		"file", u.path, "temporary", tempPath(u.name), "error", cause)
	q.mu.Lock()
	if q.astray == nil {
		q.astray = map[string]unset{}
	}
	q.astray[u.name] = *u
	q.mu.Unlock()
	q.nudge()
}

func (q *settler) isDisplaced(version string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.astray[version]
	return ok
}

func (q *settler) displaced() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.astray)
}

// superseded removes the content of a version that is gone and was never moved to its path. The caller holds the
// key's lock.
func (q *settler) superseded(s *Store, version string) {
	q.mu.Lock()
	u, ok := q.astray[version]
	delete(q.astray, version)
	if ok {
		q.pending = append(q.pending, u)
	}
	q.mu.Unlock()
	if ok {
		s.removeTemp(version)
	}
}

// settle does one round.
func (q *settler) settle(s *Store) {
	q.round.Lock()
	defer q.round.Unlock()
	if s.broken.Load() != nil {
		return
	}
	q.retry(s)
	q.mu.Lock()
	pending := q.pending
	q.pending = nil
	q.mu.Unlock()
	if len(pending) == 0 || s.at(stepSettling) != nil {
		return
	}
	folders := map[string]bool{}
	s.places.takeChanged(folders)
	for i := range pending {
		if pending[i].path != "" {
			folders[path.Dir(pending[i].path)] = true
		}
	}
	for dir := range folders {
		// A folder that is gone was pruned, and that is in its parent, whose own change is noted.
		if err := s.syncFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // the notes stay for the next start
		}
	}
	if s.at(stepFolders) != nil {
		return
	}
	if err := s.clearNotes(pending); err != nil {
		s.opts.Log.Warn("notes about settled objects can't be cleared; the next start does it", "error", err)
		return
	}
	_ = s.at(stepSettled)
}

// clearNotes need not be durable: a note about what is settled does no harm.
func (s *Store) clearNotes(list []unset) error {
	batch := s.opts.DB.NewBatch()
	defer batch.Close()
	for i := range list {
		if err := batch.Delete(s.key(rowUnset, list[i].name), nil); err != nil {
			return err
		}
	}
	return batch.Commit(pebble.NoSync)
}

// retry renames what could not be renamed.
func (q *settler) retry(s *Store) {
	q.mu.Lock()
	list := make([]unset, 0, len(q.astray))
	for _, u := range q.astray {
		list = append(list, u)
	}
	q.mu.Unlock()
	for i := range list {
		q.retryOne(s, &list[i])
	}
	if q.displaced() > 0 {
		time.AfterFunc(settleRetry, q.nudge)
	}
}

// settleRetry is the pause between attempts to rename.
const settleRetry = time.Second

func (q *settler) retryOne(s *Store, u *unset) {
	lock := s.keys.of(u.bucket, u.key)
	lock.Lock()
	defer lock.Unlock()
	if !q.isDisplaced(u.name) || s.rename(u) != nil {
		return
	}
	q.mu.Lock()
	delete(q.astray, u.name)
	q.pending = append(q.pending, *u)
	q.mu.Unlock()
}
