package s3

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/fault"
	"millrace/internal/object"
)

const firstRegion = "us-east-1"

var listBuckets = operation{run: func(c *call) error {
	var in s3wire.ListBucketsRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	most := maxBuckets
	if in.MaxBuckets != 0 {
		most = in.MaxBuckets
	}
	if most < 1 || most > maxBuckets {
		return errInvalidArgument("max-buckets is out of range", "max-buckets", c.query.Get("max-buckets"))
	}
	after, err := readToken(in.ContinuationToken)
	if err != nil {
		return err
	}
	list, err := c.Store.Buckets(c.ctx)
	if err != nil {
		return err
	}
	out := s3wire.ListBucketsOutput{Owner: c.ownerShape(), Prefix: in.Prefix}
	for _, b := range list {
		region := c.regionOf(&b)
		if b.Name <= after || in.Prefix != nil && !strings.HasPrefix(b.Name, *in.Prefix) || in.BucketRegion != nil && region != *in.BucketRegion {
			continue
		}
		if len(out.Buckets) == most {
			out.ContinuationToken = new(token(*out.Buckets[most-1].Name))
			break
		}
		out.Buckets = append(out.Buckets, s3wire.Bucket{Name: new(b.Name), CreationDate: b.Created, BucketRegion: new(region)})
	}
	return c.answer(&out)
}}

// token makes a continuation token; what is in it is nobody's business.
func token(after string) string { return "1" + base64.RawURLEncoding.EncodeToString([]byte(after)) }

func readToken(t *string) (after string, err error) {
	if t == nil || *t == "" {
		return "", nil
	}
	rest, ok := strings.CutPrefix(*t, "1")
	raw, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil {
		return "", errInvalidArgument("The continuation token provided is incorrect", "continuation-token", short(*t))
	}
	return string(raw), nil
}

func (c *call) ownerShape() *s3wire.Owner { return &s3wire.Owner{ID: new(c.owner)} }

// regionOf gives a bucket's region; buckets that a template made may have none of their own.
func (c *call) regionOf(b *object.Bucket) string {
	if b.Region == "" {
		return c.Account.Region
	}
	return b.Region
}

var regionForm = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d$`)

var createBucket = operation{
	note: "x-amz-acl private has no effect; object lock and other ownership controls are refused",
	run: func(c *call) error {
		var in s3wire.CreateBucketRequest
		if err := c.decode(&in); err != nil {
			return err
		}
		b := object.Bucket{Name: c.bucket, Region: c.Account.Region, Created: c.Now().UTC()}
		if !object.ValidBucketName(b.Name) {
			return errBucketName.with("BucketName", b.Name)
		}
		if conf := in.CreateBucketConfiguration; conf != nil {
			if err := c.configureBucket(&b, conf); err != nil {
				return err
			}
		}
		err := c.Store.CreateBucket(c.ctx, b)
		if errors.Is(err, object.ErrBucketExists) {
			// The first region forgives one who creates a bucket again; the others do not.
			if old, findErr := c.Store.Bucket(c.ctx, b.Name); findErr == nil && c.regionOf(&old) == firstRegion && b.Region == firstRegion {
				err = nil
			}
		}
		if err != nil {
			return err
		}
		c.w.Header().Set("Location", "/"+b.Name)
		c.w.Header().Set("X-Amz-Bucket-Arn", c.Account.Bucket(b.Name))
		return c.answerEmpty()
	},
}

func (c *call) configureBucket(b *object.Bucket, conf *s3wire.CreateBucketConfiguration) error {
	if conf.Bucket != nil || conf.Location != nil {
		return errUnsupported("A directory bucket")
	}
	switch region := conf.LocationConstraint; {
	case region == "EU":
		b.Region = "eu-west-1"
	case region != "" && !regionForm.MatchString(region):
		return newError(400, "InvalidLocationConstraint", "The specified location-constraint is not valid").with("LocationConstraint", short(region))
	case region != "":
		b.Region = region
	}
	tags, err := tagsOfList(conf.Tags, maxBucketTags, "Bucket tag count cannot be greater than 50")
	b.Tags = tags
	return err
}

var headBucket = operation{run: func(c *call) error {
	b, err := c.Store.Bucket(c.ctx, c.bucket)
	if err != nil {
		return err
	}
	c.w.Header().Set("X-Amz-Bucket-Region", c.regionOf(&b))
	c.w.Header().Set("X-Amz-Bucket-Arn", c.Account.Bucket(b.Name))
	return c.answerEmpty()
}}

// deleteBucket aborts the uploads of a bucket that holds nothing else: the service takes it for empty.
var deleteBucket = operation{run: func(c *call) error {
	err := c.Store.DeleteBucket(c.ctx, c.bucket)
	if errors.Is(err, object.ErrBucketNotEmpty) {
		if err = c.abortAll(err); err == nil {
			err = c.Store.DeleteBucket(c.ctx, c.bucket)
		}
	}
	if err != nil {
		return err
	}
	return c.answerEmpty()
}}

// abortAll aborts the uploads of the bucket, unless it holds objects: then it gives notEmpty.
func (c *call) abortAll(notEmpty error) error {
	page, err := c.Store.List(c.ctx, c.bucket, object.ListOptions{Max: 1})
	if err != nil {
		return err
	}
	if len(page.Objects) > 0 {
		return notEmpty
	}
	list, err := c.Store.Uploads(c.ctx, c.bucket, "")
	if err != nil {
		return err
	}
	for i := range list {
		if err := c.Store.AbortUpload(c.ctx, list[i].UploadRef); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

var getBucketLocation = operation{run: func(c *call) error {
	b, err := c.Store.Bucket(c.ctx, c.bucket)
	if err != nil {
		return err
	}
	out := s3wire.GetBucketLocationOutput{LocationConstraint: c.regionOf(&b)}
	if out.LocationConstraint == firstRegion {
		out.LocationConstraint = ""
	}
	return c.answer(&out)
}}
