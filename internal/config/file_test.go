package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFileSaysAll(t *testing.T) {
	n, err := Load(write(t, "millrace.yaml", `
data: /var/lib/millrace
engine: kafka://a:9092,b:9092
node: collector-1
low-space: 2GiB
trusted-proxies: [10.0.0.0/8]
kafka:
  prefix: events
  min-insync-replicas: 1
  adopt: [orders]
  tls: {ca: ca.pem}
  sasl: {mechanism: SCRAM-SHA-512, user: millrace, password-file: secret}
objects: {endpoint: "https://s3.example.com", path-style: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Check(); err != nil {
		t.Fatal(err)
	}
	if n.Kafka.Replication != 3 || n.Kafka.MinInSync != 1 || n.Kafka.Prefix != "events" || n.Listen != Default().Listen ||
		n.LowSpace != 2<<30 || len(n.TrustedProxies) != 1 || n.Kafka.TLS.CA != "ca.pem" || !n.Objects.Remote() {
		t.Errorf("read %+v", n)
	}
	e, err := ParseEngine(n.Engine)
	if want := (Engine{Kind: OnKafka, Brokers: []string{"a:9092", "b:9092"}}); err != nil || !reflect.DeepEqual(e, want) {
		t.Errorf("engine %+v, %v", e, err)
	}
}

func TestUnknownKeysAreNamedWithTheirLine(t *testing.T) {
	_, err := Load(write(t, "millrace.yaml", "listen: off\nkafka:\n  replicas: 3\n"))
	if err == nil || !strings.Contains(err.Error(), "millrace.yaml:3: there is no key replicas") {
		t.Errorf("got %v", err)
	}
	if n, err := Load(write(t, "empty.yaml", "")); err != nil || !reflect.DeepEqual(n, Default()) {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent file")
	}
}

func TestEngines(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		n := Default()
		n.Engine = text
		err := n.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	f("local", "")
	f("kafka://127.0.0.1:9092", "")
	f("kinesis://eu-west-1", "")
	f("local://x", "none of local")
	f("kafka://", "no HOST:PORT")
	f("kafka://a", "no HOST:PORT")
	f("kinesis://mars", "no region")
	f("redis://a:1", "none of local")
}

func TestKafkaProblemsAreNamed(t *testing.T) {
	n := Default()
	n.Engine = "kafka://a:1"
	n.Kafka = Kafka{Prefix: "a.b", Replication: 1, MinInSync: 2, Compression: "rar", TLS: &KafkaTLS{Cert: "x"}, SASL: KafkaSASL{Mechanism: "PLAIN"}}
	n.Kinesis.Endpoint, n.Objects.Endpoint, n.Objects.Region = "here", "there", "mars"
	err := n.Check()
	for _, field := range []string{"kafka.prefix", "kafka.replication", "kafka.direct-put-shards", "kafka.compression", "kafka.tls", "kafka.sasl", "kinesis.endpoint", "objects.endpoint", "objects.region"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestClusterOnKinesis(t *testing.T) {
	f := func(text, bucket, prefix string) {
		t.Helper()
		k := Kinesis{Cluster: text}
		b, p, err := k.Place()
		if b != bucket || p != prefix || (err != nil) != (bucket == "") {
			t.Errorf("%q: %q %q %v", text, b, p, err)
		}
	}
	f("s3://events/millrace/one", "events", "millrace/one/")
	f("s3://events/millrace/", "events", "millrace/")
	f("s3://events", "events", "")
	f("s3://events/", "events", "")
	f("s3://Events/a", "", "")
	f("s3://", "", "")
	f("s3://events//a", "", "")
	f("s3://events/a//b", "", "")
	f("events/a", "", "")
	n := Default()
	n.Engine, n.Kinesis.Cluster = "kinesis://eu-west-1", "s3://events/one"
	if err := n.Check(); err == nil || !strings.Contains(err.Error(), "objects.endpoint") {
		t.Errorf("no place for objects: %v", err)
	}
	n.Objects.Region = "eu-west-1"
	if err := n.Check(); err != nil {
		t.Error(err)
	}
	n.Engine = "local"
	if err := n.Check(); err == nil || !strings.Contains(err.Error(), "kinesis.cluster") {
		t.Errorf("another engine: %v", err)
	}
}

func TestPasswordLiesInAFile(t *testing.T) {
	s := KafkaSASL{Mechanism: "PLAIN", User: "u", PasswordFile: write(t, "secret", "s3cret\n")}
	if p, err := s.Password(); err != nil || p != "s3cret" {
		t.Errorf("got %q, %v", p, err)
	}
	if _, err := (&KafkaTLS{CA: write(t, "ca.pem", "no pem")}).Config(); err == nil {
		t.Error("a file without a certificate")
	}
}

func TestAuthorizersAreFunctionsAndURLs(t *testing.T) {
	n := Default()
	n.Authorizers = map[string]string{
		"arn:aws:lambda:us-east-1:000000000000:function:my-auth:live": "https://auth.example.com/v1?x=y",
		"my-auth": "http://127.0.0.1:9000/",
		"arn:aws:lambda:us-east-1:000000000000:function:other": "127.0.0.1:9000",
	}
	err := n.Check()
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{`--authorizers: "my-auth" is no ARN of a function`, `--authorizers: arn:aws:lambda:us-east-1:000000000000:function:other: "127.0.0.1:9000" is no URL`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "my-auth:live") {
		t.Errorf("%v", err)
	}
}
