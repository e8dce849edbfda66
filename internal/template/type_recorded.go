package template

import (
	"crypto/sha256"
	"encoding/base32"
)

const (
	logsNote      = "access logs that name the group go to a file of its name (docs/logs.md)"
	retentionNote = "files are rotated by size and count (logs.max-size, logs.keep)"
)

// recordedTypes are checked and kept in the stack's record; the node does nothing with them.
var recordedTypes = []*resourceType{
	{
		name: "AWS::IAM::Role", nameProperty: "RoleName", note: "- " + rolesNote,
		properties: map[string]string{
			"RoleName": served, "AssumeRolePolicyDocument": rolesNote, "Policies": rolesNote, "ManagedPolicyArns": rolesNote,
			"Path": rolesNote, "Description": rolesNote, "MaxSessionDuration": rolesNote, "PermissionsBoundary": rolesNote, "Tags": rolesNote,
		},
		required: []string{"AssumeRolePolicyDocument"},
		generate: func(b *build, r *resource) string { return b.madeUp(r, 64) },
		attributes: map[string]func(*build, *resource, string) string{
			"Arn": func(b *build, _ *resource, name string) string { return b.t.opts.Account.Role(name) },
			// An id that is made of the name, so that it stays the same: nothing looks it up.
			"RoleId": func(_ *build, _ *resource, name string) string {
				sum := sha256.Sum256([]byte(name))
				return "AROA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
			},
		},
		make: keepRecord,
	},
	{
		name: "AWS::IAM::Policy", nameProperty: "PolicyName", note: "- " + rolesNote,
		properties: map[string]string{"PolicyName": served, "PolicyDocument": rolesNote, "Roles": rolesNote, "Users": rolesNote, "Groups": rolesNote},
		required:   []string{"PolicyName", "PolicyDocument"},
		make:       keepRecord,
	},
	{
		name: "AWS::IAM::ManagedPolicy", nameProperty: "ManagedPolicyName", note: "- " + rolesNote,
		properties: map[string]string{"ManagedPolicyName": served, "PolicyDocument": rolesNote, "Roles": rolesNote, "Users": rolesNote,
			"Groups": rolesNote, "Description": rolesNote, "Path": rolesNote},
		required: []string{"PolicyDocument"},
		ref:      policyARN, attributes: map[string]func(*build, *resource, string) string{"PolicyArn": policyARN},
		make: keepRecord,
	},
	{
		name: "AWS::Logs::LogGroup", nameProperty: "LogGroupName", note: "- " + logsNote,
		properties: map[string]string{"LogGroupName": served, "RetentionInDays": retentionNote,
			"KmsKeyId": logsNote, "LogGroupClass": logsNote, "Tags": logsNote},
		attributes: map[string]func(*build, *resource, string) string{
			"Arn": func(b *build, _ *resource, name string) string { return b.t.opts.Account.LogGroup(name) + ":*" },
		},
		make: keepRecord,
	},
	{
		name: "AWS::Logs::LogStream", nameProperty: "LogStreamName", note: "- " + logsNote,
		properties: map[string]string{"LogStreamName": served, "LogGroupName": logsNote},
		make:       keepRecord,
	},
	{
		name: "AWS::CertificateManager::Certificate", note: "- " + listenerTLS,
		properties: map[string]string{"DomainName": listenerTLS, "SubjectAlternativeNames": listenerTLS, "ValidationMethod": listenerTLS,
			"DomainValidationOptions": listenerTLS, "KeyAlgorithm": listenerTLS, "CertificateTransparencyLoggingPreference": listenerTLS,
			"Tags": listenerTLS},
		required: []string{"DomainName"},
		generate: func(b *build, _ *resource) string {
			a := b.t.opts.Account
			return "arn:" + a.Partition + ":acm:" + a.Region + ":" + a.ID + ":certificate/" + b.source.UUID()
		},
		make: keepRecord,
	},
	{
		name: "AWS::Route53::RecordSet", note: "- " + noDNS,
		properties: map[string]string{"Name": noDNS, "Type": noDNS, "HostedZoneId": noDNS, "HostedZoneName": noDNS, "AliasTarget": noDNS,
			"TTL": noDNS, "ResourceRecords": noDNS, "SetIdentifier": noDNS, "Region": noDNS, "Weight": noDNS, "Comment": noDNS},
		required: []string{"Name", "Type"},
		make:     keepRecord,
	},
	{
		name: "AWS::CDK::Metadata", note: "- does nothing in the service too",
		properties: map[string]string{"Analytics": "does nothing in the service too", "Modules": "does nothing in the service too"},
		make:       keepRecord,
	},
}

const noDNS = "names are not resolved here: lead the domain name to this node"

func policyARN(b *build, _ *resource, name string) string {
	a := b.t.opts.Account
	return "arn:" + a.Partition + ":iam::" + a.ID + ":policy/" + name
}

func keepRecord(b *build, r *resource, _ *properties) bool {
	if _, ok := b.physical(r); ok {
		b.others = append(b.others, r)
	}
	return true
}
