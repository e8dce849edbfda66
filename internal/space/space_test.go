package space

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLowSpaceComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		var failing atomic.Bool
		free.Store(10 << 30)
		stat := func(string) (uint64, uint64, error) {
			if failing.Load() {
				return 0, 0, errors.New("gone")
			}
			return free.Load(), 100 << 30, nil
		}
		w := New("/data", 0, stat, slog.New(slog.DiscardHandler))
		if w.Low() || w.Mark() != 5<<30 {
			t.Errorf("low %v, mark %d: the default is the larger of 1 GiB and 5 %%", w.Low(), w.Mark())
		}
		go w.Run(t.Context())
		step := func(now uint64, want bool) {
			t.Helper()
			free.Store(now)
			time.Sleep(2 * every)
			synctest.Wait()
			if w.Low() != want {
				t.Errorf("with %d free: low %v", now, w.Low())
			}
		}
		step(5<<30-1, true)
		step(5<<30+1, true) // not yet: it would flap
		failing.Store(true)
		step(50<<30, true) // no news is no good news
		failing.Store(false)
		step(6<<30, false)
		step(1<<30, true)
	})
}

func TestStatfsReadsTheRealDisk(t *testing.T) {
	free, total, err := Statfs(t.TempDir())
	if err != nil || total == 0 || free > total {
		t.Errorf("free %d of %d: %v", free, total, err)
	}
}
