package kafkacluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The user whom the SASL listeners know, by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
const (
	User     = "millrace"
	Password = "millrace-secret"
)

// sessionTime is the time without a heartbeat after which the controllers fence a broker. Kafka's own default is 9 s;
// less than this, and three brokers that share two cores with a load are fenced while they are well.
const sessionTime = 5 * time.Second

// listener is one way to a broker.
type listener int

const (
	plain listener = iota
	controller
	saslPlain
	tlsOnly
	saslTLS
	listeners // how many there are
)

var listenerNames = [listeners]string{"PLAINTEXT", "CONTROLLER", "SASL", "TLS", "SASLTLS"}

// layout is what the brokers of one cluster have in common.
type layout struct {
	brokers  int
	port     int // the first of the cluster's ports
	security bool
	folder   string
	settings map[string]string // of the caller, above ours
}

// stride is the distance between the ports of two listeners of one broker, and with it the most brokers of a cluster.
const stride = 10

func (l *layout) address(broker int, at listener) string {
	return "127.0.0.1:" + strconv.Itoa(l.port+int(at)*stride+broker)
}

// addresses of a listener, of all brokers.
func (l *layout) addresses(at listener) []string {
	all := make([]string, l.brokers)
	for i := range all {
		all[i] = l.address(i, at)
	}
	return all
}

// nodeID is Kafka's number of a broker: from 1.
func nodeID(broker int) int32 { return int32(broker) + 1 }

// listening is the listeners that each broker has.
func (l *layout) listening() []listener {
	if l.security {
		return []listener{plain, controller, saslPlain, tlsOnly, saslTLS}
	}
	return []listener{plain, controller}
}

// properties renders a broker's server.properties, keys sorted.
func (l *layout) properties(broker int) []byte {
	var voters, addresses []string
	for i := range l.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", nodeID(i), l.address(i, controller)))
	}
	for _, at := range l.listening() {
		addresses = append(addresses, listenerNames[at]+"://"+l.address(broker, at))
	}
	replicas, inSync := min(l.brokers, 3), min(l.brokers, 2)
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        fmt.Sprint(nodeID(broker)),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      listenerNames[controller],
		"inter.broker.listener.name":     listenerNames[plain],
		"listeners":                      strings.Join(addresses, ","),
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,SASLTLS:SASL_SSL",
		"log.dirs":                       l.dataFolder(broker),

		// A topic that nobody made is an error in the test.
		"auto.create.topics.enable": "false",

		// Of the group coordinators' topic, too, which has no setting of its own.
		"min.insync.replicas": fmt.Sprint(inSync),

		// Few partitions: a coordinator that moves has little to load.
		"offsets.topic.num.partitions":                     "4",
		"offsets.topic.replication.factor":                 fmt.Sprint(replicas),
		"transaction.state.log.num.partitions":             "4",
		"transaction.state.log.replication.factor":         fmt.Sprint(replicas),
		"transaction.state.log.min.isr":                    fmt.Sprint(inSync),
		"share.coordinator.state.topic.replication.factor": fmt.Sprint(replicas),
		"share.coordinator.state.topic.min.isr":            fmt.Sprint(inSync),

		// Tests do not wait for what only spares a large cluster work.
		"group.initial.rebalance.delay.ms":                            "0",
		"group.min.session.timeout.ms":                                "1000",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
		"broker.session.timeout.ms":                                   fmt.Sprint(sessionTime.Milliseconds()),
		"broker.heartbeat.interval.ms":                                "1000",
		"replica.lag.time.max.ms":                                     "10000",

		// For a small heap and few cores.
		"log.cleaner.dedupe.buffer.size": "8388608",
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
	}
	if l.security {
		p["listener.name.sasl.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		p["listener.name.sasltls.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		for _, name := range []string{"sasl", "sasltls"} {
			p["listener.name."+name+".plain.sasl.jaas.config"] = fmt.Sprintf(
				"org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;", User, Password)
			for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
				p["listener.name."+name+"."+mechanism+".sasl.jaas.config"] =
					"org.apache.kafka.common.security.scram.ScramLoginModule required;"
			}
		}
		p["ssl.keystore.type"] = "PEM"
		p["ssl.keystore.location"] = l.keystore()
	}
	maps.Copy(p, l.settings)
	var text []byte
	for _, key := range slices.Sorted(maps.Keys(p)) {
		text = fmt.Appendf(text, "%s=%s\n", key, strings.ReplaceAll(p[key], `\`, `\\`))
	}
	return text
}

// scram gives the arguments that let kafka.tools.StorageTool write the user's SCRAM credentials.
func (l *layout) scram() []string {
	if !l.security {
		return nil
	}
	var args []string
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, User, Password))
	}
	return args
}
