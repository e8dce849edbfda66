//go:build !race

package mapping

import "testing"

// The templates of the reference pipeline stay below their bound of allocations. They are counted without the race
// detector, which makes sync.Pool forget at random.
func TestReferenceTemplatesAllocateLittle(t *testing.T) {
	f := func(name, body string, most float64) {
		t.Helper()
		tmpl, in := template(t, name), inputFor(body)
		var dst []byte
		got := testing.AllocsPerRun(200, func() {
			var err error
			if dst, err = tmpl.Render(dst[:0], in, nil); err != nil {
				t.Fatal(err)
			}
		})
		if got > most {
			t.Errorf("%s: %v allocations a render, want at most %v", name, got, most)
		}
	}
	f("json.vtl", jsonBody, 3)
	f("form.vtl", formBody, 3)
}
