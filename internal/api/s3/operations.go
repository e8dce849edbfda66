package s3

import (
	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/object"
)

// operation is one call of the API. Each is declared in the file of its noun or its own.
type operation struct {
	run  func(*call) error // nil: not served
	note string            // what of it is left out, or has no effect
}

// served holds the operations that are served, by name; the rest of the model is refused by name.
var served = map[string]operation{
	"ListBuckets":         listBuckets,
	"CreateBucket":        createBucket,
	"HeadBucket":          headBucket,
	"DeleteBucket":        deleteBucket,
	"GetBucketLocation":   getBucketLocation,
	"GetBucketTagging":    getBucketTagging,
	"PutBucketTagging":    putBucketTagging,
	"DeleteBucketTagging": deleteBucketTagging,

	"PutObject":           putObject,
	"GetObject":           getObject,
	"HeadObject":          headObject,
	"GetObjectAttributes": getObjectAttributes,
	"CopyObject":          copyObject,
	"DeleteObject":        deleteObject,
	"DeleteObjects":       deleteObjects,
	"GetObjectTagging":    getObjectTagging,
	"PutObjectTagging":    putObjectTagging,
	"DeleteObjectTagging": deleteObjectTagging,
	"GetObjectAcl":        getObjectACL,

	"ListObjects":        listObjects,
	"ListObjectsV2":      listObjectsV2,
	"ListObjectVersions": listObjectVersions,

	"CreateMultipartUpload":   createMultipartUpload,
	"UploadPart":              uploadPart,
	"UploadPartCopy":          uploadPartCopy,
	"CompleteMultipartUpload": completeMultipartUpload,
	"AbortMultipartUpload":    abortMultipartUpload,
	"ListParts":               listParts,
	"ListMultipartUploads":    listMultipartUploads,

	"GetBucketPolicy":       getBucketPolicy,
	"GetBucketPolicyStatus": getBucketPolicyStatus,
	"PutBucketPolicy":       putBucketPolicy,
	"DeleteBucketPolicy":    deleteBucketPolicy,

	"PutBucketAccelerateConfiguration":   putBucketAccelerateConfiguration,
	"PutBucketAcl":                       putACL,
	"PutBucketEncryption":                putBucketEncryption,
	"PutBucketLogging":                   putBucketLogging,
	"PutBucketNotification":              putBucketNotification,
	"PutBucketNotificationConfiguration": putBucketNotification,
	"PutBucketOwnershipControls":         putBucketOwnershipControls,
	"PutBucketRequestPayment":            putBucketRequestPayment,
	"PutBucketVersioning":                putBucketVersioning,
	"PutObjectAcl":                       putACL,
	"PutPublicAccessBlock":               putPublicAccessBlock,
	"DeleteBucketCors":                   nothingToDelete,
	"DeleteBucketEncryption":             forgetting(object.SettingEncryption, ""),
	"DeleteBucketLifecycle":              nothingToDelete,
	"DeleteBucketOwnershipControls":      forgetting(object.SettingOwnership, object.SettingNone),
	"DeleteBucketReplication":            nothingToDelete,
	"DeleteBucketWebsite":                nothingToDelete,
	"DeletePublicAccessBlock":            forgetting(object.SettingPublicAccess, object.SettingNone),

	"GetBucketAccelerateConfiguration":   getBucketAccelerateConfiguration,
	"GetBucketAcl":                       getBucketACL,
	"GetBucketCors":                      getBucketCORS,
	"GetBucketEncryption":                getBucketEncryption,
	"GetBucketLifecycle":                 getBucketLifecycle,
	"GetBucketLifecycleConfiguration":    getBucketLifecycle,
	"GetBucketLogging":                   getBucketLogging,
	"GetBucketNotification":              getBucketNotification,
	"GetBucketNotificationConfiguration": getBucketNotification,
	"GetBucketOwnershipControls":         getBucketOwnershipControls,
	"GetBucketReplication":               getBucketReplication,
	"GetBucketRequestPayment":            getBucketRequestPayment,
	"GetBucketVersioning":                getBucketVersioning,
	"GetBucketWebsite":                   getBucketWebsite,
	"GetObjectLockConfiguration":         getObjectLockConfiguration,
	"GetPublicAccessBlock":               getPublicAccessBlock,
}

// Supported tells of one operation of the service's model whether it is served.
type Supported struct {
	Operation string
	Served    bool
	Note      string
}

// Support lists all operations of the service's model, in alphabetical order.
func Support() []Supported {
	all := make([]Supported, len(s3wire.Operations))
	for i := range s3wire.Operations {
		name := s3wire.Operations[i].Name
		op := served[name]
		all[i] = Supported{name, op.run != nil, op.note}
	}
	return all
}
