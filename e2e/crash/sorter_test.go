package crash

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The judge of flows is tested, too: it must find each offence in objects that a test has spoilt.
func TestSorterFindsEachOffence(t *testing.T) {
	m := &moody{seed: 7}
	f := func(name string, spoil func(objects map[string][]string), want report) {
		t.Helper()
		b, objects := sortedWell(m, 300)
		spoil(objects)
		var all []source
		for key, lines := range objects {
			all = append(all, source{key, func() ([]byte, error) { return []byte(strings.Join(lines, "")), nil }})
		}
		s, err := sortOut(flows[1], b, m, all, nil, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		got := report{lost: s.report.lost, duplicated: s.report.duplicated, reordered: s.report.reordered, mangled: s.report.mangled}
		if got.String() != want.String() || got.mangled != want.mangled {
			t.Errorf("%s: %s, %d mangled; want %s, %d mangled\n%s", name, &got, got.mangled, &want, want.mangled, strings.Join(s.report.details, "\n"))
		}
	}
	ok, failed := keyIn("p000000/k=a/mood=m1/"), keyIn("errors/p000000/processing-failed/")
	f("all is well", func(map[string][]string) {}, report{})
	f("one is lost", func(o map[string][]string) { o[ok] = o[ok][1:] }, report{lost: 1})
	f("one that failed is lost", func(o map[string][]string) { o[failed] = append(o[failed][:2:2], o[failed][3:]...) }, report{lost: 1})
	f("one is there twice", func(o map[string][]string) { o[ok] = append(o[ok], o[ok][0]) }, report{duplicated: 1})
	f("one is delivered, and failed", func(o map[string][]string) { o[failed] = append(o[failed], plain(o[ok][len(o[ok])-1])) }, report{duplicated: 1})
	f("two have changed places", func(o map[string][]string) { o[ok][0], o[ok][1] = o[ok][1], o[ok][0] }, report{reordered: 1})
	f("one is in another partition", func(o map[string][]string) {
		o[keyIn("p000000/k=z/mood=m1/")], o[ok] = o[ok][:1], o[ok][1:]
	}, report{mangled: 1})
	f("the function has not said so", func(o map[string][]string) { o[ok][0] = strings.Replace(o[ok][0], `"call":`, `"call":9`, 1) }, report{mangled: 1})
	f("a byte differs", func(o map[string][]string) { o[ok][0] = strings.Replace(o[ok][0], `"n":`, `"n":1`, 1) }, report{mangled: 1})
	f("it failed by what does not exist", func(o map[string][]string) {
		o[keyIn("errors/p000000/activePartitionExceeded/")] = o[failed][:1]
		o[failed] = o[failed][1:]
	}, report{mangled: 2}) // the second: it has not been through the function either
}

// sortedWell is a book of answered records, and the objects that they should be in. What the function drops is of records
// that it may drop.
func sortedWell(m *moody, records int) (*book, map[string][]string) {
	b, objects := newBook(), map[string][]string{}
	id := b.sends(doorKinds, records)
	for ; id < records; id++ {
		b.answers(id, "class-stream shardId-000000000000", fmt.Sprintf("%056d", 100+id))
		for _, p := range streamDoor.pieces(id) {
			call := 100 + id/10
			result, mood := m.outcome(call, id, p.s)
			switch {
			case result == "Dropped" && id%3 == 0:
			case result == "ProcessingFailed":
				add(objects, "errors/p000000/processing-failed/", errorLine(p.text))
			case p.broken:
				add(objects, "errors/p000000/metadata-extraction-failed/", errorLine(p.text))
			default:
				add(objects, fmt.Sprintf("p000000/k=%s/mood=%s/", p.key, mood), withMood(p.text, mood, call)+"\n")
			}
		}
	}
	return b, objects
}

func add(objects map[string][]string, folder, line string) {
	objects[keyIn(folder)] = append(objects[keyIn(folder)], line)
}

func keyIn(folder string) string {
	return folder + "moody-parted-1-2026-01-02-03-04-05-01a21587-fdca-7000-b7fc-fa501afa7974"
}

func errorLine(raw string) string {
	return fmt.Sprintf("{\"rawData\":%q,\"errorCode\":\"x\"}\n", base64.StdEncoding.EncodeToString([]byte(raw)))
}

// plain is the error line of what a line in a partition was before the function.
func plain(line string) string {
	at := moodRule.FindStringIndex(line)
	return errorLine(line[:at[0]] + "}")
}

// What the endpoint has said yes to it says yes to again, also when it is out of order; other records under the same id are told.
func TestHookTakesOnce(t *testing.T) {
	o := newOutside(t, 1)
	post := func(id, data string) int {
		t.Helper()
		body := fmt.Sprintf(`{"requestId":%q,"timestamp":1,"records":[{"data":%q}]}`, id, base64.StdEncoding.EncodeToString([]byte(data)))
		resp, err := o.Client().Post(o.URL+"/hook", "application/json", strings.NewReader(body))
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	o.calm.Store(true)
	first := post("r1", "a")
	o.calm.Store(false)
	o.hook.mu.Lock()
	o.hook.down, o.hook.until = true, time.Now().Add(time.Hour)
	o.hook.mu.Unlock()
	again, other := post("r1", "a"), post("r2", "b")
	if first != 200 || again != 200 || other == 200 || len(o.hook.order) != 1 || o.hook.again != 1 || len(o.hook.odd) != 0 {
		t.Errorf("%d %d %d, %+v", first, again, other, o.hook.order)
	}
	if post("r1", "c"); len(o.hook.odd) != 1 {
		t.Error("other records under the same id went unnoticed")
	}
}
