package restapi

import (
	"strconv"
	"time"
)

// Days are those of UTC, written "2006-01-02", so that their order is that of their texts.
const dayForm = time.DateOnly

// UsageDays is for how long usage is kept: a quarter, of which the service shows 90 days.
const UsageDays = 92

// Day gives the day of a moment.
func Day(t time.Time) string { return t.UTC().Format(dayForm) }

// ParseDay gives the midnight that a day begins with.
func ParseDay(day string) (time.Time, bool) {
	t, err := time.ParseInLocation(dayForm, day, time.UTC)
	return t, err == nil
}

// Counts are requests by id of a usage plan and id of a key: those that a node has counted on one day.
type Counts map[string]map[string]int64

// Usage is what was counted, by day.
type Usage map[string]Counts

// Add adds counts of a day.
func (u Usage) Add(day string, counts Counts) {
	sum := u[day]
	if sum == nil {
		sum = Counts{}
		u[day] = sum
	}
	for plan, keys := range counts {
		of := sum[plan]
		if of == nil {
			of = make(map[string]int64, len(keys))
			sum[plan] = of
		}
		for key, n := range keys {
			of[key] += n
		}
	}
}

// Begin gives the first day of the period that a moment lies in. Periods begin at midnight UTC: of each day, of
// Sundays, of the first days of months.
func (q *Quota) Begin(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	switch q.Period {
	case Weekly:
		d -= int(t.UTC().Weekday())
	case Monthly:
		d = 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// Allowed is how many requests a key has in the period that begins then: the limit, less the offset in the quota's
// first period, more or less what was granted.
func (p *UsagePlan) Allowed(key string, begin time.Time) int64 {
	n := int64(p.Quota.Limit)
	if p.Quota.Begin(p.Quota.Since).Equal(begin) {
		n -= int64(p.Quota.Offset)
	}
	if g, ok := p.Grants[key]; ok && g.Period == Day(begin) {
		n += int64(g.Requests)
	}
	return n
}

// Used sums up what a key has used from a day on, until the day of a moment.
func (u Usage) Used(plan, key string, begin, until time.Time) (n int64) {
	for day := begin; !day.After(until); day = day.AddDate(0, 0, 1) {
		n += u[Day(day)][plan][key]
	}
	return n
}

// Daily gives for each day what a key has used and what it has left at its end. Without a quota nothing is ever left
// to count down from; the service shows no usage then, and this shows 0.
func (u Usage) Daily(p *UsagePlan, key string, from, to time.Time) [][]int64 {
	var all [][]int64
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		left := int64(0)
		if p.Quota != nil {
			begin := p.Quota.Begin(day)
			left = max(0, p.Allowed(key, begin)-u.Used(p.ID, key, begin, day))
		}
		all = append(all, []int64{u[Day(day)][p.ID][key], left})
	}
	return all
}

// PatchUsage sets what a key has left in the present period.
func (p *UsagePlan) PatchUsage(key string, patches []Patch, used Usage, now time.Time) error {
	const op = "restapi.PatchUsage"
	for _, one := range patches {
		n, err := strconv.Atoi(one.Value)
		switch {
		case one.Path != "/remaining":
			return invalid(op, "Invalid patch path %s", one.Path)
		case one.Op != OpReplace:
			return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
		case err != nil || n < 0:
			return invalid(op, "Invalid remaining quota specified: %s", one.Value)
		case p.Quota == nil:
			return invalid(op, "Usage Plan %s has no quota", p.ID)
		}
		begin := p.Quota.Begin(now)
		delete(p.Grants, key)
		left := p.Allowed(key, begin) - used.Used(p.ID, key, begin, now)
		if p.Grants == nil {
			p.Grants = map[string]Grant{}
		}
		p.Grants[key] = Grant{Period: Day(begin), Requests: n - int(left)}
	}
	return nil
}
