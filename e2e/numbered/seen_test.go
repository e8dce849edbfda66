package numbered

import (
	"strings"
	"testing"
)

// What goes wrong with records is found: one that is lost, one before another of its key, one that nobody has put.
func TestSeen(t *testing.T) {
	written := map[string]int{"a": 3, "b": 1}
	f := func(records string, again int, all bool, want string) {
		t.Helper()
		var s Seen
		var b Bag
		var got string
		for _, r := range strings.Split(records, ",") {
			if err := s.Add(r); err != nil && got == "" {
				got = err.Error()
			}
			if err := b.Add(r); (err != nil) != strings.HasPrefix(want, "a record that no one") {
				t.Errorf("%s: %v", records, err)
			}
		}
		if !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: got %q; want %q", records, got, want)
		}
		if want == "" && (s.Again != again || s.All(written) != all || b.Again != again || b.All(written) != all || s.Total() != b.Total()) {
			t.Errorf("%s: %+v, %+v", records, s, b)
		}
	}
	f("a 0,b 0,a 1,a 2", 0, true, "")
	f("a 0,b 0,a 1,a 0,a 1,a 2", 2, true, "")
	f("a 0,a 1,a 2", 0, false, "")
	f("a 0,a 1,b 0", 0, false, "")
	f("a 0,a 2", 0, false, "a 2 has come, and number 1 has not")
	f("nobody's", 0, false, "a record that no one has put")
}
