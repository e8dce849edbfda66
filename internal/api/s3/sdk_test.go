//lint:file-ignore SA1019 feature/s3/manager is what most programs still use, and stays a judge as long as they do

package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// endpoint is a server that knows one access key, with a client for it.
func endpoint(t *testing.T, secret string, https bool) (*sdk.Client, *httptest.Server) {
	t.Helper()
	s := service(t, func(o *Options) { o.Now, o.Credentials, o.Store = time.Now, oneKey, realStore(t, time.Now, nil) })
	server := httptest.NewUnstartedServer(s)
	if https {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		BaseEndpoint: aws.String(server.URL), UsePathStyle: true, Region: "us-east-1", HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", secret, ""), Retryer: aws.NopRetryer{},
	}), server
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	if code(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// text is of any length, and no two places look alike.
func text(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// unseekable hides that a body could be read again, which makes the SDK send its checksum behind it.
type unseekable struct{ io.Reader }

// The SDK puts with each checksum, in headers over http and behind the body over https, and checks what it reads.
func TestSDKChecksums(t *testing.T) {
	for _, https := range []bool{false, true} {
		c, _ := endpoint(t, "right", https)
		ctx := t.Context()
		bucket := aws.String("checks")
		if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket}); err != nil {
			t.Fatal(err)
		}
		for _, algorithm := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c,
			types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256} {
			for _, size := range []int{0, 1, 64 << 10, 200_001} {
				key, want := aws.String(fmt.Sprintf("%s-%d", algorithm, size)), text(size)
				in := &sdk.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(want), ChecksumAlgorithm: algorithm}
				if https && size > 0 {
					in.Body, in.ContentLength = unseekable{bytes.NewReader(want)}, aws.Int64(int64(size))
				}
				if _, err := c.PutObject(ctx, in); err != nil {
					t.Fatalf("https %v, %s: %v", https, *key, err)
				}
				got, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(got.Body) // the SDK compares the checksum here
				got.Body.Close()
				if err != nil || !bytes.Equal(b, want) || got.ChecksumType != types.ChecksumTypeFullObject || got.ContentEncoding != nil {
					t.Errorf("https %v, %s: %d bytes, type %s, encoding %v, %v", https, *key, len(b), got.ChecksumType, got.ContentEncoding, err)
				}
			}
		}
	}
}

// One object's life, seen by the SDK.
func TestSDKObjects(t *testing.T) {
	c, _ := endpoint(t, "right", false)
	ctx := t.Context()
	bucket, key := aws.String("things"), aws.String("ordner/größe 1+1=2 %?#.bin")
	if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	put, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("0123456789"), ContentType: aws.String("text/plain"),
		CacheControl: aws.String("max-age=5"), Metadata: map[string]string{"one": "1"}, Tagging: aws.String("k=v"), IfNoneMatch: aws.String("*")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	wantCode(t, err, "PreconditionFailed")
	head, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil || *head.ContentLength != 10 || *head.ETag != *put.ETag || head.Metadata["one"] != "1" || *head.CacheControl != "max-age=5" || *head.TagCount != 1 {
		t.Errorf("%+v, %v", head, err)
	}
	part, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=2-4"), IfMatch: put.ETag})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(part.Body)
	part.Body.Close()
	if string(b) != "234" || *part.ContentRange != "bytes 2-4/10" {
		t.Errorf("%q, %s", b, *part.ContentRange)
	}
	_, err = c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=10-")})
	wantCode(t, err, "InvalidRange")
	if _, err := c.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"),
		CopySource: aws.String("things/ordner/gr%C3%B6%C3%9Fe%201%2B1%3D2%20%25%3F%23.bin")}); err != nil {
		t.Error(err)
	}
	list, err := c.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/"), EncodingType: types.EncodingTypeUrl})
	if err != nil || len(list.Contents) != 1 || *list.Contents[0].Key != "copy" || len(list.CommonPrefixes) != 1 || *list.CommonPrefixes[0].Prefix != "ordner/" {
		t.Errorf("%+v, %v", list, err)
	}
	wantCode(t, second(c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: aws.String("none")})), "NoSuchKey")
	wantCode(t, second(c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: aws.String("none")})), "NotFound")
	wantCode(t, second(c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: bucket})), "BucketNotEmpty")
	gone, err := c.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: key}, {Key: aws.String("copy")}, {Key: aws.String("none")}}}})
	if err != nil || len(gone.Deleted) != 3 || len(gone.Errors) != 0 {
		t.Errorf("%+v, %v", gone, err)
	}
	if _, err := c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: bucket}); err != nil {
		t.Error(err)
	}
	wantCode(t, second(c.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: bucket})), "NoSuchBucket")
}

func second[T any](_ T, err error) error { return err }

// Listings are paged to their end.
func TestSDKPages(t *testing.T) {
	c, _ := endpoint(t, "right", false)
	ctx := t.Context()
	bucket := aws.String("pages")
	if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("%02d/ &<ä", i)
		want = append(want, key)
		if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for p := sdk.NewListObjectsV2Paginator(c, &sdk.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(7)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			got = append(got, *o.Key)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The transfer manager uploads in parts and downloads by ranges; parts are copied, listed, aborted.
func TestSDKParts(t *testing.T) {
	for _, https := range []bool{false, true} {
		c, _ := endpoint(t, "right", https)
		ctx := t.Context()
		bucket, key := aws.String("parts"), aws.String("large")
		if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket}); err != nil {
			t.Fatal(err)
		}
		want := text(11<<20 + 3)
		up := manager.NewUploader(c, func(u *manager.Uploader) { u.PartSize = 5 << 20 })
		out, err := up.Upload(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Body: unseekable{bytes.NewReader(want)}, Metadata: map[string]string{"a": "b"}})
		if err != nil || !strings.HasSuffix(*out.ETag, `-3"`) {
			t.Fatal(out, err)
		}
		got := manager.NewWriteAtBuffer(nil)
		if _, err := manager.NewDownloader(c).Download(ctx, got, &sdk.GetObjectInput{Bucket: bucket, Key: key}); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes, %v", len(got.Bytes()), err)
		}
		head, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: key, PartNumber: aws.Int32(3)})
		if err != nil || *head.ContentLength != 1<<20+3 || *head.PartsCount != 3 || head.Metadata["a"] != "b" {
			t.Errorf("%+v, %v", head, err)
		}
		copyParts(ctx, t, c, bucket, key, want)
	}
}

func copyParts(ctx context.Context, t *testing.T, c *sdk.Client, bucket, key *string, want []byte) {
	t.Helper()
	to := aws.String("copied")
	mpu, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: to})
	if err != nil {
		t.Fatal(err)
	}
	var done []types.CompletedPart
	for i, span := range []string{"bytes=0-5242879", fmt.Sprintf("bytes=5242880-%d", len(want)-1)} {
		p, err := c.UploadPartCopy(ctx, &sdk.UploadPartCopyInput{Bucket: bucket, Key: to, UploadId: mpu.UploadId, PartNumber: aws.Int32(int32(i + 1)),
			CopySource: aws.String(*bucket + "/" + *key), CopySourceRange: &span})
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.CopyPartResult.ETag})
	}
	parts, err := c.ListParts(ctx, &sdk.ListPartsInput{Bucket: bucket, Key: to, UploadId: mpu.UploadId})
	if err != nil || len(parts.Parts) != 2 {
		t.Errorf("%+v, %v", parts, err)
	}
	if _, err := c.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: bucket, Key: to, UploadId: mpu.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: to, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(got.Body)
	got.Body.Close()
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("the copy has %d bytes, %v", len(b), err)
	}
	mpu, err = c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: to})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: bucket, Key: to, UploadId: mpu.UploadId}); err != nil {
		t.Error(err)
	}
	wantCode(t, second(c.ListParts(ctx, &sdk.ListPartsInput{Bucket: bucket, Key: to, UploadId: mpu.UploadId})), "NoSuchUpload")
}

// A wrong secret and no signature at all are refused.
func TestSDKSignatures(t *testing.T) {
	c, server := endpoint(t, "wrong", false)
	wantCode(t, second(c.ListBuckets(t.Context(), &sdk.ListBucketsInput{})), "SignatureDoesNotMatch")
	r, err := server.Client().Get(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, _ := io.ReadAll(r.Body); r.StatusCode != 403 || !bytes.Contains(b, []byte("<Code>AccessDenied</Code>")) {
		t.Errorf("%d %s", r.StatusCode, b)
	}
}

// A presigned URL puts and gets without the key; a changed one does nothing.
func TestPresigned(t *testing.T) {
	c, server := endpoint(t, "right", false)
	ctx := t.Context()
	bucket, key := aws.String("signed"), aws.String("a b/+%.txt")
	if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	p := sdk.NewPresignClient(c)
	put, err := p.PresignPutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Metadata: map[string]string{"from": "afar"}})
	if err != nil {
		t.Fatal(err)
	}
	send(t, server, put.Method, put.URL, put.SignedHeader, "hello", 200, "")
	get, err := p.PresignGetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key, ResponseContentType: aws.String("text/x")})
	if err != nil {
		t.Fatal(err)
	}
	h := send(t, server, get.Method, get.URL, get.SignedHeader, "", 200, "hello")
	if h.Get("Content-Type") != "text/x" || h.Get("X-Amz-Meta-From") != "afar" {
		t.Errorf("%v", h)
	}
	send(t, server, "PUT", get.URL, get.SignedHeader, "evil", 403, "SignatureDoesNotMatch")
	send(t, server, "GET", strings.Replace(get.URL, "text%2Fx", "text%2Fhtml", 1), get.SignedHeader, "", 403, "SignatureDoesNotMatch")
}

// send sends a request and compares status and a text of the answer.
func send(t *testing.T, server *httptest.Server, method, url string, h http.Header, body string, status int, want string) http.Header {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range h {
		if name != "Host" && name != "Content-Length" {
			r.Header[name] = values
		}
	}
	a, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if b, _ := io.ReadAll(a.Body); a.StatusCode != status || !strings.Contains(string(b), want) {
		t.Errorf("%s %s: %d %s, want %d %s", method, url, a.StatusCode, b, status, want)
	}
	return a.Header
}
