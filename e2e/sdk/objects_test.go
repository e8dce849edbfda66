package sdk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"millrace/e2e/node"
)

// Objects: put whole and in parts, read whole and in ranges, listed, copied, deleted; and plain files all the while.
func TestObjects(t *testing.T) {
	n := up(t, node.Options{})
	c := clientsOf(n, "AKIDEXAMPLE", "anything").s3
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bucket, key := aws.String("things"), aws.String("folder/größe 1+1=2.bin")
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	large := pattern(11 << 20) // three parts
	if err := putInParts(ctx, c, bucket, key, large, 5<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("small"), Body: bytes.NewReader([]byte("hello")),
		ContentType: aws.String("text/x-greeting"), Metadata: map[string]string{"from": "here"}}); err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile(filepath.Join(n.Data, "s3", *bucket, *key))
	if err != nil || !bytes.Equal(plain, large) {
		t.Errorf("the plain file has %d bytes, %v", len(plain), err)
	}
	part, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=16-31")})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(part.Body)
	part.Body.Close()
	if string(text) != "0123456789abcdef" || err != nil || aws.ToString(part.ContentRange) != "bytes 16-31/11534336" {
		t.Errorf("%q of %s, %v", text, aws.ToString(part.ContentRange), err)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("small")})
	if err != nil || aws.ToInt64(head.ContentLength) != 5 || aws.ToString(head.ContentType) != "text/x-greeting" || head.Metadata["from"] != "here" {
		t.Errorf("%+v, %v", head, err)
	}
	listed, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/")})
	if err != nil || len(listed.Contents) != 1 || len(listed.CommonPrefixes) != 1 || *listed.CommonPrefixes[0].Prefix != "folder/" {
		t.Errorf("%+v, %v", listed, err)
	}
	_, err = c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "BucketNotEmpty" {
		t.Errorf("deleting a bucket with objects: %v", err)
	}
	if _, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{
		Objects: []types.ObjectIdentifier{{Key: key}, {Key: aws.String("small")}}}}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}); !isNoSuchKey(err) {
		t.Errorf("an object that is deleted: %v", err)
	}
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}); err != nil {
		t.Error(err)
	}
}

func putInParts(ctx context.Context, c *s3.Client, bucket, key *string, text []byte, part int) error {
	upload, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for n := int32(1); len(text) > 0; n++ {
		size := min(part, len(text))
		out, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: upload.UploadId,
			PartNumber: &n, Body: bytes.NewReader(text[:size])})
		if err != nil {
			return err
		}
		number := n
		parts = append(parts, types.CompletedPart{PartNumber: &number, ETag: out.ETag})
		text = text[size:]
	}
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: upload.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	return err
}

func isNoSuchKey(err error) bool {
	var missing *types.NoSuchKey
	return errors.As(err, &missing)
}

// With credentials configured, a wrong secret and an unknown key are refused by every service, and the right ones work.
func TestCredentials(t *testing.T) {
	n := up(t, node.Options{Args: []string{"--credentials", credentialsFile(t, "AKIDOURS", "s3cr3t")}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	right := clientsOf(n, "AKIDOURS", "s3cr3t")
	if _, err := right.kinesis.ListStreams(ctx, &kinesis.ListStreamsInput{}); err != nil {
		t.Error(err)
	}
	if _, err := right.s3.ListBuckets(ctx, &s3.ListBucketsInput{}); err != nil {
		t.Error(err)
	}
	for _, wrong := range []clients{clientsOf(n, "AKIDOURS", "guess"), clientsOf(n, "AKIDNOBODY", "s3cr3t")} {
		var api smithy.APIError
		if _, err := wrong.kinesis.ListStreams(ctx, &kinesis.ListStreamsInput{}); !errors.As(err, &api) {
			t.Errorf("kinesis let in a stranger: %v", err)
		}
		if _, err := wrong.s3.ListBuckets(ctx, &s3.ListBucketsInput{}); !errors.As(err, &api) {
			t.Errorf("s3 let in a stranger: %v", err)
		}
	}
	// Events need no signature: the API's own definition says who may post.
	status, answer, err := post(ctx, n.Ingest+"/prod/v1/class-stream", "application/json", `{"open": true}`)
	if status != 200 || err != nil {
		t.Error(status, answer, err)
	}
}
