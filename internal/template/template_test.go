package template

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/delivery"
	"millrace/internal/delivery/journal"
	"millrace/internal/glue"
	"millrace/internal/ids"
	"millrace/internal/object/dir"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
)

var rewrite = flag.Bool("rewrite", false, "write what the files give instead of comparing")

var account = ids.NewAccount("us-east-1", "000000000000")

// node is the engines of a node.
type node struct {
	t *testing.T
	Target
	streams *local.Backend
	objects *dir.Store
	engine  *delivery.Engine
}

type definitions struct{ c *catalog.Catalog }

var deliveryDocs = catalog.NewCollection[delivery.Definition]("deliverystream")

func (d definitions) Update(ctx context.Context, name string, fn func(*delivery.Definition) (*delivery.Definition, error)) (def *delivery.Definition, err error) {
	err = d.c.Update(ctx, func(tx *catalog.Tx) error {
		have, _, err := deliveryDocs.Get(tx, name)
		if err != nil {
			return err
		}
		if def, err = fn(have); err != nil || def == nil {
			deliveryDocs.Delete(tx, name)
			return err
		}
		return deliveryDocs.Put(tx, name, def)
	})
	return def, err
}
func (d definitions) Follow(fn func()) (stop func()) {
	return d.c.Follow(func(*catalog.Snapshot) { fn() })
}
func (d definitions) All(context.Context) ([]*delivery.Definition, error) {
	return deliveryDocs.All(d.c.Snapshot())
}

func newNode(t *testing.T) *node {
	t.Helper()
	folder := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	source := ids.Seeded(7)
	meta, err := store.Open(filepath.Join(folder, "meta"), store.Options{Profile: store.Meta})
	check(err)
	log, err := store.Open(filepath.Join(folder, "log"), store.Options{Profile: store.Log})
	check(err)
	cat, err := catalog.Open(meta, []byte("c"))
	check(err)
	n := &node{t: t}
	n.streams, err = local.Open(local.Options{DB: log, IDs: source, Now: time.Now})
	check(err)
	n.objects, err = dir.Open(dir.Options{Root: filepath.Join(folder, "s3"), DB: meta, Prefix: []byte("o"), Now: time.Now, IDs: source})
	check(err)
	n.engine, err = delivery.New(delivery.Options{Source: n.streams, Sink: n.objects, Definitions: definitions{cat},
		Journal: journal.Open(meta, []byte("d")), Account: account, IDs: source,
		Table: func(database, table string) (*glue.Table, error) {
			return catalog.Tables{}.Table(cat.Snapshot(), database, table)
		}})
	check(err)
	check(n.engine.Start(t.Context()))
	t.Cleanup(func() {
		ctx := context.Background()
		for _, err := range []error{n.engine.Close(ctx), n.objects.Close(), n.streams.Close(ctx), meta.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	n.Target = Target{Streams: n.streams, Buckets: n.objects, DeliveryStreams: n.engine, Catalog: cat, IDs: source, Now: time.Now}
	return n
}

// up does what the command does, and returns the plan as it is printed, without what is random.
func (n *node) up(file, body string, o Options, prune bool) (string, []Output, error) {
	n.t.Helper()
	o.Account = account
	t, err := Load(file, []byte(body), o)
	if err != nil {
		return "", nil, err
	}
	p, err := t.Plan(n.t.Context(), n.Target, prune)
	if err != nil {
		return "", nil, err
	}
	var text strings.Builder
	if err := p.Write(&text); err != nil {
		n.t.Fatal(err)
	}
	outputs, err := p.Apply(n.t.Context(), func(*Step) {})
	return text.String(), outputs, err
}

func (n *node) mustUp(body string, o Options, prune bool) string {
	n.t.Helper()
	plan, _, err := n.up("t.yaml", body, o, prune)
	if err != nil {
		n.t.Fatal(err)
	}
	return plan
}

// Each conformance file gives the text beside it: its plans, first and second, or what is wrong with it.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("testdata/[0-9]*.*[nl]")
	if err != nil || len(files) != 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n := newNode(t)
			var got strings.Builder
			for range 2 {
				plan, outputs, err := n.up(filepath.Base(file), string(body), Options{Stack: "conformance"}, false)
				if err != nil {
					got.WriteString(err.Error() + "\n")
					break
				}
				got.WriteString(plan)
				for _, o := range outputs {
					got.WriteString(o.Name + " = " + o.Value + "\n")
				}
			}
			compare(t, file+".want", got.String())
		})
	}
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

const small = `
Parameters:
  Hours: {Type: Number, Default: 24}
Resources:
  B: {Type: AWS::S3::Bucket, Properties: {BucketName: events}}
  S: {Type: AWS::Kinesis::Stream, Properties: {RetentionPeriodHours: !Ref Hours}}
  R: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}}}
  D:
    Type: AWS::KinesisFirehose::DeliveryStream
    Properties:
      DeliveryStreamType: KinesisStreamAsSource
      KinesisStreamSourceConfiguration: {KinesisStreamARN: !GetAtt S.Arn, RoleARN: !GetAtt R.Arn}
      ExtendedS3DestinationConfiguration:
        BucketARN: !GetAtt B.Arn
        RoleARN: !GetAtt R.Arn
        BufferingHints: {SizeInMBs: "1", IntervalInSeconds: "60"}
`

func TestSecondRunKeepsNamesAndData(t *testing.T) {
	n := newNode(t)
	n.mustUp(small, Options{}, false)
	var name string
	for _, s := range n.streams.Streams() {
		name = s.Name
	}
	if err := n.streams.Append(t.Context(), name, []stream.Entry{{PartitionKey: "k", Data: []byte("d")}}, make([]stream.Result, 1)); err != nil {
		t.Fatal(err)
	}
	before, _ := n.streams.Stream(name)
	plan := n.mustUp(small, Options{Parameters: map[string]string{"Hours": "48"}}, false)
	after, ok := n.streams.Stream(name)
	if !ok || after.ID != before.ID || after.Retention != 48*time.Hour {
		t.Errorf("after the second run: %+v\n%s", after, plan)
	}
	if !strings.Contains(plan, "~ Kinesis::Stream S") || !strings.Contains(plan, "= S3::Bucket B (events)") {
		t.Errorf("the second plan:\n%s", plan)
	}
}

func TestWhatLeavesTheFile(t *testing.T) {
	n := newNode(t)
	n.mustUp(small, Options{}, false)
	rest := "Resources:\n  B: {Type: AWS::S3::Bucket, DeletionPolicy: Retain, Properties: {BucketName: events}}\n"
	plan := n.mustUp(rest, Options{}, false)
	if !strings.Contains(plan, "? Kinesis::Stream S") || len(n.streams.Streams()) != 1 {
		t.Errorf("without --prune:\n%s", plan)
	}
	plan = n.mustUp(rest, Options{}, true)
	if !strings.Contains(plan, "- Kinesis::Stream S") || len(n.streams.Streams()) != 0 {
		t.Errorf("with --prune:\n%s", plan)
	}
	empty := "Resources:\n  C: {Type: AWS::S3::Bucket, Properties: {BucketName: other}}\n"
	plan = n.mustUp(empty, Options{}, true)
	if _, err := n.objects.Bucket(t.Context(), "events"); err != nil || !strings.Contains(plan, "kept, as its DeletionPolicy says") {
		t.Errorf("a retained bucket: %v\n%s", err, plan)
	}
}

func TestReplacementIsRefused(t *testing.T) {
	n := newNode(t)
	n.mustUp(small, Options{}, false)
	for _, c := range []struct{ from, to, want string }{
		{"BucketName: events", "BucketName: other", "t.yaml:5:55: Resources.B.Properties.BucketName: the name can't change from events to other in place"},
		{"DeliveryStreamType: KinesisStreamAsSource\n      KinesisStreamSourceConfiguration: {KinesisStreamARN: !GetAtt S.Arn, RoleARN: !GetAtt R.Arn}", "DeliveryStreamType: DirectPut", "DeliveryStreamType can't change in place"},
	} {
		if !strings.Contains(small, c.from) {
			t.Fatalf("the file has no %q", c.from)
		}
		_, _, err := n.up("t.yaml", strings.Replace(small, c.from, c.to, 1), Options{}, false)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want %q", c.to, err, c.want)
		}
	}
	_, _, err := n.up("t.yaml", small, Options{Stack: "another"}, false)
	if err == nil || !strings.Contains(err.Error(), "belongs to the stack t") {
		t.Errorf("another stack: %v", err)
	}
}

// A topic as a source is read into the engine's own request, and what is wrong with it is told with its place.
func TestTopicAsSource(t *testing.T) {
	const file = `
Resources:
  D:
    Type: AWS::KinesisFirehose::DeliveryStream
    Properties:
      DeliveryStreamName: d
      DeliveryStreamType: MSKAsSource
      MSKSourceConfiguration:
        MSKClusterARN: arn:aws:kafka:us-east-1:000000000000:cluster/shop/1
        TopicName: orders
        AuthenticationConfiguration: {RoleARN: "arn:aws:iam::000000000000:role/r", Connectivity: PRIVATE}
        ReadFromTimestamp: 1970-01-01T00:00:00Z
      ExtendedS3DestinationConfiguration: {BucketARN: "arn:aws:s3:::b", RoleARN: "arn:aws:iam::000000000000:role/r"}
`
	n := newNode(t)
	seen := &requests{DeliveryStreams: n.DeliveryStreams}
	n.DeliveryStreams = seen
	read := func(from, to string) error {
		t.Helper()
		if !strings.Contains(file, from) {
			t.Fatalf("the file has no %q", from)
		}
		f, err := Load("t.yaml", []byte(strings.Replace(file, from, to, 1)), Options{Account: account})
		if err == nil {
			_, err = f.Plan(t.Context(), n.Target, false)
		}
		return err
	}
	if err := read("", ""); err != nil || len(seen.compared) != 1 {
		t.Fatal(err, seen.compared)
	}
	if s := seen.compared[0].MSKSourceConfiguration; s.TopicName != "orders" || s.ReadFromTimestamp.Unix() != 0 || s.AuthenticationConfiguration.Connectivity != "PRIVATE" {
		t.Errorf("read as %+v", s)
	}
	for _, c := range []struct{ from, to, want string }{
		{"PRIVATE", "OPEN", "[PUBLIC, PRIVATE]"},
		{"TopicName: orders", "Topic: orders", "t.yaml:10:9: Resources.D.Properties.MSKSourceConfiguration.Topic"},
		{"1970-01-01T00:00:00Z", "yesterday", "no timestamp"},
		{"ReadFromTimestamp", "DeliveryStartTimestamp", "MSKSourceConfiguration.DeliveryStartTimestamp"},
	} {
		if err := read(c.from, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want %q", c.to, err, c.want)
		}
	}
}

// requests notes what a plan asks about.
type requests struct {
	DeliveryStreams
	compared []*delivery.CreateRequest
}

func (r *requests) Compare(req *delivery.CreateRequest) (*delivery.Definition, bool, error) {
	r.compared = append(r.compared, req)
	return r.DeliveryStreams.Compare(req)
}

// The number of shards changes in place, as in CloudFormation; a file that gives none leaves it as it is.
func TestShardCountChangesInPlace(t *testing.T) {
	n := newNode(t)
	n.mustUp(small, Options{}, false)
	name := n.streams.Streams()[0].Name
	before, _ := n.streams.Stream(name)
	f := func(properties, plan string, open, all int) {
		t.Helper()
		got := n.mustUp(strings.Replace(small, "RetentionPeriodHours: !Ref Hours", properties, 1), Options{}, false)
		st, _ := n.streams.Stream(name)
		if st.ID != before.ID || st.Status != stream.Active || st.OpenShards() != open || len(st.Shards) != all {
			t.Errorf("%s: the shards are %+v", properties, st.Shards)
		}
		if !strings.Contains(got, plan+"\n") {
			t.Errorf("%s: the plan has no %q:\n%s", properties, plan, got)
		}
	}
	f("ShardCount: 3, RetentionPeriodHours: 48", "~ Kinesis::Stream S ("+name+"): retention from 24h0m0s to 48h0m0s, "+
		"from 1 to 3 open shards; closed ones stay until their records have left retention", 3, 5)
	f("ShardCount: 3, RetentionPeriodHours: 48", "= Kinesis::Stream S ("+name+")", 3, 5)
	f("RetentionPeriodHours: 48", "= Kinesis::Stream S ("+name+")", 3, 5)
	f("ShardCount: 1, RetentionPeriodHours: 48", "~ Kinesis::Stream S ("+name+"): from 3 to 1 open shards; "+
		"closed ones stay until their records have left retention", 1, 7)
}

func TestModeChangesInPlace(t *testing.T) {
	n := newNode(t)
	n.mustUp(small, Options{}, false)
	onDemand := strings.Replace(small, "Properties: {RetentionPeriodHours: !Ref Hours}", "Properties: {StreamModeDetails: {StreamMode: ON_DEMAND}}", 1)
	plan := n.mustUp(onDemand, Options{}, false)
	st := n.streams.Streams()[0]
	if st.Mode != stream.OnDemand || !strings.Contains(plan, "mode from PROVISIONED to ON_DEMAND") {
		t.Errorf("the stream is %s after\n%s", st.Mode, plan)
	}
	n.mustUp(small, Options{}, false)
	if st := n.streams.Streams()[0]; st.Mode != stream.Provisioned {
		t.Errorf("the stream is %s after the way back", st.Mode)
	}
}

// What few files say is set when a file says it, and left as it is when none does.
func TestStreamSettings(t *testing.T) {
	n := newNode(t)
	with := func(properties string) string {
		return strings.Replace(small, "RetentionPeriodHours: !Ref Hours", "RetentionPeriodHours: !Ref Hours"+properties, 1)
	}
	check := func(what, key string, record int, metrics string) {
		t.Helper()
		set := &n.streams.Streams()[0].Settings
		if set.EncryptionKey != key || set.MaxRecordBytes != record || fmt.Sprint(set.Metrics) != metrics {
			t.Errorf("%s: key %q, records of %d bytes, metrics %v", what, set.EncryptionKey, set.MaxRecordBytes, set.Metrics)
		}
	}
	n.mustUp(with(", StreamEncryption: {EncryptionType: KMS, KeyId: alias/aws/kinesis}, MaxRecordSizeInKiB: 2048, DesiredShardLevelMetrics: [OutgoingBytes, IncomingBytes]"), Options{}, false)
	check("a new stream", "alias/aws/kinesis", 2<<20, "[IncomingBytes OutgoingBytes]")
	n.mustUp(small, Options{}, false)
	check("a file that says nothing", "alias/aws/kinesis", 2<<20, "[IncomingBytes OutgoingBytes]")
	plan := n.mustUp(with(", StreamEncryption: {EncryptionType: KMS, KeyId: alias/mine}, MaxRecordSizeInKiB: 1024"), Options{}, false)
	check("a change", "alias/mine", 1<<20, "[IncomingBytes OutgoingBytes]")
	if !strings.Contains(plan, "records from 2048 to 1024 KiB, encryption\n") {
		t.Errorf("the plan:\n%s", plan)
	}
	for properties, want := range map[string]string{
		"StreamEncryption: {EncryptionType: NONE, KeyId: k}": `is KMS, not "NONE"`,
		"StreamEncryption: {EncryptionType: KMS}":            "KeyId: is needed",
		"MaxRecordSizeInKiB: 512":                            "is between 1024 and 10240",
		"DesiredShardLevelMetrics: [Everything]":             `"Everything" is none of IncomingBytes`,
	} {
		if _, _, err := n.up("t.yaml", with(", "+properties), Options{}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", properties, err, want)
		}
	}
}

func TestFunctions(t *testing.T) {
	n := newNode(t)
	_, outputs, err := n.up("t.yaml", `
Parameters:
  List: {Type: CommaDelimitedList, Default: "a, b,c"}
  Env: {Type: String, Default: dev, AllowedValues: [dev, live]}
Mappings:
  M: {dev: {Size: 1}, live: {Size: 5}}
Conditions:
  Live: !Equals [!Ref Env, live]
  NotLive: !Not [!Condition Live]
  Both: {"Fn::And": [{Condition: NotLive}, !Or [!Condition Live, !Equals [1, "1"]]]}
Resources:
  B: {Type: AWS::S3::Bucket, Properties: {BucketName: !Sub "b-${Env}", Tags: [!If [Live, {Key: k, Value: v}, !Ref AWS::NoValue]]}}
  Gone: {Type: AWS::S3::Bucket, Condition: Live}
Outputs:
  Join: {Value: !Join ["-", !Ref List]}
  Select: {Value: !Select [1, !Split [",", "x,y"]]}
  Sub: {Value: !Sub ["${A}:${B.Arn}:${!Literal}:${AWS::Region}:${AWS::AccountId}", {A: !Ref B}]}
  Map: {Value: !FindInMap [M, !Ref Env, Size]}
  Base64: {Value: {"Fn::Base64": hello}}
  If: {Value: !If [Both, both, neither]}
  Never: {Condition: Live, Value: !Ref Gone}
`, Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, o := range outputs {
		got += o.Name + "=" + o.Value + "\n"
	}
	want := "Join=a-b-c\nSelect=y\nSub=b-dev:arn:aws:s3:::b-dev:${Literal}:us-east-1:000000000000\nMap=1\nBase64=aGVsbG8=\nIf=both\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestRefusals(t *testing.T) {
	body, err := os.ReadFile("testdata/refusals.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for i, doc := range strings.Split(string(body), "\n---\n") {
		_, err := Load("refusals.yaml", []byte(doc), Options{Account: account})
		if err == nil {
			t.Fatalf("document %d has nothing wrong:\n%s", i, doc)
		}
		got.WriteString(err.Error() + "\n\n")
	}
	compare(t, "testdata/refusals.want", got.String())
}

func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.*[nl]")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = Load("f", body, Options{Stack: "f", Account: account}) // must not panic or hang
	})
}
