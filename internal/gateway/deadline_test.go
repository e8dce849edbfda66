package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A deadline ends as context.WithTimeout does, whether or not anybody waits for it.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet := withTimeout(t.Context(), time.Second)
		watched := withTimeout(t.Context(), time.Second)
		done := watched.Done()
		time.Sleep(time.Second - 1)
		if quiet.Err() != nil || watched.Err() != nil {
			t.Error("ended early")
		}
		time.Sleep(time.Nanosecond)
		<-done
		for _, d := range []*deadline{quiet, watched} {
			if !errors.Is(d.Err(), context.DeadlineExceeded) {
				t.Errorf("%v", d.Err())
			}
			d.release()
			if !errors.Is(d.Err(), context.DeadlineExceeded) {
				t.Errorf("after release: %v", d.Err())
			}
			<-d.Done()
		}
	})
	parent, cancel := context.WithTimeout(t.Context(), time.Hour)
	quiet, watched := withTimeout(parent, 2*time.Hour), withTimeout(parent, time.Minute)
	if at, _ := quiet.Deadline(); time.Until(at) > time.Hour {
		t.Error("the parent's deadline is earlier")
	}
	if at, _ := watched.Deadline(); time.Until(at) > time.Minute {
		t.Error("its own deadline is earlier")
	}
	done := watched.Done()
	cancel()
	<-done
	for _, d := range []*deadline{quiet, watched} {
		if !errors.Is(d.Err(), context.Canceled) {
			t.Errorf("%v", d.Err())
		}
	}
}
