package policy

import (
	"errors"
	"strings"
	"testing"
)

var bucketScope = BucketScope{Partition: "aws", Account: "000000000000", Bucket: "events"}

func statementsOf(list ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
}

const secureOnly = `{"Sid":"TLS","Effect":"Deny","Principal":"*","Action":"s3:*",
	"Resource":["arn:aws:s3:::events","arn:aws:s3:::events/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`

func TestBucketDenials(t *testing.T) {
	f := func(statement string, c BucketCall, want bool) {
		t.Helper()
		p, err := ParseBucket([]byte(statementsOf(statement)), bucketScope)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		if got := p.Denies(&c); got != want {
			t.Errorf("%s denies %+v: %v", statement, c, got)
		}
	}
	get := BucketCall{Action: "s3:GetObject", Key: "a/b", SourceIP: "192.0.2.7"}
	secure := get
	secure.Secure, secure.TLS = true, 1.3
	list := BucketCall{Action: "s3:ListBucket"}
	f(secureOnly, get, true)
	f(secureOnly, list, true)
	f(secureOnly, secure, false)
	deny := func(action, resource, condition string) string {
		return `{"Effect":"Deny","Principal":{"AWS":"*"},"Action":` + action + `,"Resource":"` + resource + `"` + condition + `}`
	}
	f(deny(`"s3:Get*"`, "arn:aws:s3:::events/*", ""), get, true)
	f(deny(`"S3:getobject"`, "arn:aws:s3:::events/*", ""), get, true)
	f(deny(`["s3:PutObject","s3:DeleteObject"]`, "arn:aws:s3:::events/*", ""), get, false)
	f(deny(`"*"`, "arn:aws:s3:::events/a/*", ""), get, true)
	f(deny(`"*"`, "arn:aws:s3:::events/c/*", ""), get, false)
	f(deny(`"*"`, "arn:aws:s3:::events/*", ""), list, false)
	f(deny(`"*"`, "arn:aws:s3:::events", ""), list, true)
	f(deny(`"*"`, "arn:aws:s3:::events", ""), get, false)
	f(deny(`"*"`, "arn:aws:s3:::ev*", ""), get, true)
	f(deny(`"*"`, "*", ""), get, true)
	f(deny(`"*"`, "*", `,"Condition":{"NumericLessThan":{"s3:TlsVersion":1.2}}`), secure, false)
	f(deny(`"*"`, "*", `,"Condition":{"NumericLessThan":{"s3:TlsVersion":["1.4"]}}`), secure, true)
	f(deny(`"*"`, "*", `,"Condition":{"NumericLessThan":{"s3:TlsVersion":1.2}}`), get, false)
	f(deny(`"*"`, "*", `,"Condition":{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), get, false)
	f(deny(`"*"`, "*", `,"Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), get, true)
	f(deny(`"*"`, "*", `,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"Bool":{"aws:SecureTransport":true}}`), get, false)
	allow := func(principal, condition string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::events/*"` + condition + `}`
	}
	f(allow(`{"Service":"serverlessrepo.amazonaws.com"}`, `,"Condition":{"StringEquals":{"aws:SourceAccount":"000000000000"}}`), get, false)
	f(allow(`{"AWS":["000000000000","arn:aws:iam::000000000000:role/r"]}`, ""), get, false)
	f(allow(`"*"`, `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), get, false)
}

// What would change who may do what and is not evaluated is refused by name, and so is what is no policy.
func TestBucketPoliciesRefused(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := ParseBucket([]byte(text), bucketScope)
		var what *UnsupportedError
		switch {
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %q", text, err, want)
		case strings.Contains(want, "not supported") != errors.As(err, &what), strings.Contains(want, "public") != errors.Is(err, ErrPublic):
			t.Errorf("%s: %T", text, err)
		}
	}
	s := func(effect, principal, action, resource, rest string) string {
		return statementsOf(`{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"` + action + `","Resource":"` + resource + `"` + rest + `}`)
	}
	const all = "arn:aws:s3:::events/*"
	f("", "JSON")
	f("[]", "JSON object")
	f(`{"Version":"2012-10-17"}`, "Statement: is required")
	f(`{"Version":"2012","Statement":[]}`, "Version")
	f(statementsOf(), "0 statements")
	f(statementsOf(`{"Effect":"Deny","Action":"s3:*","Resource":"*"}`), "Principal: is required")
	f(s("Allow", `"*"`, "s3:GetObject", all, ""), "public")
	f(s("Allow", `{"AWS":"*"}`, "s3:GetObject", all, `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), "public")
	f(s("Allow", `"*"`, "s3:GetObject", all, `,"Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}`), "public")
	f(s("Allow", `"*"`, "s3:GetObject", all, `,"Condition":{"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), "public")
	f(s("Allow", `{"AWS":"111122223333"}`, "s3:GetObject", all, ""), `"111122223333" is not supported`)
	f(s("Allow", `{"CanonicalUser":"x"}`, "s3:GetObject", all, ""), "not supported")
	f(s("Deny", `{"AWS":"arn:aws:iam::000000000000:role/r"}`, "s3:GetObject", all, ""), "single principals is not supported")
	f(s("Deny", `"*"`, "s3:PutObject", all, `,"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}`), "s3:x-amz-server-side-encryption in a denial is not supported")
	f(s("Deny", `"*"`, "s3:*", all, `,"NotAction":"x"`), "NotAction is not supported")
	f(s("Deny", `"*"`, "ec2:*", all, ""), "no action of Amazon S3")
	f(s("Deny", `"*"`, "s3:*", "arn:aws:s3:::other/*", ""), "neither this bucket nor in it")
	f(s("Deny", `"*"`, "s3:*", "arn:aws:s3:::eventsandmore/*", ""), "neither this bucket nor in it")
	f(s("Deny", `"*"`, "s3:*", "arn:aws:s3:::events/${aws:username}/*", ""), "not supported")
	f(s("Maybe", `"*"`, "s3:*", all, ""), "Effect")
	f(strings.Repeat(" ", MaxBucketBytes+1), "at most")
}

// A policy is read or refused, and what is read can be evaluated.
func FuzzBucketPolicy(f *testing.F) {
	f.Add(statementsOf(secureOnly), "a/b")
	f.Add(statementsOf(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}`), "")
	f.Fuzz(func(t *testing.T, text, key string) {
		p, err := ParseBucket([]byte(text), bucketScope)
		if err != nil {
			return
		}
		p.Denies(&BucketCall{Action: "s3:GetObject", Key: key})
	})
}
