package main

import (
	"fmt"
	"io"

	"millrace/internal/delivery"
)

// printOutputs shows what records have become, of delivery streams where that is not one output for each: those that
// de-aggregate, and those with error objects.
func printOutputs(w io.Writer, all []delivery.DeliveryLedger) {
	headed := false
	for i := range all {
		d := &all[i]
		if d.Outputs == d.Delivered && d.DeadLettered == 0 && d.ErrorObjects == 0 {
			continue
		}
		if !headed {
			fmt.Fprintf(w, "\n%-28s %12s %12s %12s   %12s %13s\n", "WHAT THEY BECAME", "DELIVERED", "OUTPUTS", "OBJECTS", "DEAD-L.", "ERROR OBJECTS")
			headed = true
		}
		fmt.Fprintf(w, "%-28s %12d %12d %12d   %12d %13d\n", d.Name, d.Delivered, d.Outputs, d.Objects, d.DeadLettered, d.ErrorObjects)
	}
}
