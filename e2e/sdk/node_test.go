package sdk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/e2e/node"
)

func TestMain(m *testing.M) { node.Main(m) }

// patience bounds what a test waits for.
const patience = 30 * time.Second

// up starts a node of the test's own, and stops it at the test's end.
func up(t *testing.T, opts node.Options) *node.Node {
	t.Helper()
	n := start(t, opts)
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(n.Output())
		}
	})
	return n
}

// start starts a node that the test ends itself.
func start(t *testing.T, opts node.Options) *node.Node {
	t.Helper()
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	var err error
	if opts.Binary, err = node.Binary(); err != nil {
		t.Fatal(err)
	}
	if opts.Data == "" {
		opts.Data = filepath.Join(t.TempDir(), "data")
	}
	n, err := node.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// clients are the SDK's, for one node.
type clients struct {
	kinesis    *kinesis.Client
	firehose   *firehose.Client
	apigateway *apigateway.Client
	s3         *s3.Client
}

func clientsOf(n *node.Node, key, secret string) clients {
	c := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(n.AWS),
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""), RetryMaxAttempts: 1}
	return clients{kinesis.NewFromConfig(c), firehose.NewFromConfig(c), apigateway.NewFromConfig(c),
		s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })}
}

// content reads all objects of a bucket, in the order of their keys.
func (c clients) content(ctx context.Context, bucket string) (text string, keys []string, err error) {
	pages := s3.NewListObjectsV2Paginator(c.s3, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", nil, err
		}
		for _, o := range page.Contents {
			body, err := c.object(ctx, bucket, *o.Key)
			if err != nil {
				return "", nil, err
			}
			text += body
			keys = append(keys, *o.Key)
		}
	}
	return text, keys, nil
}

func (c clients) object(ctx context.Context, bucket, key string) (string, error) {
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	return string(body), err
}

// post sends an event and gives status and body of the answer.
func post(ctx context.Context, url, contentType, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// credentialsFile writes a file that only its owner can read.
func credentialsFile(t *testing.T, key, secret string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "credentials")
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key, secret)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func pattern(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16) }
