package s3

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"unicode/utf8"

	"millrace/internal/awswire"
	"millrace/internal/object"
	"millrace/internal/policy"
)

// Policies of buckets. All who can call are the account itself, so that what a policy allows them they may do already;
// what it denies is denied. A policy that would do anything else is refused when it is put: internal/policy says what.

// maxPolicies bounds how many policies are kept compiled.
const maxPolicies = 1024

// policies are compiled once for each text.
type policies struct {
	mu   sync.Mutex
	kept map[policyKey]*policy.BucketPolicy
}

type policyKey struct{ bucket, text string }

func (s *Service) compiled(bucket, text string) (*policy.BucketPolicy, error) {
	key := policyKey{bucket, text}
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	if p := s.policies.kept[key]; p != nil {
		return p, nil
	}
	p, err := policy.ParseBucket([]byte(text), policy.BucketScope{Partition: s.Account.Partition, Account: s.Account.ID, Bucket: bucket})
	if err != nil {
		return nil, err
	}
	if s.policies.kept == nil || len(s.policies.kept) >= maxPolicies {
		s.policies.kept = map[policyKey]*policy.BucketPolicy{}
	}
	s.policies.kept[key] = p
	return p, nil
}

// denied reports whether the bucket's policy denies an action. A policy that can't be read denies everything but to
// change it, which the owner of a bucket may always.
func (c *call) denied(action, bucket, key string) bool {
	text := c.Store.BucketSetting(bucket, object.SettingPolicy)
	if text == "" || strings.HasSuffix(action, "BucketPolicy") {
		return false
	}
	p, err := c.compiled(bucket, text)
	if err != nil {
		c.Log.Error("the policy of a bucket can't be read; it denies everything", "bucket", bucket, "error", err)
		return true
	}
	in := policy.BucketCall{Action: action, Key: key, SourceIP: sourceOf(c.r.RemoteAddr), Secure: c.within}
	if c.r.TLS != nil {
		in.Secure, in.TLS = true, tlsVersions[c.r.TLS.Version]
	}
	return p.Denies(&in)
}

var tlsVersions = map[uint16]float64{tls.VersionTLS10: 1.0, tls.VersionTLS11: 1.1, tls.VersionTLS12: 1.2, tls.VersionTLS13: 1.3}

func sourceOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// actions are the permissions of operations that have another name, as the Service Authorization Reference lists them.
var actions = map[string]string{
	"HeadObject": "s3:GetObject", "CopyObject": "s3:PutObject", "CreateMultipartUpload": "s3:PutObject", "UploadPart": "s3:PutObject",
	"UploadPartCopy": "s3:PutObject", "CompleteMultipartUpload": "s3:PutObject", "ListParts": "s3:ListMultipartUploadParts",
	"HeadBucket": "s3:ListBucket", "ListObjects": "s3:ListBucket", "ListObjectsV2": "s3:ListBucket", "ListObjectVersions": "s3:ListBucketVersions",
	"ListMultipartUploads": "s3:ListBucketMultipartUploads", "ListBuckets": "s3:ListAllMyBuckets",
	"DeleteBucketTagging": "s3:PutBucketTagging", "GetBucketEncryption": "s3:GetEncryptionConfiguration",
	"PutBucketEncryption": "s3:PutEncryptionConfiguration", "DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
	"GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock", "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
	"DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock", "DeleteBucketOwnershipControls": "s3:PutBucketOwnershipControls",
	"GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration", "PutBucketAccelerateConfiguration": "s3:PutAccelerateConfiguration",
	"GetBucketLifecycle": "s3:GetLifecycleConfiguration", "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
	"DeleteBucketLifecycle": "s3:PutLifecycleConfiguration", "GetBucketReplication": "s3:GetReplicationConfiguration",
	"DeleteBucketReplication": "s3:PutReplicationConfiguration", "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
	"GetBucketNotificationConfiguration": "s3:GetBucketNotification", "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
	"DeleteBucketCors": "s3:PutBucketCORS", "GetBucketCors": "s3:GetBucketCORS",
	"DeleteObjects": noAction, // decided for each key
}

const noAction = "none"

func actionOf(operation string) string {
	if a := actions[operation]; a != "" {
		return a
	}
	return "s3:" + operation
}

func errMalformedPolicy(message string) *apiError { return newError(400, "MalformedPolicy", message) }

var getBucketPolicy = operation{run: func(c *call) error {
	text, err := c.setting(object.SettingPolicy)
	switch {
	case err != nil:
		return err
	case text == "":
		return errNoPolicy.with("BucketName", c.bucket)
	}
	c.answered = true
	awswire.WriteBody(c.w, 200, "application/json", []byte(text))
	return nil
}}

var errNoPolicy = newError(404, "NoSuchBucketPolicy", "The bucket policy does not exist")

// getBucketPolicyStatus says that no policy is public, since those that are can't be put.
var getBucketPolicyStatus = operation{run: func(c *call) error {
	text, err := c.setting(object.SettingPolicy)
	switch {
	case err != nil:
		return err
	case text == "":
		return errNoPolicy.with("BucketName", c.bucket)
	}
	body := append([]byte(nil), awswire.XMLHeader...)
	return c.answerXML(append(body, "<PolicyStatus"+namespace+"><IsPublic>false</IsPublic></PolicyStatus>"...))
}}

var putBucketPolicy = operation{
	note: "denials are evaluated (conditions aws:SecureTransport, s3:TlsVersion, aws:SourceIp); what is allowed to the account and to services is kept; " +
		"public policies and what else would change who may do what are refused",
	run: func(c *call) error {
		body, release, err := c.document()
		if err != nil {
			return err
		}
		text := string(body)
		release()
		if _, err := c.setting(object.SettingPolicy); err != nil { // is there a bucket?
			return err
		}
		if !utf8.ValidString(text) || strings.TrimSpace(text) == "" {
			return errMalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
		}
		var what *policy.UnsupportedError
		switch _, err := c.compiled(c.bucket, text); {
		case errors.Is(err, policy.ErrPublic) && c.blocksPolicies():
			return newError(403, "AccessDenied", "User is not authorized to perform: s3:PutBucketPolicy because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.")
		case errors.Is(err, policy.ErrPublic):
			return errUnsupported("A policy that makes a bucket public")
		case errors.As(err, &what):
			return newError(501, notImplemented, err.Error()+".")
		case err != nil:
			return errMalformedPolicy("The policy " + err.Error())
		}
		if err := c.setSetting(object.SettingPolicy, text); err != nil {
			return err
		}
		return c.answerStatus(204)
	},
}

var deleteBucketPolicy = operation{run: func(c *call) error {
	if err := c.setSetting(object.SettingPolicy, ""); err != nil {
		return err
	}
	return c.answerEmpty()
}}
