package s3

import (
	"sync"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/object"
)

var deleteObject = operation{note: "If-Match is refused", run: func(c *call) error {
	if c.r.Header.Get("If-Match") != "" {
		return errUnsupported("If-Match of a deletion").with("Header", "If-Match")
	}
	if err := c.Store.Delete(c.ctx, c.bucket, c.key); err != nil {
		return err
	}
	return c.answerEmpty()
}}

// deleteObjects deletes up to 1000 keys, several at a time. A key that is not there counts as deleted.
var deleteObjects = operation{note: "conditions of single keys are refused", run: func(c *call) error {
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
	case o.ETag != nil || o.Size != nil || !o.LastModifiedTime.IsZero():
		return errUnsupported("A condition on a key of DeleteObjects")
	case len(o.Key) > object.MaxKeyBytes:
		return errKeyTooLong(o.Key)
	}
	return c.Store.Delete(c.ctx, c.bucket, o.Key)
}
