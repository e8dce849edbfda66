package kafkacluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lookPause is the time between two looks at brokers, which are other processes and tell nobody when they are ready;
// lookTime bounds one look.
const (
	lookPause = 50 * time.Millisecond
	lookTime  = 5 * time.Second
)

// WaitReady returns when every broker that runs answers, and knows exactly the brokers that run: also that one was
// killed or is frozen, which takes sessionTime. A broker that has ended by itself is an error.
func (c *Cluster) WaitReady(ctx context.Context) error {
	return c.wait(ctx, "ready", func(*kmsg.MetadataResponse, []int32) error { return nil })
}

// WaitInSync is WaitReady, and returns when, beyond that, each partition of each topic has a leader and every replica
// whose broker runs is in sync.
func (c *Cluster) WaitInSync(ctx context.Context) error { return c.wait(ctx, "in sync", inSync) }

func (c *Cluster) wait(ctx context.Context, what string, good func(seen *kmsg.MetadataResponse, running []int32) error) error {
	for {
		running, err := c.serving()
		if err != nil {
			return err
		}
		if err = c.look(ctx, running, good); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the brokers are not %s: %w: %w", what, ctx.Err(), err)
		case <-time.After(lookPause):
		}
	}
}

// look asks each of the brokers what it knows of the cluster.
func (c *Cluster) look(ctx context.Context, brokers []int, good func(seen *kmsg.MetadataResponse, running []int32) error) error {
	if len(brokers) == 0 {
		return errors.New("no broker runs")
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var seeds []string
	var running []int32
	for _, i := range brokers {
		seeds = append(seeds, c.address(i, plain))
		running = append(running, nodeID(i))
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		return err
	}
	defer client.Close()
	for i, seed := range client.SeedBrokers() {
		answer, err := seed.Request(ctx, kmsg.NewPtrMetadataRequest()) // of all topics
		if err != nil {
			return fmt.Errorf("ask one of the brokers: %w", err)
		}
		seen := answer.(*kmsg.MetadataResponse)
		var known []int32
		for _, b := range seen.Brokers {
			known = append(known, b.NodeID)
		}
		slices.Sort(known)
		if !slices.Equal(known, running) {
			return fmt.Errorf("the %d. of the brokers %v knows %v", i+1, running, known)
		}
		if err := good(seen, running); err != nil {
			return err
		}
	}
	return nil
}

// inSync looks at the partitions as one broker sees them.
func inSync(seen *kmsg.MetadataResponse, running []int32) error {
	for _, topic := range seen.Topics {
		for _, p := range topic.Partitions {
			for _, replica := range p.Replicas {
				if slices.Contains(running, replica) && !slices.Contains(p.ISR, replica) {
					return fmt.Errorf("replica %d of partition %d of %s lags", replica, p.Partition, *topic.Topic)
				}
			}
			if !slices.Contains(running, p.Leader) {
				return fmt.Errorf("partition %d of %s has no leader", p.Partition, *topic.Topic)
			}
		}
	}
	return nil
}
