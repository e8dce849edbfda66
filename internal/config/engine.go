package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// EngineKind says what keeps records.
type EngineKind string

// The engines.
const (
	Local   EngineKind = "local"
	OnKafka EngineKind = "kafka"
	// OnKinesis is Amazon Kinesis, or a service that answers like it.
	OnKinesis EngineKind = "kinesis"
)

// Engine is Node.Engine, taken apart.
type Engine struct {
	Kind    EngineKind
	Brokers []string // of Kafka: "host:port"
	Region  string   // of Kinesis
}

// ParseEngine reads "local", "kafka://HOST:PORT,HOST:PORT" or "kinesis://REGION".
func ParseEngine(value string) (Engine, error) {
	kind, rest, _ := strings.Cut(value, "://")
	rest = strings.TrimSuffix(rest, "/")
	switch EngineKind(kind) {
	case Local:
		if value == string(Local) {
			return Engine{Kind: Local}, nil
		}
	case OnKafka:
		e := Engine{Kind: OnKafka}
		for broker := range strings.SplitSeq(rest, ",") {
			broker = strings.TrimSpace(broker)
			if err := checkBroker(broker); err != nil {
				return Engine{}, err
			}
			e.Brokers = append(e.Brokers, broker)
		}
		return e, nil
	case OnKinesis:
		if !regionPattern.MatchString(rest) {
			return Engine{}, fmt.Errorf("%q is no region such as us-east-1", rest)
		}
		return Engine{Kind: OnKinesis, Region: rest}, nil
	}
	return Engine{}, fmt.Errorf("%q is none of local, kafka://HOST:PORT,… and kinesis://REGION", value)
}

func checkBroker(address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%q is no HOST:PORT of a broker", address)
	}
	return nil
}

// Kafka is what a node on Kafka needs beside the addresses of brokers.
type Kafka struct {
	// Prefix begins the names of topics that are Millrace's own: "millrace.catalog". Nodes with one prefix are a cluster.
	Prefix      string `yaml:"prefix"`
	Replication int    `yaml:"replication"`         // of topics that are made
	MinInSync   int    `yaml:"min-insync-replicas"` // likewise
	Compression string `yaml:"compression"`         // of what is produced: none, snappy, lz4, zstd; empty: the default
	// Adopt names topics that exist and are to be streams.
	Adopt []string `yaml:"adopt"`
	// DirectPutShards is how many partitions each Direct PUT delivery stream is given that is made from now on.
	DirectPutShards int       `yaml:"direct-put-shards"`
	TLS             *KafkaTLS `yaml:"tls"` // absent: plain text
	SASL            KafkaSASL `yaml:"sasl"`
}

const (
	// DefaultDirectPutShards are shared evenly by one, two, three or six nodes, and make no more objects of a quiet delivery
	// stream than six an interval.
	DefaultDirectPutShards = 6
	// MaxDirectPutShards is a bound against typing errors: more than the parts that delivery is shared in, 48, spread nothing
	// further, but may be wanted for what partitions can take.
	MaxDirectPutShards = 200
)

// KafkaTLS says how brokers are known, and this node to them. Empty fields: the system's authorities, no certificate.
type KafkaTLS struct {
	CA         string `yaml:"ca"`   // PEM file of the authorities that brokers' certificates come from
	Cert       string `yaml:"cert"` // PEM files of the node's own certificate
	Key        string `yaml:"key"`
	ServerName string `yaml:"server-name"` // when certificates bear another name than the address
}

// KafkaSASL says who this node is. The password lies in a file, so that no configuration holds it.
type KafkaSASL struct {
	Mechanism    string `yaml:"mechanism"` // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; empty: none
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password-file"`
}

// Compressions of what is produced to Kafka.
var Compressions = []string{"", "none", "snappy", "lz4", "zstd"}

// Mechanisms of SASL.
var Mechanisms = []string{"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}

// Kinesis is what a node on Amazon Kinesis needs. Credentials come from where the AWS SDKs look for them.
type Kinesis struct {
	Endpoint string `yaml:"endpoint"` // a URL; empty: the region's own
	// Cluster is the place, at the service of objects, that nodes share which are one cluster: "s3://BUCKET/PREFIX". Empty:
	// this node is alone.
	Cluster string `yaml:"cluster"`
}

// Place takes Cluster apart. A prefix that is not empty ends with a slash.
func (k *Kinesis) Place() (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(k.Cluster, "s3://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	if !ok || !bucketPattern.MatchString(bucket) || strings.Contains(prefix, "//") || strings.HasPrefix(prefix, "/") || len(prefix) > maxPlaceBytes {
		return "", "", fmt.Errorf("%q is no s3://BUCKET/PREFIX", k.Cluster)
	}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return bucket, prefix, nil
}

var bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// maxPlaceBytes leaves room in a key of 1024 bytes.
const maxPlaceBytes = 512

func (n *Node) checkKinesis(kind EngineKind, bad func(field, format string, args ...any)) {
	k := &n.Kinesis
	if k.Endpoint != "" && !isURL(k.Endpoint) {
		bad("kinesis.endpoint", "%q is no URL such as http://127.0.0.1:4566", k.Endpoint)
	}
	if k.Cluster == "" {
		return
	}
	if _, _, err := k.Place(); err != nil {
		bad("kinesis.cluster", "%v", err)
	}
	if kind != OnKinesis {
		bad("kinesis.cluster", "is of the engine kinesis://REGION, and the engine is %s", kind)
	}
	if !n.Objects.Remote() {
		bad("kinesis.cluster", "nodes that share it deliver together, and need one place for objects: objects.endpoint or objects.region")
	}
}

// Objects says where objects lie. Without an endpoint and a region: in the data folder.
type Objects struct {
	Endpoint  string `yaml:"endpoint"` // URL of a service that answers like S3; empty: the region's own
	Region    string `yaml:"region"`
	PathStyle *bool  `yaml:"path-style"` // http://ENDPOINT/BUCKET/KEY; absent: with an endpoint, as most services other than S3 want it
	CA        string `yaml:"ca"`         // PEM file of authorities to trust beside the system's
	// CredentialsFile is in the form of ~/.aws/credentials; empty: where the AWS SDKs look for them.
	CredentialsFile string `yaml:"credentials-file"`
}

// InPath reports whether the bucket is part of the path.
func (o *Objects) InPath() bool {
	if o.PathStyle != nil {
		return *o.PathStyle
	}
	return o.Endpoint != ""
}

// Remote reports whether objects lie outside of the data folder.
func (o *Objects) Remote() bool { return o.Endpoint != "" || o.Region != "" }

func (o *Objects) check(bad func(field, format string, args ...any)) {
	if o.Endpoint != "" && !isURL(o.Endpoint) {
		bad("objects.endpoint", "%q is no URL such as https://s3.example.com", o.Endpoint)
	}
	if o.Region != "" && !regionPattern.MatchString(o.Region) {
		bad("objects.region", "%q is no region such as us-east-1", o.Region)
	}
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// checkEngine reports what does not fit the engine.
func (n *Node) checkEngine(bad func(field, format string, args ...any)) {
	e, err := ParseEngine(n.Engine)
	if err != nil {
		bad("engine", "%v", err)
		return
	}
	if e.Kind == OnKafka {
		n.Kafka.check(bad)
	}
	n.checkKinesis(e.Kind, bad)
}

func (k *Kafka) check(bad func(field, format string, args ...any)) {
	if k.Prefix == "" || strings.Trim(k.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		bad("kafka.prefix", "%q is not made of letters, digits, _ and -", k.Prefix)
	}
	if k.Replication < 1 || k.MinInSync < 1 || k.MinInSync > k.Replication {
		bad("kafka.replication", "%d replicas of which %d must be in sync can't be", k.Replication, k.MinInSync)
	}
	if k.DirectPutShards < 1 || k.DirectPutShards > MaxDirectPutShards {
		bad("kafka.direct-put-shards", "%d is not 1 to %d", k.DirectPutShards, MaxDirectPutShards)
	}
	if !slices.Contains(Compressions, k.Compression) {
		bad("kafka.compression", "%q is none of none, snappy, lz4, zstd", k.Compression)
	}
	k.SASL.check("kafka.sasl", bad)
	k.TLS.check("kafka.tls", bad)
}

func (s *KafkaSASL) check(field string, bad func(field, format string, args ...any)) {
	if !slices.Contains(Mechanisms, s.Mechanism) {
		bad(field+".mechanism", "%q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", s.Mechanism)
	}
	if s.Mechanism != "" && (s.User == "" || s.PasswordFile == "") {
		bad(field, "a mechanism needs user and password-file")
	}
}

func (t *KafkaTLS) check(field string, bad func(field, format string, args ...any)) {
	if t != nil && (t.Cert == "") != (t.Key == "") {
		bad(field, "cert and key go together")
	}
}

// Password reads the password's file.
func (s *KafkaSASL) Password() (string, error) {
	if s.Mechanism == "" {
		return "", nil
	}
	text, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("sasl.password-file: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// Config reads the certificates.
func (t *KafkaTLS) Config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
