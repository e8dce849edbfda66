package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/ids"
	"millrace/internal/restapi"
)

const (
	keyValue  = "value-of-the-first-key-0123"
	otherKey  = "value-of-the-second-key-456"
	closedKey = "value-of-a-disabled-key-789"
)

// turnstile is a gateway before one API with a clock that tests turn: POST /keyed and GET /keyed need a key, POST /open
// and OPTIONS /keyed do not. Its plan covers stage prod, and not stage dev.
type turnstile struct {
	server
	now  time.Time
	api  *restapi.API
	plan *restapi.UsagePlan
	keys []*restapi.APIKey
}

func newTurnstile(t testing.TB, change ...func(*turnstile)) *turnstile {
	keyed := func() *restapi.Method {
		m := putRecord(map[string]string{"application/json": `{"id":"$context.identity.apiKeyId","key":"$context.identity.apiKey"}`})
		m.APIKeyRequired = true
		return m
	}
	open := putRecord(map[string]string{"application/json": `{"id":"$!context.identity.apiKeyId"}`})
	preflight := putRecord(map[string]string{"application/json": `{}`})
	w := &turnstile{now: testTime, api: define("abcde12345", map[string]*restapi.Method{
		"POST /keyed": keyed(), "GET /keyed": keyed(), "OPTIONS /keyed": preflight, "POST /open": open})}
	dev := *w.api.Stages["prod"]
	dev.Name = "dev"
	w.api.Stages["dev"] = &dev
	w.keys = []*restapi.APIKey{
		{ID: "key1", Value: keyValue, Enabled: true}, {ID: "key2", Value: otherKey, Enabled: true}, {ID: "key3", Value: closedKey},
		{ID: "key4", Value: "value-of-a-key-without-plan", Enabled: true},
	}
	w.plan = &restapi.UsagePlan{ID: "plan", Keys: []string{"key1", "key2", "key3"}, Stages: []restapi.PlanStage{{APIID: w.api.ID, Stage: "prod"}}}
	for _, f := range change {
		f(w)
	}
	w.actions, w.log = &fakeActions{}, &logged{}
	g, err := New(Options{Actions: w.actions, IDs: ids.Seeded(1), Now: func() time.Time { return w.now }, Log: w.log,
		Account: ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"}})
	if err != nil {
		t.Fatal(err)
	}
	w.Gateway = g
	w.publish()
	return w
}

func (w *turnstile) publish() {
	w.SetPlans(w.keys, []*restapi.UsagePlan{w.plan})
	w.Publish([]*restapi.API{w.api}, w.api.ID)
}

func (w *turnstile) request(call, key string) *Request {
	verb, path, _ := strings.Cut(call, " ")
	r := post(path, "application/json", "{}")
	r.Method, r.Received = verb, w.now
	if key != "" {
		r.Header = append(r.Header, Field{"X-API-Key", key})
	}
	return r
}

func (w *turnstile) call(call, key string) *Response { return w.do(w.request(call, key)) }

// admitted counts how many of n calls are let in.
func (w *turnstile) admitted(call, key string, n int) (in int) {
	for range n {
		if w.call(call, key).Status == 200 {
			in++
		}
	}
	return in
}

func TestAPIKeys(t *testing.T) {
	w := newTurnstile(t)
	f := func(call, key string, status int, body string) {
		t.Helper()
		r := w.call(call, key)
		if status == 200 {
			if got := w.actions.last(); r.Status != 200 || got != body {
				t.Errorf("%s with %q: %d, sent %s, want %s", call, key, r.Status, got, body)
			}
			return
		}
		if r.Status != status || string(r.Body) != body {
			t.Errorf("%s with %q: %d %s, want %d %s", call, key, r.Status, r.Body, status, body)
		}
	}
	const forbidden = `{"message":"Forbidden"}`
	f("POST /prod/keyed", keyValue, 200, `{"id":"key1","key":"`+keyValue+`"}`)
	f("POST /prod/keyed", otherKey, 200, `{"id":"key2","key":"`+otherKey+`"}`)
	f("POST /prod/keyed", "", 403, forbidden)
	f("POST /prod/keyed", "no such key", 403, forbidden)
	f("POST /prod/keyed", keyValue[:20], 403, forbidden)
	f("POST /prod/keyed", closedKey, 403, forbidden)
	f("POST /prod/keyed", w.keys[3].Value, 403, forbidden)
	f("POST /dev/keyed", keyValue, 403, forbidden) // no plan covers that stage
	f("OPTIONS /prod/keyed", "", 200, `{}`)
	f("POST /prod/open", "", 200, `{"id":""}`)
	f("POST /prod/open", "no such key", 200, `{"id":""}`)
	f("POST /prod/open", keyValue, 200, `{"id":""}`) // the service tells the key only where one is required

	w.keys[2].Enabled, w.keys[0].Enabled = true, false
	w.publish()
	f("POST /prod/keyed", closedKey, 200, `{"id":"key3","key":"`+closedKey+`"}`)
	f("POST /prod/keyed", keyValue, 403, forbidden)
	w.plan.Stages = nil
	w.SetPlans(w.keys, []*restapi.UsagePlan{w.plan})
	f("POST /prod/keyed", closedKey, 403, forbidden)
}

func TestTurnedAwayAreCounted(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) {
		w.plan.Throttle = &restapi.Throttle{Rate: 1, Burst: 3}
		w.plan.Quota = &restapi.Quota{Limit: 2, Period: restapi.Daily}
	})
	w.admitted("POST /prod/keyed", keyValue, 7)
	w.admitted("POST /prod/keyed", "", 2)
	if key, throttle, quota := w.TurnedAway(); key != 2 || throttle != 4 || quota != 1 {
		t.Errorf("%d for their key, %d by the throttle, %d by the quota; want 2, 4, 1", key, throttle, quota)
	}
}

// Of an authorizer's API the header does not count.
func TestAPIKeyOfAuthorizer(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) {
		d := w.api.Deployments[w.api.Stages["prod"].DeploymentID]
		d.Definition.APIKeySource = "AUTHORIZER"
	})
	if r := w.call("POST /prod/keyed", keyValue); r.Status != 403 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

func TestPlanThrottle(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) { w.plan.Throttle = &restapi.Throttle{Rate: 2, Burst: 3} })
	const call = "POST /prod/keyed"
	if in := w.admitted(call, keyValue, 10); in != 3 {
		t.Errorf("%d at once, want 3", in)
	}
	if r := w.call(call, keyValue); r.Status != 429 || string(r.Body) != `{"message":"Too Many Requests"}` || header(r, "x-amzn-ErrorType") != "TooManyRequestsException" {
		t.Errorf("%s", dump(r))
	}
	if in := w.admitted("POST /prod/open", keyValue, 1); in != 0 {
		t.Error("a call of an open method by a known key does not count")
	}
	if in := w.admitted("POST /prod/open", "", 1); in != 1 {
		t.Error("an open method wants a key")
	}
	if in := w.admitted(call, otherKey, 10); in != 3 {
		t.Errorf("another key: %d, want 3 of its own", in)
	}
	w.publish() // as another API's change does
	w.now = w.now.Add(999 * time.Millisecond)
	if in := w.admitted(call, keyValue, 10); in != 1 {
		t.Errorf("%d after 999 ms of 2 a second, want 1", in)
	}
	w.now = w.now.Add(time.Hour)
	if in := w.admitted(call, keyValue, 10); in != 3 {
		t.Errorf("%d after an hour, want 3", in)
	}
	// A slow limit leaves no debt behind when it is raised.
	w.plan.Throttle = &restapi.Throttle{Rate: 0.001, Burst: 1}
	w.publish()
	w.admitted(call, keyValue, 5)
	w.plan.Throttle = &restapi.Throttle{Rate: 1000, Burst: 1}
	w.publish()
	w.admitted(call, keyValue, 1)
	w.now = w.now.Add(2 * time.Millisecond)
	if in := w.admitted(call, keyValue, 5); in != 1 {
		t.Errorf("%d after the limit was raised, want 1", in)
	}
	w.plan.Throttle = &restapi.Throttle{}
	w.publish()
	if in := w.admitted(call, keyValue, 5); in != 0 {
		t.Errorf("%d with a limit of 0", in)
	}
}

func TestPlanMethodThrottle(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) {
		w.plan.Stages[0].Methods = map[string]*restapi.Throttle{"/keyed/POST": {Rate: 1, Burst: 2}}
		w.plan.Throttle = &restapi.Throttle{Rate: 1, Burst: 5}
	})
	if in := w.admitted("POST /prod/keyed", keyValue, 10); in != 2 {
		t.Errorf("%d, want 2 of the method", in)
	}
	if in := w.admitted("GET /prod/keyed", keyValue, 10); in != 3 {
		t.Errorf("%d, want 3 that the method's calls have left of the plan's", in)
	}
	w.publish()
	if in := w.admitted("POST /prod/keyed", keyValue, 10); in != 0 {
		t.Errorf("%d after a publication, want 0", in)
	}
}

func TestStageThrottle(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) {
		w.api.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{
			"*/*": {Throttle: &restapi.Throttle{Rate: 1, Burst: 4}}, "keyed/GET": {}, "open/POST": {Throttle: &restapi.Throttle{Rate: 10, Burst: 1}}}
	})
	for call, want := range map[string]int{"POST /prod/keyed": 4, "OPTIONS /prod/keyed": 4, "GET /prod/keyed": 10, "POST /prod/open": 1, "POST /dev/open": 10} {
		key := ""
		if strings.HasSuffix(call, "/keyed") {
			key = keyValue
		}
		if in := w.admitted(call, key, 10); in != want {
			t.Errorf("%s: %d, want %d", call, in, want)
		}
	}
	w.publish()
	w.now = w.now.Add(100 * time.Millisecond)
	if in := w.admitted("POST /prod/open", "", 10); in != 1 {
		t.Errorf("%d after 100 ms, want 1", in)
	}
	w.api.Stages["prod"].MethodSettings = nil // acts at once
	w.publish()
	if in := w.admitted("POST /prod/open", "", 10); in != 10 {
		t.Errorf("%d without a throttle", in)
	}
}

func TestAccountThrottle(t *testing.T) {
	w := newTurnstile(t)
	w.AccountThrottle = true
	if in := w.admitted("POST /prod/open", "", 6000); in != 5000 {
		t.Errorf("%d, want 5000", in)
	}
	if in := w.admitted("POST /dev/open", "", 1); in != 0 {
		t.Error("another stage is another account")
	}
}

func TestQuota(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) {
		w.now = time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
		w.plan.Quota = &restapi.Quota{Limit: 10, Offset: 4, Period: restapi.Monthly, Since: w.now}
	})
	const call = "POST /prod/keyed"
	if in := w.admitted(call, keyValue, 20); in != 6 {
		t.Errorf("%d in the first month, want 10 less 4", in)
	}
	if r := w.call(call, keyValue); r.Status != 429 || string(r.Body) != `{"message":"Limit Exceeded"}` || header(r, "x-amzn-ErrorType") != "LimitExceededException" {
		t.Errorf("%s", dump(r))
	}
	w.now = w.now.Add(time.Second)
	if in := w.admitted(call, keyValue, 20); in != 10 {
		t.Errorf("%d in the next month, want 10", in)
	}
	w.now = w.now.AddDate(0, 0, 5)
	if in := w.admitted(call, keyValue, 20); in != 0 {
		t.Errorf("%d five days later, want 0", in)
	}
	w.plan.Grants = map[string]restapi.Grant{"key1": {Period: "2026-12-01", Requests: 3}}
	w.publish()
	if in := w.admitted(call, keyValue, 20); in != 3 {
		t.Errorf("%d granted, want 3", in)
	}
}

func TestQuotaPeriods(t *testing.T) {
	sunday := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		period string
		last   time.Time // moment of a period's end
	}{
		{restapi.Daily, sunday.Add(-time.Nanosecond)},
		{restapi.Weekly, sunday.Add(-time.Nanosecond)},
		{restapi.Monthly, time.Date(2026, 12, 1, 0, 0, 0, -1, time.UTC)},
	} {
		w := newTurnstile(t, func(w *turnstile) {
			w.now = c.last.Add(-10 * time.Hour)
			w.plan.Quota = &restapi.Quota{Limit: 2, Period: c.period}
		})
		first := w.admitted("POST /prod/keyed", keyValue, 3)
		w.now = c.last
		second := w.admitted("POST /prod/keyed", keyValue, 3)
		w.now = c.last.Add(time.Nanosecond)
		if third := w.admitted("POST /prod/keyed", keyValue, 3); first != 2 || second != 0 || third != 2 {
			t.Errorf("%s: %d, %d, %d; want 2, 0, 2", c.period, first, second, third)
		}
	}
}

// A clock that was wrong by years and put right leaves no quota used up, and forgets none.
func TestQuotaWhenTheClockJumps(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) { w.plan.Quota = &restapi.Quota{Limit: 5, Period: restapi.Monthly} })
	right := w.now
	first := w.admitted("POST /prod/keyed", keyValue, 3)
	w.now = right.AddDate(3, 0, 0)
	second := w.admitted("POST /prod/keyed", keyValue, 9)
	w.now = right
	if third := w.admitted("POST /prod/keyed", keyValue, 9); first != 3 || second != 5 || third != 2 {
		t.Errorf("%d, %d in another year, %d back in the first; want 3, 5, 2", first, second, third)
	}
}

// What was counted outlives the process, and is counted by all nodes.
func TestUsageIsSavedAndShared(t *testing.T) {
	monthly := func(w *turnstile) { w.plan.Quota = &restapi.Quota{Limit: 10, Period: restapi.Monthly} }
	a, b := newTurnstile(t, monthly), newTurnstile(t, monthly)
	const call = "POST /prod/keyed"
	saved := map[*turnstile]restapi.Usage{a: {}, b: {}}
	tell := func(to *turnstile) {
		all := restapi.Usage{}
		for _, u := range saved {
			for day, counts := range u {
				all.Add(day, counts)
			}
		}
		to.SetUsage(all, saved[to])
	}
	save := func(w *turnstile) {
		counted := w.Counted()
		for day, counts := range counted {
			for plan, keys := range counts {
				for key, n := range keys {
					put(saved[w], day, tallyName{plan, key}, n)
				}
			}
		}
		tell(a)
		tell(b)
		w.Saved(counted)
	}
	a.admitted(call, keyValue, 3)
	b.admitted(call, keyValue, 2)
	save(a)
	save(b)
	if again := a.Counted(); len(again) != 0 {
		t.Errorf("saved twice: %v", again)
	}
	a.now, b.now = a.now.AddDate(0, 0, 1), b.now.AddDate(0, 0, 1)
	a.admitted(call, keyValue, 1)
	b.admitted(call, keyValue, 1) // not saved before the day ends
	b.now = b.now.AddDate(0, 0, 1)
	save(b)
	save(a)
	if got, want := asJSON(saved[b]), `{"2026-11-24":{"plan":{"key1":2}},"2026-11-25":{"plan":{"key1":1}}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a.now = b.now
	if in := a.admitted(call, keyValue, 10); in != 3 {
		t.Errorf("%d of what two nodes have left, want 3", in)
	}
	save(a)
	if in := b.admitted(call, keyValue, 10); in != 0 {
		t.Errorf("%d on the other node, want 0", in)
	}
	// A restart goes on where it stopped.
	c := newTurnstile(t, monthly, func(w *turnstile) { w.now = a.now })
	c.SetPlans(nil, nil)
	saved[c] = saved[a]
	delete(saved, a)
	tell(c)
	c.publish()
	if in := c.admitted(call, keyValue, 10); in != 0 {
		t.Errorf("%d after a restart, want 0", in)
	}
	c.admitted(call, otherKey, 1)
	if got, want := asJSON(c.Counted()), `{"2026-11-26":{"plan":{"key2":1}}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// What a key used is not forgotten with its place in the plan.
	c.plan.Keys = nil
	c.publish()
	if got, want := asJSON(c.Counted()), `{"2026-11-26":{"plan":{"key2":1}}}`; got != want {
		t.Errorf("of a key that left: %s, want %s", got, want)
	}
	c.plan.Keys = []string{"key2"}
	c.publish()
	if in := c.admitted(call, otherKey, 20); in != 9 {
		t.Errorf("%d of a key that came back, want 9", in)
	}
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// No log has a key's value.
func TestKeysAreNotLogged(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) {
		w.api.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo, DataTraceEnabled: true}}
		w.plan.Quota = &restapi.Quota{Limit: 2, Period: restapi.Daily}
	})
	m := w.api.Deployments[w.api.Stages["prod"].DeploymentID].Definition
	for _, r := range m.Resources {
		for _, m := range r.Methods {
			m.Integration.RequestTemplates = nil
		}
	}
	w.compiled = nil
	w.Publish(nil, "")
	w.publish()
	w.admitted("POST /prod/keyed", keyValue, 3)
	w.admitted("POST /prod/keyed", closedKey, 1)
	got := w.log.text()
	for _, value := range []string{keyValue, closedKey} {
		if strings.Contains(got, value) {
			t.Errorf("%s is in the log:\n%s", value, got)
		}
	}
	for _, want := range []string{"X-API-Key=*", "Verifying Usage Plan for request: ", "Usage Plan check succeeded for API Key *",
		"Usage Plan check failed", "API Key is not associated with a Usage Plan for API Stage abcde12345/prod"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// Many callers together get what the quota says and not one more, while plans are set and days end.
func TestManyCallersShareAQuota(t *testing.T) {
	w := newTurnstile(t, func(w *turnstile) {
		w.plan.Quota = &restapi.Quota{Limit: 1000, Period: restapi.Monthly}
		w.plan.Throttle = &restapi.Throttle{Rate: 1e9, Burst: 1e6}
		w.plan.Stages[0].Methods = map[string]*restapi.Throttle{"/keyed/POST": {Rate: 1e9, Burst: 1e6}}
	})
	var in atomic.Int64
	all := restapi.Usage{} // what is saved; each time it is told, it is another map
	keys, plans := w.keys, []*restapi.UsagePlan{w.plan}
	day := func(n, calls int) {
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				resp := &Response{}
				for range calls {
					r := w.request("POST /prod/keyed", keyValue)
					r.Received = r.Received.AddDate(0, 0, n)
					resp.Reset()
					if w.Serve(context.Background(), r, resp); resp.Status == 200 {
						in.Add(1)
					}
				}
			})
		}
		for range 20 {
			w.SetPlans(keys, plans)
			w.Publish([]*restapi.API{w.api}, w.api.ID)
			counted := w.Counted()
			all = maps.Clone(all)
			for day, counts := range counted {
				delete(all, day)
				all.Add(day, counts)
			}
			w.SetUsage(all, all)
			w.Saved(counted)
		}
		callers.Wait()
	}
	day(0, 100)
	day(1, 200)
	// A day that ends may cost or give a request of every caller.
	if n := in.Load(); n < 1000-8 || n > 1000+8 {
		t.Errorf("%d were admitted, want 1000", n)
	}
}

func header(r *Response, name string) string { return r.Header.Get(name) }

// Keys, throttles and quotas take no memory of a request's.
func TestMeteredEventsAllocateLittle(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools forget")
	}
	w := newTurnstile(t, func(w *turnstile) {
		w.plan.Quota = &restapi.Quota{Limit: 1 << 40, Period: restapi.Monthly}
		w.plan.Throttle = &restapi.Throttle{Rate: 1e9, Burst: 1e6}
		w.plan.Stages[0].Methods = map[string]*restapi.Throttle{"/open/POST": {Rate: 1e9, Burst: 1e6}}
		w.api.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {Throttle: &restapi.Throttle{Rate: 1e9, Burst: 1e6}}}
	})
	w.Actions = quickActions{}
	w.compiled = nil
	w.Publish(nil, "")
	w.publish()
	resp, ctx := &Response{}, context.Background()
	run := func(key string) float64 {
		r := w.request("POST /prod/open", key)
		return testing.AllocsPerRun(500, func() {
			resp.Reset()
			if w.Serve(ctx, r, resp); resp.Status != 200 {
				t.Fatalf("%d %s", resp.Status, resp.Body)
			}
		})
	}
	if without, with := run(""), run(keyValue); with > without {
		t.Errorf("%v allocations with a key, %v without", with, without)
	}
}

// A key, a throttle and a quota on the hot path.
func BenchmarkKeys(b *testing.B) {
	run := func(name, call, key string, change func(*turnstile)) {
		b.Run(name, func(b *testing.B) {
			w := newTurnstile(b, change)
			for _, r := range w.api.Deployments[w.api.Stages["prod"].DeploymentID].Definition.Resources {
				for _, m := range r.Methods {
					m.Integration.RequestTemplates = map[string]string{"application/json": `{"Data":"$util.base64Encode($input.body)"}`}
				}
			}
			w.Actions = quickActions{}
			w.compiled = nil
			w.Publish(nil, "")
			w.publish()
			r := w.request(call, key)
			r.Header = append(r.Header, Field{"User-Agent", "curl/8.5.0"}, Field{"Accept", "*/*"})
			resp, ctx := &Response{}, context.Background()
			b.ReportAllocs()
			for b.Loop() {
				resp.Reset()
				w.Serve(ctx, r, resp)
				if resp.Status != 200 {
					b.Fatalf("%d %s", resp.Status, resp.Body)
				}
			}
		})
	}
	manyKeys := func(w *turnstile) {
		for i := range 10000 {
			k := &restapi.APIKey{ID: fmt.Sprint("k", i), Value: fmt.Sprintf("a-value-of-many-keys-%d", i), Enabled: true}
			w.keys, w.plan.Keys = append(w.keys, k), append(w.plan.Keys, k.ID)
		}
		w.plan.Quota = &restapi.Quota{Limit: 1 << 40, Period: restapi.Monthly}
		w.plan.Throttle = &restapi.Throttle{Rate: 1e9, Burst: 1e6}
	}
	run("Open", "POST /dev/open", "", func(*turnstile) {})
	run("OpenOnKeyedStage", "POST /prod/open", "", func(*turnstile) {})
	run("Keyed", "POST /prod/keyed", keyValue, func(*turnstile) {})
	run("KeyedThrottledQuota", "POST /prod/keyed", keyValue, manyKeys)
	run("KeyedMethodThrottle", "POST /prod/keyed", keyValue, func(w *turnstile) {
		manyKeys(w)
		w.plan.Stages[0].Methods = map[string]*restapi.Throttle{"/keyed/POST": {Rate: 1e9, Burst: 1e6}}
		w.api.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {Throttle: &restapi.Throttle{Rate: 1e9, Burst: 1e6}}}
	})
}
