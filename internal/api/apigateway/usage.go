package apigateway

import (
	"context"
	"slices"
	"time"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// getUsage shows what the keys of a plan have used, day by day. This node's part is exact, what other nodes have counted
// is as they saved it last.
func (s *Service) getUsage(ctx context.Context, in *wire.GetUsageRequest) (*wire.Usage, error) {
	from, to, err := usageDays(in.StartDate, in.EndDate)
	if err != nil {
		return nil, err
	}
	if err := s.countNow(ctx); err != nil {
		return nil, err
	}
	view := s.Catalog.Snapshot()
	p, err := keys.Plan(view, in.UsagePlanId)
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(slices.Values(p.Keys))
	if in.KeyId != nil {
		if !p.HasKey(*in.KeyId) {
			return nil, errNoPlanKey
		}
		ids = []string{*in.KeyId}
	}
	ids, next, err := page(ids, func(id string) string { return id }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.Usage{UsagePlanId: &p.ID, StartDate: &in.StartDate, EndDate: &in.EndDate, Position: next, Items: map[string][][]int64{}}
	begin := from // what is left counts from the beginning of the period
	if p.Quota != nil {
		begin = p.Quota.Begin(from)
	}
	usage, err := keys.Usage(view, restapi.Day(begin), restapi.Day(to))
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		out.Items[id] = usage.Daily(p, id, from, to)
	}
	return out, nil
}

// usageDays reads the days of a request. They are as many as are kept at most, so that an answer has a bound.
func usageDays(start, end string) (from, to time.Time, err error) {
	const op = "apigateway.GetUsage"
	from, ok := restapi.ParseDay(start)
	if !ok {
		return from, to, fault.New(fault.Invalid, op, "", "Invalid startDate specified: %s", start)
	}
	to, ok = restapi.ParseDay(end)
	if !ok || to.Before(from) {
		return from, to, fault.New(fault.Invalid, op, "", "Invalid endDate specified: %s", end)
	}
	if to.Sub(from) > restapi.UsageDays*24*time.Hour {
		return from, to, fault.New(fault.Invalid, op, "", "Usage can be asked for at most %d days", restapi.UsageDays)
	}
	return from, to, nil
}

// updateUsage sets what a key has left in the present period.
func (s *Service) updateUsage(ctx context.Context, in *wire.UpdateUsageRequest) (out *wire.Usage, err error) {
	if err := s.countNow(ctx); err != nil {
		return nil, err
	}
	now := s.Now()
	err = s.editPlan(ctx, in.UsagePlanId, func(tx *catalog.Tx, p *restapi.UsagePlan) error {
		if !p.HasKey(in.KeyId) {
			return errNoPlanKey
		}
		begin := now
		if p.Quota != nil {
			begin = p.Quota.Begin(now)
		}
		usage, err := keys.Usage(tx, restapi.Day(begin), restapi.Day(now))
		if err != nil {
			return err
		}
		if err := p.PatchUsage(in.KeyId, patches(in.PatchOperations), usage, now); err != nil {
			return err
		}
		today := restapi.Day(now)
		out = &wire.Usage{UsagePlanId: &p.ID, StartDate: &today, EndDate: &today, Items: map[string][][]int64{in.KeyId: usage.Daily(p, in.KeyId, now, now)}}
		return nil
	})
	return out, err
}

// countNow brings what this node has counted into the catalog.
func (s *Service) countNow(ctx context.Context) error {
	if s.SaveUsage == nil {
		return nil
	}
	return s.SaveUsage(ctx)
}
