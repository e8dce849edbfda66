package stream

import "testing"

func TestTopicStream(t *testing.T) {
	const cluster, topic = "arn:aws:kafka:us-east-1:000000000000:cluster/shop/0-a@b", "orders.v1_x-y"
	name := TopicStream(cluster, topic)
	if !(&Stream{Name: name}).Hidden() {
		t.Errorf("%s is shown", name)
	}
	if c, n, ok := ParseTopicStream(name); !ok || c != cluster || n != topic {
		t.Errorf("%s: %q %q %v", name, c, n, ok)
	}
	for _, other := range []string{"", "orders", "~d.0123456789abcdef", "~msk/orders", "~msk/@arn", "~msk/orders@"} {
		if _, _, ok := ParseTopicStream(other); ok {
			t.Errorf("%q is taken for a topic", other)
		}
	}
}
