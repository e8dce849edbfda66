package main

// service says what to generate from a model, and what the model does not tell.
type service struct {
	pkg   string
	model string // file name without .json
	// operations to generate shapes for; nil means all. The table of operations always holds all.
	operations []string
	// checks generates constraint checks.
	checks bool
	// cbor generates decoders and encoders of CBOR 1.1 beside those of JSON 1.1.
	cbor bool
	// bodyPath prefixes the paths of body members with the operation's input, as API Gateway does.
	bodyPath bool
	// javaPackage stands before a structure's name where the service prints its opaque form.
	javaPackage string
	// enumOrder holds the order in which the service prints an enum, where it was recorded.
	enumOrder map[string][]string
	// always names members of answers that are written also when zero, although the model does not require them.
	always map[string]bool
	// roots holds the root elements of XML answers where they are not the shape's name.
	roots map[string]string
	// rootText names outputs whose only member is the text of the root.
	rootText map[string]bool
}

var services = []service{
	{
		pkg: "kinesiswire", model: "kinesis", checks: true, cbor: true,
		javaPackage: "com.amazonaws.kinesis.v20131202.",
		enumOrder: map[string][]string{
			"ShardIteratorType": {"AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"},
		},
		always: map[string]bool{"PutRecordsOutput.FailedRecordCount": true},
	},
	{
		pkg: "firehosewire", model: "firehose", checks: true,
		javaPackage: "com.amazonaws.firehose.v20150804.",
		enumOrder: map[string][]string{
			"CompressionFormat": {"ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"},
			"ProcessorType":     {"Decompression", "Lambda", "RecordDeAggregation", "MetadataExtraction", "AppendDelimiterToRecord", "CloudWatchLogProcessing"},
		},
	},
	{
		pkg: "apigatewaywire", model: "apigateway", checks: true, bodyPath: true,
		javaPackage: "com.amazonaws.apigateway.v20150709.",
		enumOrder: map[string][]string{
			"Op":              {"add", "remove", "move", "test", "replace", "copy"},
			"IntegrationType": {"HTTP", "MOCK", "AWS_PROXY", "HTTP_PROXY", "AWS"},
			"IpAddressType":   {"ipv4", "dualstack"},
			"EndpointType":    {"PRIVATE", "EDGE", "REGIONAL"},
			"GatewayResponseType": {"REQUEST_TOO_LARGE", "RESOURCE_NOT_FOUND", "AUTHORIZER_CONFIGURATION_ERROR", "MISSING_AUTHENTICATION_TOKEN",
				"BAD_REQUEST_BODY", "INVALID_SIGNATURE", "INVALID_API_KEY", "BAD_REQUEST_PARAMETERS", "AUTHORIZER_FAILURE", "UNAUTHORIZED",
				"INTEGRATION_TIMEOUT", "ACCESS_DENIED", "DEFAULT_4XX", "DEFAULT_5XX", "WAF_FILTERED", "QUOTA_EXCEEDED", "THROTTLED",
				"API_CONFIGURATION_ERROR", "UNSUPPORTED_MEDIA_TYPE", "INTEGRATION_FAILURE", "EXPIRED_TOKEN"},
		},
	},
	{
		pkg: "s3wire", model: "s3",
		operations: []string{
			"ListBuckets", "CreateBucket", "DeleteBucket", "HeadBucket", "GetBucketLocation",
			"PutObject", "GetObject", "HeadObject", "DeleteObject", "DeleteObjects", "CopyObject", "GetObjectAttributes",
			"ListObjects", "ListObjectsV2", "ListObjectVersions",
			"CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "AbortMultipartUpload",
			"ListParts", "ListMultipartUploads",
			"PutObjectTagging", "GetObjectTagging", "DeleteObjectTagging",
			"PutBucketTagging", "GetBucketTagging", "DeleteBucketTagging",
			"GetBucketVersioning", "GetBucketEncryption", "GetBucketRequestPayment",
			"GetBucketAccelerateConfiguration", "GetBucketLogging",
			"GetPublicAccessBlock", "GetBucketOwnershipControls",
			"PutBucketVersioning", "PutBucketEncryption", "PutBucketRequestPayment", "PutBucketAccelerateConfiguration",
			"PutPublicAccessBlock", "PutBucketOwnershipControls", "PutBucketLogging",
		},
		roots: map[string]string{
			"ListBucketsOutput":             "ListAllMyBucketsResult",
			"ListObjectsOutput":             "ListBucketResult",
			"ListObjectsV2Output":           "ListBucketResult",
			"ListObjectVersionsOutput":      "ListVersionsResult",
			"CreateMultipartUploadOutput":   "InitiateMultipartUploadResult",
			"CompleteMultipartUploadOutput": "CompleteMultipartUploadResult",
			"ListPartsOutput":               "ListPartsResult",
			"ListMultipartUploadsOutput":    "ListMultipartUploadsResult",
			"DeleteObjectsOutput":           "DeleteResult",
			"GetObjectTaggingOutput":        "Tagging",
			"GetBucketTaggingOutput":        "Tagging",
			"GetBucketLocationOutput":       "LocationConstraint",
			"GetBucketVersioningOutput":     "VersioningConfiguration",
			"GetBucketRequestPaymentOutput": "RequestPaymentConfiguration",
			"GetBucketLoggingOutput":        "BucketLoggingStatus",

			"GetBucketAccelerateConfigurationOutput": "AccelerateConfiguration",
			"GetObjectAttributesOutput":              "GetObjectAttributesResponse",
		},
		rootText: map[string]bool{"GetBucketLocationOutput": true},
	},
}

// matchers names the hand-written matcher of a pattern; others are compiled when first asked.
var matchers = map[string]string{
	`[a-zA-Z0-9_.-]+`:                         "awswire.MatchName",
	`0|([1-9]\d{0,38})`:                       "awswire.MatchDecimal39",
	`0|([1-9]\d{0,128})`:                      "awswire.MatchDecimal129",
	`arn:aws.*:kinesis:.*:\d{12}:stream/\S+`:  "awswire.MatchStreamARN",
	`[a-z0-9]{20}-[a-z0-9]{3}`:                "awswire.MatchStreamID",
	`^(?!\s*$).+`:                             "awswire.MatchNotBlank",
	`^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$`: "awswire.MatchTagKey",
	`[\u0001-\uFFFF]*`:                        "awswire.MatchBMP",
	`.*`:                                      "",
	`^(?:[A-Za-z0-9+\/]{4})*(?:[A-Za-z0-9+\/]{2}==|[A-Za-z0-9+\/]{3}=)?$`: "",
}

// rewritten gives patterns that Go's regular expressions lack the words for in words they have.
var rewritten = map[string]string{
	`jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+`: `jdbc:(redshift|postgresql)://([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+`,
}
