package firehose

import (
	"encoding/json"

	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/awswire"
)

// operation appends its answer to the call's dst.
type operation func(s *Service, c *call) error

// operations are those that are served; the rest of the model is refused by name.
var operations = map[string]operation{
	"CreateDeliveryStream":          createDeliveryStream,
	"DeleteDeliveryStream":          deleteDeliveryStream,
	"DescribeDeliveryStream":        describeDeliveryStream,
	"ListDeliveryStreams":           listDeliveryStreams,
	"ListTagsForDeliveryStream":     listTagsForDeliveryStream,
	"PutRecord":                     putRecord,
	"PutRecordBatch":                putRecordBatch,
	"StartDeliveryStreamEncryption": startDeliveryStreamEncryption,
	"StopDeliveryStreamEncryption":  stopDeliveryStreamEncryption,
	"TagDeliveryStream":             tagDeliveryStream,
	"UntagDeliveryStream":           untagDeliveryStream,
	"UpdateDestination":             updateDestination,
}

// Supported tells of one operation of the service's model whether it is served.
type Supported struct {
	Operation string
	Served    bool
	Note      string
}

var notes = map[string]string{
	"CreateDeliveryStream":          "see the table of delivery streams for its members",
	"DeleteDeliveryStream":          "AllowForceDelete is accepted without effect: there are no key grants",
	"StartDeliveryStreamEncryption": "Direct PUT; records are encrypted at rest with a key of the node's own, derived for each KeyARN; no limit of calls a day",
}

// Support lists all operations of the service's model, in alphabetical order.
func Support() []Supported {
	all := make([]Supported, len(firehosewire.Operations))
	for i, name := range firehosewire.Operations {
		all[i] = Supported{name, operations[name] != nil, notes[name]}
	}
	return all
}

// shape is a generated request.
type shape interface {
	DecodeJSON(*awswire.JSON)
	Check(*awswire.Violations)
}

// decode reads and checks a request: types first, then the model's constraints, as the service does.
func (c *call) decode(in shape) error {
	if err := c.read(in); err != nil {
		return err
	}
	return check(in)
}

func (c *call) read(in shape) error {
	in.DecodeJSON(&c.json)
	return c.json.Close()
}

func check(in shape) error {
	found := awswire.Violations{HideValues: true}
	in.Check(&found)
	if text := found.Err(); text != "" {
		return &validation{text}
	}
	return nil
}

// decodeInto reads a request that has passed decode into the engine's own form, whose member names are the API's.
func (c *call) decodeInto(req any) error {
	if err := json.Unmarshal(c.body, req); err != nil {
		return &awswire.SerializationError{Message: err.Error()}
	}
	return nil
}
