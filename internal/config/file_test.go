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
msk:
  arn:aws:kafka:us-east-1:000000000000:cluster/shop/1-a:
    brokers: [c:9094]
    tls: {}
    sasl: {mechanism: PLAIN, user: reader, password-file: secret}
  "arn:aws:kafka:us-east-1:000000000000:cluster/own": {engine: true}
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
	if c := n.MSK["arn:aws:kafka:us-east-1:000000000000:cluster/shop/1-a"]; len(n.MSK) != 2 || c.TLS == nil || c.Brokers[0] != "c:9094" || c.SASL.User != "reader" {
		t.Errorf("read %+v", n.MSK)
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

func TestMSKProblemsAreNamed(t *testing.T) {
	const arn = "arn:aws:kafka:us-east-1:000000000000:cluster/shop/1"
	f := func(engine, arn string, c MSKCluster, want ...string) {
		t.Helper()
		n := Default()
		n.Engine, n.MSK = engine, map[string]MSKCluster{arn: c}
		err := n.Check()
		if (err == nil) != (len(want) == 0) {
			t.Errorf("%s %+v: %v", arn, c, err)
		}
		for _, text := range want {
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%s %+v: %v does not name %q", arn, c, err, text)
			}
		}
	}
	brokers := []string{"a:1"}
	f("local", arn, MSKCluster{Brokers: brokers})
	f("kafka://a:1", arn, MSKCluster{Engine: true})
	f("local", arn, MSKCluster{Engine: true}, "msk."+arn+".engine", "kafka://")
	f("kafka://a:1", arn, MSKCluster{Engine: true, Brokers: brokers}, "msk."+arn+".engine")
	f("local", arn, MSKCluster{}, "msk."+arn+".brokers")
	f("local", arn, MSKCluster{Brokers: []string{"a"}}, "HOST:PORT")
	f("local", arn, MSKCluster{Brokers: brokers, TLS: &KafkaTLS{Key: "k"}, SASL: KafkaSASL{Mechanism: "AWS_MSK_IAM"}}, ".tls", ".sasl.mechanism", "AWS_MSK_IAM", ".sasl:")
	for _, bad := range []string{"shop", "arn:aws:kinesis:us-east-1:000000000000:stream/s", arn + "/2", "arn:aws:kafka:us-east-1:000000000000:cluster/a@b", arn + strings.Repeat("1", 500)} {
		f("local", bad, MSKCluster{Brokers: brokers}, "no ARN of a cluster")
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

const someFunction = "arn:aws:lambda:us-east-1:000000000000:function:clean"

func TestFunctionsHaveAURLAndMayHaveAHeader(t *testing.T) {
	secret := write(t, "key", "s3cret\n")
	n, err := Load(write(t, "millrace.yaml", "functions:\n  "+someFunction+": http://127.0.0.1:9000/\n  "+someFunction+
		"2: {url: 'https://user:word@example.com/f', header: X-Key, header-file: "+secret+"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Check(); err != nil {
		t.Fatal(err)
	}
	f, ok := n.Functions.Find(someFunction + ":$LATEST")
	if !ok || f.URL != "http://127.0.0.1:9000/" || f.Header != "" {
		t.Errorf("%+v %v", f, ok)
	}
	f, ok = n.Functions.Find(someFunction + "2")
	if value, err := f.HeaderValue(); !ok || err != nil || f.Header != "X-Key" || value != "s3cret" {
		t.Errorf("%+v %v %q %v", f, ok, value, err)
	}
	if _, ok := n.Functions.Find(someFunction + ":1"); ok {
		t.Error("another version is not the same function")
	}
}

func TestProblemsOfFunctionsAreNamed(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		n, err := Load(write(t, "millrace.yaml", "functions:\n  "+text+"\n"))
		if err == nil {
			err = n.Check()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "word") {
			t.Errorf("%s: %v\nlacks %s", text, err, want)
		}
	}
	f("clean: http://127.0.0.1/", `--functions: "clean" is no ARN of a function`)
	f(someFunction+": 127.0.0.1:9000", `--functions: `+someFunction+`: "127.0.0.1:9000" is no URL`)
	f(someFunction+": 'ftp://me:word@h/'", `"…@h/" is no URL`)
	f(someFunction+": {url: 'http://h/', header: X-Key}", "header and header-file go together")
	f(someFunction+": {url: 'http://h/', header: Content-Length, header-file: x}", `"Content-Length" is no name of a header`)
	f(someFunction+": {url: 'http://h/', header: X-Key, header-file: /nowhere/at/all}", "no such file")
	f(someFunction+": {url: 'http://h/', header: X-Key, header-file: "+write(t, "two", "one\ntwo\n")+"}", "one line")
	f(someFunction+":\n    uri: 'http://h/'", "millrace.yaml:3: there is no key uri")
	f(someFunction+":\n    url: [1]", "millrace.yaml:3: url is no text")
}

func TestOutgoingHTTP(t *testing.T) {
	n, err := Load(write(t, "millrace.yaml", "http: {proxy: environment, allow-http-endpoints: true}\n"))
	if err != nil || n.Check() != nil || !n.HTTP.AllowHTTPEndpoints {
		t.Errorf("%+v %v %v", n.HTTP, err, n.Check())
	}
	n.HTTP = HTTP{Proxy: "http://proxy:3128", CAFile: write(t, "ca.pem", "no pem")}
	err = n.Check()
	for _, want := range []string{`--http.proxy: "http://proxy:3128" is neither`, "--http.ca-file: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}
