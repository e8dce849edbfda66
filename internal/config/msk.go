package config

import (
	"maps"
	"regexp"
	"slices"
)

// MSKCluster is a Kafka cluster whose topics delivery streams read. It need not be Amazon's: the ARN is a name.
type MSKCluster struct {
	// Engine: it is the cluster that keeps the streams of this node, and is reached as that is. Nothing else is said then.
	Engine  bool      `yaml:"engine"`
	Brokers []string  `yaml:"brokers"` // "host:port"
	TLS     *KafkaTLS `yaml:"tls"`     // absent: plain text
	SASL    KafkaSASL `yaml:"sasl"`
}

// mskARN is the form of a cluster's ARN: arn:aws:kafka:us-east-1:000000000000:cluster/shop/8e2b… The last part may lack
// where the name is made up.
var mskARN = regexp.MustCompile(`^arn:[a-z0-9-]+:kafka:[a-z0-9-]+:\d{12}:cluster/[a-zA-Z0-9._-]+(/[a-zA-Z0-9-]+)?$`)

// maxMSKARN is the longest that the API takes.
const maxMSKARN = 512

func (n *Node) checkMSK(bad func(field, format string, args ...any)) {
	engine, _ := ParseEngine(n.Engine) // checkEngine tells
	for _, arn := range slices.Sorted(maps.Keys(n.MSK)) {
		c, field := n.MSK[arn], "msk."+arn
		if !mskARN.MatchString(arn) || len(arn) > maxMSKARN {
			bad("msk", "%.600q is no ARN of a cluster such as arn:aws:kafka:%s:%s:cluster/NAME/ID", arn, n.Region, n.Account)
			continue
		}
		if c.Engine {
			if engine.Kind != OnKafka {
				bad(field+".engine", "the engine is %s and no kafka://HOST:PORT", n.Engine)
			}
			if len(c.Brokers) > 0 || c.TLS != nil || c.SASL != (KafkaSASL{}) {
				bad(field+".engine", "the engine's brokers are reached as kafka says; brokers, tls and sasl do not go with it")
			}
			continue
		}
		if len(c.Brokers) == 0 {
			bad(field+".brokers", "the address of a broker is needed, or engine: true")
		}
		for _, broker := range c.Brokers {
			if err := checkBroker(broker); err != nil {
				bad(field+".brokers", "%v", err)
			}
		}
		c.SASL.check(field+".sasl", bad)
		c.TLS.check(field+".tls", bad)
	}
}
