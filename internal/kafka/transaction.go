package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/fault"
)

// Commit ends a transaction whose records to the given partitions of a topic have all been acknowledged. It is to be
// called in place of the client's EndTransaction, which can return nil for a transaction that was not committed:
//
// Up to v1.22.3 the client publishes what it has learnt of a topic's partitions after it has let the first records go to
// them. They may be acknowledged before that; EndTransaction then looks in vain for a partition that has been added,
// takes the transaction for empty, and aborts it, or leaves it open, without an error. (Seen as a change of the catalog
// that was answered and was never there.) PartitionLeader looks at the same place, so that it tells when that is over.
func Commit(ctx context.Context, client *kgo.Client, topic string, partitions ...int32) error {
	const op = "kafka.Commit"
	for _, p := range partitions {
		for !published(client, topic, p) {
			timer := time.NewTimer(time.Millisecond)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return fault.New(fault.Unavailable, op, topic, "the client does not know the partition that it has written to: %w", ctx.Err())
			}
		}
	}
	return client.EndTransaction(ctx, kgo.TryCommit)
}

// published reports whether the client's users see a partition: one that is not there has neither leader nor epoch.
func published(client *kgo.Client, topic string, partition int32) bool {
	leader, epoch, _ := client.PartitionLeader(topic, partition)
	return leader >= 0 || epoch >= 0
}
