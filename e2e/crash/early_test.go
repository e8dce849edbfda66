package crash

import "testing"

func TestEarly(t *testing.T) {
	for i := range 40 {
		c := newCampaign(t, *seed+uint64(i), "failpoints")
		for range 4 {
			if err := c.killedEarly(); err != nil {
				t.Fatal(err)
			}
		}
		n, err := c.up()
		if err != nil {
			t.Fatal(i, err)
		}
		if err := onlyOnce(t.Context(), n); err != nil {
			t.Fatal(i, err)
		}
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
