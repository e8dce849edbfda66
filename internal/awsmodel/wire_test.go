package awsmodel_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
)

// Every REST operation is found by a request that has what its model asks for.
func TestEveryOperationIsRouted(t *testing.T) {
	// Operations of one and the same request: the model keeps older names beside the newer ones.
	twins := map[string]string{
		"GetBucketLifecycleConfiguration":    "GetBucketLifecycle",
		"PutBucketLifecycleConfiguration":    "PutBucketLifecycle",
		"GetBucketNotificationConfiguration": "GetBucketNotification",
		"PutBucketNotificationConfiguration": "PutBucketNotification",
		"ListDirectoryBuckets":               "ListBuckets",
	}
	for _, table := range [][]awswire.Operation{apigatewaywire.Operations, s3wire.Operations} {
		router := awswire.NewRouter(table)
		for _, op := range table {
			path := strings.NewReplacer("{", "", "+}", "", "}", "").Replace(op.Path)
			query := url.Values{}
			for _, q := range op.Query {
				name, value, _ := strings.Cut(q, "=")
				query.Set(name, value)
			}
			for _, q := range op.NeedsQuery {
				query.Set(q, "x")
			}
			header := http.Header{}
			for _, h := range op.NeedsHeader {
				header.Set(h, "x")
			}
			got, _, ok := router.Match(op.Method, path, query, header)
			if !ok || got.Name != op.Name && got.Name != twins[op.Name] {
				t.Errorf("%s %s?%s: found %+v, want %s", op.Method, path, query.Encode(), got, op.Name)
			}
		}
	}
}

func TestAPIGatewayRequests(t *testing.T) {
	router := awswire.NewRouter(apigatewaywire.Operations)
	read := func(method, target, body string) *awswire.Request {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		_, params, ok := router.Match(method, u.EscapedPath(), u.Query(), nil)
		if !ok {
			t.Fatalf("no operation for %s %s", method, target)
		}
		return &awswire.Request{Params: params, Query: u.Query(), Body: []byte(body)}
	}
	var put apigatewaywire.PutIntegrationRequest
	err := put.Decode(read("PUT", "/restapis/a1/resources/r1/methods/POST/integration",
		`{"type":"AWS","httpMethod":"PUT","requestTemplates":{"application/json":"x"},"timeoutInMillis":50}`))
	if err != nil || put.RestApiId != "a1" || put.HttpMethod != "POST" || *put.IntegrationHttpMethod != "PUT" || put.RequestTemplates["application/json"] != "x" ||
		*put.TimeoutInMillis != 50 || put.Uri != nil {
		t.Errorf("%+v, %v", put, err)
	}
	var list apigatewaywire.GetResourcesRequest
	if err := list.Decode(read("GET", "/restapis/a1/resources?limit=5&embed=methods&embed=x", "")); err != nil || *list.Limit != 5 || len(list.Embed) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := new(apigatewaywire.GetResourcesRequest).Decode(read("GET", "/restapis/a1/resources?limit=five", "")); err == nil {
		t.Error("limit=five was taken")
	}
	check := func(in interface{ Check(*awswire.Violations) }, want string) {
		t.Helper()
		var c awswire.Violations
		if in.Check(&c); c.Err() != want {
			t.Errorf("got  %s\nwant %s", c.Err(), want)
		}
	}
	check(&apigatewaywire.CreateRestApiRequest{Name: "n", EndpointConfiguration: &apigatewaywire.EndpointConfiguration{Types: []string{"wrong"}}},
		"1 validation error detected: Value '[wrong]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: "+
			"Member must satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]")
	check(&apigatewaywire.UpdateRestApiRequest{RestApiId: "a", PatchOperations: []apigatewaywire.PatchOperation{{Op: "wrong"}}},
		"1 validation error detected: Value 'wrong' at 'updateRestApiInput.patchOperations.1.member.op' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [add, remove, move, test, replace, copy]")
	check(&apigatewaywire.PutMethodResponseRequest{RestApiId: "a", ResourceId: "r", HttpMethod: "GET", StatusCode: "wrong"},
		`1 validation error detected: Value 'wrong' at 'statusCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [1-5]\d\d`)
}

func TestAPIGatewayAnswers(t *testing.T) {
	out := apigatewaywire.RestApis{Items: []apigatewaywire.RestApi{{Id: new("a1"), CreatedDate: time.Unix(1421889722, 0), Tags: map[string]string{},
		EndpointConfiguration: &apigatewaywire.EndpointConfiguration{Types: []string{"EDGE"}}}}, Position: new("p")}
	const want = `{"position":"p","item":[{"id":"a1","createdDate":1421889722,"endpointConfiguration":{"types":["EDGE"]},"tags":{}}]}`
	if got := string(out.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFirehoseConstraints(t *testing.T) {
	var d awswire.JSON
	d.Reset([]byte(`{"DeliveryStreamName":"s","ExtendedS3DestinationConfiguration":{"RoleARN":"x","BucketARN":"arn:aws:s3:::b","CompressionFormat":"SNAPPY",
		"ProcessingConfiguration":{"Processors":[{"Type":"Lambda","Parameters":[{"ParameterName":"LambdaArn"},{"ParameterName":"LambdaArn","ParameterValue":"  "}]}]}},
		"Tags":[{"Key":"aws:x"}]}`))
	var in firehosewire.CreateDeliveryStreamInput
	in.DecodeJSON(&d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	c := awswire.Violations{HideValues: true}
	in.Check(&c)
	const want = "5 validation errors detected: " +
		`Value at 'extendedS3DestinationConfiguration.roleARN' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+; ` +
		"Value at 'extendedS3DestinationConfiguration.compressionFormat' failed to satisfy constraint: Member must satisfy enum value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]; " +
		"Value at 'extendedS3DestinationConfiguration.processingConfiguration.processors.1.member.parameters.1.member.parameterValue' failed to satisfy constraint: Member must not be null; " +
		`Value at 'extendedS3DestinationConfiguration.processingConfiguration.processors.1.member.parameters.2.member.parameterValue' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!\s*$).+; ` +
		`Value at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$`
	if got := c.Err(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Every pattern of the models compiles: a rule whose pattern does not would panic on its first request.
func TestPatternsCompile(t *testing.T) {
	var d awswire.JSON
	d.Reset([]byte(`{"DeliveryStreamName":"s","RedshiftDestinationConfiguration":{"RoleARN":"x","ClusterJDBCURL":"jdbc:redshift://c.redshift.amazonaws.com:5439/db",
		"CopyCommand":{"DataTableName":"t"},"S3Configuration":{"RoleARN":"x","BucketARN":"x"},"Username":"u","Password":"p"},
		"SnowflakeDestinationConfiguration":{"AccountUrl":"x.snowflakecomputing.com","PrivateKey":"!","SnowflakeVpcConfiguration":{"PrivateLinkVpceId":"x"}},
		"HttpEndpointDestinationConfiguration":{"EndpointConfiguration":{"Url":"http://x"}},
		"IcebergDestinationConfiguration":{"CatalogConfiguration":{"CatalogARN":"x","WarehouseLocation":"x"}},
		"MSKSourceConfiguration":{"MSKClusterARN":"x","TopicName":"a b"}}`))
	var in firehosewire.CreateDeliveryStreamInput
	in.DecodeJSON(&d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var c awswire.Violations
	in.Check(&c)
	if text := c.Err(); text == "" || strings.Contains(text, "clusterJDBCURL") {
		t.Error(text)
	}
}

func TestS3Shapes(t *testing.T) {
	var del s3wire.DeleteObjectsRequest
	err := del.Decode(&awswire.Request{Params: []awswire.Param{{Name: "Bucket", Value: "b"}}, Header: http.Header{},
		Body: []byte(`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet><Object><Key>a&amp;b</Key></Object><Object><Key/><VersionId>v</VersionId></Object></Delete>`)})
	if err != nil || del.Bucket != "b" || !*del.Delete.Quiet || len(del.Delete.Objects) != 2 || del.Delete.Objects[0].Key != "a&b" || *del.Delete.Objects[1].VersionId != "v" {
		t.Errorf("%+v, %v", del.Delete, err)
	}
	if err := new(s3wire.DeleteObjectsRequest).Decode(&awswire.Request{Body: []byte(`<Delete><Object>`)}); err == nil {
		t.Error("a broken document was taken")
	}
	var tags s3wire.PutObjectTaggingRequest
	if err := tags.Decode(&awswire.Request{Body: []byte(`<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>`)}); err != nil ||
		len(tags.Tagging.TagSet) != 1 || tags.Tagging.TagSet[0].Value != "v" {
		t.Errorf("%+v, %v", tags.Tagging, err)
	}
	h := http.Header{}
	h.Set("X-Amz-Meta-User", "u")
	h.Set("Content-Type", "text/plain")
	h.Set("If-None-Match", "*")
	h.Set("Content-Length", "5")
	var put s3wire.PutObjectRequest
	if err := put.Decode(&awswire.Request{Params: []awswire.Param{{Name: "Bucket", Value: "b"}, {Name: "Key", Value: "k"}}, Header: h}); err != nil ||
		put.Metadata["user"] != "u" || *put.ContentType != "text/plain" || *put.IfNoneMatch != "*" || *put.ContentLength != 5 {
		t.Errorf("%+v, %v", put, err)
	}
	const root = awswire.XMLHeader + `<%s xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`
	doc := func(got []byte, name, want string) {
		t.Helper()
		if want = strings.Replace(root, "%s", name, 1) + want + "</" + name + ">"; string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	at := time.UnixMilli(1421889722345)
	page := s3wire.ListObjectsV2Output{Name: new("b"), Prefix: new(""), IsTruncated: new(false), KeyCount: new(2), MaxKeys: new(1000),
		Contents:       []s3wire.Object{{Key: "a<b", LastModified: at, ETag: new(`"e"`), Size: new(int64(3)), StorageClass: "STANDARD"}},
		CommonPrefixes: []s3wire.CommonPrefix{{Prefix: new("p/")}}}
	doc(page.AppendDocument(nil), "ListBucketResult", `<IsTruncated>false</IsTruncated><Contents><Key>a&lt;b</Key><LastModified>2015-01-22T01:22:02.345Z</LastModified>`+
		`<ETag>&quot;e&quot;</ETag><Size>3</Size><StorageClass>STANDARD</StorageClass></Contents><Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys>`+
		`<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes><KeyCount>2</KeyCount>`)
	buckets := s3wire.ListBucketsOutput{Buckets: []s3wire.Bucket{{Name: new("b"), CreationDate: at}}}
	doc(buckets.AppendDocument(nil), "ListAllMyBucketsResult", `<Buckets><Bucket><Name>b</Name><CreationDate>2015-01-22T01:22:02.345Z</CreationDate></Bucket></Buckets>`)
	where := s3wire.GetBucketLocationOutput{LocationConstraint: "eu-west-1"}
	doc(where.AppendDocument(nil), "LocationConstraint", "eu-west-1")
	noTags := s3wire.GetObjectTaggingOutput{}
	doc(noTags.AppendDocument(nil), "Tagging", "<TagSet></TagSet>")
	copied := s3wire.CopyObjectOutput{CopyObjectResult: &s3wire.CopyObjectResult{ETag: new("e")}}
	doc(copied.AppendDocument(nil), "CopyObjectResult", "<ETag>e</ETag>")

	out := http.Header{}
	head := s3wire.HeadObjectOutput{ContentLength: new(int64(7)), LastModified: at, ETag: new(`"e"`), Metadata: map[string]string{"user": "u"}, PartsCount: new(2)}
	head.SetHeader(out)
	want := map[string]string{"Content-Length": "7", "Last-Modified": "Thu, 22 Jan 2015 01:22:02 GMT", "Etag": `"e"`, "X-Amz-Meta-User": "u", "X-Amz-Mp-Parts-Count": "2"}
	for k, v := range want {
		if out.Get(k) != v {
			t.Errorf("%s: %q, want %q", k, out.Get(k), v)
		}
	}
	if len(out) != len(want) {
		t.Errorf("headers %v", out)
	}
}
