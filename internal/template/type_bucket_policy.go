package template

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/policy"
	"millrace/internal/yamldoc"
)

// policySpec is what the file says of a bucket's policy.
type policySpec struct {
	*resource
	bucket, text string
	node         *yaml.Node // of the properties
}

const bucketPolicyName = "AWS::S3::BucketPolicy"

var bucketPolicyType = &resourceType{
	name: bucketPolicyName,
	note: "denials are evaluated (conditions aws:SecureTransport, s3:TlsVersion, aws:SourceIp) in calls of the API, not of what delivery streams write; " +
		"what is allowed to the account and to services is kept; public policies and what else would change who may do what are refused",
	properties: map[string]string{"Bucket": served, "PolicyDocument": served},
	required:   []string{"Bucket", "PolicyDocument"},
	// A policy is known by its bucket.
	generate: func(b *build, r *resource) string {
		name, _ := b.text(yamldoc.Get(r.properties, "Bucket"), "Resources."+r.logical+".Properties.Bucket")
		return name
	},
	made: true,
	make: func(b *build, r *resource, p *properties) bool {
		name, ok := b.physical(r)
		document := yamldoc.Get(p.node, "PolicyDocument")
		if !ok || name == "" || document == nil {
			return true
		}
		for _, s := range b.policies {
			if s.bucket == name {
				p.tell("Bucket", "%s has the policy %s already: a bucket has one", name, s.logical)
				return true
			}
		}
		text, isText := yamldoc.Text(document)
		if !isText {
			text = string(yamldoc.JSON(document))
		}
		a := b.t.opts.Account
		if _, err := policy.ParseBucket([]byte(text), policy.BucketScope{Partition: a.Partition, Account: a.ID, Bucket: name}); err != nil {
			n, where := locate(document, p.at("PolicyDocument"), statementIndex.ReplaceAllStringFunc(err.Error(), countedFromOne))
			b.tell(n, where, "%s", err)
			return true
		}
		b.policies = append(b.policies, &policySpec{r, name, text, p.node})
		return true
	},
}

// statementIndex is how package policy names a statement, and countedFromOne how locate wants it: "Statement.1".
var statementIndex = regexp.MustCompile(`\[\d+\]`)

func countedFromOne(index string) string {
	i, _ := strconv.Atoi(index[1 : len(index)-1])
	return fmt.Sprintf(".%d", i+1)
}

func (p *planner) bucketPolicy(s *policySpec) {
	if !p.own(s.resource, s.bucket) {
		return
	}
	have, err := p.target.Buckets.Bucket(p.ctx, s.bucket)
	switch {
	case fault.Is(err, fault.NotFound) && !known(p.b.buckets, func(b *bucketSpec) bool { return b.name == s.bucket }):
		p.refuse(s.resource, "Bucket", "there is no bucket %s, in the file or on the node", s.bucket)
		return
	case err != nil && !fault.Is(err, fault.NotFound):
		p.refuse(s.resource, "Bucket", "%v", err)
		return
	case !p.target.Buckets.KeepsSettings():
		p.refuse(s.resource, "PolicyDocument", "the bucket lies in another service, where its policy is put")
		return
	}
	run := func(ctx context.Context) error {
		return p.target.Buckets.SetBucket(ctx, s.bucket, object.SettingPolicy, s.text)
	}
	switch have.Settings[object.SettingPolicy] {
	case "":
		p.add(Create, s.resource, s.bucket, "", run)
		return
	case s.text:
		p.add(Keep, s.resource, s.bucket, "", nil)
	default:
		p.add(Update, s.resource, s.bucket, "", run)
	}
	p.takenOver(s.resource, s.bucket)
}
