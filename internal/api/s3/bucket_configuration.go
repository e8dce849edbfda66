package s3

import (
	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
)

// The configurations that tools read of a bucket that has just been made. None can be written, so that each answer is
// what the service answers for a fresh bucket.

// fresh answers a document for a bucket that exists.
func fresh(d document) operation {
	return operation{note: "the answer for a fresh bucket; it can't be changed", run: func(c *call) error {
		if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
			return err
		}
		return c.answer(d)
	}}
}

// unconfigured answers the error of a bucket that has no such configuration.
func unconfigured(code, message string) operation {
	return operation{note: "always " + code + "; it can't be written", run: func(c *call) error {
		if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
			return err
		}
		return newError(404, code, message).with("BucketName", c.bucket)
	}}
}

var (
	getBucketAccelerateConfiguration = fresh(&s3wire.GetBucketAccelerateConfigurationOutput{})
	getBucketLogging                 = fresh(&s3wire.GetBucketLoggingOutput{})
	getBucketVersioning              = fresh(&s3wire.GetBucketVersioningOutput{})
	getBucketRequestPayment          = fresh(&s3wire.GetBucketRequestPaymentOutput{Payer: "BucketOwner"})
	getBucketNotification            = fresh(emptyNotification{})

	// The service has encrypted all buckets so since 2023. Here that is the disk's business.
	getBucketEncryption = fresh(&s3wire.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: &s3wire.ServerSideEncryptionConfiguration{
		Rules: []s3wire.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &s3wire.ServerSideEncryptionByDefault{SSEAlgorithm: "AES256"},
			BucketKeyEnabled:                   new(false),
		}}}})
	getBucketOwnershipControls = fresh(&s3wire.GetBucketOwnershipControlsOutput{OwnershipControls: &s3wire.OwnershipControls{
		Rules: []s3wire.OwnershipControlsRule{{ObjectOwnership: "BucketOwnerEnforced"}}}})
	getPublicAccessBlock = fresh(&s3wire.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: &s3wire.PublicAccessBlockConfiguration{
		BlockPublicAcls: new(true), IgnorePublicAcls: new(true), BlockPublicPolicy: new(true), RestrictPublicBuckets: new(true)}})

	getBucketPolicy      = unconfigured("NoSuchBucketPolicy", "The bucket policy does not exist")
	getBucketCORS        = unconfigured("NoSuchCORSConfiguration", "The CORS configuration does not exist")
	getBucketWebsite     = unconfigured("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
	getBucketLifecycle   = unconfigured("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
	getBucketReplication = unconfigured("ReplicationConfigurationNotFoundError", "The replication configuration was not found")

	getObjectLockConfiguration = unconfigured("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
)

const namespace = ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`

type emptyNotification struct{}

func (emptyNotification) AppendDocument(dst []byte) []byte {
	return append(append(dst, awswire.XMLHeader...), "<NotificationConfiguration"+namespace+"></NotificationConfiguration>"...)
}

// accessControl is the one policy there is: all belongs to the owner.
type accessControl struct{ owner string }

func (a accessControl) AppendDocument(dst []byte) []byte {
	dst = append(dst, awswire.XMLHeader...)
	dst = append(dst, "<AccessControlPolicy"+namespace+"><Owner>"...)
	dst = awswire.AppendElement(dst, "ID", a.owner)
	dst = append(dst, `</Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">`...)
	dst = awswire.AppendElement(dst, "ID", a.owner)
	dst = append(dst, "</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"...)
	return dst
}

var getBucketACL = operation{note: "the owner has full control; it can't be changed", run: func(c *call) error {
	if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
		return err
	}
	return c.answer(accessControl{c.owner})
}}

var getObjectACL = operation{note: "the owner has full control; it can't be changed", run: func(c *call) error {
	if _, err := c.Store.Head(c.ctx, c.bucket, c.key); err != nil {
		return err
	}
	return c.answer(accessControl{c.owner})
}}
