package s3

import (
	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
	"millrace/internal/object"
)

// The configurations that tools read of a bucket, and write again as they read them. What a configuration states that
// holds here anyway is kept and read back; what would change what happens, and is not done, is refused by name. A fresh
// bucket answers as the service's does.

// setting reads a setting of a bucket that exists.
func (c *call) setting(name string) (string, error) {
	b, err := c.Store.Bucket(c.ctx, c.bucket)
	return b.Settings[name], err
}

// setSetting keeps a setting. What is so already is not written: a store that has no place for settings has them all fresh.
func (c *call) setSetting(name, text string) error {
	have, err := c.setting(name)
	if err != nil || have == text {
		return err
	}
	return c.Store.SetBucket(c.ctx, c.bucket, name, text)
}

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

// nothingToDelete is the deletion of what no bucket has.
var nothingToDelete = operation{note: "there is none to delete", run: func(c *call) error {
	if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
		return err
	}
	return c.answerEmpty()
}}

// keeping decodes a request and keeps a setting that is made of it.
func keeping[T any, P interface {
	*T
	shape
}](note, setting string, text func(P) (string, error)) operation {
	return operation{note: note, run: func(c *call) error {
		in := P(new(T))
		if err := c.decode(in); err != nil {
			return err
		}
		kept, err := text(in)
		if err != nil {
			return err
		}
		if err := c.setSetting(setting, kept); err != nil {
			return err
		}
		return c.answerEmpty()
	}}
}

// forgetting is a deletion that keeps a setting: what the bucket has then is not what a fresh one has, or is.
func forgetting(setting, text string) operation {
	return operation{run: func(c *call) error {
		if err := c.setSetting(setting, text); err != nil {
			return err
		}
		return c.answerEmpty()
	}}
}

var (
	getBucketLogging        = fresh(&s3wire.GetBucketLoggingOutput{})
	getBucketRequestPayment = fresh(&s3wire.GetBucketRequestPaymentOutput{Payer: "BucketOwner"})
	getBucketNotification   = fresh(emptyNotification{})

	getBucketCORS        = unconfigured("NoSuchCORSConfiguration", "The CORS configuration does not exist")
	getBucketWebsite     = unconfigured("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
	getBucketLifecycle   = unconfigured("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
	getBucketReplication = unconfigured("ReplicationConfigurationNotFoundError", "The replication configuration was not found")

	getObjectLockConfiguration = unconfigured("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
)

// Versioning, of which a bucket may be said that it is suspended: that is how a bucket is that never had versions.
var getBucketVersioning = operation{run: func(c *call) error {
	status, err := c.setting(object.SettingVersioning)
	if err != nil {
		return err
	}
	return c.answer(&s3wire.GetBucketVersioningOutput{Status: status})
}}

var putBucketVersioning = keeping("Suspended is kept; Enabled is refused", object.SettingVersioning, func(in *s3wire.PutBucketVersioningRequest) (string, error) {
	conf := in.VersioningConfiguration
	switch {
	case conf == nil || conf.Status == "":
		return "", errMalformedXML
	case conf.MFADelete == "Enabled":
		return "", errUnsupported("MfaDelete")
	case conf.Status == "Suspended":
		return conf.Status, nil
	case conf.Status == "Enabled":
		return "", errUnsupported("Versioning, which PutBucketVersioning with the status Enabled asks for,")
	}
	return "", errMalformedXML
})

var getBucketAccelerateConfiguration = operation{run: func(c *call) error {
	status, err := c.setting(object.SettingAccelerate)
	if err != nil {
		return err
	}
	return c.answer(&s3wire.GetBucketAccelerateConfigurationOutput{Status: status})
}}

var putBucketAccelerateConfiguration = keeping("Suspended is kept; Enabled is refused", object.SettingAccelerate,
	func(in *s3wire.PutBucketAccelerateConfigurationRequest) (string, error) {
		conf := in.AccelerateConfiguration
		switch {
		case conf == nil:
			return "", errMalformedXML
		case conf.Status == "Suspended":
			return conf.Status, nil
		case conf.Status == "Enabled":
			return "", errUnsupported("Transfer acceleration")
		}
		return "", errMalformedXML
	})

var putBucketRequestPayment = operation{note: "BucketOwner; Requester is refused", run: func(c *call) error {
	var in s3wire.PutBucketRequestPaymentRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
		return err
	}
	switch conf := in.RequestPaymentConfiguration; {
	case conf == nil:
		return errMalformedXML
	case conf.Payer == "Requester":
		return errUnsupported("The payer Requester")
	case conf.Payer != "BucketOwner":
		return errMalformedXML
	}
	return c.answerEmpty()
}}

var putBucketLogging = operation{note: "no logging; a target is refused", run: func(c *call) error {
	var in s3wire.PutBucketLoggingRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
		return err
	}
	switch {
	case in.BucketLoggingStatus == nil:
		return errMalformedXML
	case in.BucketLoggingStatus.LoggingEnabled != nil:
		return errUnsupported("LoggingEnabled")
	}
	return c.answerEmpty()
}}

var putBucketNotification = operation{note: "no notifications; any is refused", run: func(c *call) error {
	body, release, err := c.document()
	if err != nil {
		return err
	}
	defer release()
	if _, err := c.Store.Bucket(c.ctx, c.bucket); err != nil {
		return err
	}
	d := awswire.NewXMLReader(body)
	for d.Child() {
		return errUnsupported("A notification, " + short(d.Name()) + ",")
	}
	if err := d.Close(); err != nil {
		return err
	}
	return c.answerEmpty()
}}

// Encryption. The service has encrypted all buckets since 2023. Here that is the disk's business.
var getBucketEncryption = operation{run: func(c *call) error {
	text, err := c.setting(object.SettingEncryption)
	if err != nil {
		return err
	}
	key, blocked := object.ReadEncryptionSetting(text)
	rule := s3wire.ServerSideEncryptionRule{ApplyServerSideEncryptionByDefault: &s3wire.ServerSideEncryptionByDefault{SSEAlgorithm: aes256},
		BucketKeyEnabled: &key}
	if len(blocked) > 0 {
		rule.BlockedEncryptionTypes = &s3wire.BlockedEncryptionTypes{EncryptionType: blocked}
	}
	return c.answer(&s3wire.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: &s3wire.ServerSideEncryptionConfiguration{
		Rules: []s3wire.ServerSideEncryptionRule{rule}}})
}}

const aes256 = "AES256"

var putBucketEncryption = keeping("AES256; keys of KMS are refused", object.SettingEncryption, func(in *s3wire.PutBucketEncryptionRequest) (string, error) {
	conf := in.ServerSideEncryptionConfiguration
	if conf == nil || len(conf.Rules) != 1 {
		return "", errMalformedXML
	}
	rule := &conf.Rules[0]
	if by := rule.ApplyServerSideEncryptionByDefault; by != nil {
		switch {
		case by.SSEAlgorithm == "aws:kms" || by.SSEAlgorithm == "aws:kms:dsse":
			return "", errUnsupported("The encryption " + by.SSEAlgorithm)
		case by.SSEAlgorithm != aes256:
			return "", errMalformedXML
		case by.KMSMasterKeyID != nil:
			return "", errInvalidArgument("a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse", "KMSMasterKeyID", short(*by.KMSMasterKeyID))
		}
	}
	var kinds []string
	if blocked := rule.BlockedEncryptionTypes; blocked != nil {
		kinds = blocked.EncryptionType
	}
	for _, kind := range kinds {
		if kind != "SSE-C" && kind != "NONE" { // keys of customers are refused, blocked or not
			return "", errMalformedXML
		}
	}
	return object.EncryptionSetting(rule.BucketKeyEnabled != nil && *rule.BucketKeyEnabled, kinds), nil
})

var getBucketOwnershipControls = operation{run: func(c *call) error {
	text, err := c.setting(object.SettingOwnership)
	switch {
	case err != nil:
		return err
	case text == object.SettingNone:
		return newError(404, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found").with("BucketName", c.bucket)
	}
	return c.answer(&s3wire.GetBucketOwnershipControlsOutput{OwnershipControls: &s3wire.OwnershipControls{
		Rules: []s3wire.OwnershipControlsRule{{ObjectOwnership: ownerEnforced}}}})
}}

const ownerEnforced = "BucketOwnerEnforced"

var putBucketOwnershipControls = keeping("BucketOwnerEnforced; others let ACLs in and are refused", object.SettingOwnership,
	func(in *s3wire.PutBucketOwnershipControlsRequest) (string, error) {
		conf := in.OwnershipControls
		switch {
		case conf == nil || len(conf.Rules) != 1:
			return "", errMalformedXML
		case conf.Rules[0].ObjectOwnership == ownerEnforced:
			return "", nil
		case conf.Rules[0].ObjectOwnership == "BucketOwnerPreferred" || conf.Rules[0].ObjectOwnership == "ObjectWriter":
			return "", errUnsupported("The ownership " + conf.Rules[0].ObjectOwnership)
		}
		return "", errMalformedXML
	})

// Public access. Nothing is public whatever it says: there are no ACLs, and public policies are refused.
var getPublicAccessBlock = operation{run: func(c *call) error {
	text, err := c.setting(object.SettingPublicAccess)
	if err != nil {
		return err
	}
	p, ok := object.ReadPublicAccessSetting(text)
	if !ok {
		return newError(404, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found").with("BucketName", c.bucket)
	}
	return c.answer(&s3wire.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: &s3wire.PublicAccessBlockConfiguration{
		BlockPublicAcls: &p.BlockACLs, IgnorePublicAcls: &p.IgnoreACLs, BlockPublicPolicy: &p.BlockPolicy, RestrictPublicBuckets: &p.RestrictBuckets}})
}}

// blocksPolicies reports whether the public access block refuses public policies.
func (c *call) blocksPolicies() bool {
	p, ok := object.ReadPublicAccessSetting(c.Store.BucketSetting(c.bucket, object.SettingPublicAccess))
	return ok && p.BlockPolicy
}

var putPublicAccessBlock = keeping("kept; nothing is public whatever it says", object.SettingPublicAccess,
	func(in *s3wire.PutPublicAccessBlockRequest) (string, error) {
		conf := in.PublicAccessBlockConfiguration
		if conf == nil {
			return "", errMalformedXML
		}
		on := func(flag *bool) bool { return flag != nil && *flag }
		return object.PublicAccessSetting(object.PublicAccess{
			BlockACLs: on(conf.BlockPublicAcls), IgnoreACLs: on(conf.IgnorePublicAcls),
			BlockPolicy: on(conf.BlockPublicPolicy), RestrictBuckets: on(conf.RestrictPublicBuckets)}), nil
	})

// putACL refuses as the service does where the owner of a bucket owns all that is in it.
var putACL = operation{note: "always AccessControlListNotSupported, as of a bucket with BucketOwnerEnforced", run: func(*call) error { return errNoACL }}

var errNoACL = newError(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")

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
