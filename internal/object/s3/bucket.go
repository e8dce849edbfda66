package s3

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/internal/fault"
	"millrace/internal/object"
)

const (
	bucketPage = 1000
	// maxBuckets bounds what one listing holds in memory; an account has 10,000 buckets unless it asks for more.
	maxBuckets = 100_000
)

// CreateBucket makes a bucket. The time of its making is the service's, whatever b says.
func (s *Store) CreateBucket(ctx context.Context, b object.Bucket) error {
	const op = "object.CreateBucket"
	if !object.ValidBucketName(b.Name) {
		return fault.New(fault.Invalid, op, b.Name, "not a bucket name")
	}
	// The first region answers with success when its owner creates a bucket again, so it is looked for. Who creates it
	// at the same moment is not noticed there.
	exists, err := s.hasBucket(ctx, op, b.Name)
	if err != nil {
		return err
	}
	if exists {
		return fault.New(fault.InUse, op, b.Name, "%w", object.ErrBucketExists)
	}
	in := &s3.CreateBucketInput{Bucket: &b.Name}
	if b.Region != "" && b.Region != firstRegion {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(b.Region)}
	}
	if _, err := s.client.CreateBucket(ctx, in); err != nil {
		return wordError(op, place{bucket: b.Name}, err)
	}
	if len(b.Tags) == 0 {
		return nil
	}
	return s.TagBucket(ctx, b.Name, b.Tags)
}

// hasBucket reports whether a bucket exists. One that exists and is another's counts.
func (s *Store) hasBucket(ctx context.Context, op, name string) (bool, error) {
	_, err := s.headBucket(ctx, op, name)
	switch {
	case err == nil, fault.Is(err, fault.Denied), fault.Is(err, fault.Invalid):
		return true, nil
	case fault.Is(err, fault.NotFound):
		return false, nil
	}
	return false, err
}

func (s *Store) headBucket(ctx context.Context, op, name string) (*s3.HeadBucketOutput, error) {
	answer, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	if err != nil {
		return nil, wordError(op, place{bucket: name}, err)
	}
	return answer, nil
}

// DeleteBucket removes an empty bucket. The service may take one with uploads for empty, so they are looked for.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	const op = "object.DeleteBucket"
	if err := checkBucket(op, name); err != nil {
		return err
	}
	at := place{bucket: name}
	uploads, err := s.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &name, MaxUploads: aws.Int32(1)})
	if err != nil {
		return wordError(op, at, err)
	}
	if len(uploads.Uploads) > 0 {
		return fault.New(fault.InUse, op, name, "%w", object.ErrBucketNotEmpty)
	}
	if _, err := s.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name}); err != nil {
		return wordError(op, at, err)
	}
	return nil
}

// Bucket describes a bucket. Who may not list buckets, or read their tags, gets neither time nor tags.
func (s *Store) Bucket(ctx context.Context, name string) (object.Bucket, error) {
	const op = "object.Bucket"
	if err := checkBucket(op, name); err != nil {
		return object.Bucket{}, err
	}
	head, err := s.headBucket(ctx, op, name)
	if err != nil {
		return object.Bucket{}, err
	}
	b := object.Bucket{Name: name, Region: aws.ToString(head.BucketRegion)}
	listed, err := s.listBuckets(ctx, op, name)
	if err != nil && !fault.Is(err, fault.Denied) {
		return b, err
	}
	if i := slices.IndexFunc(listed, func(l object.Bucket) bool { return l.Name == name }); i >= 0 {
		b.Created = listed[i].Created
	}
	tags, err := s.client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &name})
	switch code, _ := codeOf(err); {
	case err == nil:
		b.Tags = tagMap(tags.TagSet)
	case code == "NoSuchTagSet":
	default:
		if err := wordError(op, place{bucket: name}, err); !fault.Is(err, fault.Denied) {
			return b, err
		}
	}
	return b, nil
}

// Buckets lists the buckets of the credentials' account.
func (s *Store) Buckets(ctx context.Context) ([]object.Bucket, error) {
	return s.listBuckets(ctx, "object.Buckets", "")
}

func (s *Store) listBuckets(ctx context.Context, op, prefix string) ([]object.Bucket, error) {
	var all []object.Bucket
	in := &s3.ListBucketsInput{Prefix: orNil(prefix), MaxBuckets: aws.Int32(bucketPage)}
	for {
		answer, err := s.client.ListBuckets(ctx, in)
		if err != nil {
			return nil, wordError(op, place{bucket: prefix}, err)
		}
		for _, b := range answer.Buckets {
			all = append(all, object.Bucket{Name: aws.ToString(b.Name), Region: aws.ToString(b.BucketRegion), Created: utc(b.CreationDate)})
		}
		next := aws.ToString(answer.ContinuationToken)
		if next == "" || next == aws.ToString(in.ContinuationToken) {
			break
		}
		if len(all) >= maxBuckets {
			return nil, fault.New(fault.LimitExceeded, op, "", "the account has more than %d buckets", maxBuckets)
		}
		in.ContinuationToken = &next
	}
	slices.SortFunc(all, func(a, b object.Bucket) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// SetBucket refuses: see the package.
func (s *Store) SetBucket(ctx context.Context, name, setting, _ string) error {
	const op = "object.SetBucket"
	if err := checkBucket(op, name); err != nil {
		return err
	}
	if _, err := s.headBucket(ctx, op, name); err != nil {
		return err
	}
	return fault.New(fault.Unsupported, op, name, "the setting %s: the bucket lies in another service, where it is set", setting)
}

// KeepsSettings says no: see the package.
func (s *Store) KeepsSettings() bool { return false }

// BucketSetting gives none: see the package.
func (s *Store) BucketSetting(string, string) string { return "" }

// TagBucket replaces the tags of a bucket.
func (s *Store) TagBucket(ctx context.Context, name string, tags map[string]string) error {
	const op = "object.TagBucket"
	if err := checkBucket(op, name); err != nil {
		return err
	}
	var err error
	if len(tags) == 0 {
		_, err = s.client.DeleteBucketTagging(ctx, &s3.DeleteBucketTaggingInput{Bucket: &name})
	} else {
		_, err = s.client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &name, Tagging: &types.Tagging{TagSet: tagSet(tags)}})
	}
	if err != nil {
		return wordError(op, place{bucket: name}, err)
	}
	return nil
}
