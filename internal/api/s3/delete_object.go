package s3

import (
	"sync"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
	"millrace/internal/object"
)

var deleteObject = operation{run: func(c *call) error {
	if err := c.deleteKey(c.key, c.r.Header.Get("If-Match")); err != nil {
		return err
	}
	return c.answerEmpty()
}}

// deleteKey deletes a key; match is the ETag that its object must have, if it is not empty.
func (c *call) deleteKey(key, match string) error {
	if match == "" {
		return c.Store.Delete(c.ctx, c.bucket, key)
	}
	return c.Store.DeleteIfMatch(c.ctx, c.bucket, key, unquoted(match))
}

// deleteObjects deletes up to 1000 keys, several at a time. A key that is not there counts as deleted.
var deleteObjects = operation{note: "conditions on size and time, which belong to directory buckets, are refused", run: func(c *call) error {
	d, err := c.digests()
	if err != nil {
		return err
	}
	if d.MD5 == nil && d.algorithm == "" {
		return errInvalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	var in s3wire.DeleteObjectsRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Delete == nil || len(in.Delete.Objects) == 0 || len(in.Delete.Objects) > maxDeleted {
		return errMalformedXML
	}
	if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
		return err
	}
	errs := c.deleteAll(in.Delete.Objects)
	quiet := in.Delete.Quiet != nil && *in.Delete.Quiet
	var out s3wire.DeleteObjectsOutput
	for i := range in.Delete.Objects {
		key := in.Delete.Objects[i].Key
		switch {
		case errs[i] != nil:
			e := c.errorOf(c, errs[i])
			out.Errors = append(out.Errors, s3wire.Error{Key: key, Code: new(e.Code), Message: new(e.Message)})
		case !quiet:
			out.Deleted = append(out.Deleted, s3wire.DeletedObject{Key: key})
		}
	}
	return c.answer(&out)
}}

func (c *call) deleteAll(list []s3wire.ObjectIdentifier) []error {
	errs := make([]error, len(list))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(deleteWorkers, len(list)) {
		workers.Go(func() {
			for i := range next {
				errs[i] = c.deleteOne(&list[i])
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	workers.Wait()
	return errs
}

func (c *call) deleteOne(o *s3wire.ObjectIdentifier) error {
	switch {
	case o.VersionId != nil && *o.VersionId != "" && *o.VersionId != "null":
		return errNoSuchVersion
	case o.Size != nil || !o.LastModifiedTime.IsZero():
		return errUnsupported("A condition on the size or the time of a key of DeleteObjects")
	case c.denied("s3:DeleteObject", c.bucket, o.Key):
		return errAccessDenied
	case len(o.Key) > object.MaxKeyBytes:
		return errKeyTooLong(o.Key)
	}
	return c.deleteKey(o.Key, awswire.Value(o.ETag))
}
