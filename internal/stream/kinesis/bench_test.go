package kinesis

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/internal/stream"
)

// BenchmarkPutRecord has callers put one record of 300 bytes after the other, gathered by the backend and, for
// comparison, each by a PutRecord of its own over the same client. The service is in this process and shares its cores:
// of interest is the ratio of the two, and how many records a PutRecords carries.
func BenchmarkPutRecord(b *testing.B) {
	for _, callers := range []int{1, 64} {
		name := map[int]string{1: "1 caller", 64: "64 callers"}[callers]
		b.Run("gathered/"+name, func(b *testing.B) {
			backend, puts := benchWorld(b)
			data := make([]byte, 300)
			run(b, callers, func() error {
				var results [1]stream.Result
				if err := backend.Append(b.Context(), "s", []stream.Entry{{PartitionKey: "key", Data: data}}, results[:]); err != nil {
					return err
				}
				return results[0].Err
			})
			b.ReportMetric(float64(b.N)/float64(puts.Load()), "records/call")
		})
		b.Run("one by one/"+name, func(b *testing.B) {
			backend, _ := benchWorld(b)
			data := make([]byte, 300)
			run(b, callers, func() error {
				_, err := backend.client.PutRecord(b.Context(), &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("key"), Data: data})
				return err
			})
		})
	}
}

func benchWorld(b *testing.B) (*Backend, *atomic.Int64) {
	c := newClock()
	n := startNode(b, c)
	puts := new(atomic.Int64)
	n.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Target") == "Kinesis_20131202.PutRecords" {
			puts.Add(1)
		}
		return false
	}
	backend := connect(b, n.URL, c, nil)
	if _, err := backend.CreateStream(b.Context(), stream.CreateStream{Name: "s", Shards: 4}); err != nil {
		b.Fatal(err)
	}
	return backend, puts
}

func run(b *testing.B, callers int, put func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := put(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}
