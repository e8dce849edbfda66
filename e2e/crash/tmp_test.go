package crash

import (
	"context"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	apitypes "github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	firetypes "github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.yaml.in/yaml/v3"

	"millrace/e2e/node"
)

func tmpSetup(t testing.TB, n *node.Node) {
	ctx := context.Background()
	c := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(n.AWS), Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}
	ok := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })
	k := kinesis.NewFromConfig(c)
	f := firehose.NewFromConfig(c)
	a := apigateway.NewFromConfig(c)
	role := aws.String("arn:aws:iam::000000000000:role/x")
	_, err := k.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("class-stream"), ShardCount: aws.Int32(4)})
	ok(err)
	for _, x := range [][3]string{{"class", "class-events", "GZIP"}, {"push", "push-events", "UNCOMPRESSED"}} {
		_, err := s.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(x[1])})
		ok(err)
		in := &firehose.CreateDeliveryStreamInput{DeliveryStreamName: aws.String(x[0] + "-delivery"),
			ExtendedS3DestinationConfiguration: &firetypes.ExtendedS3DestinationConfiguration{RoleARN: role, BucketARN: aws.String("arn:aws:s3:::" + x[1]),
				Prefix: aws.String("p000000/"), CompressionFormat: firetypes.CompressionFormat(x[2]),
				BufferingHints: &firetypes.BufferingHints{IntervalInSeconds: aws.Int32(1), SizeInMBs: aws.Int32(1)}}}
		if x[0] == "class" {
			in.DeliveryStreamType = "KinesisStreamAsSource"
			in.KinesisStreamSourceConfiguration = &firetypes.KinesisStreamSourceConfiguration{RoleARN: role, KinesisStreamARN: aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/class-stream")}
		}
		_, err = f.CreateDeliveryStream(ctx, in)
		ok(err)
	}
	text, err := os.ReadFile("testdata/pipeline.yaml")
	ok(err)
	var doc struct {
		Resources map[string]struct { //x
			Properties struct {
				Integration struct{ RequestTemplates map[string]string `yaml:"RequestTemplates"` } `yaml:"Integration"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	ok(yaml.Unmarshal(text, &doc))
	api, err := a.CreateRestApi(ctx, &apigateway.CreateRestApiInput{Name: aws.String("x")})
	ok(err)
	for _, v := range []string{"v1", "v2"} {
		r, err := a.CreateResource(ctx, &apigateway.CreateResourceInput{RestApiId: api.Id, ParentId: api.RootResourceId, PathPart: aws.String(v)})
		ok(err)
		r, err = a.CreateResource(ctx, &apigateway.CreateResourceInput{RestApiId: api.Id, ParentId: r.Id, PathPart: aws.String("{stream-name}")})
		ok(err)
		post, two := aws.String("POST"), aws.String("200")
		_, err = a.PutMethod(ctx, &apigateway.PutMethodInput{RestApiId: api.Id, ResourceId: r.Id, HttpMethod: post, AuthorizationType: aws.String("NONE")})
		ok(err)
		_, err = a.PutMethodResponse(ctx, &apigateway.PutMethodResponseInput{RestApiId: api.Id, ResourceId: r.Id, HttpMethod: post, StatusCode: two})
		ok(err)
		name := map[string]string{"v1": "V1Post", "v2": "V2Post"}[v]
		_, err = a.PutIntegration(ctx, &apigateway.PutIntegrationInput{RestApiId: api.Id, ResourceId: r.Id, HttpMethod: post, Type: apitypes.IntegrationTypeAws, IntegrationHttpMethod: post, Credentials: role,
			Uri: aws.String("arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"), RequestTemplates: doc.Resources[name].Properties.Integration.RequestTemplates, PassthroughBehavior: aws.String("NEVER")})
		ok(err)
		_, err = a.PutIntegrationResponse(ctx, &apigateway.PutIntegrationResponseInput{RestApiId: api.Id, ResourceId: r.Id, HttpMethod: post, StatusCode: two})
		ok(err)
	}
	_, err = a.CreateDeployment(ctx, &apigateway.CreateDeploymentInput{RestApiId: api.Id, StageName: aws.String("prod")})
	ok(err)
}

func tmpFirst(c *campaign) {
	c.file = ""
	n, err := c.up()
	if err != nil {
		c.t.Fatal(err)
	}
	tmpSetup(c.t, n)
	if err := n.Stop(); err != nil {
		c.t.Fatal(err)
	}
}
