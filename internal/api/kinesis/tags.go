package kinesis

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

// addTagsToStream adds tags, or changes the values of those that exist.
//
// Source: Kinesis Data Streams API Reference, AddTagsToStream.
var addTagsToStream = operation{name: "AddTagsToStream", run: func(s *Service, c *call) error {
	var in kinesiswire.AddTagsToStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.changeTags(c, in.StreamName, in.StreamARN, s.adding(in.Tags))
}}

// removeTagsFromStream removes tags; unknown keys are no error.
//
// Source: Kinesis Data Streams API Reference, RemoveTagsFromStream.
var removeTagsFromStream = operation{name: "RemoveTagsFromStream", run: func(s *Service, c *call) error {
	var in kinesiswire.RemoveTagsFromStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.changeTags(c, in.StreamName, in.StreamARN, s.removing(in.TagKeys))
}}

// listTagsForStream lists a stream's tags by key.
//
// Source: Kinesis Data Streams API Reference, ListTagsForStream.
var listTagsForStream = operation{name: "ListTagsForStream", run: func(s *Service, c *call) error {
	var in kinesiswire.ListTagsForStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return err
	}
	limit := defaultTagPage
	if in.Limit > 0 {
		limit = in.Limit
	}
	var out kinesiswire.ListTagsForStreamOutput
	for _, tag := range listTags(st.Tags) {
		if in.ExclusiveStartTagKey != "" && tag.Key <= in.ExclusiveStartTagKey {
			continue
		}
		if len(out.Tags) == limit {
			out.HasMoreTags = true
			break
		}
		out.Tags = append(out.Tags, tag)
	}
	c.reply(&out)
	return nil
}}

// tagResource adds tags to a stream or a registered consumer that its ARN names. Texts speak of the stream in any case.
//
// Source: Kinesis Data Streams API Reference, TagResource.
var tagResource = operation{name: "TagResource", run: func(s *Service, c *call) error {
	var in kinesiswire.TagResourceInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.changeResourceTags(c, in.ResourceARN, s.adding(in.Tags))
}}

// untagResource removes tags from a stream or a registered consumer that its ARN names.
//
// Source: Kinesis Data Streams API Reference, UntagResource.
var untagResource = operation{name: "UntagResource", run: func(s *Service, c *call) error {
	var in kinesiswire.UntagResourceInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.changeResourceTags(c, in.ResourceARN, s.removing(in.TagKeys))
}}

// listTagsForResource lists all tags of a stream or a registered consumer that its ARN names.
//
// Source: Kinesis Data Streams API Reference, ListTagsForResource.
var listTagsForResource = operation{name: "ListTagsForResource", run: func(s *Service, c *call) error {
	var in kinesiswire.ListTagsForResourceInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, con, err := s.resource(in.ResourceARN)
	if err != nil {
		return err
	}
	tags := st.Tags
	if con != nil {
		tags = con.Tags
	}
	out := kinesiswire.ListTagsForResourceOutput{Tags: listTags(tags)}
	c.reply(&out)
	return nil
}}

// listTags gives tags by key.
func listTags(tags map[string]string) []kinesiswire.Tag {
	list := make([]kinesiswire.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, kinesiswire.Tag{Key: key, Value: new(tags[key])})
	}
	return list
}

// changeTags changes a stream's tags.
func (s *Service) changeTags(c *call, name, arn string, change func(st *stream.Stream, tags map[string]string) error) error {
	st, err := s.stream(name, arn)
	if err != nil {
		return err
	}
	_, err = s.update(c, st, func(set *stream.Settings) error {
		if set.Tags == nil {
			set.Tags = map[string]string{}
		}
		return change(st, set.Tags)
	})
	return err
}

// changeResourceTags changes the tags of a stream or a registered consumer.
func (s *Service) changeResourceTags(c *call, arn string, change func(st *stream.Stream, tags map[string]string) error) error {
	return s.changeResource(c, arn, func(st *stream.Stream, set *stream.Settings, con *stream.Consumer) error {
		tags := &set.Tags
		if con != nil {
			tags = &con.Tags
		}
		if *tags == nil {
			*tags = map[string]string{}
		}
		return change(st, *tags)
	})
}

func (s *Service) adding(more map[string]string) func(*stream.Stream, map[string]string) error {
	return func(st *stream.Stream, tags map[string]string) error {
		for k, v := range more {
			if err := s.checkTagText("add tags to", st.Name, k, v); err != nil {
				return err
			}
		}
		maps.Copy(tags, more)
		return s.checkTagCount(st.Name, tags)
	}
}

func (s *Service) removing(keys []string) func(*stream.Stream, map[string]string) error {
	return func(st *stream.Stream, tags map[string]string) error {
		for _, k := range keys {
			if err := s.checkTagText("remove tags from", st.Name, k); err != nil {
				return err
			}
			delete(tags, k)
		}
		return nil
	}
}

// checkTags checks the tags that a stream is made with.
func (s *Service) checkTags(name string, tags map[string]string) error {
	for k, v := range tags {
		if err := s.checkTagText("add tags to", name, k, v); err != nil {
			return err
		}
	}
	return s.checkTagCount(name, tags)
}

// checkTagCount bounds a stream's tags. The number in the text is the service's, and stale.
func (s *Service) checkTagCount(name string, tags map[string]string) error {
	if len(tags) <= maxTags {
		return nil
	}
	return failure(kinesiswire.ErrInvalidArgument, "Failed to add tags to stream %s under account %s because a given stream cannot have more than 10 tags associated with it.",
		name, s.Account.ID)
}

// checkTagText checks the letters of keys and values. '%' passes the first check and fails the second, as on the
// service.
func (s *Service) checkTagText(doing, name string, texts ...string) error {
	percent := false
	for _, text := range texts {
		if strings.IndexFunc(text, notInTag) >= 0 {
			return failure(kinesiswire.ErrInvalidArgument,
				"Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - %% @.")
		}
		percent = percent || strings.Contains(text, "%")
	}
	if percent {
		return failure(kinesiswire.ErrInvalidArgument, "Failed to %s stream %s under account %s because some tags contained illegal characters. "+
			"The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'.", doing, name, s.Account.ID)
	}
	return nil
}

// notInTag: the documentation of TagResource also allows ':', which CloudFormation's own tags hold; tabs and
// newlines are refused although called white space.
func notInTag(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != ' ' && !strings.ContainsRune("_./=+-%@:", r)
}
