package kinesis

import (
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/telemetry"
)

// subscriptions are those of this node: at most one for each consumer and shard.
type subscriptions struct {
	mu     sync.Mutex
	byKey  map[subscriptionKey]entered
	active int

	memory *semaphore.Weighted // bytes of events, up to eventMemory
}

// subscriptionKey is what there can be one subscription of.
type subscriptionKey struct {
	stream   string // incarnation
	consumer consumerKey
	shard    uint32
}

// consumerKey names one registration: who registers a name again makes another consumer.
type consumerKey struct {
	name    string
	created int64 // second since 1970
}

// entered is a successful call. It is remembered for takeOverAfter, also when its subscription has ended.
type entered struct {
	at           time.Time // of the process: a clock that is set must not matter
	subscription *subscription
}

func newSubscriptions() *subscriptions {
	return &subscriptions{byKey: map[subscriptionKey]entered{}, memory: semaphore.NewWeighted(eventMemory)}
}

// enter adds a subscription. Another of its consumer and shard is told to end, unless it is too young for that.
func (ss *subscriptions) enter(u *subscription) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	now := time.Now()
	before, known := ss.byKey[u.key]
	if known && now.Sub(before.at) < takeOverAfter {
		return u.errSubscribed()
	}
	if ss.active >= maxSubscriptions {
		return failure(kinesiswire.ErrLimitExceeded, "This node serves %d subscriptions to shards, and no more.", maxSubscriptions)
	}
	if before.subscription != nil {
		before.subscription.cancel(u.errSubscribed())
	}
	ss.active++
	ss.byKey[u.key] = entered{now, u}
	ss.forget(now)
	return nil
}

// leave removes a subscription that has ended.
func (ss *subscriptions) leave(u *subscription) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.active--
	if e := ss.byKey[u.key]; e.subscription == u {
		e.subscription = nil
		ss.byKey[u.key] = e
	}
}

// manyEnded is how many ended ones are remembered before those that are too old to matter are looked for.
const manyEnded = 256

func (ss *subscriptions) forget(now time.Time) {
	if len(ss.byKey) < 2*ss.active+manyEnded {
		return
	}
	for key, e := range ss.byKey {
		if e.subscription == nil && now.Sub(e.at) >= takeOverAfter {
			delete(ss.byKey, key)
		}
	}
}

// end ends the subscriptions of a consumer.
func (ss *subscriptions) end(streamID string, consumer consumerKey, why error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for key, e := range ss.byKey {
		if key.stream == streamID && key.consumer == consumer && e.subscription != nil {
			e.subscription.cancel(why)
		}
	}
}

// Subscriptions counts the subscriptions to shards that are being served.
func (s *Service) Subscriptions() int {
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	return s.subscriptions.active
}

// Collect reports the declared metrics; app gives it to the page.
func (s *Service) Collect(emit telemetry.Emit) {
	emit(telemetry.Subscriptions, float64(s.Subscriptions()))
	emit(telemetry.SubscriptionBound, maxSubscriptions)
}
