package firehose

import (
	"cmp"

	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/awswire"
	"millrace/internal/delivery"
)

func tagDeliveryStream(s *Service, c *call) error {
	var in firehosewire.TagDeliveryStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	tags := make([]delivery.Tag, len(in.Tags))
	for i := range in.Tags {
		tags[i] = delivery.Tag{Key: in.Tags[i].Key, Value: awswire.Value(in.Tags[i].Value)}
	}
	if err := s.Engine.Tag(c.ctx, in.DeliveryStreamName, tags); err != nil {
		return err
	}
	return c.answerEmpty()
}

func untagDeliveryStream(s *Service, c *call) error {
	var in firehosewire.UntagDeliveryStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Engine.Untag(c.ctx, in.DeliveryStreamName, in.TagKeys); err != nil {
		return err
	}
	return c.answerEmpty()
}

func listTagsForDeliveryStream(s *Service, c *call) error {
	var in firehosewire.ListTagsForDeliveryStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	tags, more, err := s.Engine.Tags(in.DeliveryStreamName, in.ExclusiveStartTagKey, cmp.Or(in.Limit, delivery.MaxTags))
	if err != nil {
		return err
	}
	out := firehosewire.ListTagsForDeliveryStreamOutput{Tags: make([]firehosewire.Tag, len(tags)), HasMoreTags: more}
	for i := range tags {
		out.Tags[i] = firehosewire.Tag{Key: tags[i].Key, Value: &tags[i].Value}
	}
	c.dst = out.AppendJSON(c.dst)
	return nil
}
