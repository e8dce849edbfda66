package stream

import "strings"

// topicPrefix begins the names of hidden streams that are topics of a Kafka cluster, as sources of delivery streams. Those
// of Direct PUT hold no slash.
const topicPrefix = HiddenPrefix + "msk/"

// TopicStream names the hidden stream that stands for a topic of the cluster with the given ARN:
// "~msk/orders@arn:aws:kafka:us-east-1:000000000000:cluster/shop/1". Topics can hold no "@".
func TopicStream(cluster, topic string) string { return topicPrefix + topic + "@" + cluster }

// ParseTopicStream inverts [TopicStream]; ok is false for the name of another stream.
func ParseTopicStream(name string) (cluster, topic string, ok bool) {
	rest, ok := strings.CutPrefix(name, topicPrefix)
	if !ok {
		return "", "", false
	}
	topic, cluster, ok = strings.Cut(rest, "@")
	return cluster, topic, ok && topic != "" && cluster != ""
}
