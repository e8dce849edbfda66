package kinesis

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/cockroachdb/datadriven"
	"github.com/fxamacker/cbor/v2"

	"millrace/internal/awswire"
)

// request runs the directive of that name: a request as it stands on the wire, answered as it stands there, without
// ids and dates. A body in CBOR is written in diagnostic notation, or, where it is to be broken, as "hex …". The line
// "Sign: KEY SECRET [TIME]" is no header but asks for a signature.
func (w *world) request(t *testing.T, d *datadriven.TestData) string {
	head, body, _ := strings.Cut(d.Input+"\n", "\n\n")
	first, lines, _ := strings.Cut(head, "\n")
	method, target, ok := strings.Cut(strings.TrimSpace(first), " ")
	if !ok {
		t.Fatalf("%s: no method and path: %s", d.Pos, first)
	}
	body = w.expand(strings.TrimSpace(body))
	header := http.Header{}
	sign := ""
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "":
		case "Sign":
			sign = value
		default:
			header.Add(name, value)
		}
	}
	if digits, ok := strings.CutPrefix(body, "hex "); ok {
		raw, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		body = string(raw)
	} else if body != "" && encodingOf(header.Get("Content-Type")) == asCBOR {
		raw, err := fromDiagnostic(body)
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		body = string(raw)
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header = header
	if host := header.Get("Host"); host != "" {
		r.Host = host
		header.Del("Host")
	}
	if announced := header.Get("Content-Length"); announced != "" {
		n, err := strconv.ParseInt(announced, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		r.ContentLength = n
		header.Del("Content-Length")
	}
	if sign != "" {
		w.sign(t, r, body, strings.Fields(sign))
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return w.save(t, d, answered(t, d, rec))
}

func (w *world) sign(t *testing.T, r *http.Request, body string, how []string) {
	at := w.now
	if len(how) > 2 {
		var err error
		if at, err = time.Parse(awswire.BasicLayout, how[2]); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256([]byte(body))
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: how[0], SecretAccessKey: how[1]},
		r, hex.EncodeToString(sum[:]), "kinesis", "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
}

// answered writes an answer: status, the headers that say something, the body.
func answered(t *testing.T, d *datadriven.TestData, rec *httptest.ResponseRecorder) string {
	h := rec.Header()
	if h.Get("X-Amzn-Requestid") == "" {
		t.Errorf("%s: no request id", d.Pos)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d\n", rec.Code)
	for _, name := range []string{"Content-Type", "Content-Length", "Access-Control-Allow-Origin", "Access-Control-Allow-Headers",
		"Access-Control-Allow-Methods", "Access-Control-Max-Age", "Access-Control-Expose-Headers", "Smithy-Protocol"} {
		if v := h.Get(name); v != "" {
			fmt.Fprintf(&out, "%s: %s\n", name, v)
		}
	}
	if id := h.Get("X-Amz-Id-2"); id == "" {
		out.WriteString("no x-amz-id-2\n")
	} else if len(id) != 96 {
		t.Errorf("%s: x-amz-id-2 %s", d.Pos, id)
	}
	if strings.Contains(h.Get("Content-Type"), "cbor") && rec.Body.Len() > 0 {
		text, err := cbor.Diagnose(rec.Body.Bytes())
		if err != nil {
			t.Fatalf("%s: %v in %x", d.Pos, err, rec.Body.Bytes())
		}
		return out.String() + text
	}
	return out.String() + rec.Body.String()
}

// both runs the directive of that name: the same request in JSON and in CBOR. The answer in CBOR is shown only where
// it says another thing than the one in JSON.
func (w *world) both(t *testing.T, d *datadriven.TestData) string {
	body := w.expand(d.Input)
	encoded, err := fromDiagnostic(body)
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	ask := func(contentType string, body []byte) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Amz-Target", "Kinesis_20131202."+d.CmdArgs[0].String())
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		return rec
	}
	inJSON, inCBOR := ask(awswire.TypeJSON11, []byte(body)), ask(awswire.TypeCBOR11, encoded)
	out := fmt.Sprintf("%d\n%s", inJSON.Code, inJSON.Body)
	if inJSON.Code == inCBOR.Code && sameAnswer(t, d, inJSON.Body.Bytes(), inCBOR.Body.Bytes()) {
		return out
	}
	return out + fmt.Sprintf("\nCBOR: %s", answered(t, d, inCBOR))
}

func sameAnswer(t *testing.T, d *datadriven.TestData, inJSON, inCBOR []byte) bool {
	if len(inJSON) == 0 || len(inCBOR) == 0 {
		return len(inJSON) == len(inCBOR)
	}
	var a, b map[string]any
	if err := json.Unmarshal(inJSON, &a); err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	if err := cbor.Unmarshal(inCBOR, &b); err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	return reflect.DeepEqual(a, b)
}

// Whatever the body, an operation in CBOR answers with a status and a body that is empty or one sound map.
func FuzzServeCBOR(f *testing.F) {
	const body = `{_ "StreamName": "s", "Data": h'61', "PartitionKey": (_ "k"), "Records": [{"Data": h'', "PartitionKey": "k"}], "ShardId": "0",
		"ShardIteratorType": "LATEST", "Timestamp": 1(1421889722345), "Limit": 1.5_1, "Tags": {"a": "b"}, "TagKeys": [_ "a"]}`
	for _, op := range served {
		f.Add(op.name, must(fromDiagnostic(body)))
	}
	f.Fuzz(func(t *testing.T, op string, body []byte) {
		if find(op) == nil || len(body) == 0 {
			return
		}
		w := newWorld(t)
		w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"s","ShardCount":1}`), nil)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", awswire.TypeCBOR11)
		r.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		answer := rec.Body.Bytes()
		var m struct {
			Type string `cbor:"__type"`
		}
		switch err := cbor.Unmarshal(answer, &m); {
		case len(answer) == 0 && rec.Code == 200:
		case err != nil || rec.Header().Get("Content-Type") != awswire.TypeCBOR11:
			t.Fatalf("%d %v %x", rec.Code, err, answer)
		case (rec.Code == 200) != (m.Type == "") || rec.Code >= 500:
			t.Fatalf("%d %s", rec.Code, m.Type)
		}
	})
}
