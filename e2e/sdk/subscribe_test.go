package sdk

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/e2e/node"
)

// noted wraps a client's transport and keeps which version of HTTP the last answer came in.
type noted struct {
	*http.Transport
	proto string
}

func (n *noted) Do(r *http.Request) (*http.Response, error) {
	resp, err := wholeBodies{n.Transport}.RoundTrip(r)
	if resp != nil {
		n.proto = resp.Proto
	}
	return resp, err
}

func kinesisOver(url string, transport *http.Transport) (*kinesis.Client, *noted) {
	n := &noted{Transport: transport}
	return kinesis.New(kinesis.Options{Region: "us-east-1", BaseEndpoint: &url, HTTPClient: n, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "anything", "")}), n
}

func protocols(set func(*http.Protocols)) *http.Transport {
	p := new(http.Protocols)
	set(p)
	return &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
}

// An SDK subscribes over HTTP/1.1, over HTTP/2 by prior knowledge, and over HTTP/2 with TLS: it sees records as they
// are written, up to the largest, an idle event, the end of the shard with its children, and typed errors.
func TestSubscribes(t *testing.T) {
	plain := up(t, node.Options{})
	cert, key := certificate(t)
	secure := up(t, node.Options{Args: []string{"--tls-cert", cert, "--tls-key", key}})
	f := func(n *node.Node, proto, name string, transport *http.Transport) {
		t.Run(name, func(t *testing.T) {
			c, seen := kinesisOver(n.AWS, transport)
			defer transport.CloseIdleConnections()
			follows(t, c, name)
			if seen.proto != proto {
				t.Errorf("%s, not %s", seen.proto, proto)
			}
		})
	}
	f(plain, "HTTP/1.1", "plain-1", protocols(func(p *http.Protocols) { p.SetHTTP1(true) }))
	f(plain, "HTTP/2.0", "plain-2", protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }))
	f(secure, "HTTP/1.1", "secure-1", protocols(func(p *http.Protocols) { p.SetHTTP1(true) }))
	f(secure, "HTTP/2.0", "secure-2", protocols(func(p *http.Protocols) { p.SetHTTP2(true) }))
}

// next gives the next event; nil at the end.
func next(ctx context.Context, t *testing.T, s *kinesis.SubscribeToShardEventStream) *types.SubscribeToShardEvent {
	t.Helper()
	select {
	case e, ok := <-s.Events():
		if !ok {
			return nil
		}
		return &e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
	case <-ctx.Done():
		t.Fatal(ctx.Err())
		return nil
	}
}

func follows(t *testing.T, c *kinesis.Client, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if _, err := c.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(10240)}); err != nil {
		t.Fatal(err)
	}
	if err := kinesis.NewStreamExistsWaiter(c).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &name}, patience); err != nil {
		t.Fatal(err)
	}
	arn := aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/" + name)
	registered, err := c.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("dashboard")})
	if err != nil {
		t.Fatal(err)
	}
	subscribe := func() (*kinesis.SubscribeToShardEventStream, error) {
		out, err := c.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: registered.Consumer.ConsumerARN, ShardId: aws.String("shardId-000000000000"),
			StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}})
		if err != nil {
			return nil, err
		}
		return out.GetStream(), nil
	}
	s, err := subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, size := range []int{1, 300, 1 << 20, 9 << 20} {
		data := pattern(max(size, 16))
		if _, err := c.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("key"), Data: data}); err != nil {
			t.Fatal(err)
		}
		e := next(ctx, t, s)
		if e == nil || len(e.Records) != 1 || string(e.Records[0].Data) != string(data) || aws.ToString(e.Records[0].PartitionKey) != "key" || e.ChildShards != nil {
			t.Fatalf("record %d: %v, %v", i, e, s.Err())
		}
	}
	if e := next(ctx, t, s); e == nil || len(e.Records) != 0 || e.ContinuationSequenceNumber == nil || aws.ToInt64(e.MillisBehindLatest) != 0 {
		t.Fatalf("an idle shard: %v, %v", e, s.Err())
	}
	if _, err := c.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &name, ShardToSplit: aws.String("shardId-000000000000"),
		NewStartingHashKey: aws.String("170141183460469231731687303715884105728")}); err != nil {
		t.Fatal(err)
	}
	if e := next(ctx, t, s); e == nil || len(e.ChildShards) != 2 || e.ContinuationSequenceNumber != nil {
		t.Fatalf("the end: %v, %v", e, s.Err())
	}
	if e := next(ctx, t, s); e != nil || s.Err() != nil {
		t.Fatalf("after the end: %v, %v", e, s.Err())
	}
	if _, err := c.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: registered.Consumer.ConsumerARN}); err != nil {
		t.Fatal(err)
	}
	_, err = subscribe()
	var notFound *types.ResourceNotFoundException
	if !errors.As(err, &notFound) {
		t.Errorf("a consumer that has gone: %v", err)
	}
}

// Subscriptions end with a node that stops, at once and cleanly; and with a stream that is deleted, by a typed
// exception.
func TestSubscriptionsEnd(t *testing.T) {
	n := start(t, node.Options{})
	t.Cleanup(n.Kill) // if it has not been stopped
	c, _ := kinesisOver(n.AWS, protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var streams []*kinesis.SubscribeToShardEventStream
	for _, name := range []string{"kept", "deleted"} {
		if _, err := c.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)}); err != nil {
			t.Fatal(err)
		}
		registered, err := c.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{ConsumerName: aws.String("c"),
			StreamARN: aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/" + name)})
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: registered.Consumer.ConsumerARN, ShardId: aws.String("shardId-000000000000"),
			StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest}})
		if err != nil {
			t.Fatal(err)
		}
		defer out.GetStream().Close()
		streams = append(streams, out.GetStream())
	}
	if _, err := c.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("deleted"), EnforceConsumerDeletion: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	var notFound *types.ResourceNotFoundException
	if e := next(ctx, t, streams[1]); e != nil || !errors.As(streams[1].Err(), &notFound) {
		t.Errorf("its stream was deleted: %v, %v", e, streams[1].Err())
	}
	began := time.Now()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the node took %v to stop", took)
	}
	for {
		if e := next(ctx, t, streams[0]); e == nil {
			break
		}
	}
	if err := streams[0].Err(); err != nil {
		t.Errorf("its node has stopped: %v", err)
	}
}

// certificate writes a key pair for loopback.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	return write("cert.pem", "CERTIFICATE", signed), write("key.pem", "PRIVATE KEY", encoded)
}
