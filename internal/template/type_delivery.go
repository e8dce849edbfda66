package template

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/delivery"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

var deliveryType = &resourceType{
	name: "AWS::KinesisFirehose::DeliveryStream", nameProperty: "DeliveryStreamName",
	note: "members of the destination: see the table of delivery streams",
	properties: map[string]string{
		"DeliveryStreamName": served, "DeliveryStreamType": served, "KinesisStreamSourceConfiguration": served, "MSKSourceConfiguration": served,
		"S3DestinationConfiguration": served, "ExtendedS3DestinationConfiguration": served, "Tags": served,
		"DirectPutSourceConfiguration": "a hint in the service too",
	},
	generate: func(b *build, r *resource) string { return b.madeUp(r, 64) },
	attributes: map[string]func(*build, *resource, string) string{
		"Arn": func(b *build, _ *resource, name string) string { return b.t.opts.Account.DeliveryStream(name) },
	},
	make: func(b *build, r *resource, p *properties) bool {
		name, ok := b.physical(r)
		if !ok {
			return true
		}
		if !p.destinationMembers() {
			return true
		}
		// The properties are the members of CreateDeliveryStream; the engine's own checks say what is wrong with them.
		doc := yamldoc.JSON(numbered(p.node))
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.DisallowUnknownFields()
		req := &delivery.CreateRequest{}
		if err := dec.Decode(req); err != nil {
			message := strings.TrimPrefix(err.Error(), "json: ")
			if field, unknown := strings.CutPrefix(message, "unknown field "); unknown {
				n, where := find(p.node, p.where, strings.Trim(field, `"`))
				b.tell(n, where, "is not supported by this version of Millrace")
				return true
			}
			n, where := locate(p.node, p.where, message)
			b.tell(n, where, "%s", message)
			return true
		}
		req.DeliveryStreamName = name
		if req.DeliveryStreamType == "" {
			req.DeliveryStreamType = "DirectPut"
		}
		if _, err := req.Definition(); err != nil {
			n, where := locate(p.node, p.where, openapi.Reason(err))
			b.tell(n, where, "%s", openapi.Reason(err))
			return true
		}
		b.deliveries = append(b.deliveries, &deliverySpec{r, name, req, p.node})
		return true
	},
}

// destinationMembers refuses members that the engine's request has for other uses, or drops: S3DestinationConfiguration
// is the smaller form of a destination, and a start time is the engine's to set. It is false when it told of one.
func (p *properties) destinationMembers() bool {
	before := len(p.b.problems)
	if d := p.nested("S3DestinationConfiguration"); d != nil {
		d.only("BucketARN", "BufferingHints", "CloudWatchLoggingOptions", "CompressionFormat", "EncryptionConfiguration", "ErrorOutputPrefix",
			"Prefix", "RoleARN")
	}
	if s := p.nested("KinesisStreamSourceConfiguration"); s != nil {
		s.only("KinesisStreamARN", "RoleARN")
	}
	if s := p.nested("MSKSourceConfiguration"); s != nil {
		s.only("MSKClusterARN", "TopicName", "AuthenticationConfiguration", "ReadFromTimestamp")
	}
	return len(p.b.problems) == before
}

// The members of a delivery stream that are numbers or truth values: files may write them as texts.
var (
	numberMembers = []string{"SizeInMBs", "IntervalInSeconds", "DurationInSeconds", "ThroughputHintInMBs"}
	truthMembers  = []string{"Enabled"}
)

// numbered gives the node with texts where numbers are meant made numbers, and numbers where texts are meant texts.
func numbered(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = nil
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			out.Content = append(out.Content, numbered(c))
		}
		return &out
	}
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		out.Tag = "!!str"
		return &out
	}
	for key, value := range yamldoc.Pairs(n) {
		v := numbered(value)
		if v.Kind == yaml.ScalarNode {
			if _, ok := yamldoc.Int(value); ok && slices.Contains(numberMembers, key.Value) {
				v.Tag, v.Value = "!!int", strings.TrimSpace(v.Value)
			}
			if _, ok := yamldoc.Bool(value); ok && slices.Contains(truthMembers, key.Value) {
				v.Tag = "!!bool"
			}
		}
		out.Content = append(out.Content, key, v)
	}
	return &out
}

// find looks for a key anywhere below a node.
func find(n *yaml.Node, where, name string) (*yaml.Node, string) {
	for key := range yamldoc.Pairs(n) {
		if key.Value == name {
			return key, where + "." + name
		}
	}
	for key, value := range yamldoc.Pairs(n) {
		if at, path := find(value, where+"."+key.Value, name); at != value {
			return at, path
		}
	}
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			if at, path := find(c, where, name); at != c {
				return at, path
			}
		}
	}
	return n, where
}
