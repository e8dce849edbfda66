package template

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/awswire"
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
		"DirectPutSourceConfiguration":         "a hint in the service too",
		"HttpEndpointDestinationConfiguration": served, "DeliveryStreamEncryptionConfigurationInput": served,
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
		for key := range yamldoc.Pairs(p.node) {
			if _, known := r.kind.properties[key.Value]; !known {
				return true // that has been told, and what is in it is nobody's business
			}
		}
		if !p.destinationMembers() {
			return true
		}
		// The properties are the members of CreateDeliveryStream: the service's model and the engine's own checks say what is
		// wrong with them.
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
		if p.breaksModel(doc, name) {
			return true
		}
		if _, err := req.Definition(); err != nil {
			n, where := locateMember(p.node, p.where, openapi.Reason(err))
			b.tell(n, where, "%s", openapi.Reason(err))
			return true
		}
		b.deliveries = append(b.deliveries, &deliverySpec{r, name, req, p.node})
		return true
	},
}

// breaksModel tells of every constraint of the service's model that the properties break, and whether there is any. Plain
// HTTP is the node's to allow.
func (p *properties) breaksModel(doc []byte, name string) bool {
	var (
		in     firehosewire.CreateDeliveryStreamInput
		reader awswire.JSON
	)
	reader.Reset(doc)
	in.DecodeJSON(&reader)
	if err := reader.Close(); err != nil {
		p.b.tell(p.node, p.where, "%s", err)
		return true
	}
	in.DeliveryStreamName = name
	if h := in.HttpEndpointDestinationConfiguration; h != nil && h.EndpointConfiguration != nil {
		if rest, plain := strings.CutPrefix(h.EndpointConfiguration.Url, "http://"); plain {
			h.EndpointConfiguration.Url = "https://" + rest
		}
	}
	found := awswire.Violations{HideValues: true}
	in.Check(&found)
	for _, text := range found.Texts() {
		n, where := locate(p.node, p.where, text)
		p.b.tell(n, where, "%s", text)
	}
	return len(found.Texts()) > 0
}

// sayings are messages whose words name members that they are not about, with the member that they are about.
var sayings = []struct{ words, member string }{
	{"compression format must be set", "CompressionFormat"}, {"Common Attributes", "CommonAttributes"}, {`column "`, "SchemaConfiguration"},
}

// topics leads from words in a message that names no path to the member that it is about.
var topics = []struct{ words, member string }{
	{"onversion character", "Prefix"}, {"rocessor", "ProcessingConfiguration"}, {"lambda", "ProcessingConfiguration"},
	{"SubRecordType", "ProcessingConfiguration"}, {"DELIMITED", "ProcessingConfiguration"}, {"MetaDataExtraction", "ProcessingConfiguration"},
	{"compression format", "CompressionFormat"}, {"erializer", "DataFormatConversionConfiguration"}, {"FormatConfiguration", "DataFormatConversionConfiguration"},
	{"backup", "S3BackupMode"}, {"time zone", "CustomTimeZone"}, {"CloudWatch", "CloudWatchLoggingOptions"},
	{"prefix", "Prefix"}, {"Dynamic Partitioning", "DynamicPartitioningConfiguration"}, {"EncryptionConfig", "EncryptionConfiguration"},
	{"KeyARN", "DeliveryStreamEncryptionConfigurationInput"}, {"Server side encryption", "DeliveryStreamEncryptionConfigurationInput"},
}

// locateMember is locate for messages whose paths begin anywhere: "BufferingHints.SizeInMBs must be at least 64".
func locateMember(n *yaml.Node, where, message string) (*yaml.Node, string) {
	for _, s := range sayings {
		if strings.Contains(message, s.words) {
			if at, path := find(n, where, s.member); path != where {
				return at, path
			}
		}
	}
	if at, path := locateParameter(n, where, message); at != nil {
		return at, path
	}
	if at, path := locate(n, where, message); path != where {
		return at, path
	}
	for word := range strings.FieldsSeq(message) {
		first, rest, _ := strings.Cut(strings.Trim(word, ":,.;"), ".")
		if first == "" {
			continue
		}
		key, path := find(n, where, strings.ToUpper(first[:1])+first[1:])
		if path == where {
			continue
		}
		if at, deeper := locate(valueOf(n, key), path, rest); deeper != path {
			return at, deeper
		}
		return key, path
	}
	for _, t := range topics {
		if strings.Contains(message, t.words) {
			if at, path := find(n, where, t.member); path != where {
				return at, path
			}
		}
	}
	return n, where
}

// locateParameter finds the parameter of a processor that a message speaks of: "MetadataExtractionQuery is not a valid …". Nil:
// there is none.
func locateParameter(n *yaml.Node, where, message string) (*yaml.Node, string) {
	key, path := find(n, where, "Processors")
	if path == where {
		return nil, ""
	}
	processors := valueOf(n, key)
	if processors.Kind != yaml.SequenceNode {
		return nil, ""
	}
	for _, name := range parametersIn(message) {
		for i, processor := range processors.Content {
			parameters := yamldoc.Get(processor, "Parameters")
			if parameters == nil || parameters.Kind != yaml.SequenceNode {
				continue
			}
			for j, parameter := range parameters.Content {
				value := yamldoc.Get(parameter, "ParameterValue")
				if text, _ := yamldoc.Text(yamldoc.Get(parameter, "ParameterName")); text == name && value != nil {
					return value, path + "." + strconv.Itoa(i+1) + ".Parameters." + strconv.Itoa(j+1) + ".ParameterValue"
				}
			}
		}
	}
	return nil, ""
}

// parametersIn gives the words of a message that may name parameters, and parameters that it means by other words.
func parametersIn(message string) (names []string) {
	for _, saying := range []struct{ words, name string }{
		{"lambda ARN", "LambdaArn"}, {"stands for the function", "LambdaArn"}, {"Number of retries", "NumberOfRetries"},
		{"JSON Parsing Engine", "JsonParsingEngine"},
	} {
		if strings.Contains(message, saying.words) {
			names = append(names, saying.name)
		}
	}
	for word := range strings.FieldsSeq(message) {
		names = append(names, strings.Trim(word, ":,.;"))
	}
	return names
}

// valueOf gives the value of a key that lies somewhere below a node.
func valueOf(n, key *yaml.Node) *yaml.Node {
	for k, v := range yamldoc.Pairs(n) {
		if k == key {
			return v
		}
		if at := valueOf(v, key); at != nil {
			return at
		}
	}
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			if at := valueOf(c, key); at != nil {
				return at
			}
		}
	}
	return nil
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
	numberMembers = []string{"SizeInMBs", "IntervalInSeconds", "DurationInSeconds", "ThroughputHintInMBs", "BlockSizeBytes", "PageSizeBytes",
		"MaxPaddingBytes", "StripeSizeBytes", "RowIndexStride"}
	fractionMembers = []string{"PaddingTolerance", "BloomFilterFalsePositiveProbability", "DictionaryKeyThreshold"}
	truthMembers    = []string{"Enabled", "ConvertDotsInJsonKeysToUnderscores", "CaseInsensitive", "EnableDictionaryCompression", "EnablePadding"}
)

// momentMember is a moment: files write it as a date, or in seconds since 1970.
const momentMember = "ReadFromTimestamp"

// textMap is the member whose own members have names that are the user's.
const textMap = "ColumnToJsonKeyMappings"

// numbered gives the node with texts where numbers are meant made numbers, and numbers where texts are meant texts.
func numbered(n *yaml.Node) *yaml.Node { return numberedBelow(n, false) }

func numberedBelow(n *yaml.Node, texts bool) *yaml.Node {
	out := *n
	out.Content = nil
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			out.Content = append(out.Content, numberedBelow(c, texts))
		}
		return &out
	}
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		out.Tag = "!!str"
		return &out
	}
	for key, value := range yamldoc.Pairs(n) {
		v := numberedBelow(value, texts || key.Value == textMap)
		if v.Kind == yaml.ScalarNode && !texts {
			meant(v, key.Value, value)
		}
		out.Content = append(out.Content, key, v)
	}
	return &out
}

// meant gives a scalar the tag that its member's name asks for.
func meant(v *yaml.Node, member string, value *yaml.Node) {
	text := strings.TrimSpace(v.Value)
	if _, ok := yamldoc.Int(value); ok && slices.Contains(numberMembers, member) {
		v.Tag, v.Value = "!!int", text
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) && slices.Contains(fractionMembers, member) {
		v.Tag, v.Value = "!!float", text
	}
	if _, ok := yamldoc.Bool(value); ok && slices.Contains(truthMembers, member) {
		v.Tag = "!!bool"
	}
	if member == momentMember {
		if t, err := time.Parse(time.RFC3339, text); err == nil { // the API has seconds
			v.Tag, v.Value = "!!float", strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64)
		} else if _, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) {
			v.Tag, v.Value = "!!float", text
		}
	}
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
