package space

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestLowSpaceComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := uint64(10 << 30)
		var failing error
		w := New("/data", 0, func(string) (uint64, uint64, error) { return free, 100 << 30, failing }, slog.New(slog.DiscardHandler))
		if w.Low() || w.Mark() != 5<<30 {
			t.Errorf("low %v, mark %d: the default is the larger of 1 GiB and 5 %%", w.Low(), w.Mark())
		}
		go w.Run(t.Context())
		step := func(now uint64, want bool) {
			t.Helper()
			free = now
			time.Sleep(2 * every)
			synctest.Wait()
			if w.Low() != want {
				t.Errorf("with %d free: low %v", now, w.Low())
			}
		}
		step(5<<30-1, true)
		step(5<<30+1, true) // not yet: it would flap
		failing = errors.New("gone")
		step(50<<30, true) // no news is no good news
		failing = nil
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
