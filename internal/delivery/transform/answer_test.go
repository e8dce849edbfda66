package transform

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// judge reads an answer to an event of three records, a, b and c. It shows what became of each.
func judge(source Source, answer string) string {
	c := testCall(source)
	c.Records = append(c.Records[:0], Record{Sequence: sequence(1)}, Record{Sequence: sequence(2)}, Record{Sequence: sequence(3)})
	c.appendEvent(nil, 0, 3)
	for i, letter := range []string{"a", "b", "c"} {
		answer = strings.ReplaceAll(answer, `"#`+letter+`"`, `"`+string(c.id(i))+`"`)
	}
	results := make([]Result, 3)
	if failed := c.read([]byte(answer), results); failed != nil {
		return failed.code
	}
	var shown []string
	for _, r := range results {
		switch r.Outcome {
		case Ok:
			one := fmt.Sprintf("%q", r.Data)
			for _, k := range r.PartitionKeys {
				one += " " + k.Key + "=" + k.Value
			}
			shown = append(shown, one)
		case Dropped:
			shown = append(shown, "dropped")
		default:
			shown = append(shown, strings.TrimPrefix(r.ErrorCode, "Lambda."))
		}
	}
	return strings.Join(shown, ", ")
}

func TestAnswers(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		if got := judge(DirectPut, answer); got != want {
			t.Errorf("%s\n got %s\nwant %s", answer, got, want)
		}
	}
	const missing = "MissingRecordId, MissingRecordId, MissingRecordId"
	f(`{"records":[{"recordId":"#a","result":"Ok","data":"eA=="},{"recordId":"#b","result":"Dropped"},{"recordId":"#c","result":"ProcessingFailed","data":"eA=="}]}`,
		`"x", dropped, ProcessingFailedStatus`)
	f(` { "more" : [1] , "records" : [ { "result" : "Ok", "data" : "eQ==", "recordId" : "#c" }, {"recordId":"#a","result":"Ok","data":"eA"} ] } `, `"x", MissingRecordId, "y"`)
	f(`{"records":[{"recordId":"#a","result":"Ok","data":""},{"recordId":"#b","result":"Ok","data":"\u0065A\u003d="},{"recordId":"#c","result":"Ok","data":"Pz8\/"}]}`,
		`"", "x", "???"`)

	// What is well formed and wrong is final, record by record.
	f(`{}`, missing)
	f(`null`, missing)
	f(`[]`, missing)
	f(`"text"`, missing)
	f(`{"records":null}`, missing)
	f(`{"records":{}}`, missing)
	f(`{"records":[]}`, missing)
	f(`{"records":[null,1,"x",[],{},{"recordId":7},{"recordId":"unknown","result":"Ok","data":"eA=="}]}`, missing)
	f(`{"records":[{"recordId":"#a","result":"Ok","data":"eA=="},{"recordId":"#a","result":"Ok","data":"eQ=="},{"recordId":"#b","result":"Ok","data":"eA=="}]}`,
		`DuplicatedRecordId, "x", MissingRecordId`)
	f(`{"records":[{"recordId":"#a","result":"ok","data":"eA=="},{"recordId":"#b","data":"eA=="},{"recordId":"#c","result":1,"data":"eA=="}]}`,
		"InvalidReturnFormat, InvalidReturnFormat, InvalidReturnFormat")
	f(`{"records":[{"recordId":"#a","result":"Ok"},{"recordId":"#b","result":"Ok","data":null},{"recordId":"#c","result":"Ok","data":"e=A="}]}`,
		"InvalidReturnFormat, InvalidReturnFormat, InvalidReturnFormat")
	f(`{"records":[{"recordId":"#a","result":"Ok","data":{"deep":[1]}},{"recordId":"#b","result":"Ok","data":"eA=="},{"recordId":"#c","result":"Ok","data":"x y="}]}`,
		`InvalidReturnFormat, "x", InvalidReturnFormat`)

	// A function that failed, and what no function says.
	f(`{"errorMessage":"boom","errorType":"ValueError","stackTrace":[]}`, CodeFunctionError)
	f(`{"errorMessage":null,"records":[]}`, missing)
	f(`{"errorMessage":"partly","records":[{"recordId":"#a","result":"Dropped"}]}`, "dropped, MissingRecordId, MissingRecordId")
	f(``, CodeJSONProcessing)
	f(`Task timed out after 3.00 seconds`, CodeJSONProcessing)
	f(`<html>`, CodeJSONProcessing)
	f(`{"records":[{"recordId":"#a","result":"Ok","data":"eA=="}`, CodeJSONProcessing)
	f(`{"records":[]} {}`, CodeJSONProcessing)
	f(`{"records":[{"recordId":"#a","result":"Ok","data":"eA=="}],"x":"\q"}`, CodeJSONProcessing)
	f(strings.Repeat("[", 1000)+strings.Repeat("]", 1000), missing)
	f(`{"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}`, CodeJSONProcessing)

	// Partition keys.
	f(`{"records":[{"recordId":"#a","result":"Ok","data":"eA==","metadata":{"partitionKeys":{"y":"2026","n":7,"b":true,"gone":null,"e":"\u00fc"}}},
		{"recordId":"#b","result":"Ok","data":"eA==","metadata":{"partitionKeys":{"y":"2026","n":7,"y":"2027"}}},
		{"recordId":"#c","result":"Ok","data":"eA==","metadata":{"other":1}}]}`, `"x" y=2026 n=7 b=true e=ü, "x" y=2027 n=7, "x"`)
	f(`{"records":[{"recordId":"#a","result":"Ok","data":"eA==","metadata":{"partitionKeys":{"y":{}}}},
		{"recordId":"#b","result":"Ok","data":"eA==","metadata":{"partitionKeys":[]}},{"recordId":"#c","result":"Ok","data":"eA==","metadata":1}]}`,
		"InvalidReturnFormat, InvalidReturnFormat, InvalidReturnFormat")
	var many []string
	for i := range maxPartitionKeys + 1 {
		many = append(many, fmt.Sprintf(`"k%d":"v"`, i))
	}
	f(`{"records":[{"recordId":"#a","result":"Ok","data":"eA==","metadata":{"partitionKeys":{`+strings.Join(many, ",")+`}}}]}`,
		"InvalidReturnFormat, MissingRecordId, MissingRecordId")

	if got := judge(Kafka, `{"records":[{"recordId":"#a","result":"Ok","kafkaRecordValue":"eA=="},{"recordId":"#b","result":"Ok","data":"eA=="}]}`); got != `"x", InvalidReturnFormat, MissingRecordId` {
		t.Error(got)
	}
}

// Results stay as they are while later answers of the same Invoke are read, and are gone with the next one.
func TestResultsLieInTheCall(t *testing.T) {
	c := testCall(DirectPut)
	c.Records = c.Records[:1]
	c.appendEvent(nil, 0, 1)
	answer := func(data, key string) []byte {
		return []byte(`{"records":[{"recordId":"` + string(c.id(0)) + `","result":"Ok","data":"` + data + `","metadata":{"partitionKeys":{"k":"` + key + `"}}}]}`)
	}
	results := make([]Result, 2)
	first := answer("YWFhYWFh", "one")
	if failed := c.read(first, results[:1]); failed != nil {
		t.Fatal(failed)
	}
	clear(first)
	if failed := c.read(answer("YmJiYmJi", "two"), results[1:]); failed != nil {
		t.Fatal(failed)
	}
	for i, want := range []string{"aaaaaa one", "bbbbbb two"} {
		if got := string(results[i].Data) + " " + results[i].PartitionKeys[0].Value; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// FuzzAnswer: whatever an answer holds, each record has an outcome, and data that is taken stands in the answer.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{"records":[{"recordId":"1000000","result":"Ok","data":"eA=="},{"recordId":"2000000","result":"Dropped"}]}`,
		`{"records":[{"recordId":"1000000","result":"Ok","data":"","metadata":{"partitionKeys":{"a":1,"b":"x"}}}]}`,
		`{"errorMessage":"x"}`, `null`, `{"records":[{"recordId":"1000000"},{"recordId":"1000000"}]}`, `{"records":[[[[]]]]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		c := &Call{ids: []byte("10000002000000"), ends: []int{7, 14}}
		results := make([]Result, 2)
		if c.read(bytes.Clone(answer), results) != nil {
			return
		}
		for i, r := range results {
			switch r.Outcome {
			case Ok:
				text := base64.RawStdEncoding.EncodeToString(r.Data)
				if r.Data == nil || len(r.PartitionKeys) > maxPartitionKeys || !bytes.Contains(answer, []byte(text)) && !bytes.Contains(answer, []byte(`\`)) {
					t.Errorf("record %d: %+v", i, r)
				}
			case Failed:
				if r.ErrorCode == "" || r.ErrorMessage == "" {
					t.Errorf("record %d: %+v", i, r)
				}
			case Dropped:
			default:
				t.Errorf("record %d has no outcome", i)
			}
		}
	})
}

// BenchmarkAnswer reads what a function says of a megabyte of records.
func BenchmarkAnswer(b *testing.B) {
	c := testCall(DirectPut)
	c.Records = c.Records[:0]
	for i := range 1000 {
		c.Records = append(c.Records, Record{Data: make([]byte, 1000), Sequence: sequence(uint64(i)), Arrival: testTime})
	}
	event := c.appendEvent(nil, 0, len(c.Records))
	answer := []byte(strings.ReplaceAll(string(event), `"data"`, `"result":"Ok","metadata":{"partitionKeys":{"customer":"17","day":"2026-11-26"}},"data"`))
	results := make([]Result, len(c.Records))
	b.Run("write", func(b *testing.B) {
		b.SetBytes(1e6)
		b.ReportAllocs()
		for b.Loop() {
			event = c.appendEvent(event[:0], 0, len(c.Records))
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(1e6)
		b.ReportAllocs()
		for b.Loop() {
			c.reset()
			if failed := c.read(answer, results); failed != nil || results[999].Outcome != Ok {
				b.Fatal(failed)
			}
		}
	})
}
