package firehose

import (
	"cmp"
	"strings"

	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/delivery"
)

// createDeliveryStream answers when the delivery stream is ACTIVE: no record that is put from then on is missed.
func createDeliveryStream(s *Service, c *call) error {
	in := new(firehosewire.CreateDeliveryStreamInput)
	if err := c.read(in); err != nil {
		return err
	}
	if h := in.HttpEndpointDestinationConfiguration; h != nil {
		s.permit(h.EndpointConfiguration)
	}
	if err := check(in); err != nil {
		return err
	}
	var req delivery.CreateRequest
	if err := c.decodeInto(&req); err != nil {
		return err
	}
	def, err := s.Engine.Create(c.ctx, &req)
	if err != nil {
		return err
	}
	out := firehosewire.CreateDeliveryStreamOutput{DeliveryStreamARN: def.ARN(s.Account)}
	c.dst = out.AppendJSON(c.dst)
	return nil
}

// permit lets a URL without TLS pass the model's checks where the operator allows it. What is stored is read from the body.
func (s *Service) permit(e *firehosewire.HttpEndpointConfiguration) {
	const plain = "http://"
	if e != nil && s.PlainEndpoints && strings.HasPrefix(e.Url, plain) {
		e.Url = "https://" + e.Url[len(plain):]
	}
}

// answerEmpty is the answer of an operation that has none: an object without members, as the service sends it.
func (c *call) answerEmpty() error {
	c.dst = append(c.dst, "{}"...)
	return nil
}

// deleteDeliveryStream answers when the name is free.
func deleteDeliveryStream(s *Service, c *call) error {
	var in firehosewire.DeleteDeliveryStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Engine.Delete(c.ctx, in.DeliveryStreamName); err != nil {
		return err
	}
	return c.answerEmpty()
}

// defaultListed is how many names a list holds when the caller does not say.
const defaultListed = 10

func listDeliveryStreams(s *Service, c *call) error {
	var in firehosewire.ListDeliveryStreamsInput
	if err := c.decode(&in); err != nil {
		return err
	}
	names, more := s.Engine.List(delivery.ListRequest{
		Type: delivery.Type(in.DeliveryStreamType), After: in.ExclusiveStartDeliveryStreamName, Limit: cmp.Or(in.Limit, defaultListed),
	})
	if names == nil {
		names = []string{}
	}
	out := firehosewire.ListDeliveryStreamsOutput{DeliveryStreamNames: names, HasMoreDeliveryStreams: more}
	c.dst = out.AppendJSON(c.dst)
	return nil
}

// updateDestination changes the one destination; what is buffered is delivered under the old version.
func updateDestination(s *Service, c *call) error {
	in := new(firehosewire.UpdateDestinationInput)
	if err := c.read(in); err != nil {
		return err
	}
	if h := in.HttpEndpointDestinationUpdate; h != nil {
		s.permit(h.EndpointConfiguration)
	}
	if err := check(in); err != nil {
		return err
	}
	var req delivery.UpdateRequest
	if err := c.decodeInto(&req); err != nil {
		return err
	}
	if _, err := s.Engine.UpdateDestination(c.ctx, &req); err != nil {
		return err
	}
	return c.answerEmpty()
}
