package topic

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/kafka"
)

// Update implements [catalog.Store]. It returns once every live node has the writes, or the lease has passed.
func (s *Store) Update(ctx context.Context, edit func() (catalog.Writes, error)) (uint64, error) {
	const op = "catalog.Update"
	limited, cancel := context.WithTimeout(ctx, updateTime)
	defer cancel()
	select {
	case s.updating <- struct{}{}:
	case <-limited.Done():
		return 0, fault.New(fault.Unavailable, op, "", "another update is under way: %w", limited.Err())
	}
	version, err := s.update(limited, edit)
	<-s.updating
	if err != nil {
		return 0, err
	}
	return uint64(version), s.awaitOthers(ctx, func(b Beat) bool { return b.Applied >= version })
}

// update tries until no other node's update, and no trouble of a broker, comes in between.
func (s *Store) update(ctx context.Context, edit func() (catalog.Writes, error)) (int64, error) {
	var err error
	for range updateTries {
		u := update{s: s, tx: s.opts.IDs.String(ids.LowerAlnum, 16)}
		var version int64
		version, err = u.run(ctx, edit)
		if err == nil || !u.undone {
			return version, err
		}
		if !pause(ctx, time.Duration(s.opts.IDs.Uint64()%uint64(retryPause))) { // jitter: one of those who fence one another shall win
			break
		}
	}
	return 0, fault.New(fault.Unavailable, "catalog.Update", "", "it was tried up to %d times; what came in between at last: %w", updateTries, err)
}

// update is one try.
type update struct {
	s      *Store
	tx     string
	undone bool // nothing has happened, and trying again may help: another node's update came in between, or a broker failed
}

func (u *update) run(ctx context.Context, edit func() (catalog.Writes, error)) (int64, error) {
	s := u.s
	client, err := s.producer()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if _, _, err := client.ProducerID(ctx); err != nil {
		return 0, u.failed(err)
	}
	if err := s.Refresh(ctx); err != nil {
		return 0, err
	}
	writes, err := edit()
	if err != nil || len(writes) == 0 {
		return int64(s.catalog.Snapshot().Version()), err
	}
	if err := u.write(ctx, client, writes); err != nil {
		return u.fate(ctx, client, err)
	}
	return u.published(ctx)
}

// producer opens a client of its own for every update: updates are rare, and a new client can't be in a state that an
// earlier one left.
func (s *Store) producer() (*kgo.Client, error) {
	return s.settings.Client(
		kgo.TransactionalID(s.settings.CatalogTopic()), kgo.TransactionTimeout(transactionTime),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(maxBatchBytes),
		kgo.BrokerMaxWriteBytes(2*maxBatchBytes), kgo.RecordDeliveryTimeout(updateTime),
	)
}

func (u *update) write(ctx context.Context, client *kgo.Client, writes catalog.Writes) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	records := u.records(writes)
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	return kafka.Commit(ctx, client, u.s.settings.CatalogTopic(), 0)
}

func (u *update) records(writes catalog.Writes) []*kgo.Record {
	records := make([]*kgo.Record, 0, len(writes))
	for key, doc := range writes {
		records = append(records, &kgo.Record{
			Topic: u.s.settings.CatalogTopic(), Key: key.Append(nil), Value: doc,
			Headers: []kgo.RecordHeader{{Key: txHeader, Value: []byte(u.tx)}},
		})
	}
	last := records[len(records)-1]
	last.Headers = append(last.Headers, kgo.RecordHeader{Key: endHeader})
	return records
}

// failed gives an error its kind. Nothing has happened. That another node has taken the id reaches this one in many
// forms, some of which brokers themselves don't understand (UNKNOWN_SERVER_ERROR, while they fence the transaction that is
// to end; INVALID_TXN_STATE, after that), so that only what can't get better is not tried again.
func (u *update) failed(err error) error {
	err = kafka.Fault("catalog.Update", u.s.settings.CatalogTopic(), err)
	switch fault.KindOf(err) {
	case fault.PreconditionFailed, fault.Unavailable, fault.Internal, fault.Throttled:
		u.undone = true
	}
	return err
}

// fate finds out whether a transaction whose end failed was committed after all: whoever takes the id next learns it,
// since the broker first ends what was open.
func (u *update) fate(ctx context.Context, client *kgo.Client, cause error) (int64, error) {
	client.Close()
	s := u.s
	// The caller's time may be over; what has happened must still be known to who asks next.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionTime)
	defer cancel()
	next, err := s.producer()
	if err == nil {
		defer next.Close()
		_, _, err = next.ProducerID(ctx)
	}
	if err == nil {
		err = s.Refresh(ctx)
	}
	if err != nil {
		return 0, fault.New(fault.Unavailable, "catalog.Update", s.settings.CatalogTopic(), "whether the change was made is not known: %w", cause)
	}
	s.mu.Lock()
	applied, version := s.view.hasApplied(u.tx), s.view.version
	s.mu.Unlock()
	if applied {
		return version, nil
	}
	return 0, u.failed(cause)
}

// published waits until this node has published the transaction.
func (u *update) published(ctx context.Context) (int64, error) {
	s := u.s
	var version int64
	err := s.await(ctx, func() bool {
		version = s.view.version
		return s.view.hasApplied(u.tx)
	})
	if err != nil {
		return 0, fault.New(fault.Unavailable, "catalog.Update", s.settings.CatalogTopic(), "the brokers say that the change was made, and this node has not seen it in time: %w", err)
	}
	return version, nil
}
