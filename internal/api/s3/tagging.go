package s3

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace/internal/awsmodel/s3wire"
)

func errInvalidTag(message string) *apiError { return newError(400, "InvalidTag", message) }

// tagsOfHeader reads x-amz-tagging, which is a query string.
func tagsOfHeader(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, errInvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.", "x-amz-tagging", short(text))
	}
	tags := make(map[string]string, len(values))
	for name, v := range values {
		if len(v) > 1 {
			return nil, errInvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.", "x-amz-tagging", short(text))
		}
		tags[name] = v[0]
	}
	return tags, checkTags(tags, maxTags, "Object tags cannot be greater than 10")
}

func checkTags(tags map[string]string, most int, tooMany string) error {
	if len(tags) > most {
		return newError(400, "BadRequest", tooMany)
	}
	for name, value := range tags {
		switch {
		case name == "" || utf8.RuneCountInString(name) > maxTagKey || !utf8.ValidString(name):
			return errInvalidTag("The TagKey you have provided is invalid").with("TagKey", short(name))
		case utf8.RuneCountInString(value) > maxTagValue || !utf8.ValidString(value):
			return errInvalidTag("The TagValue you have provided is invalid").with("TagValue", short(value))
		case !tagText(name):
			return errInvalidTag("The TagKey you have provided is invalid").with("TagKey", short(name))
		case !tagText(value):
			return errInvalidTag("The TagValue you have provided is invalid").with("TagValue", short(value))
		case strings.HasPrefix(strings.ToLower(name), "aws:"):
			return errInvalidTag("System tags cannot be added/updated by requester").with("TagKey", short(name))
		}
	}
	return nil
}

// tagText reports whether all characters may stand in a tag: letters, digits, blanks, and some marks.
func tagText(text string) bool {
	for _, r := range text {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !unicode.IsSpace(r) && !strings.ContainsRune("+-=._:/@", r) {
			return false
		}
	}
	return true
}

// tagsOfDocument reads the body of a tagging operation.
func tagsOfDocument(t *s3wire.Tagging, most int, tooMany string) (map[string]string, error) {
	if t == nil {
		return nil, errMalformedXML
	}
	return tagsOfList(t.TagSet, most, tooMany)
}

func tagsOfList(list []s3wire.Tag, most int, tooMany string) (map[string]string, error) {
	tags := make(map[string]string, min(len(list), most))
	for _, t := range list {
		if _, twice := tags[t.Key]; twice {
			return nil, errInvalidTag("Cannot provide multiple Tags with the same key").with("TagKey", short(t.Key))
		}
		if tags[t.Key] = t.Value; len(tags) > most {
			break
		}
	}
	return tags, checkTags(tags, most, tooMany)
}

func tagSet(tags map[string]string) []s3wire.Tag {
	list := make([]s3wire.Tag, 0, len(tags))
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, s3wire.Tag{Key: name, Value: tags[name]})
	}
	return list
}

var getObjectTagging = operation{run: func(c *call) error {
	info, err := c.Store.Head(c.ctx, c.bucket, c.key)
	if err != nil {
		return err
	}
	return c.answer(&s3wire.GetObjectTaggingOutput{TagSet: tagSet(info.Tags)})
}}

var putObjectTagging = operation{run: func(c *call) error {
	var in s3wire.PutObjectTaggingRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	tags, err := tagsOfDocument(in.Tagging, maxTags, "Object tags cannot be greater than 10")
	if err != nil {
		return err
	}
	if err := c.Store.Tag(c.ctx, c.bucket, c.key, tags); err != nil {
		return err
	}
	return c.answerEmpty()
}}

var deleteObjectTagging = operation{run: func(c *call) error {
	if err := c.Store.Tag(c.ctx, c.bucket, c.key, nil); err != nil {
		return err
	}
	return c.answerEmpty()
}}

var getBucketTagging = operation{run: func(c *call) error {
	b, err := c.Store.Bucket(c.ctx, c.bucket)
	if err != nil {
		return err
	}
	if len(b.Tags) == 0 {
		return newError(404, "NoSuchTagSet", "The TagSet does not exist").with("BucketName", c.bucket)
	}
	return c.answer(&s3wire.GetBucketTaggingOutput{TagSet: tagSet(b.Tags)})
}}

// putBucketTagging answers 204, as the service does, whatever its model says.
var putBucketTagging = operation{run: func(c *call) error {
	var in s3wire.PutBucketTaggingRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	tags, err := tagsOfDocument(in.Tagging, maxBucketTags, "Bucket tag count cannot be greater than 50")
	if err != nil {
		return err
	}
	if err := c.Store.TagBucket(c.ctx, c.bucket, tags); err != nil {
		return err
	}
	return c.answerStatus(204)
}}

var deleteBucketTagging = operation{run: func(c *call) error {
	if err := c.Store.TagBucket(c.ctx, c.bucket, nil); err != nil {
		return err
	}
	return c.answerEmpty()
}}
