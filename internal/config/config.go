// Package config holds the settings of a node: one struct, its defaults, and a
// check that reports every problem at once, by the name of the flag.
//
// The zero configuration is a working local product: loopback listeners, a data
// folder below the current one, no credentials.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Off turns a listener off.
const Off = "off"

// Node says how a node runs. The names in a configuration file are those of the flags; kafka, kinesis, msk, objects,
// encryption, authorizers, functions, http, schemas and logs have no flags.
type Node struct {
	Data   string `yaml:"data"`   // folder; "./millrace-data"
	Listen string `yaml:"listen"` // the AWS endpoint; "127.0.0.1:4566", or "off"
	Ingest string `yaml:"ingest"` // execute-api only; "127.0.0.1:8080", or "off"

	// Engine says where records are kept: "local", "kafka://HOST:PORT,…" or "kinesis://REGION".
	Engine string `yaml:"engine"`
	// Name tells this node from others of its cluster; empty: it is made once and kept in the data folder.
	Name    string  `yaml:"node"`
	Kafka   Kafka   `yaml:"kafka"`
	Kinesis Kinesis `yaml:"kinesis"`
	Objects Objects `yaml:"objects"`
	// MSK says where the Kafka clusters are that delivery streams read topics of (MSKAsSource), by ARN, whatever the engine.
	MSK map[string]MSKCluster `yaml:"msk"`
	// Encryption of records at rest, for streams that ask for it (StartStreamEncryption).
	Encryption Encryption `yaml:"encryption"`
	// Logs of stages: access logs and execution logs.
	Logs Logs `yaml:"logs"`

	TLSCert       string `yaml:"tls-cert"` // of the AWS endpoint
	TLSKey        string `yaml:"tls-key"`
	IngestTLSCert string `yaml:"ingest-tls-cert"`
	IngestTLSKey  string `yaml:"ingest-tls-key"`

	Credentials string `yaml:"credentials"` // a file in the form of ~/.aws/credentials; empty: calls need no signature
	// Authorizers are the URLs that stand for functions which decide who may call deployed APIs, by ARN.
	Authorizers map[string]string `yaml:"authorizers"`
	// Functions are the places of functions that transform the records of delivery streams.
	Functions Functions `yaml:"functions"`
	// HTTP is about all calls that leave the node for a definition.
	HTTP HTTP `yaml:"http"`
	// Schemas are files with the columns of tables, by "DATABASE.TABLE", for delivery streams that convert records to columns.
	// A table that a definition file makes (AWS::Glue::Table) goes before one of the same name here.
	Schemas map[string]string `yaml:"schemas"`

	AllowHosts []string `yaml:"allow-hosts"` // further Host names of the AWS endpoint when no credentials are configured

	Region  string `yaml:"region"`  // "us-east-1"
	Account string `yaml:"account"` // "000000000000"

	ExactResponses bool `yaml:"aws-exact-responses"` // answer as the service does, where that hides errors
	ExactLimits    bool `yaml:"aws-exact-limits"`    // apply the service's limits of throughput and calls

	TrustedProxies []netip.Prefix `yaml:"trusted-proxies"` // whose X-Forwarded-For is believed
	DefaultAPI     string         `yaml:"default-api"`     // id or name of the API that owns the short URLs
	LowSpace       Bytes          `yaml:"low-space"`       // 0: the larger of 1 GiB and 5 %
	BodyBudget     Bytes          `yaml:"body-budget"`     // 0: the default

	// LedgerKeep is how long the node knows which object holds which record.
	LedgerKeep time.Duration `yaml:"ledger-keep"`
	// ActivePartitions bounds the dynamic partitions of a delivery stream that gather records on this node.
	ActivePartitions int `yaml:"active-partitions"`

	LogLevel  string `yaml:"log-level"`
	LogFormat string `yaml:"log-format"`
}

// Default is the zero configuration, spelled out.
func Default() Node {
	return Node{
		Data:    "millrace-data",
		Listen:  "127.0.0.1:4566",
		Ingest:  "127.0.0.1:8080",
		Engine:  string(Local),
		Kafka:   Kafka{Prefix: "millrace", Replication: 3, MinInSync: 2, DirectPutShards: DefaultDirectPutShards},
		Region:  "us-east-1",
		Account: "000000000000",

		LedgerKeep: 7 * 24 * time.Hour,

		ActivePartitions: 500,

		LogLevel:  "info",
		LogFormat: "text",
	}
}

// maxActivePartitions is to what the service raises its own bound on request: each has memory of its own.
const maxActivePartitions = 5000

// maxLedgerKeep bounds what --ledger-keep may ask for: it costs disk space, some 500 bytes for every object.
const maxLedgerKeep = 366 * 24 * time.Hour

var (
	accountPattern = regexp.MustCompile(`^\d{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d+$`)
)

// Check reports all problems, each with the flag that it is about.
func (n *Node) Check() error {
	var problems []error
	bad := func(flag, format string, args ...any) {
		problems = append(problems, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
	}
	if n.Data == "" {
		bad("data", "a folder is needed")
	}
	checkListener := func(flag, addr string, certFlag, cert, key string) {
		if (cert == "") != (key == "") {
			bad(certFlag, "certificate and key go together")
		}
		if addr == Off {
			return
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad(flag, "%q is no HOST:PORT (or %q)", addr, Off)
		}
	}
	checkListener("listen", n.Listen, "tls-cert", n.TLSCert, n.TLSKey)
	checkListener("ingest", n.Ingest, "ingest-tls-cert", n.IngestTLSCert, n.IngestTLSKey)
	if n.Listen == Off && n.Ingest == Off {
		bad("listen", "both listeners are off; there is nothing to serve")
	}
	if n.Listen != Off && n.Credentials == "" && !loopback(n.Listen) {
		bad("listen", "%s is reachable from other machines, and without --credentials anyone there could read and "+
			"delete everything; give --credentials FILE, or listen on a loopback address", n.Listen)
	}
	if !accountPattern.MatchString(n.Account) {
		bad("account", "%q is no account id of 12 digits", n.Account)
	}
	if !regionPattern.MatchString(n.Region) {
		bad("region", "%q is no region such as us-east-1", n.Region)
	}
	if n.ActivePartitions < 1 || n.ActivePartitions > maxActivePartitions {
		bad("active-partitions", "%d is not 1 to %d", n.ActivePartitions, maxActivePartitions)
	}
	if n.LedgerKeep < time.Hour || n.LedgerKeep > maxLedgerKeep {
		bad("ledger-keep", "%v is not between 1h and %v", n.LedgerKeep, maxLedgerKeep)
	}
	n.checkEngine(bad)
	n.checkMSK(bad)
	n.Objects.check(bad)
	n.Encryption.check(bad)
	n.Logs.check(bad)
	n.checkAuthorizers(bad)
	n.Functions.check(bad)
	n.HTTP.check(bad)
	n.checkSchemas(bad)
	return errors.Join(problems...)
}

// loopback reports whether a listener's address can be reached from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() // an empty host means all interfaces
}

// ParseExact reads the value of --aws-exact: "responses", "limits", both with a comma, or "" and "true" (the bare
// flag) for both.
func (n *Node) ParseExact(value string) error {
	if value == "" || value == "true" {
		value = "responses,limits"
	}
	for part := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(part) {
		case "responses":
			n.ExactResponses = true
		case "limits":
			n.ExactLimits = true
		case "false":
			n.ExactResponses, n.ExactLimits = false, false
		default:
			return fmt.Errorf("%q is neither responses nor limits", part)
		}
	}
	return nil
}

// ParseTrustedProxies reads addresses and prefixes with commas between: "10.0.0.0/8,192.0.2.7".
func (n *Node) ParseTrustedProxies(value string) error {
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			addr, addrErr := netip.ParseAddr(part)
			if addrErr != nil {
				return fmt.Errorf("%q is neither an address nor a prefix such as 10.0.0.0/8", part)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		n.TrustedProxies = append(n.TrustedProxies, prefix.Masked())
	}
	return nil
}

// Bytes is a number of bytes, written "512", "64KiB", "1GiB".
type Bytes uint64

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	size, err := ParseSize(string(text))
	*b = Bytes(size)
	return err
}

// Set reads a size: Bytes is a flag.
func (b *Bytes) Set(value string) error { return b.UnmarshalText([]byte(value)) }

func (b *Bytes) String() string { return strconv.FormatUint(uint64(*b), 10) }

// ParseSize reads a number of bytes: "512", "64KiB", "1GiB".
func ParseSize(value string) (uint64, error) {
	units := []struct {
		suffix string
		factor uint64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}
	for _, u := range units {
		digits, ok := strings.CutSuffix(value, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
		if err != nil || n > (1<<62)/u.factor {
			break
		}
		return n * u.factor, nil
	}
	return 0, fmt.Errorf("%q is no size such as 512MiB or 1GiB", value)
}

// maxCredentialsBytes bounds the credentials file.
const maxCredentialsBytes = 1 << 20

// LoadCredentials reads access keys and their secrets from a file in the form of ~/.aws/credentials. Every profile
// of the file may call. A file that others can read is refused.
func LoadCredentials(name string) (map[string]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("credentials: %s can be read by others (mode %04o); chmod 600 it", name, info.Mode().Perm())
	}
	if info.Size() > maxCredentialsBytes {
		return nil, fmt.Errorf("credentials: %s has %d bytes, which is no credentials file", name, info.Size())
	}
	text, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	return parseCredentials(name, string(text))
}

func parseCredentials(name, text string) (map[string]string, error) {
	secrets := map[string]string{}
	id, line := "", 0
	for raw := range strings.Lines(text) {
		line++
		s := strings.TrimSpace(raw)
		if s == "" || s[0] == '#' || s[0] == ';' {
			continue
		}
		if s[0] == '[' {
			id = ""
			continue
		}
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("credentials: %s:%d is neither [profile] nor key = value", name, line)
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "aws_access_key_id":
			id = value
		case "aws_secret_access_key":
			if id == "" || value == "" {
				return nil, fmt.Errorf("credentials: %s:%d: aws_access_key_id comes first, and neither is empty", name, line)
			}
			secrets[id] = value
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("credentials: %s holds no aws_access_key_id with an aws_secret_access_key", name)
	}
	return secrets, nil
}
