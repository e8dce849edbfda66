package front

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"millrace/internal/gateway"
)

func TestReservations(t *testing.T) {
	b := NewBudget(MinBodyBudget)
	f := func(r *reservation, size, most int64, covered bool, used, large int64) {
		t.Helper()
		if r.cover(size, most) != covered || b.Used() != used || b.large.Load() != large {
			t.Errorf("%d of %d: covered %v, used %d (want %d), large %d (want %d)", size, most, !covered, b.Used(), used, b.large.Load(), large)
		}
	}
	one, two, three := &reservation{budget: b}, &reservation{budget: b}, &reservation{budget: b}
	f(one, 1, 1, true, 8<<10, 0)
	f(one, 8<<10, 8<<10, true, 8<<10, 0)
	f(one, 8<<10+1, 64<<10, true, 16<<10, 0)
	f(one, 64<<10, 64<<10, true, 64<<10, 0)
	f(one, 64<<10+1, 10<<20, true, 10<<20, 10<<20) // all of it at once
	f(one, 10<<20, 10<<20, true, 10<<20, 10<<20)
	f(two, 1<<20, 14<<20, true, 24<<20, 24<<20)
	f(three, 1<<20, 1<<20, false, 24<<20, 24<<20) // three quarters are out
	f(three, 64<<10, 1<<20, true, 24<<20+64<<10, 24<<20)
	two.settle(2 << 20)
	f(three, 1<<20, 1<<20, true, 13<<20, 13<<20)
	if b.Take(20 << 20) {
		t.Error("more than there is")
	}
	for _, r := range []*reservation{one, two, three, three} {
		r.release()
	}
	f(one, 0, 0, true, 0, 0)
}

// 256 callers of 10 MB at once: as many as fit are served, the others are told to come again, ordinary events go
// through all the while, and no more than the budget is held. The race detector, which takes some ten times as long for
// each byte, has to do with a quarter of them.
func TestManyLargeBodiesDoNotKillTheNode(t *testing.T) {
	const size = 10_000_000
	callers := 256
	if raceDetector {
		callers = 64
	}
	const fit = DefaultBodyBudget / 4 * largeShare / size
	hold, held := make(chan bool), make(chan bool, callers)
	n := serve(t, Options{Gateway: gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
		if len(req.Body) > smallBody {
			held <- true
			<-hold
		}
		ok(ctx, req, resp)
	})})
	payload := strings.Repeat("x", size)
	post := func(body string) (int, string, error) {
		resp, err := http.Post(n.IngestURL(), "text/plain", strings.NewReader(body))
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b) + resp.Header.Get("Retry-After"), err
	}
	defer http.DefaultClient.CloseIdleConnections()
	type result struct {
		status int
		text   string
	}
	results := make(chan result, callers)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			status, text, err := post(payload)
			if err != nil {
				status = 0 // cut while it sent: net/http's client does not always get to see the answer
			}
			results <- result{status, text}
		})
	}
	for range fit {
		<-held
	}
	var refused int64
	for range callers - fit {
		r := <-results
		if r.status == 503 {
			refused++
		}
		if r.status != 0 && (r.status != 503 || r.text != `{"message":"Service Unavailable"}1`) {
			t.Fatalf("%d %s", r.status, r.text)
		}
		if used := n.budget.Used(); used > n.budget.Max() {
			t.Fatalf("%d bytes are out", used)
		}
	}
	for _, size := range []int{0, 300, smallBody} {
		if status, text, err := post(payload[:size]); status != 200 || text != fmt.Sprintf(`{"bytes":%d}`, size) {
			t.Errorf("an event of %d bytes: %d %s %v", size, status, text, err)
		}
	}
	// Some callers may not have come as far: a loaded machine cuts who has not sent its head in time.
	if got := n.Stats(); got.BodyBytes < fit*size || got.OverBudget < refused || got.OverBudget > int64(callers-fit) {
		t.Errorf("%d callers were told of a refusal: %+v", refused, got)
	}
	close(hold)
	all.Wait()
	for range fit {
		if r := <-results; r.status != 200 || r.text != fmt.Sprintf(`{"bytes":%d}`, size) {
			t.Errorf("%d %s", r.status, r.text)
		}
	}
}

// Answers take from the share of large bodies, and leave the rest to events.
func TestAnswersLeaveRoomForEvents(t *testing.T) {
	b := NewBudget(MinBodyBudget)
	answers := b.Answers()
	if !answers.Take(MinBodyBudget/4*largeShare) || answers.Take(1) {
		t.Error("answers may take their share, and no more")
	}
	if !b.Take(MinBodyBudget/4) || b.Take(1) {
		t.Error("the rest is left to events")
	}
	answers.Give(MinBodyBudget / 4 * largeShare)
	if b.Used() != MinBodyBudget/4 {
		t.Errorf("%d bytes are out", b.Used())
	}
}
