package kinesis

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// world is a service over a backend in memory, with a clock and ids that a test sets.
type world struct {
	*Service
	backend *memory
	now     time.Time
	saved   map[string]string // what a test keeps of an answer, by "$name"
}

var testAccount = ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{now: time.Date(2015, 1, 22, 1, 22, 2, 345e6, time.UTC), saved: map[string]string{}}
	clock := func() time.Time { return w.now }
	w.backend = newMemory(clock)
	s, err := New(Options{Backend: w.backend, Account: testAccount, IDs: ids.Seeded(1), Now: clock,
		TokenKey: bytes.Repeat([]byte("k"), 32), ShardLimit: 20})
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
	return w
}

// The golden files are scripts of calls and their answers, to the byte. Directives:
//
//	call OPERATION [save=NAME:MEMBER]    body, then the answer; $NAME in a body is what was saved
//	request [save=NAME:MEMBER]           a raw request, in JSON or CBOR; the answer with its headers (wire_test.go)
//	both OPERATION                       body, sent in JSON and in CBOR; the answer, which is the same
//	credentials KEY SECRET               from now on only calls signed with them are taken
//	clock +5m1s                          moves the clock
//	split STREAM SHARD                   reshards
//	status STREAM STATUS                 puts a stream into a status
//	hide NAME                            makes a stream that no API may show
//	fail kind=… [entry=N]                makes appends fail
//	rates                                applies the service's rates of calls
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, file string) {
		w := newWorld(t)
		datadriven.RunTest(t, file, w.directive)
	})
}

func (w *world) directive(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "call":
		return w.call(t, d)
	case "request":
		return w.request(t, d)
	case "both":
		return w.both(t, d)
	case "credentials":
		key, secret := d.CmdArgs[0].String(), d.CmdArgs[1].String()
		w.verifier = awswire.NewVerifier("kinesis", func(k string) (string, bool) { return secret, k == key }, w.Now)
		return ""
	case "clock":
		by, err := time.ParseDuration(strings.TrimPrefix(d.CmdArgs[0].String(), "+"))
		if err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(by)
		return ""
	case "split":
		name := d.CmdArgs[0].String()
		index, _ := stream.ParseShardID(d.CmdArgs[1].String())
		half := stream.EvenRanges(4)[2*index].End.Next() // of a stream of two shards: each is two quarters
		if _, err := w.backend.Reshard(t.Context(), name, stream.Reshard{Split: &stream.SplitShard{Shard: index, At: half}}); err != nil {
			t.Fatal(err)
		}
		return ""
	case "status":
		w.backend.status(d.CmdArgs[0].String(), stream.Status(d.CmdArgs[1].String()))
		return ""
	case "hide":
		_, err := w.backend.CreateStream(context.Background(), stream.CreateStream{Name: d.CmdArgs[0].String()})
		return fmt.Sprint(err)
	case "fail":
		w.fail(t, d)
		return ""
	case "rates":
		w.gate = newGate(func() time.Time { return w.now })
		return ""
	}
	t.Fatalf("no directive %s", d.Cmd)
	return ""
}

func (w *world) fail(t *testing.T, d *datadriven.TestData) {
	kinds := map[string]fault.Kind{"throttled": fault.Throttled, "unavailable": fault.Unavailable}
	var kind string
	entry := -1
	d.ScanArgs(t, "kind", &kind)
	d.MaybeScanArgs(t, "entry", &entry)
	w.backend.failCall, w.backend.failEntry = nil, nil
	if kind == "none" {
		return
	}
	err := fault.New(kinds[kind], "memory.Append", "", "made to fail")
	if entry < 0 {
		w.backend.failCall = err
		return
	}
	w.backend.failEntry = func(i int) error {
		if entry == i || entry == 999 {
			return err
		}
		return nil
	}
}

func (w *world) expand(text string) string {
	// Longer names first: $it is the beginning of $it2.
	names := slices.SortedFunc(maps.Keys(w.saved), func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		text = strings.ReplaceAll(text, "$"+name, w.saved[name])
	}
	return text
}

// save keeps a member of an answer where the directive asks for it, and gives the answer with what is sealed replaced
// by its name: how a token reads is no promise.
func (w *world) save(t *testing.T, d *datadriven.TestData, answer string) string {
	var save string
	if d.MaybeScanArgs(t, "save", &save); save != "" {
		name, member, _ := strings.Cut(save, ":")
		_, rest, ok := strings.Cut(answer, `"`+member+`":`)
		if !ok {
			t.Fatalf("%s: no member %s in %s", d.Pos, member, answer)
		}
		w.saved[name], _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(rest), `"`), `"`)
	}
	for name, value := range w.saved {
		if strings.HasPrefix(value, "AAAAAAAA") {
			answer = strings.ReplaceAll(answer, value, "$"+name)
		}
	}
	return answer
}

func (w *world) call(t *testing.T, d *datadriven.TestData) string {
	body := w.expand(d.Input)
	r := w.Invoke(context.Background(), d.CmdArgs[0].String(), []byte(body), nil)
	answer := w.save(t, d, string(r.Body))
	outcome := [...]string{OK: "", Throttled: " throttled", Unavailable: " unavailable", Refused: " refused"}[r.Outcome]
	return fmt.Sprintf("%d%s\n%s", r.Status, outcome, answer)
}
