package restapi

import (
	"math"
	"strconv"
)

// throttle gives the method's own throttle, made of the defaults when there is none: a key that is touched first gets
// all of them.
func (m *MethodSetting) throttle() *Throttle {
	if m.Throttle == nil {
		m.Throttle = &Throttle{Rate: DefaultThrottlingRate, Burst: DefaultThrottlingBurst}
	}
	return m.Throttle
}

// patch sets a limit by its name on the wire.
func (t *Throttle) patch(op, limit, value string) error {
	if limit == "rateLimit" {
		rate, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return invalid(op, "Invalid throttling rateLimit specified: %s", value)
		}
		t.Rate = rate
		return t.check(op)
	}
	burst, err := strconv.Atoi(value)
	if err != nil {
		return invalid(op, "Invalid throttling burstLimit specified: %s", value)
	}
	t.Burst = burst
	return t.check(op)
}

// check refuses limits that are no numbers of requests. A burst above the rate is fine, and so is 0: nobody gets in.
func (t *Throttle) check(op string) error {
	switch {
	case t == nil:
		return nil
	case t.Rate < 0 || math.IsNaN(t.Rate) || math.IsInf(t.Rate, 0):
		return invalid(op, "Invalid throttling rateLimit specified: %v", t.Rate)
	case t.Burst < 0:
		return invalid(op, "Invalid throttling burstLimit specified: %d", t.Burst)
	}
	return nil
}
