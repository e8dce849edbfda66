package errorline

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var failure = Failure{
	Raw: []byte("FAIL this one\n"), Code: "Lambda.ProcessingFailedStatus", Message: "ProcessingFailed status set for record", Attempts: 1,
	Arrival: time.UnixMilli(1789014240448), Ended: time.UnixMilli(1789014301529),
}

// The first line is one recorded from the service, but for the function's name.
func TestLines(t *testing.T) {
	f := func(got []byte, want string) {
		t.Helper()
		line, ok := strings.CutPrefix(string(got), "before\n")
		if !ok || line != want+"\n" || !json.Valid([]byte(line)) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	before := func() []byte { return []byte("before\n") }
	const arn = "arn:aws:lambda:us-west-2:123456789012:function:clean"
	f(AppendLambda(before(), &failure, arn), `{"rawData":"RkFJTCB0aGlzIG9uZQo=","errorCode":"Lambda.ProcessingFailedStatus","errorMessage":"ProcessingFailed status set for record","attemptsMade":1,"arrivalTimestamp":1789014240448,"attemptEndingTimestamp":1789014301529,"lambdaARN":"`+arn+`"}`)

	one := failure
	one.Code, one.Message = "DynamicPartitioning.MetadataExtractionFailed", "Non JSON \"record\"\nprovided"
	f(AppendPartitioning(before(), &one), `{"rawData":"RkFJTCB0aGlzIG9uZQo=","errorCode":"DynamicPartitioning.MetadataExtractionFailed","errorMessage":"Non JSON \"record\"\nprovided","attemptsMade":1,"arrivalTimestamp":1789014240448,"attemptEndingTimestamp":1789014301529}`)

	one.Code, one.Message = "DataFormatConversion.ParseError", "Encountered malformed JSON."
	at := Place{"49607357361271740811418664280693044274821622880012337186", 3}
	table := Table{"123456789012", "events", "clicks", "us-west-2", "LATEST", ""}
	f(AppendConversion(before(), &one, at, &table), `{"attemptsMade":1,"arrivalTimestamp":1789014240448,"lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"Encountered malformed JSON.","attemptEndingTimestamp":1789014301529,"rawData":"RkFJTCB0aGlzIG9uZQo=","sequenceNumber":"49607357361271740811418664280693044274821622880012337186","subSequenceNumber":3,"dataCatalogTable":{"catalogId":"123456789012","databaseName":"events","tableName":"clicks","region":"us-west-2","versionId":"LATEST","catalogArn":null}}`)
	f(AppendConversion(before(), &one, Place{}, &Table{}), `{"attemptsMade":1,"arrivalTimestamp":1789014240448,"lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"Encountered malformed JSON.","attemptEndingTimestamp":1789014301529,"rawData":"RkFJTCB0aGlzIG9uZQo=","sequenceNumber":null,"subSequenceNumber":null,"dataCatalogTable":{"catalogId":null,"databaseName":null,"tableName":null,"region":null,"versionId":null,"catalogArn":null}}`)

	one.Code, one.Message, one.Attempts = "HttpEndpoint.DestinationException", `401: {"errorMessage":"Unauthorized"}`, 5
	f(AppendHTTP(before(), &one, at), `{"attemptsMade":5,"arrivalTimestamp":1789014240448,"errorCode":"HttpEndpoint.DestinationException","errorMessage":"401: {\"errorMessage\":\"Unauthorized\"}","attemptEndingTimestamp":1789014301529,"rawData":"RkFJTCB0aGlzIG9uZQo=","subsequenceNumber":3,"dataId":"49607357361271740811418664280693044274821622880012337186.3"}`)
}

func TestLog(t *testing.T) {
	l := Log{DeliveryStreamARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/d", Destination: "arn:aws:s3:::b", VersionID: 3, Message: "no \"b\"\n", Code: "S3.NoSuchBucket"}
	const begin = `>{"deliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/d","destination":"arn:aws:s3:::b","deliveryStreamVersionId":3,"message":"no \"b\"\n","errorCode":"S3.NoSuchBucket"`
	if got := string(AppendLog([]byte(">"), &l)); got != begin+"}" {
		t.Error(got)
	}
	l.Processor = "arn:aws:lambda:us-east-1:000000000000:function:f"
	if got := string(AppendLog([]byte(">"), &l)); got != begin+`,"processor":"`+l.Processor+`"}` {
		t.Error(got)
	}
}

// A line costs no memory of its own.
func TestLinesAllocateNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	at, table := Place{"49607357361271740811418664280693044274821622880012337186", 0}, Table{DatabaseName: "events", TableName: "clicks"}
	if n := testing.AllocsPerRun(100, func() {
		dst = AppendLambda(dst[:0], &failure, "arn:aws:lambda:us-west-2:123456789012:function:clean")
		dst = AppendPartitioning(dst, &failure)
		dst = AppendConversion(dst, &failure, at, &table)
		dst = AppendHTTP(dst, &failure, at)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
