package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"millrace/internal/delivery/transform"
	"millrace/internal/glue"
)

// anyFunction knows every function, at a place where nobody is.
func anyFunction(string) *transform.Endpoint {
	e, err := transform.NewEndpoint("http://127.0.0.1:9/", "", "")
	if err != nil {
		panic(err)
	}
	return e
}

// moody is a function that changes its mind: what it makes of a record is another thing each time it is asked.
type moody struct {
	mu     sync.Mutex
	random *rand.Rand
	calls  int
}

func (m *moody) Invoke(ctx context.Context, call *transform.Call, results []transform.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	for i := range call.Records {
		r := &call.Records[i]
		switch m.random.IntN(6) {
		case 0:
			results[i] = transform.Result{Outcome: transform.Dropped, Attempts: 1}
		case 1:
			results[i] = transform.Result{Outcome: transform.Failed, ErrorCode: "Lambda.ProcessingFailedStatus", ErrorMessage: "no", Attempts: 1, Ended: time.Now()}
		default:
			results[i] = transform.Result{Outcome: transform.Ok, Data: append([]byte(nil), r.Data...), Attempts: 1,
				PartitionKeys: []transform.PartitionKey{{Key: "mood", Value: fmt.Sprint("m", m.random.IntN(3))}}}
		}
	}
	return ctx.Err()
}

// An event of these tests is {"k":"a","n":7}: the nth of all that have k. The text "broken 7" is none.
func event(k string, n int) string { return fmt.Sprintf(`{"k":%q,"n":%d}`, k, n) }

func extended(edit func(*S3Destination)) func(*S3Destination) {
	return func(d *S3Destination) {
		hints(64, 60)(d)
		d.DynamicPartitioningConfiguration = &DynamicPartitioningConfiguration{Enabled: new(true)}
		d.ProcessingConfiguration = &ProcessingConfiguration{Enabled: new(true), Processors: []Processor{
			{Type: recordDeAggregator, Parameters: []ProcessorParameter{{"SubRecordType", "JSON"}}},
			{Type: metadataExtraction, Parameters: []ProcessorParameter{{"MetadataExtractionQuery", "{k:.k}"}, {"JsonParsingEngine", "JQ-1.6"}}},
			{Type: appendDelimiter},
		}}
		d.Prefix, d.ErrorOutputPrefix = new("k=!{partitionKeyFromQuery:k}/"), new("errors/!{firehose:error-output-type}/")
		if edit != nil {
			edit(d)
		}
	}
}

func withFunction(d *S3Destination) {
	d.ProcessingConfiguration.Processors = append(d.ProcessingConfiguration.Processors, Processor{Type: lambda, Parameters: []ProcessorParameter{
		{"LambdaArn", "arn:aws:lambda:us-east-1:000000000000:function:f"}, {"BufferSizeInMBs", "1"}, {"BufferIntervalInSeconds", "10"}}})
	d.Prefix = new("k=!{partitionKeyFromQuery:k}/mood=!{partitionKeyFromLambda:mood}/")
}

// collected is what lies in a bucket: events by key, in the order of their objects, and the raw data of error objects by type.
type collected struct {
	events                map[string][]int
	errors                map[string][]string
	odd                   []string // events that are in objects and fit no schema
	objects, errorObjects int64
}

func (n *node) collect(bucket string) collected {
	n.t.Helper()
	c := collected{events: map[string][]int{}, errors: map[string][]string{}}
	for _, key := range n.sink.keys(bucket) {
		text := content(n.t, n.sink.get(bucket, key))
		if rest, ok := strings.CutPrefix(key, "errors/"); ok {
			c.errorObjects++
			kind, _, _ := strings.Cut(rest, "/")
			for line := range strings.Lines(text) {
				var e struct{ RawData []byte }
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					n.t.Fatalf("%s: %q: %v", key, line, err)
				}
				c.errors[kind] = append(c.errors[kind], string(e.RawData))
			}
			continue
		}
		c.objects++
		if strings.HasSuffix(key, ".parquet") {
			text = lines(n.t, text)
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, `"odd"`) {
				c.odd = append(c.odd, strings.TrimSuffix(line, "\n"))
				continue
			}
			var e struct {
				K string
				N int
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				n.t.Fatalf("%s: %q: %v", key, line, err)
			}
			if !strings.HasPrefix(key, "k="+e.K+"/") {
				n.t.Errorf("%s holds an event of %s", key, e.K)
			}
			name := key[:strings.LastIndexByte(key, '/')]
			c.events[name] = append(c.events[name], e.N)
		}
	}
	return c
}

// lines gives the rows of a Parquet file as events.
func lines(t *testing.T, file string) string {
	t.Helper()
	rows, err := parquet.Read[struct {
		K string `parquet:"k,optional"`
		N int32  `parquet:"n,optional"`
	}](strings.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, r := range rows {
		all.WriteString(event(r.K, int(r.N)) + "\n")
	}
	return all.String()
}

func TestDynamicPartitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.create(request("d", "", extended(nil)))
		n.put("d", event("a", 1)+event("b", 1)+"\n"+event("a", 2), "broken 1", event("c", 1), event("", 9))
		time.Sleep(30 * time.Second)
		n.put("d", event("d", 1))
		time.Sleep(35 * time.Second)
		equal(t, "objects after the first lanes were due", n.ledger("d").Objects, 3)
		equal(t, "in flight", n.ledger("d").InFlight, 1)
		time.Sleep(30 * time.Second)
		c := n.collect("events")
		if want := map[string][]int{"k=a": {1, 2}, "k=b": {1}, "k=c": {1}, "k=d": {1}}; !maps.EqualFunc(c.events, want, slices.Equal) {
			t.Errorf("got %v, want %v", c.events, want)
		}
		if got := c.errors[metadataFailed]; !slices.Equal(got, []string{"broken 1", event("", 9)}) {
			t.Errorf("errors: %q", c.errors)
		}
		line := n.ledger("d")
		equal(t, "accepted", line.Accepted, 5)
		equal(t, "delivered", line.Delivered, 3)
		equal(t, "dead-lettered", line.DeadLettered, 2)
		equal(t, "outputs", line.Outputs, 5)
		equal(t, "error objects", line.ErrorObjects, 1)
	})
}

// Crashes at any step, of nodes that process in all ways, lose and double nothing: what a function has answered once,
// and was planned, counts.
func TestCrashWhileProcessing(t *testing.T) {
	f := func(name string, edit func(*S3Destination), opts Options) {
		for _, point := range []string{"stage", "plan-before", "plan-after", "put-before", "put-after", "commit-before", "commit-after", "recover-head"} {
			for nth := 1; nth <= 4; nth++ {
				t.Run(fmt.Sprintf("%s-%s-%d", name, point, nth), func(t *testing.T) {
					inBubble(t, func(t *testing.T) { crashProcessing(t, edit, opts, point, nth) })
				})
			}
		}
	}
	f("partitions", nil, Options{})
	f("partitions-spooled", nil, Options{BufferBudget: 2 * slabBytes})
	f("too-many-partitions", nil, Options{ActivePartitions: 2})
	f("function", withFunction, Options{Function: anyFunction})
	f("function-spooled", withFunction, Options{Function: anyFunction, BufferBudget: 2 * slabBytes})
	f("parquet", withParquet, Options{Table: anyTable})
	f("parquet-of-a-function", func(d *S3Destination) { withFunction(d); withParquet(d) }, Options{Function: anyFunction, Table: anyTable})
}

// anyTable has the columns of an event.
func anyTable(database, name string) (*glue.Table, error) {
	return &glue.Table{Database: database, Name: name, Version: 1, Columns: []glue.Column{{Name: "k", Type: "string"}, {Name: "n", Type: "int"}}}, nil
}

func withParquet(d *S3Destination) {
	hints(64, 60)(d)
	d.DataFormatConversionConfiguration = &DataFormatConversionConfiguration{
		SchemaConfiguration:       &SchemaConfiguration{RoleARN: "arn:aws:iam::000000000000:role/r", DatabaseName: "d", TableName: "t"},
		InputFormatConfiguration:  &InputFormatConfiguration{&Deserializer{OpenXJsonSerDe: &OpenXJsonSerDe{}}},
		OutputFormatConfiguration: &OutputFormatConfiguration{&Serializer{ParquetSerDe: &ParquetSerDe{}}},
	}
}

func crashProcessing(t *testing.T, edit func(*S3Destination), opts Options, point string, nth int) {
	opts.SpoolDir = t.TempDir()
	if opts.Function != nil {
		opts.Transform = &moody{random: rand.New(rand.NewPCG(uint64(nth), 0))}
	}
	n := newNode(t, opts)
	remains := n.dieAt(point, nth, uint64(nth)*29)
	n.start()
	n.create(request("d", "", extended(edit)))
	random := rand.New(rand.NewPCG(uint64(nth), 1))
	counts := map[string]int{}
	put := func(n *node, times int) {
		for range times {
			var record strings.Builder
			for range 1 + random.IntN(3) {
				k := string(rune('a' + random.IntN(4)))
				counts[k]++
				record.WriteString(event(k, counts[k]))
				if random.IntN(12) == 0 { // fits no schema, and is in order with none
					counts["odd"]++
					fmt.Fprintf(&record, `{"k":%q,"odd":%d,"n":"%s"}`, k, counts["odd"], strings.Repeat("x", 9<<10))
				}
			}
			if random.IntN(5) == 0 {
				counts["broken"]++
				record.Reset()
				fmt.Fprintf(&record, "broken %d", counts["broken"])
			}
			n.put("d", record.String())
			time.Sleep(time.Duration(random.IntN(20)) * time.Second)
		}
	}
	put(n, 40)
	last := n
	if second := remains(); second != nil {
		n.close()
		put(second.start(), 20)
		last = second
	} else if point != "stage" && point != "recover-head" {
		t.Fatalf("never came to %s", point)
	}
	time.Sleep(3 * time.Minute)
	last.verifyProcessing("d")
	last.close()
}

// verifyProcessing checks that every sub-record of the source is in one object, of whatever kind, in the order of its partition,
// or was dropped.
func (n *node) verifyProcessing(name string) {
	n.t.Helper()
	want := map[string]int{} // texts of sub-records, as often as they are
	records := 0
	for _, l := range n.source.streams[n.defs.all[name].SourceStream()].logs {
		for _, r := range l.records {
			records++
			text := string(r.Data)
			if strings.HasPrefix(text, "broken") {
				want[text]++
				continue
			}
			for piece := range strings.SplitSeq(strings.ReplaceAll(text, "}{", "}\n{"), "\n") {
				want[piece]++
			}
		}
	}
	c := n.collect("events")
	got := map[string]int{}
	for lane, numbers := range c.events {
		if !slices.IsSorted(numbers) {
			n.t.Errorf("%s is out of order: %v", lane, numbers)
		}
		k, _, _ := strings.Cut(strings.TrimPrefix(lane, "k="), "/")
		for _, number := range numbers {
			got[event(k, number)]++
		}
	}
	for _, line := range c.odd {
		got[line]++
	}
	for _, lines := range c.errors {
		for _, line := range lines {
			got[line]++
		}
	}
	line := n.ledger(name)
	for text, times := range want {
		if got[text] != times && (got[text] != 0 || n.opts.Function == nil) {
			n.t.Errorf("%.60s is there %d times, not %d", text, got[text], times)
		}
	}
	for text := range got {
		if want[text] == 0 {
			n.t.Errorf("%s came from nowhere", text)
		}
	}
	equal(n.t, "accepted", line.Accepted, int64(records))
	equal(n.t, "settled", line.Settled(), int64(records))
	equal(n.t, "in flight", line.InFlight, 0)
	equal(n.t, "objects", line.Objects, c.objects)
	equal(n.t, "error objects", line.ErrorObjects, c.errorObjects)
}
