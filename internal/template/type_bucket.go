package template

import (
	"context"
	"maps"
	"slices"
	"strings"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

type bucketSpec struct {
	*resource
	name string
	tags map[string]string
	// settings that the file states, by name, as the store keeps them; empty: as a fresh bucket has it. What the file does
	// not state is left as it is.
	settings map[string]string
}

func bucketHost(form string) func(*build, *resource, string) string {
	return func(b *build, _ *resource, name string) string {
		return strings.NewReplacer("BUCKET", name, "REGION", b.t.opts.Account.Region).Replace(form)
	}
}

// The properties state what holds of every bucket: they are kept with it and shown by the API. Those that would change
// what happens, and values that would, are refused.
var bucketType = &resourceType{
	name: "AWS::S3::Bucket", nameProperty: "BucketName",
	note: "configurations are kept with the bucket and shown by the API, as they are when they are put there; what a file does not state is left as it is",
	properties: map[string]string{
		"BucketName": served, "Tags": served,
		"PublicAccessBlockConfiguration": "kept and shown: nothing is public whatever it says",
		"BucketEncryption":               "AES256, kept and shown: encryption at rest is the disk's; keys of KMS are refused",
		"OwnershipControls":              "BucketOwnerEnforced: there is one owner; others let ACLs in and are refused",
		"AccessControl":                  "Private and BucketOwnerFullControl: there are no ACLs; others are refused",
		"VersioningConfiguration":        "Suspended, kept and shown; Enabled is refused",
		"AccelerateConfiguration":        "Suspended, kept and shown; Enabled is refused",
		"ObjectLockEnabled":              "false; true is refused",
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
		if p.has("AccessControl") {
			p.choice("AccessControl", "there are no ACLs", []string{"Private", "BucketOwnerFullControl"},
				"PublicRead", "PublicReadWrite", "AuthenticatedRead", "LogDeliveryWrite", "BucketOwnerRead", "AwsExecRead")
		}
		if p.boolean("ObjectLockEnabled") {
			p.tell("ObjectLockEnabled", "true is not supported by this version of Millrace: objects can't be locked")
		}
		b.buckets = append(b.buckets, &bucketSpec{r, name, p.tags("Tags"), p.bucketSettings()})
		return true
	},
}

// bucketSettings reads the configurations.
func (p *properties) bucketSettings() map[string]string {
	s := map[string]string{}
	if v := p.nested("VersioningConfiguration"); v != nil {
		v.only("Status")
		s[object.SettingVersioning] = v.choice("Status", "one version of an object is kept", []string{"Suspended"}, "Enabled")
	}
	if a := p.nested("AccelerateConfiguration"); a != nil {
		a.only("AccelerationStatus")
		s[object.SettingAccelerate] = a.choice("AccelerationStatus", "there is one way to a bucket", []string{"Suspended"}, "Enabled")
	}
	if a := p.nested("PublicAccessBlockConfiguration"); a != nil {
		a.only("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
		s[object.SettingPublicAccess] = object.PublicAccessSetting(object.PublicAccess{
			BlockACLs: a.boolean("BlockPublicAcls"), IgnoreACLs: a.boolean("IgnorePublicAcls"),
			BlockPolicy: a.boolean("BlockPublicPolicy"), RestrictBuckets: a.boolean("RestrictPublicBuckets")})
	}
	if o := p.nested("OwnershipControls"); o != nil {
		o.only("Rules")
		if rule := o.oneOf("Rules"); rule != nil {
			rule.only("ObjectOwnership")
			rule.choice("ObjectOwnership", "it lets ACLs in", []string{"BucketOwnerEnforced"}, "BucketOwnerPreferred", "ObjectWriter")
			s[object.SettingOwnership] = ""
		}
	}
	if e := p.nested("BucketEncryption"); e != nil {
		e.only("ServerSideEncryptionConfiguration")
		if rule := e.oneOf("ServerSideEncryptionConfiguration"); rule != nil {
			s[object.SettingEncryption] = rule.encryption()
		}
	}
	return s
}

// encryption reads the rule of a BucketEncryption.
func (p *properties) encryption() string {
	p.only("ServerSideEncryptionByDefault", "BucketKeyEnabled", "BlockedEncryptionTypes")
	if by := p.nested("ServerSideEncryptionByDefault"); by != nil {
		by.only("SSEAlgorithm", "KMSMasterKeyID")
		by.choice("SSEAlgorithm", "there are no keys of KMS", []string{"AES256"}, "aws:kms", "aws:kms:dsse")
		if by.has("KMSMasterKeyID") && by.text("SSEAlgorithm") == "AES256" {
			by.tell("KMSMasterKeyID", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
		}
	}
	var blocked []string
	if list := p.nested("BlockedEncryptionTypes"); list != nil {
		list.only("EncryptionType")
		blocked = list.texts("EncryptionType")
		for _, kind := range blocked {
			if kind != "SSE-C" && kind != "NONE" { // keys of customers are refused, blocked or not
				list.tell("EncryptionType", "%q is neither SSE-C nor NONE", kind)
			}
		}
	}
	return object.EncryptionSetting(p.boolean("BucketKeyEnabled"), blocked)
}

// choice reads a text that is one of those taken. Others that the service knows are refused with the reason.
func (p *properties) choice(name, why string, taken []string, refused ...string) string {
	text := p.text(name)
	switch {
	case slices.Contains(taken, text):
	case slices.Contains(refused, text):
		p.tell(name, "%s is not supported by this version of Millrace: %s", text, why)
	default:
		p.tell(name, "%q is none of %s", text, strings.Join(append(slices.Clone(taken), refused...), ", "))
	}
	return text
}

// oneOf gives the one mapping of a list that has one.
func (p *properties) oneOf(name string) *properties {
	list := p.list(name)
	if len(list) == 1 {
		return list[0]
	}
	if len(list) > 1 || p.has(name) {
		p.tell(name, "has one rule, not %d", len(list))
	} else {
		p.tell(name, "is required")
	}
	return nil
}

func (p *planner) bucket(s *bucketSpec) {
	if !p.own(s.resource, s.name) {
		return
	}
	have, err := p.target.Buckets.Bucket(p.ctx, s.name)
	if err == nil {
		p.takenOver(s.resource, s.name)
	} else if !fault.Is(err, fault.NotFound) {
		p.refuse(s.resource, "", "%v", err)
		return
	}
	found := err == nil
	var what, changed []string
	if found && !maps.Equal(have.Tags, s.tags) {
		what = append(what, "tags")
	}
	for _, setting := range slices.Sorted(maps.Keys(s.settings)) {
		if have.Settings[setting] == s.settings[setting] {
			continue
		}
		if !p.target.Buckets.KeepsSettings() {
			p.refuse(s.resource, settingProperties[setting], "the bucket lies in another service, where this is set")
			return
		}
		changed = append(changed, setting)
	}
	run := func(ctx context.Context) error {
		if found && !maps.Equal(have.Tags, s.tags) {
			if err := p.target.Buckets.TagBucket(ctx, s.name, s.tags); err != nil {
				return err
			}
		}
		for _, setting := range changed {
			if err := p.target.Buckets.SetBucket(ctx, s.name, setting, s.settings[setting]); err != nil {
				return err
			}
		}
		return nil
	}
	switch what = append(what, changed...); {
	case !found:
		p.add(Create, s.resource, s.name, "", func(ctx context.Context) error {
			err := p.target.Buckets.CreateBucket(ctx, object.Bucket{
				Name: s.name, Region: p.b.t.opts.Account.Region, Created: p.target.Now(), Tags: s.tags})
			if err != nil {
				return err
			}
			return run(ctx)
		})
	case len(what) > 0:
		p.add(Update, s.resource, s.name, strings.Join(what, ", "), run)
	default:
		p.add(Keep, s.resource, s.name, "", nil)
	}
}

// settingProperties are the properties that settings come from.
var settingProperties = map[string]string{
	object.SettingVersioning: "VersioningConfiguration", object.SettingAccelerate: "AccelerateConfiguration",
	object.SettingEncryption: "BucketEncryption", object.SettingPublicAccess: "PublicAccessBlockConfiguration",
	object.SettingOwnership: "OwnershipControls",
}
