package catalog

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/restapi"
)

func TestKeysOfAnAccount(t *testing.T) {
	c, err := Open(openDB(t, vfs.NewMem()), []byte("c"))
	must(t, err)
	var k Keys
	update(t, c, func(tx *Tx) error {
		must(t, k.AddKey(tx, &restapi.APIKey{ID: "a", Value: "1"}))
		must(t, k.PutPlan(tx, &restapi.UsagePlan{ID: "p", Keys: []string{"a", "b"}, Grants: map[string]restapi.Grant{"a": {}}}))
		for _, taken := range []restapi.APIKey{{ID: "a", Value: "2"}, {ID: "b", Value: "1"}} {
			if err := k.AddKey(tx, &taken); !fault.Is(err, fault.InUse) {
				t.Errorf("%+v: %v", taken, err)
			}
		}
		return k.DeleteKey(tx, "a")
	})
	plan, err := k.Plan(c.Snapshot(), "p")
	must(t, err)
	if plan.HasKey("a") || !plan.HasKey("b") || len(plan.Grants) != 0 {
		t.Errorf("%+v", plan)
	}
	if _, err := k.Key(c.Snapshot(), "a"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

// Usage is the sum over nodes; what a node writes again takes the place of what it wrote, and days beyond those that are
// kept go, whoever counted them.
func TestUsageOfNodes(t *testing.T) {
	c, err := Open(openDB(t, vfs.NewMem()), []byte("c"))
	must(t, err)
	var k Keys
	put := func(node, day, key string, n int64) {
		t.Helper()
		update(t, c, func(tx *Tx) error { return k.PutUsage(tx, node, restapi.Usage{day: {"p": {key: n}}}) })
	}
	put("one", "2026-11-24", "a", 1)
	put("one", "2026-11-24", "b", 5)
	put("one", "2026-11-24", "a", 2)
	put("two/of them", "2026-11-24", "a", 10)
	put("two/of them", "2026-11-25", "a", 100)
	all, err := k.Usage(c.Snapshot(), "2026-11-24", "2026-11-24")
	must(t, err)
	if want := (restapi.Usage{"2026-11-24": {"p": {"a": 12, "b": 5}}}); !reflect.DeepEqual(all, want) {
		t.Errorf("%v, want %v", all, want)
	}
	own, err := k.NodeUsage(c.Snapshot(), "two/of them", "2026-11-25")
	must(t, err)
	if want := (restapi.Usage{"2026-11-25": {"p": {"a": 100}}}); !reflect.DeepEqual(own, want) {
		t.Errorf("%v, want %v", own, want)
	}
	day, _ := restapi.ParseDay("2026-11-25")
	for i := range restapi.UsageDays {
		put("one", restapi.Day(day.AddDate(0, 0, i+1)), "a", 1)
	}
	all, err = k.Usage(c.Snapshot(), "", "9")
	must(t, err)
	if len(all) != restapi.UsageDays || all["2026-11-25"] != nil {
		t.Errorf("%d days are kept", len(all))
	}
}

// Who follows the catalog can tell what kind of thing has changed.
func TestSnapshotsAreCompared(t *testing.T) {
	c, err := Open(openDB(t, vfs.NewMem()), []byte("c"))
	must(t, err)
	var k Keys
	f := func(change func(*Tx) error, want string) {
		t.Helper()
		was := c.Snapshot()
		update(t, c, change)
		s := c.Snapshot()
		got := fmt.Sprintf("usage %t keys %t rest %t", s.SameUsage(was), s.SameKeys(was), s.SameBesideUsage(was))
		if got != want {
			t.Errorf("same: %s, want %s", got, want)
		}
	}
	f(func(tx *Tx) error {
		return k.AddKey(tx, &restapi.APIKey{ID: "a", Value: "1", Created: time.Unix(0, 0)})
	}, "usage true keys false rest false")
	f(func(tx *Tx) error { return k.PutPlan(tx, &restapi.UsagePlan{ID: "p"}) }, "usage true keys false rest false")
	f(func(tx *Tx) error { return k.PutUsage(tx, "n", restapi.Usage{"2026-11-24": {"p": {"a": 1}}}) }, "usage false keys true rest true")
	f(func(tx *Tx) error { return APIs{}.PutAccount(tx, restapi.Account{CloudWatchRoleARN: "x"}) }, "usage true keys true rest false")
	f(func(tx *Tx) error { return k.DeleteKey(tx, "a") }, "usage true keys false rest false")
	f(func(tx *Tx) error { k.DeletePlan(tx, "p"); return nil }, "usage true keys false rest false")
	if s := c.Snapshot(); s.SameKeys(nil) || !s.SameBesideUsage(s) {
		t.Error("nil is no snapshot, and each is the same as itself")
	}
}
