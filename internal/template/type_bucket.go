package template

import (
	"strings"

	"millrace/internal/ids"
	"millrace/internal/object"
)

type bucketSpec struct {
	*resource
	name string
	tags map[string]string
}

func bucketHost(form string) func(*build, *resource, string) string {
	return func(b *build, _ *resource, name string) string {
		return strings.NewReplacer("BUCKET", name, "REGION", b.t.opts.Account.Region).Replace(form)
	}
}

var bucketType = &resourceType{
	name: "AWS::S3::Bucket", nameProperty: "BucketName",
	properties: map[string]string{
		"BucketName": served, "Tags": served,
		"PublicAccessBlockConfiguration": "nothing is public: " + bucketPolicy,
		"BucketEncryption":               "encryption at rest is the disk's",
		"OwnershipControls":              "there is one owner",
		"AccessControl":                  "there are no ACLs: " + bucketPolicy,
	},
	generate: func(b *build, r *resource) string {
		const random, most = 12, 63
		head := strings.ToLower(b.t.opts.Stack + "-" + r.logical)
		return strings.TrimRight(head[:min(len(head), most-random-1)], "-") + "-" + b.source.String(ids.LowerAlnum, random)
	},
	attributes: map[string]func(*build, *resource, string) string{
		"Arn":                 func(b *build, _ *resource, name string) string { return b.t.opts.Account.Bucket(name) },
		"DomainName":          bucketHost("BUCKET.s3.amazonaws.com"),
		"RegionalDomainName":  bucketHost("BUCKET.s3.REGION.amazonaws.com"),
		"DualStackDomainName": bucketHost("BUCKET.s3.dualstack.REGION.amazonaws.com"),
	},
	make: func(b *build, r *resource, p *properties) bool {
		name, ok := b.physical(r)
		if !ok {
			return true
		}
		if !object.ValidBucketName(name) {
			p.tell("BucketName", "%q is no name of a bucket: 3 to 63 of a-z, 0-9, . and -", name)
		}
		if acl := p.text("AccessControl"); strings.HasPrefix(acl, "Public") {
			p.tell("AccessControl", "%s is not supported by this version of Millrace: no bucket is public", acl)
		}
		b.buckets = append(b.buckets, &bucketSpec{r, name, p.tags("Tags")})
		return true
	},
}
