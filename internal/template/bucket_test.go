package template

import (
	"maps"
	"strings"
	"testing"

	"millrace/internal/object"
)

const guardedBucket = `Resources:
  B:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: guarded
      AccessControl: Private
      ObjectLockEnabled: false
      VersioningConfiguration: {Status: Suspended}
      AccelerateConfiguration: {AccelerationStatus: Suspended}
      PublicAccessBlockConfiguration: {BlockPublicAcls: true, IgnorePublicAcls: "true", BlockPublicPolicy: true, RestrictPublicBuckets: true}
      OwnershipControls: {Rules: [{ObjectOwnership: BucketOwnerEnforced}]}
      BucketEncryption:
        ServerSideEncryptionConfiguration:
          - {ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}, BucketKeyEnabled: true, BlockedEncryptionTypes: {EncryptionType: [SSE-C]}}
      Tags: [{Key: a, Value: b}]
  P:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref B
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Deny
            Principal: "*"
            Action: "s3:*"
            Resource: [!GetAtt B.Arn, !Sub "${B.Arn}/*"]
            Condition: {Bool: {aws:SecureTransport: "false"}}
Outputs: {Policy: {Value: !Ref P}}
`

const guardedPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::guarded",` +
	`"arn:aws:s3:::guarded/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`

// What a file states of a bucket is kept with it as the API keeps it, stays as it is in the next run, changes in place, is
// put right where others have changed it, and goes with --prune, the policy before the bucket.
func TestBucketSettings(t *testing.T) {
	n := newNode(t)
	plan, outputs, err := n.up("t.yaml", guardedBucket, Options{Stack: "s"}, false)
	if err != nil || outputs[0].Value != "guarded" {
		t.Fatal(outputs, err)
	}
	if b, p := strings.Index(plan, "+ S3::Bucket B (guarded)"), strings.Index(plan, "+ S3::BucketPolicy P (guarded)"); b < 0 || p < b {
		t.Errorf("the policy comes before its bucket, or not at all:\n%s", plan)
	}
	want := map[string]string{"versioning": "Suspended", "accelerate": "Suspended", "encryption": "key,SSE-C", "policy": guardedPolicy}
	check := func() {
		t.Helper()
		have, err := n.objects.Bucket(t.Context(), "guarded")
		if err != nil || !maps.Equal(have.Settings, want) || have.Tags["a"] != "b" {
			t.Errorf("got %v %v\nwant %v", have, err, want)
		}
	}
	check()
	run := func(body, line string) {
		t.Helper()
		if plan := n.mustUp(body, Options{Stack: "s"}, false); !strings.Contains(plan, line) {
			t.Errorf("no %q in\n%s", line, plan)
		}
		check()
	}
	if plan := n.mustUp(guardedBucket, Options{Stack: "s"}, false); strings.ContainsAny(plan[strings.Index(plan, "\n"):], "+~-?") {
		t.Errorf("a second run changes something:\n%s", plan)
	}
	if err := n.objects.SetBucket(t.Context(), "guarded", object.SettingOwnership, object.SettingNone); err != nil {
		t.Fatal(err)
	}
	run(guardedBucket, "~ S3::Bucket B (guarded): ownership-controls")
	if err := n.objects.SetBucket(t.Context(), "guarded", object.SettingPolicy, `{}`); err != nil {
		t.Fatal(err)
	}
	run(guardedBucket, "~ S3::BucketPolicy P (guarded)")

	open := strings.Replace(guardedBucket, "BlockPublicAcls: true, ", "", 1)
	want["public-access-block"] = "0111"
	run(open, "~ S3::Bucket B (guarded): public-access-block")
	// A policy may be written as JSON, too.
	at := strings.Index(open, "      PolicyDocument:")
	run(open[:at]+"      PolicyDocument: '"+guardedPolicy+"'\n", "= S3::BucketPolicy P (guarded)")
	// What the file does not state is left as it is.
	plain := "Resources: \n  B: {Type: AWS::S3::Bucket, Properties: {BucketName: guarded, Tags: [{Key: a, Value: b}]}}\n"
	run(plain, "= S3::Bucket B (guarded)")
	run(plain, "? S3::BucketPolicy P (guarded): kept; --prune removes it")
	n.mustUp(plain, Options{Stack: "s"}, true)
	delete(want, "policy")
	check()
	n.mustUp(guardedBucket, Options{Stack: "s"}, false)
	if plan := n.mustUp("Resources: \n  S: {Type: AWS::Kinesis::Stream}\n", Options{Stack: "s"}, true); strings.Index(plan, "- S3::BucketPolicy P") > strings.Index(plan, "- S3::Bucket B") {
		t.Errorf("the bucket goes before its policy:\n%s", plan)
	}
	if _, err := n.objects.Bucket(t.Context(), "guarded"); err == nil {
		t.Error("the bucket is still there")
	}
}

// A policy that was there before the stack outlives it; one for a bucket that is nowhere has no place.
func TestBucketPolicyOfOthers(t *testing.T) {
	n := newNode(t)
	policy := "Resources:\n  P:\n    Type: AWS::S3::BucketPolicy\n    Properties:\n      Bucket: guarded\n      PolicyDocument: '" + guardedPolicy + "'\n"
	if _, _, err := n.up("t.yaml", policy, Options{Stack: "s"}, false); err == nil ||
		!strings.Contains(err.Error(), "t.yaml:5:15: Resources.P.Properties.Bucket: there is no bucket guarded, in the file or on the node") {
		t.Errorf("got %v", err)
	}
	if err := n.objects.CreateBucket(t.Context(), object.Bucket{Name: "guarded", Settings: map[string]string{object.SettingPolicy: "{}"}}); err != nil {
		t.Fatal(err)
	}
	if plan := n.mustUp(policy, Options{Stack: "s"}, false); !strings.Contains(plan, "was there before this stack") {
		t.Errorf("got\n%s", plan)
	}
	if plan := n.mustUp("Resources: \n  S: {Type: AWS::Kinesis::Stream}\n", Options{Stack: "s"}, true); !strings.Contains(plan, "? S3::BucketPolicy P (guarded): kept, as it was there") {
		t.Errorf("got\n%s", plan)
	}
	if n.objects.BucketSetting("guarded", object.SettingPolicy) != guardedPolicy {
		t.Error("the policy has gone")
	}
}

// foreignBuckets lie in another service, which has its own settings.
type foreignBuckets struct{ Buckets }

func (foreignBuckets) KeepsSettings() bool { return false }

// What a bucket in another service would have to be told is refused before anything is done; what holds anyway is not.
func TestBucketSettingsOfAnotherService(t *testing.T) {
	n := newNode(t)
	n.Buckets = foreignBuckets{n.objects}
	for _, c := range []struct{ body, want string }{
		{guardedBucket, "Resources.B.Properties.AccelerateConfiguration: the bucket lies in another service, where this is set"},
		{guardedBucket, "Resources.P.Properties.PolicyDocument: the bucket lies in another service, where its policy is put"},
	} {
		if _, _, err := n.up("t.yaml", c.body, Options{}, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
	if list, err := n.objects.Buckets(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("made %v %v", list, err)
	}
	n.mustUp("Resources:\n  B: {Type: AWS::S3::Bucket, Properties: {PublicAccessBlockConfiguration: "+
		"{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}}}\n", Options{}, false)
}
