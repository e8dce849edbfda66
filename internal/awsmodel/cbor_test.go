package awsmodel_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
)

// request is what a generated request can do in both encodings.
type request interface {
	DecodeJSON(*awswire.JSON)
	DecodeCBOR(*awswire.CBOR)
}

// requests makes an empty request of every operation of Kinesis.
var requests = []func() request{
	func() request { return new(kinesiswire.AddTagsToStreamInput) },
	func() request { return new(kinesiswire.CreateStreamInput) },
	func() request { return new(kinesiswire.DecreaseStreamRetentionPeriodInput) },
	func() request { return new(kinesiswire.DeleteResourcePolicyInput) },
	func() request { return new(kinesiswire.DeleteStreamInput) },
	func() request { return new(kinesiswire.DeregisterStreamConsumerInput) },
	func() request { return new(kinesiswire.DescribeAccountSettingsInput) },
	func() request { return new(kinesiswire.DescribeLimitsInput) },
	func() request { return new(kinesiswire.DescribeStreamConsumerInput) },
	func() request { return new(kinesiswire.DescribeStreamInput) },
	func() request { return new(kinesiswire.DescribeStreamSummaryInput) },
	func() request { return new(kinesiswire.DisableEnhancedMonitoringInput) },
	func() request { return new(kinesiswire.EnableEnhancedMonitoringInput) },
	func() request { return new(kinesiswire.GetRecordsInput) },
	func() request { return new(kinesiswire.GetResourcePolicyInput) },
	func() request { return new(kinesiswire.GetShardIteratorInput) },
	func() request { return new(kinesiswire.IncreaseStreamRetentionPeriodInput) },
	func() request { return new(kinesiswire.ListShardsInput) },
	func() request { return new(kinesiswire.ListStreamConsumersInput) },
	func() request { return new(kinesiswire.ListStreamsInput) },
	func() request { return new(kinesiswire.ListTagsForResourceInput) },
	func() request { return new(kinesiswire.ListTagsForStreamInput) },
	func() request { return new(kinesiswire.MergeShardsInput) },
	func() request { return new(kinesiswire.PutRecordInput) },
	func() request { return new(kinesiswire.PutRecordsInput) },
	func() request { return new(kinesiswire.PutResourcePolicyInput) },
	func() request { return new(kinesiswire.RegisterStreamConsumerInput) },
	func() request { return new(kinesiswire.RemoveTagsFromStreamInput) },
	func() request { return new(kinesiswire.SplitShardInput) },
	func() request { return new(kinesiswire.StartStreamEncryptionInput) },
	func() request { return new(kinesiswire.StopStreamEncryptionInput) },
	func() request { return new(kinesiswire.SubscribeToShardInput) },
	func() request { return new(kinesiswire.TagResourceInput) },
	func() request { return new(kinesiswire.UntagResourceInput) },
	func() request { return new(kinesiswire.UpdateAccountSettingsInput) },
	func() request { return new(kinesiswire.UpdateMaxRecordSizeInput) },
	func() request { return new(kinesiswire.UpdateShardCountInput) },
	func() request { return new(kinesiswire.UpdateStreamModeInput) },
	func() request { return new(kinesiswire.UpdateStreamWarmThroughputInput) },
}

func TestRequestsAreThoseOfTheModel(t *testing.T) {
	if len(requests) != len(kinesiswire.Operations) {
		t.Errorf("%d requests, %d operations", len(requests), len(kinesiswire.Operations))
	}
}

// A request in JSON, and the same in CBOR as another implementation writes it, read as the same values, or as the same
// error.
func FuzzRequestsInBothEncodings(f *testing.F) {
	for i, body := range map[int]string{
		0:  `{"StreamName":"s","Tags":{"a":"b","c":null,"":"\ud83d\ude00"},"StreamARN":"x","StreamId":"y"}`,
		1:  `{"StreamName":"s","ShardCount":4.7,"StreamModeDetails":{"StreamMode":"ON_DEMAND"},"WarmThroughputMiBps":-1e400,"MaxRecordSizeInKiB":99999999999999999999}`,
		4:  `{"StreamName":7,"EnforceConsumerDeletion":"yes"}`,
		15: `{"StreamName":"s","ShardId":"0","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1421889722.3456,"New":[1,{"a":[]}]}`,
		17: `{"ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":-1.5},"MaxResults":true}`,
		23: `{"StreamName":"s","Data":"AAEC","PartitionKey":"a\u00e9","PartitionKey":null,"ExplicitHashKey":"5"}`,
		24: `{"StreamName":"s","Records":[{"Data":"","PartitionKey":"k"},null,{"Data":"abc"},{"Data":"YQ=="}]}`,
		31: `{"StartingPosition":{"Type":"LATEST","Timestamp":"now"}}`,
	} {
		f.Add(uint8(i), []byte(body), false)
		f.Add(uint8(i), []byte(body), true)
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte, borrow bool) {
		if !utf8.Valid(body) || !awswire.IsJSONObject(body) {
			return
		}
		fresh := requests[int(which)%len(requests)]
		inJSON, inCBOR := fresh(), fresh()
		j, c := awswire.JSON{Borrow: borrow}, awswire.CBOR{Borrow: borrow}
		j.Reset(body)
		inJSON.DecodeJSON(&j)
		encoded := transcode(t, body)
		c.Reset(encoded)
		inCBOR.DecodeCBOR(&c)
		a, b := textOf(j.Close()), textOf(c.Close())
		if a != b {
			t.Fatalf("%s\nas JSON %s\nas CBOR %s", body, a, b)
		}
		if a == "" && !reflect.DeepEqual(inJSON, inCBOR) {
			t.Fatalf("%s\nas JSON %+v\nas CBOR %+v", body, inJSON, inCBOR)
		}
	})
}

func textOf(err error) string {
	var wrong *awswire.SerializationError
	if errors.As(err, &wrong) {
		return "wrong: " + wrong.Message
	}
	return ""
}

// transcode writes JSON as CBOR, member for member, with open lengths; timestamps become milliseconds below their tag.
func transcode(t *testing.T, body []byte) []byte {
	var out bytes.Buffer
	enc := cbor.NewEncoder(&out)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	check := func(err error) {
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	var key string
	var value func()
	value = func() {
		token, err := dec.Token()
		check(err)
		switch v := token.(type) {
		case json.Delim:
			if v == '[' {
				check(enc.StartIndefiniteArray())
				for name := key; dec.More(); key = name {
					value()
				}
			} else {
				check(enc.StartIndefiniteMap())
				for dec.More() {
					name, err := dec.Token()
					check(err)
					key = name.(string)
					check(enc.Encode(key))
					value()
				}
			}
			_, err := dec.Token()
			check(err)
			check(enc.EndIndefinite())
		case json.Number:
			check(enc.Encode(number(key, string(v))))
		default:
			check(enc.Encode(v))
		}
	}
	value()
	return out.Bytes()
}

func number(member, text string) any {
	f, _ := strconv.ParseFloat(text, 64) // out of range gives an infinity
	if member == "Timestamp" || member == "StreamCreationTimestamp" {
		const year9999 = 253402300799
		return cbor.Tag{Number: 1, Content: int64(math.Round(min(max(f, -year9999), year9999) * 1000))}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return f
}

// answers makes an empty answer of every kind that Kinesis has.
var answers = []func() any{
	func() any { return new(kinesiswire.DescribeAccountSettingsOutput) },
	func() any { return new(kinesiswire.DescribeLimitsOutput) },
	func() any { return new(kinesiswire.DescribeStreamConsumerOutput) },
	func() any { return new(kinesiswire.DescribeStreamOutput) },
	func() any { return new(kinesiswire.DescribeStreamSummaryOutput) },
	func() any { return new(kinesiswire.EnhancedMonitoringOutput) },
	func() any { return new(kinesiswire.GetRecordsOutput) },
	func() any { return new(kinesiswire.GetResourcePolicyOutput) },
	func() any { return new(kinesiswire.GetShardIteratorOutput) },
	func() any { return new(kinesiswire.ListShardsOutput) },
	func() any { return new(kinesiswire.ListStreamConsumersOutput) },
	func() any { return new(kinesiswire.ListStreamsOutput) },
	func() any { return new(kinesiswire.ListTagsForResourceOutput) },
	func() any { return new(kinesiswire.ListTagsForStreamOutput) },
	func() any { return new(kinesiswire.PutRecordOutput) },
	func() any { return new(kinesiswire.PutRecordsOutput) },
	func() any { return new(kinesiswire.RegisterStreamConsumerOutput) },
	func() any { return new(kinesiswire.SubscribeToShardOutput) },
	func() any { return new(kinesiswire.UpdateAccountSettingsOutput) },
	func() any { return new(kinesiswire.UpdateShardCountOutput) },
	func() any { return new(kinesiswire.UpdateStreamWarmThroughputOutput) },
}

// Whatever an answer holds, it says the same in JSON and in CBOR, as other implementations read them.
func FuzzAnswersInBothEncodings(f *testing.F) {
	dec, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, DefaultMapType: reflect.TypeFor[map[string]any](), IndefLength: cbor.IndefLengthForbidden}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	for i := range answers {
		f.Add(uint8(i), uint64(i), "text \xff é")
	}
	f.Fuzz(func(t *testing.T, which uint8, seed uint64, text string) {
		out := answers[int(which)%len(answers)]()
		fill(reflect.ValueOf(out).Elem(), rand.New(rand.NewPCG(seed, 1)), text)
		inJSON := out.(interface{ AppendJSON([]byte) []byte }).AppendJSON(nil)
		inCBOR := out.(interface{ AppendCBOR([]byte) []byte }).AppendCBOR(nil)
		var a, b any
		d := json.NewDecoder(bytes.NewReader(inJSON))
		d.UseNumber()
		if err := d.Decode(&a); err != nil {
			t.Fatalf("%s: %v", inJSON, err)
		}
		if err := dec.Unmarshal(inCBOR, &b); err != nil {
			t.Fatalf("%x: %v", inCBOR, err)
		}
		if b = asJSON(b); !reflect.DeepEqual(a, b) {
			t.Fatalf("JSON %s\nCBOR %x\nreads as %v", inJSON, inCBOR, b)
		}
	})
}

// asJSON turns what CBOR holds into what JSON would.
func asJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = asJSON(v[k])
		}
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case time.Time: // the reader takes the milliseconds for seconds
		return json.Number(awswire.AppendEpoch(nil, time.UnixMilli(v.Unix())))
	case uint64, int64:
		return json.Number(fmt.Sprint(v))
	}
	return v
}

// fill puts something, or nothing, into every field.
func fill(v reflect.Value, rng *rand.Rand, text string) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		if rng.IntN(4) > 0 {
			v.Set(reflect.ValueOf(time.UnixMilli(rng.Int64N(4e12) - 1e12)))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(f, rng, text)
			}
		}
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), rng, text)
		}
	case reflect.String:
		v.SetString(text[rng.IntN(len(text)+1):])
	case reflect.Int, reflect.Int64:
		v.SetInt(rng.Int64() >> rng.IntN(64) * (1 - 2*rng.Int64N(2)))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Slice:
		if rng.IntN(4) == 0 {
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, rng.IntN(300))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			v.SetBytes(b)
			return
		}
		n := rng.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), rng, text)
		}
	default:
		panic("no value for " + v.Type().String())
	}
}
