package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kinesis calls an endpoint of the Kinesis API for what is not measured.
type Kinesis struct{ Addr string }

// callTime bounds a call; ready is how long a stream or a consumer may take to become usable.
const (
	callTime = 10 * time.Second
	ready    = 10 * time.Second
	again    = 100 * time.Millisecond
)

// Call makes one call; out may be nil.
func (k Kinesis) Call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return k.Send(ctx, operation, body, out)
}

// Send is Call with a body that is JSON already.
func (k Kinesis) Send(ctx context.Context, operation string, body []byte, out any) error {
	ctx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+k.Addr+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", string(JSON))
	for _, line := range kinesisHeaders(operation) {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d: %.300s", operation, resp.StatusCode, answer.Bytes())
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Bytes(), out)
}

// until tries again until it works.
func until(ctx context.Context, try func() error) error {
	deadline := time.Now().Add(ready)
	for {
		err := try()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(again)
	}
}

// CreateStream makes a stream and waits until it takes records.
func (k Kinesis) CreateStream(ctx context.Context, name string, shards int) error {
	if err := k.Call(ctx, "CreateStream", map[string]any{"StreamName": name, "ShardCount": shards}, nil); err != nil {
		return err
	}
	return until(ctx, func() error {
		return k.Call(ctx, "PutRecord", map[string]any{"StreamName": name, "PartitionKey": "k", "Data": "AA=="}, nil)
	})
}

// Shards lists the shards of a stream, up to a page of them.
func (k Kinesis) Shards(ctx context.Context, name string) (ids []string, err error) {
	var out struct{ Shards []struct{ ShardId string } }
	if err := k.Call(ctx, "ListShards", map[string]any{"StreamName": name}, &out); err != nil {
		return nil, err
	}
	for _, sh := range out.Shards {
		ids = append(ids, sh.ShardId)
	}
	return ids, nil
}

// Iterators are those of the beginnings of a stream's shards.
func (k Kinesis) Iterators(ctx context.Context, name string) (all []string, err error) {
	ids, err := k.Shards(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		var out struct{ ShardIterator string }
		in := map[string]any{"StreamName": name, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON"}
		if err := k.Call(ctx, "GetShardIterator", in, &out); err != nil {
			return nil, err
		}
		all = append(all, out.ShardIterator)
	}
	return all, nil
}

// RegisterConsumer makes a consumer and gives its ARN when it can be used.
func (k Kinesis) RegisterConsumer(ctx context.Context, name, consumer string) (string, error) {
	var described struct {
		StreamDescriptionSummary struct{ StreamARN string }
	}
	if err := k.Call(ctx, "DescribeStreamSummary", map[string]any{"StreamName": name}, &described); err != nil {
		return "", err
	}
	var registered struct {
		Consumer struct{ ConsumerARN, ConsumerStatus string }
	}
	in := map[string]any{"StreamARN": described.StreamDescriptionSummary.StreamARN, "ConsumerName": consumer}
	if err := k.Call(ctx, "RegisterStreamConsumer", in, &registered); err != nil {
		return "", err
	}
	arn := registered.Consumer.ConsumerARN
	return arn, until(ctx, func() error {
		var now struct {
			ConsumerDescription struct{ ConsumerStatus string }
		}
		err := k.Call(ctx, "DescribeStreamConsumer", map[string]any{"ConsumerARN": arn}, &now)
		if err == nil && now.ConsumerDescription.ConsumerStatus != "ACTIVE" {
			err = fmt.Errorf("consumer %s is %s", consumer, now.ConsumerDescription.ConsumerStatus)
		}
		return err
	})
}
