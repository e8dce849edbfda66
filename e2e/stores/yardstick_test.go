package stores

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// differences are those that are known, by service and step, with who is right.
var differences = map[string]map[string]string{
	"versitygw": {
		"delete if something that is not there": "ours says that the condition does not hold, theirs that it is gone; the API reference leaves it open",
		"list encoded":                          "theirs passes encoding-type over",
		"list after a key in a folder":          "theirs compares start-after with the folder, not with its keys",
		"list from a marker":                    "NextMarker comes with a delimiter only",
		"begin":                                 "theirs tells of the default checksum at completion only",
		"part":                                  "likewise",
		"uploads":                               "likewise",
		"part from a copy":                      "likewise",
		"complete in a wrong order":             "theirs looks at sizes first",
		"complete again":                        "theirs forgets the checksum",
		"delete many in silence":                "theirs passes Quiet over",
		"delete what can't be read":             "MalformedXML is the service's word",
	},
}

// step is a request that both services are sent. {bucket} stands for the bucket, {upload} for the last upload that was
// begun, {part} and {copied} for the ETags of its parts, {token} for the last continuation token, {date} for a date in the
// past.
type step struct {
	name           string
	method, target string // below the bucket's URL: "/key?query"; "" is the bucket
	header         string // "Name: value" lines
	body           string
}

// The walk through the API that both take. Names are unique: differences are known by them.
var steps = []step{
	{"create", "PUT", "", "", ""},
	{"head bucket", "HEAD", "", "", ""},
	{"location", "GET", "?location", "", ""},
	{"put", "PUT", "/k", "Content-Type: text/plain\nX-Amz-Meta-Colour: green\nCache-Control: no-cache\nContent-Disposition: inline\nContent-Language: de\nContent-Encoding: identity", "text"},
	{"get", "GET", "/k", "", ""},
	{"head", "HEAD", "/k", "", ""},
	{"get with checksum", "GET", "/k", "X-Amz-Checksum-Mode: ENABLED", ""},
	{"put with a checksum", "PUT", "/sum", "X-Amz-Checksum-Crc32: O5lTWw==", "text"},
	{"put with a wrong checksum", "PUT", "/wrong", "X-Amz-Checksum-Crc32: AAAAAA==", "text"},
	{"nothing was stored", "GET", "/wrong", "", ""},
	{"put with a malformed checksum", "PUT", "/wrong", "X-Amz-Checksum-Crc32: xyz", "text"},
	{"put with a wrong MD5", "PUT", "/wrong", "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==", "text"},
	{"put with a malformed MD5", "PUT", "/wrong", "Content-MD5: nothing", "text"},
	{"checksum is given back", "HEAD", "/sum", "X-Amz-Checksum-Mode: ENABLED", ""},
	{"first bytes", "GET", "/k", "Range: bytes=0-1", ""},
	{"middle bytes", "GET", "/k", "Range: bytes=1-2", ""},
	{"last byte", "GET", "/k", "Range: bytes=-1", ""},
	{"from the second", "GET", "/k", "Range: bytes=1-", ""},
	{"beyond", "GET", "/k", "Range: bytes=9-", ""},
	{"more than there is", "GET", "/k", "Range: bytes=2-99", ""},
	{"two ranges", "GET", "/k", "Range: bytes=0-0,2-2", ""},
	{"no range", "GET", "/k", "Range: lines=1-2", ""},
	{"backward", "GET", "/k", "Range: bytes=2-1", ""},
	{"if-match", "GET", "/k", `If-Match: "1cb251ec0d568de6a929b520c4aed8d1"`, ""},
	{"if-match of another", "GET", "/k", `If-Match: "00000000000000000000000000000000"`, ""},
	{"if-none-match", "GET", "/k", `If-None-Match: "1cb251ec0d568de6a929b520c4aed8d1"`, ""},
	{"if-none-match of another", "GET", "/k", `If-None-Match: "00000000000000000000000000000000"`, ""},
	{"if-unmodified-since", "GET", "/k", "If-Unmodified-Since: {date}", ""},
	{"if-modified-since", "GET", "/k", "If-Modified-Since: {date}", ""},
	{"if-none-match before if-modified-since", "HEAD", "/k", "If-None-Match: \"1cb251ec0d568de6a929b520c4aed8d1\"\nIf-Modified-Since: {date}", ""},
	{"override", "GET", "/k?response-content-type=text/csv&response-cache-control=private&response-content-disposition=attachment", "", ""},
	{"put if absent", "PUT", "/k", "If-None-Match: *", "other"},
	{"put if another", "PUT", "/k", `If-Match: "00000000000000000000000000000000"`, "other"},
	{"put if this", "PUT", "/k", `If-Match: "1cb251ec0d568de6a929b520c4aed8d1"`, "other"},
	{"put if something that is not there", "PUT", "/none", `If-Match: "1cb251ec0d568de6a929b520c4aed8d1"`, "other"},
	{"delete if another", "DELETE", "/k", `If-Match: "00000000000000000000000000000000"`, ""},
	{"delete if something that is not there", "DELETE", "/none", `If-Match: "1cb251ec0d568de6a929b520c4aed8d1"`, ""},
	{"tag", "PUT", "/k?tagging", "", "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"},
	{"tags", "GET", "/k?tagging", "", ""},
	{"tags are counted", "HEAD", "/k", "", ""},
	{"tag twice", "PUT", "/k?tagging", "", "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value>2</Value></Tag></TagSet></Tagging>"},
	{"tag by header", "PUT", "/tagged", "X-Amz-Tagging: a=1&b=two%20words", "text"},
	{"tags of the header", "GET", "/tagged?tagging", "", ""},
	{"untag", "DELETE", "/k?tagging", "", ""},
	{"copy", "PUT", "/copy", "X-Amz-Copy-Source: {bucket}/k", ""},
	{"copied", "GET", "/copy", "", ""},
	{"copy with other metadata", "PUT", "/copy", "X-Amz-Copy-Source: {bucket}/k\nX-Amz-Metadata-Directive: REPLACE\nContent-Type: text/html\nX-Amz-Meta-Colour: red", ""},
	{"copied with other metadata", "HEAD", "/copy", "", ""},
	{"copy onto itself", "PUT", "/copy", "X-Amz-Copy-Source: {bucket}/copy", ""},
	{"copy what is not there", "PUT", "/copy", "X-Amz-Copy-Source: {bucket}/none", ""},
	{"copy if another", "PUT", "/copy", "X-Amz-Copy-Source: {bucket}/k\nX-Amz-Copy-Source-If-Match: \"00000000000000000000000000000000\"", ""},
	{"put in a folder", "PUT", "/dir/a", "", "1"},
	{"put beside it", "PUT", "/dir/b c", "", "2"},
	{"put deeper", "PUT", "/dir/deep/c", "", "3"},
	{"put with a letter of two bytes", "PUT", "/dir/ü", "", "4"},
	{"list", "GET", "?list-type=2", "", ""},
	{"list version 1", "GET", "", "", ""},
	{"list encoded", "GET", "?list-type=2&encoding-type=url&prefix=dir/", "", ""},
	{"list a folder", "GET", "?list-type=2&delimiter=/", "", ""},
	{"list below", "GET", "?list-type=2&delimiter=/&prefix=dir/", "", ""},
	{"list a page", "GET", "?list-type=2&max-keys=2", "", ""},
	{"list the next page", "GET", "?list-type=2&max-keys=2&continuation-token={token}", "", ""},
	{"list after", "GET", "?list-type=2&start-after=dir/b", "", ""},
	{"list after the beginning of a folder", "GET", "?list-type=2&start-after=dir&delimiter=/", "", ""},
	{"list after a key in a folder", "GET", "?list-type=2&start-after=dir/a&delimiter=/", "", ""},
	{"list after a folder", "GET", "?list-type=2&start-after=dir/&delimiter=/", "", ""},
	{"list with owners", "GET", "?list-type=2&fetch-owner=true&max-keys=1", "", ""},
	{"list nothing", "GET", "?list-type=2&prefix=zzz", "", ""},
	{"list no keys", "GET", "?list-type=2&max-keys=0", "", ""},
	{"list a page of version 1", "GET", "?max-keys=1&delimiter=/", "", ""},
	{"list from a marker", "GET", "?marker=dir/a&max-keys=1", "", ""},
	{"list too much", "GET", "?list-type=2&max-keys=-1", "", ""},
	{"begin", "POST", "/parted?uploads", "Content-Type: text/plain\nX-Amz-Meta-Colour: blue", ""},
	{"part", "PUT", "/parted?partNumber=1&uploadId={upload}", "", "the only part"},
	{"part of a wrong number", "PUT", "/parted?partNumber=0&uploadId={upload}", "", "x"},
	{"part of no upload", "PUT", "/parted?partNumber=1&uploadId=none", "", "x"},
	{"parts", "GET", "/parted?uploadId={upload}", "", ""},
	{"uploads", "GET", "?uploads", "", ""},
	{"parts are not listed", "GET", "?list-type=2&prefix=parted", "", ""},
	{"part from a copy", "PUT", "/parted?partNumber=2&uploadId={upload}", "X-Amz-Copy-Source: {bucket}/k\nX-Amz-Copy-Source-Range: bytes=1-2", ""},
	{"part from too much", "PUT", "/parted?partNumber=2&uploadId={upload}", "X-Amz-Copy-Source: {bucket}/k\nX-Amz-Copy-Source-Range: bytes=1-99", ""},
	{"complete with a wrong ETag", "POST", "/parted?uploadId={upload}", "", complete(`1 00000000000000000000000000000000`)},
	{"complete in a wrong order", "POST", "/parted?uploadId={upload}", "", complete(`2 00000000000000000000000000000000`, `1 00000000000000000000000000000000`)},
	{"complete with a small part", "POST", "/parted?uploadId={upload}", "", complete("1 {part}", "2 {copied}")},
	{"complete nothing", "POST", "/parted?uploadId={upload}", "", "<CompleteMultipartUpload/>"},
	{"complete", "POST", "/parted?uploadId={upload}", "", complete("1 {part}")},
	{"complete again", "POST", "/parted?uploadId={upload}", "", complete("1 {part}")},
	{"get what was completed", "GET", "/parted", "", ""},
	{"get a part", "GET", "/parted?partNumber=1", "", ""},
	{"get a part that is not there", "GET", "/parted?partNumber=2", "", ""},
	{"attributes", "GET", "/parted?attributes", "X-Amz-Object-Attributes: ETag,ObjectSize,StorageClass", ""},
	{"abort no upload", "DELETE", "/parted?uploadId=none", "", ""},
	{"delete", "DELETE", "/copy", "", ""},
	{"delete again", "DELETE", "/copy", "", ""},
	{"delete many", "POST", "?delete", "", "<Delete><Object><Key>sum</Key></Object><Object><Key>none</Key></Object></Delete>"},
	{"delete many in silence", "POST", "?delete", "", "<Delete><Quiet>true</Quiet><Object><Key>tagged</Key></Object></Delete>"},
	{"delete what can't be read", "POST", "?delete", "", "<Delete><Object>"},
	{"get what is gone", "GET", "/sum", "", ""},
	{"head what is gone", "HEAD", "/sum", "", ""},
	{"delete a bucket that is not empty", "DELETE", "", "", ""},
	{"tag the bucket", "PUT", "?tagging", "", "<Tagging><TagSet><Tag><Key>team</Key><Value>data</Value></Tag></TagSet></Tagging>"},
	{"tags of the bucket", "GET", "?tagging", "", ""},
	{"untag the bucket", "DELETE", "?tagging", "", ""},
	{"no tags of the bucket", "GET", "?tagging", "", ""},
	{"no policy", "GET", "?policy", "", ""},
	{"no CORS", "GET", "?cors", "", ""},
	{"no website", "GET", "?website", "", ""},
	{"no lock", "GET", "?object-lock", "", ""},
	{"no versions", "GET", "?versioning", "", ""},
	{"ownership", "GET", "?ownershipControls", "", ""},
	{"key too long", "PUT", "/" + strings.Repeat("k", 1025), "", "x"},
	{"metadata too large", "PUT", "/k", "X-Amz-Meta-Large: " + strings.Repeat("m", 2100), "x"},
	{"method of no operation", "PATCH", "/k", "", ""},
}

func complete(parts ...string) string {
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for _, p := range parts {
		number, etag, _ := strings.Cut(p, " ")
		fmt.Fprintf(&b, "<Part><PartNumber>%s</PartNumber><ETag>%s</ETag></Part>", number, etag)
	}
	b.WriteString("</CompleteMultipartUpload>")
	return b.String()
}

// walker takes the steps on one service.
type walker struct {
	endpoint, bucket string
	vars             map[string]string
}

func newWalker(endpoint, bucket string) *walker {
	return &walker{endpoint, bucket, map[string]string{"bucket": bucket, "upload": "none", "token": "none", "part": "none", "copied": "none",
		"date": time.Now().Add(-48 * time.Hour).UTC().Format(http.TimeFormat)}}
}

// take sends a step and tells the answer in lines: the status, what of the headers is the service's word, and the body
// as paths and values, sorted, without what differs by time and place.
func (w *walker) take(t *testing.T, s step) []string {
	t.Helper()
	fill := func(text string) string {
		for name, value := range w.vars {
			text = strings.ReplaceAll(text, "{"+name+"}", value)
		}
		return text
	}
	body := fill(s.body)
	r, err := http.NewRequestWithContext(t.Context(), s.method, w.endpoint+"/"+w.bucket+strings.ReplaceAll(fill(s.target), " ", "%20"), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(fill(s.header), "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			r.Header.Set(name, value)
		}
	}
	if strings.HasPrefix(s.target, "?delete") || s.method == "PUT" && s.target == "?tagging" {
		sum := md5.Sum([]byte(body))
		r.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	err = v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: *key, SecretAccessKey: *secret}, r, hash, "s3", "us-east-1", time.Now(),
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return w.tell(s, answer, text)
}

// compared are the headers that are.
var compared = []string{"Etag", "Content-Type", "Content-Range", "Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Language", "Content-Encoding",
	"X-Amz-Meta-Colour", "X-Amz-Tagging-Count", "X-Amz-Mp-Parts-Count", "X-Amz-Checksum-Crc32", "X-Amz-Checksum-Crc64nvme", "X-Amz-Checksum-Type", "X-Amz-Bucket-Region"}

func (w *walker) tell(s step, answer *http.Response, text []byte) []string {
	lines := []string{fmt.Sprint("status ", answer.StatusCode)}
	isXML := bytes.HasPrefix(text, []byte("<?xml")) || bytes.HasPrefix(text, []byte("<")) && strings.Contains(answer.Header.Get("Content-Type"), "xml")
	failed := answer.StatusCode >= 300
	for _, name := range compared {
		if name == "X-Amz-Bucket-Region" && s.method != "HEAD" || isXML && name == "Content-Type" || failed {
			continue
		}
		if v := answer.Header.Get(name); v != "" {
			lines = append(lines, name+": "+v)
		}
	}
	if s.method == "GET" && !isXML || s.method == "HEAD" && !failed {
		lines = append(lines, fmt.Sprint("length ", answer.ContentLength))
	}
	if !isXML {
		if len(text) > 0 {
			lines = append(lines, fmt.Sprintf("body %q", text))
		}
		return lines
	}
	values, err := flatten(text)
	if err != nil {
		return append(lines, "XML that can't be read: "+err.Error())
	}
	for _, v := range values {
		path, value, _ := strings.Cut(v, "=")
		name := path[strings.LastIndexByte(path, '/')+1:]
		switch name {
		case "UploadId", "NextContinuationToken":
			w.vars[map[string]string{"UploadId": "upload", "NextContinuationToken": "token"}[name]] = value
		case "ETag":
			if strings.HasPrefix(path, "CopyPartResult") {
				w.vars["copied"] = strings.Trim(value, `"`)
			}
		case "Code":
			lines = append(lines, v)
		}
		if failed || slices.Contains([]string{"UploadId", "NextContinuationToken", "ContinuationToken", "UploadIdMarker", "NextUploadIdMarker", "LastModified", "Initiated",
			"ID", "DisplayName", "Location", "Name", "Bucket", "Code"}, name) || value == "" {
			continue
		}
		lines = append(lines, v)
	}
	slices.Sort(lines[1:])
	return lines
}

// flatten gives the texts of an XML document with the names of the elements around them.
func flatten(text []byte) (lines []string, err error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	var path []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		switch v := token.(type) {
		case xml.StartElement:
			path = append(path, v.Name.Local)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if value := strings.TrimSpace(string(v)); value != "" {
				lines = append(lines, strings.Join(path, "/")+"="+value)
			}
		}
	}
}

// difference shows the lines that one answer has and the other has not.
func difference(ours, theirs []string) string {
	var b strings.Builder
	for _, side := range []struct {
		mark       string
		have, lack []string
	}{{"ours", ours, theirs}, {"theirs", theirs, ours}} {
		left := slices.Clone(side.lack)
		for _, line := range side.have {
			if i := slices.Index(left, line); i >= 0 {
				left = slices.Delete(left, i, i+1)
				continue
			}
			fmt.Fprintf(&b, "\t%s: %s\n", side.mark, line)
		}
	}
	return b.String()
}

// A list of requests to the built binary and to the service gives the same answers, but for what is known. Without a
// service two nodes are compared, which must not differ at all.
func TestYardstick(t *testing.T) {
	other := *endpoint
	if other == "" || *service == "moto" { // moto is no yardstick: it checks little of a request
		other = up(t).AWS
	}
	known := differences[*service]
	ours, theirs := newWalker(up(t).AWS, unique("yardstick")), newWalker(other, unique("yardstick"))
	differ := map[string]bool{}
	for _, s := range steps {
		if differ[s.name] {
			t.Fatalf("two steps are named %q", s.name)
		}
		differ[s.name] = false
		a, b := ours.take(t, s), theirs.take(t, s)
		if s.name == "part" {
			sum := md5.Sum([]byte(s.body))
			ours.vars["part"], theirs.vars["part"] = hex.EncodeToString(sum[:]), hex.EncodeToString(sum[:])
		}
		differ[s.name] = !slices.Equal(a, b)
		if differ[s.name] && known[s.name] == "" {
			t.Errorf("%s: %s %.60s\n%s", s.name, s.method, s.target, difference(a, b))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !differ[name] {
			t.Errorf("%q does not differ any more, or is no step", name)
		}
	}
}
