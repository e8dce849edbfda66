package main

import (
	"strings"
	"testing"

	"millrace/internal/delivery"
	"millrace/internal/delivery/journal"
)

func TestPrintOutputs(t *testing.T) {
	f := func(want string, counts ...journal.Counts) {
		t.Helper()
		var all []delivery.DeliveryLedger
		for _, c := range counts {
			all = append(all, delivery.DeliveryLedger{Line: delivery.Line{Name: "d", Counts: c}})
		}
		var b strings.Builder
		printOutputs(&b, all)
		if got := strings.Join(strings.Fields(b.String()), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	plain := journal.Counts{Delivered: 7, Outputs: 7, Objects: 1}
	f("", plain)
	const head = "WHAT THEY BECAME DELIVERED OUTPUTS OBJECTS DEAD-L. ERROR OBJECTS "
	f(head+"d 3 9 2 0 0", plain, journal.Counts{Delivered: 3, Outputs: 9, Objects: 2})
	f(head+"d 3 3 1 4 2", journal.Counts{Delivered: 3, Outputs: 3, Objects: 1, DeadLettered: 4, ErrorObjects: 2})
}
