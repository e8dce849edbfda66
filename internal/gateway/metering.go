package gateway

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/restapi"
)

// metering is all that requests are counted by, beside what is published.
//
//	SetPlans: keys, plans ──> tallies (a key in a plan) ──> callers of each stage ──> requests
//	SetUsage: what all nodes have saved ──> before ──┘            Counted ──> saved by the node ──> Saved
//
// A tally counts today's requests of this node by itself; what lies before today, and what other nodes have told, is
// added when it is heard of. So a quota is exact on one node, and several together can exceed it by what each admits
// until it has heard of the others.
type metering struct {
	begun   time.Time // the clock of the buckets
	seed    maphash.Seed
	account bucket
	day     atomic.Int64 // that is counted: days since 1970, in UTC

	strangers, throttled, exhausted atomic.Int64 // requests that were turned away

	mu      sync.Mutex // guards what follows, and the making of callers
	stages  map[stageName]*stageMeter
	callers map[stageName]*callers
	tallies map[tallyName]*tally
	plans   map[string]*restapi.UsagePlan
	used    restapi.Usage // what all nodes have saved
	own     restapi.Usage // this node's part of it
	waiting restapi.Usage // counted by this node, of no tally of today's any more, and not saved yet
}

type (
	stageName struct{ api, stage string }
	tallyName struct{ plan, key string }
)

const daySeconds = 24 * 60 * 60

func (m *metering) open(now time.Time) {
	m.begun, m.seed = now, maphash.MakeSeed()
	m.day.Store(now.Unix() / daySeconds)
	m.waiting = restapi.Usage{}
	m.stages, m.tallies = map[stageName]*stageMeter{}, map[tallyName]*tally{}
}

// attach gives the stages of a snapshot that is to be published what they count by.
func (m *metering) attach(s *snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stages := make(map[stageName]*stageMeter, len(m.stages))
	for id, a := range s.apis {
		for name, st := range a.stages {
			at := stageName{id, name}
			meter := m.stages[at]
			if meter == nil {
				meter = &stageMeter{}
				meter.keys.Store(m.callers[at])
			}
			stages[at], st.meter = meter, meter
			if st.canary != nil {
				st.canary.meter = meter
			}
		}
	}
	m.stages = stages
}

// SetPlans says by which keys stages can be called, and how often. Buckets and counts of what stays are kept.
func (g *Gateway) SetPlans(keys []*restapi.APIKey, plans []*restapi.UsagePlan) {
	m := &g.metering
	m.mu.Lock()
	defer m.mu.Unlock()
	byID := make(map[string]*restapi.APIKey, len(keys))
	for _, k := range keys {
		byID[k.ID] = k
	}
	was, tallies := m.callers, m.tallies
	m.callers, m.tallies, m.plans = map[stageName]*callers{}, map[tallyName]*tally{}, map[string]*restapi.UsagePlan{}
	for _, p := range plans {
		m.plans[p.ID] = p
		for _, id := range p.Keys {
			m.keepTally(tallyName{p.ID, id}, tallies)
		}
		for i := range p.Stages {
			s := &p.Stages[i]
			at := stageName{s.APIID, s.Stage}
			limits := limitsOf(p, s)
			for _, id := range p.Keys {
				if k := byID[id]; k != nil && k.Enabled {
					m.addCaller(at, k, p.ID, limits, was[at])
				}
			}
		}
	}
	for name, t := range tallies { // of keys that have left their plan
		if n := t.today.Load(); n != t.saved {
			put(m.waiting, m.dayText(), name, n)
		}
	}
	for at, meter := range m.stages {
		meter.keys.Store(m.callers[at])
	}
	m.rebase(m.day.Load())
}

func limitsOf(p *restapi.UsagePlan, s *restapi.PlanStage) *planLimits {
	l := &planLimits{}
	if p.Throttle != nil {
		l.throttled, l.throttle = true, limitOf(p.Throttle)
	}
	for key, t := range s.Methods {
		if l.methods == nil {
			l.methods = map[methodName]limit{}
		}
		path, verb := restapi.SplitMethodKey(key)
		l.methods[methodName{path, verb}] = limitOf(t)
	}
	return l
}

// addCaller lets a key call a stage. Where two plans do, the first one counts; the control plane allows no two.
func (m *metering) addCaller(at stageName, k *restapi.APIKey, plan string, limits *planLimits, was *callers) {
	c := m.callers[at]
	if c == nil {
		c = &callers{seed: m.seed}
		m.callers[at] = c
	}
	if c.find(k.Value) != nil {
		return
	}
	if c.byHash == nil {
		c.byHash = map[uint64]*caller{}
	}
	hash := maphash.String(m.seed, k.Value)
	one := &caller{next: c.byHash[hash], id: k.ID, value: k.Value, plan: plan, limits: limits, tally: m.tallies[tallyName{plan, k.ID}]}
	if old := was.find(k.Value); old != nil && old.id == k.ID && old.plan == plan {
		one.buckets = old.buckets
	} else {
		one.buckets = &buckets{}
	}
	c.byHash[hash] = one
}

// keepTally keeps a tally, or makes one that goes on where this node has stopped.
func (m *metering) keepTally(name tallyName, was map[tallyName]*tally) {
	t := was[name]
	if t == nil {
		t = &tally{}
		saved, today := m.counted(name, m.dayText())
		t.saved = saved
		t.today.Store(today)
	}
	delete(was, name)
	m.tallies[name] = t
}

// counted gives what this node has saved of a day, and what it has counted: a tally goes on from there.
func (m *metering) counted(name tallyName, day string) (saved, today int64) {
	saved = m.own[day][name.plan][name.key]
	today = max(saved, m.waiting[day][name.plan][name.key])
	drop(m.waiting, day, name)
	return saved, today
}

// SetUsage tells what all nodes have saved of the days that count, and what part of it is this node's.
func (g *Gateway) SetUsage(all, own restapi.Usage) {
	m := &g.metering
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used, m.own = all, own
	m.rebase(m.day.Load())
}

// UsageFrom is the first day that counts for a quota now.
func (g *Gateway) UsageFrom() string {
	now := dayOf(g.metering.day.Load())
	month := (&restapi.Quota{Period: restapi.Monthly}).Begin(now)
	week := (&restapi.Quota{Period: restapi.Weekly}).Begin(now)
	if week.Before(month) {
		month = week
	}
	return restapi.Day(month)
}

// rebase sums up anew what counts beside the own requests of a day.
func (m *metering) rebase(day int64) {
	today := dayOf(day)
	days := map[string][]string{} // of a period, today the last of them
	for name, t := range m.tallies {
		p := m.plans[name.plan]
		if p.Quota == nil {
			t.most.Store(unlimited)
			continue
		}
		begin := p.Quota.Begin(today)
		if days[p.Quota.Period] == nil {
			for d := begin; !d.After(today); d = d.AddDate(0, 0, 1) {
				days[p.Quota.Period] = append(days[p.Quota.Period], restapi.Day(d))
			}
		}
		t.most.Store(p.Allowed(name.key, begin))
		t.before.Store(m.beside(name, days[p.Quota.Period]))
	}
}

func (m *metering) beside(name tallyName, days []string) (n int64) {
	for i, day := range days {
		saved := m.own[day][name.plan][name.key]
		n += m.used[day][name.plan][name.key] - saved
		if i < len(days)-1 {
			n += max(saved, m.waiting[day][name.plan][name.key])
		}
	}
	return n
}

// keepDay goes on to the day of a request. A request of the day before has only been long on its way.
func (m *metering) keepDay(now time.Time) {
	if day, is := now.Unix()/daySeconds, m.day.Load(); day != is && day != is-1 {
		m.turn(day)
	}
}

// turn begins a day, or goes back to one when the clock was put right. The day is told when all tallies are ready for
// it: until then its first requests wait here, for those of the day before have left the one count and are not in the
// other yet.
func (m *metering) turn(day int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if day == m.day.Load() {
		return
	}
	over, begun := m.dayText(), restapi.Day(dayOf(day))
	for name, t := range m.tallies {
		saved, today := m.counted(name, begun)
		if n := t.today.Swap(today); n != t.saved {
			put(m.waiting, over, name, n)
		}
		t.saved = saved
	}
	for len(m.waiting) > restapi.UsageDays { // they could not be saved for so long that nobody can ask for them any more
		delete(m.waiting, slices.Min(slices.Collect(maps.Keys(m.waiting))))
	}
	m.rebase(day)
	m.day.Store(day)
}

// Counted gives what this node has counted since it was saved: by day, plan and key, each as the whole of that day.
func (g *Gateway) Counted() restapi.Usage {
	m := &g.metering
	m.keepDay(g.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	all, today := restapi.Usage{}, m.dayText()
	for day, counts := range m.waiting {
		all.Add(day, counts)
	}
	for name, t := range m.tallies {
		if n := t.today.Load(); n != t.saved {
			put(all, today, name, n)
		}
	}
	return all
}

// Saved tells that what Counted gave is durable, and that SetUsage has told so.
func (g *Gateway) Saved(counted restapi.Usage) {
	m := &g.metering
	m.mu.Lock()
	defer m.mu.Unlock()
	today := m.dayText()
	for day, counts := range counted {
		for plan, keys := range counts {
			for key, n := range keys {
				name := tallyName{plan, key}
				if t := m.tallies[name]; t != nil && day == today {
					t.saved = n
				} else if m.waiting[day][plan][key] == n {
					drop(m.waiting, day, name)
				}
			}
		}
	}
}

func (m *metering) dayText() string { return restapi.Day(dayOf(m.day.Load())) }

func dayOf(n int64) time.Time { return time.Unix(n*daySeconds, 0).UTC() }

func put(u restapi.Usage, day string, name tallyName, n int64) {
	if u[day] == nil {
		u[day] = restapi.Counts{}
	}
	if u[day][name.plan] == nil {
		u[day][name.plan] = map[string]int64{}
	}
	u[day][name.plan][name.key] = n
}

func drop(u restapi.Usage, day string, name tallyName) {
	delete(u[day][name.plan], name.key)
	if len(u[day][name.plan]) == 0 {
		delete(u[day], name.plan)
	}
	if len(u[day]) == 0 {
		delete(u, day)
	}
}

// TurnedAway tells how many requests were refused since the gateway was made: for their API key, by a throttle, by a
// quota.
func (g *Gateway) TurnedAway() (key, throttle, quota int64) {
	m := &g.metering
	return m.strangers.Load(), m.throttled.Load(), m.exhausted.Load()
}
