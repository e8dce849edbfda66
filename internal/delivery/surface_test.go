package delivery

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/internal/delivery/transform"
	"millrace/internal/fault"
	"millrace/internal/glue"
)

// surface is a node on which any definition may be made.
type surface struct {
	*node
	functions map[string]*transform.Endpoint
	tables    map[string]*glue.Table
}

func newSurface(t *testing.T) *surface {
	s := &surface{functions: map[string]*transform.Endpoint{}, tables: map[string]*glue.Table{}}
	s.node = newNode(t, Options{
		HTTP:     nobodyPosts{},
		Function: func(arn string) *transform.Endpoint { return s.functions[arn] },
		Table: func(database, name string) (*glue.Table, error) {
			if table := s.tables[glue.Key(database, name)]; table != nil {
				return table, nil
			}
			return nil, fault.New(fault.NotFound, "test.Table", name, "no table")
		},
	})
	s.start()
	t.Cleanup(s.close)
	return s
}

// nobodyPosts is for endpoints that get nothing.
type nobodyPosts struct{ Poster }

// make creates a delivery stream from members of CreateDeliveryStream and of its destination.
func (s *surface) make(members, dest string) error {
	s.t.Helper()
	req, err := decodeRequest(s.t, members, dest)
	if err == nil {
		_, err = s.engine.Create(s.t.Context(), req)
	}
	return err
}

// update sends an UpdateDestination for the present version.
func (s *surface) update(members string) (*Definition, error) {
	s.t.Helper()
	have := must(s.engine.Describe("d"))
	req := &UpdateRequest{DeliveryStreamName: "d", DestinationId: DestinationID, CurrentDeliveryStreamVersionId: itoa(int(have.VersionID))}
	if err := json.Unmarshal([]byte("{"+members+"}"), req); err != nil {
		s.t.Fatal(err)
	}
	return s.engine.UpdateDestination(s.t.Context(), req)
}

func (s *surface) refused(err error, kind fault.Kind, message string) {
	s.t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), message) {
		s.t.Errorf("got %v, want %v %q", err, kind, message)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	theRole     = `"RoleARN":"arn:aws:iam::000000000000:role/r"`
	theBucket   = theRole + `,"BucketARN":"arn:aws:s3:::events"`
	theFunction = "arn:aws:lambda:us-east-1:000000000000:function:f"
	theEndpoint = `"EndpointConfiguration":{"Url":"https://example.com/in","AccessKey":"k"}`
	byTheQuery  = partitions + `,"ProcessingConfiguration":{"Enabled":true,"Processors":[{"Type":"MetadataExtraction","Parameters":[` +
		`{"ParameterName":"MetadataExtractionQuery","ParameterValue":"{k:.k}"},{"ParameterName":"JsonParsingEngine","ParameterValue":"JQ-1.6"}]}]}`
	toParquet = `"DataFormatConversionConfiguration":{"InputFormatConfiguration":{"Deserializer":{"OpenXJsonSerDe":{}}},` +
		`"OutputFormatConfiguration":{"Serializer":{"ParquetSerDe":{}}},"SchemaConfiguration":{` + theRole + `,"DatabaseName":"WebLogs","TableName":"Events"%s}}`
)

// Backup can be turned on, never off.
func TestBackupIsNeverTurnedOff(t *testing.T) {
	s := newSurface(t)
	mustDo(t, s.make("", ""))
	_, err := s.update(`"ExtendedS3DestinationUpdate":{"S3BackupMode":"Enabled"}`)
	s.refused(err, fault.Invalid, "S3 backup destination configuration is required when enabling S3 backup.")
	def := must(s.update(`"ExtendedS3DestinationUpdate":{"S3BackupMode":"Enabled","S3BackupUpdate":{` + theBucket + `,"Prefix":"a/"}}`))
	if !def.Destination.BacksUp() || *def.Destination.S3BackupConfiguration.BufferingHints.SizeInMBs != DefaultSizeInMBs {
		t.Errorf("%+v", def.Destination)
	}
	_, err = s.update(`"ExtendedS3DestinationUpdate":{"S3BackupMode":"Disabled"}`)
	s.refused(err, fault.Invalid, "S3 backup cannot be disabled once it is enabled.")
	def = must(s.update(`"ExtendedS3DestinationUpdate":{"S3BackupUpdate":{"CompressionFormat":"GZIP"}}`))
	if backup := def.Destination.S3BackupConfiguration; backup.CompressionFormat != "GZIP" || text(backup.Prefix) != "a/" || def.VersionID != 3 {
		t.Errorf("%+v", backup)
	}
}

// Dynamic partitioning is set at creation, for good.
func TestPartitioningIsForLife(t *testing.T) {
	s := newSurface(t)
	mustDo(t, s.make("", byTheQuery))
	_, err := s.update(`"ExtendedS3DestinationUpdate":{"DynamicPartitioningConfiguration":{"Enabled":false},"Prefix":"p/","ProcessingConfiguration":{"Enabled":false}}`)
	s.refused(err, fault.Invalid, "Dynamic Partitioning cannot be disabled once it is enabled.")
	_, err = s.update(`"HttpEndpointDestinationUpdate":{` + theEndpoint + `,"S3Update":{` + theBucket + `}}`)
	s.refused(err, fault.Invalid, "Dynamic Partitioning cannot be disabled once it is enabled.")
	def := must(s.update(`"ExtendedS3DestinationUpdate":{"DynamicPartitioningConfiguration":{"Enabled":true,"RetryOptions":{"DurationInSeconds":10}}}`))
	if got := *def.Destination.DynamicPartitioningConfiguration.RetryOptions.DurationInSeconds; got != 10 {
		t.Errorf("%d seconds", got)
	}
	want, err := decodeRequest(t, "", "")
	mustDo(t, err)
	_, _, err = s.engine.Compare(want)
	s.refused(err, fault.Unsupported, "DynamicPartitioningConfiguration can't change in place")
}

// A destination of another type takes nothing over, and back again.
func TestDestinationChangesItsType(t *testing.T) {
	s := newSurface(t)
	mustDo(t, s.make("", `"Prefix":"p/","FileExtension":".x"`))
	_, err := s.update(`"HttpEndpointDestinationUpdate":{` + theEndpoint + `}`)
	s.refused(err, fault.Invalid, "s3Configuration")
	def := must(s.update(`"HttpEndpointDestinationUpdate":{` + theEndpoint + `,"S3Update":{` + theBucket + `}}`))
	if def.HTTPEndpoint == nil || *def.HTTPEndpoint.EndpointConfiguration.AccessKey != "k" || def.Destination.Prefix != nil || def.Destination.FileExtension != nil {
		t.Errorf("%+v %+v", def.HTTPEndpoint, def.Destination)
	}
	def = must(s.update(`"HttpEndpointDestinationUpdate":{"BufferingHints":{"SizeInMBs":2,"IntervalInSeconds":0},"S3Update":{"Prefix":"failed/"}}`))
	if h := def.HTTPEndpoint; *def.Hints().SizeInMBs != 2 || h.EndpointConfiguration.Url != "https://example.com/in" || text(def.Destination.Prefix) != "failed/" ||
		*h.RetryOptions.DurationInSeconds != DefaultRetrySeconds {
		t.Errorf("%+v %+v", h, def.Destination)
	}
	_, err = s.update(`"HttpEndpointDestinationUpdate":{"EndpointConfiguration":{"Url":"http://example.com"}}`)
	s.refused(err, fault.Invalid, "https://.*")
	_, err = s.update(`"ExtendedS3DestinationUpdate":{"Prefix":"q/"}`)
	s.refused(err, fault.Invalid, "extendedS3DestinationUpdate.roleARN")
	def = must(s.update(`"ExtendedS3DestinationUpdate":{` + theBucket + `}`))
	if def.HTTPEndpoint != nil || def.Destination.Prefix != nil || def.VersionID != 4 {
		t.Errorf("%+v", def)
	}
}

// A function is one that can be called: refused by name when the node has no URL for it.
func TestFunctionsAreKnown(t *testing.T) {
	s := newSurface(t)
	with := enabled(processor(lambda, function))
	s.refused(s.make("", with), fault.Invalid, "nothing stands for the function "+theFunction+" here; give its ARN a URL under functions in the configuration file")
	req, err := decodeRequest(t, "", with)
	mustDo(t, err)
	_, _, err = s.engine.Compare(req)
	s.refused(err, fault.Invalid, theFunction)
	mustDo(t, s.make("", ""))
	_, err = s.update(`"ExtendedS3DestinationUpdate":{` + with + `}`)
	s.refused(err, fault.Invalid, theFunction)
	s.functions[theFunction] = must(transform.NewEndpoint("http://127.0.0.1:9000/", "", ""))
	if def := must(s.update(`"ExtendedS3DestinationUpdate":{` + with + `}`)); def.Lambda() != theFunction {
		t.Errorf("function %q", def.Lambda())
	}
}

// A definition holds the columns of its table, looks for them when it is made, updated and applied, and not in between.
func TestSchemaIsResolved(t *testing.T) {
	s := newSurface(t)
	s.refused(s.make("", strings.Replace(toParquet, "%s", "", 1)), fault.Invalid, "Table WebLogs.Events is not found. Define it as an AWS::Glue::Table")
	table := func(version int64, columns ...string) {
		now := &glue.Table{Database: "weblogs", Name: "events", Version: version}
		for _, c := range columns {
			now.Columns = append(now.Columns, glue.Column{Name: c, Type: "string"})
		}
		s.tables["weblogs.events"] = now
	}
	want := func(version string, columns int) {
		t.Helper()
		def := must(s.engine.Describe("d"))
		if def.Schema == nil || def.Schema.Version != version || len(def.Schema.Columns) != columns {
			t.Errorf("%+v, want version %s of %d columns", def.Schema, version, columns)
		}
	}
	table(1, "a")
	for members, message := range map[string]string{
		`,"VersionId":"2"`:            "schemaConfiguration.versionId: Table WebLogs.Events has no version 2: only the newest is kept, which is 1",
		`,"CatalogId":"999999999999"`: "schemaConfiguration.catalogId: tables of another account",
		`,"Region":"eu-west-1"`:       "schemaConfiguration.region: tables of another region",
	} {
		if err := s.make("", strings.Replace(toParquet, "%s", members, 1)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("got %v, want %q", err, message)
		}
	}
	latest := strings.Replace(toParquet, "%s", `,"VersionId":"LATEST","Region":"`+testAccount.Region+`","CatalogId":"`+testAccount.ID+`"`, 1)
	mustDo(t, s.make("", latest))
	want("1", 1)
	table(2, "a", "b")
	want("1", 1)
	if def := must(s.update(`"ExtendedS3DestinationUpdate":{}`)); def.VersionID != 2 {
		t.Errorf("version %d", def.VersionID)
	}
	want("2", 2)
	table(3, "a", "b", "c")
	req, err := decodeRequest(t, "", latest)
	mustDo(t, err)
	if _, equal, err := s.engine.Compare(req); equal || err != nil {
		t.Errorf("a changed table changes nothing: %v", err)
	}
	if _, changed, err := s.engine.Apply(t.Context(), req); !changed || err != nil {
		t.Errorf("%v %v", changed, err)
	}
	want("3", 3)
	if _, changed, err := s.engine.Apply(t.Context(), req); changed || err != nil {
		t.Errorf("a second run changes something: %v", err)
	}
	must(s.update(`"ExtendedS3DestinationUpdate":{"DataFormatConversionConfiguration":{"Enabled":false}}`))
	if def := must(s.engine.Describe("d")); def.Schema != nil {
		t.Errorf("%+v", def.Schema)
	}
}

// Encryption is the hidden stream's, and answers say what is so.
func TestEncryption(t *testing.T) {
	s := newSurface(t)
	ctx := t.Context()
	key := func() string {
		t.Helper()
		st, ok := s.source.Stream(must(s.engine.Describe("d")).SourceStream())
		if !ok {
			t.Fatal("the hidden stream is gone")
		}
		return st.EncryptionKey
	}
	put := func(want bool) {
		t.Helper()
		if _, encrypted, err := s.engine.Put(ctx, "d", []byte("x")); encrypted != want || err != nil {
			t.Errorf("encrypted %v, not %v: %v", encrypted, want, err)
		}
	}
	const arn = "arn:aws:kms:us-east-1:000000000000:key/k"
	mustDo(t, s.make(`"DeliveryStreamEncryptionConfigurationInput":{"KeyType":"CUSTOMER_MANAGED_CMK","KeyARN":"`+arn+`"}`, ""))
	if key() != arn {
		t.Errorf("key %q", key())
	}
	put(true)
	def := must(s.engine.StopEncryption(ctx, "d"))
	if key() != "" || def.Encrypts() || def.VersionID != 1 {
		t.Errorf("key %q: %+v", key(), def)
	}
	put(false)
	def = must(s.engine.StartEncryption(ctx, "d", nil))
	if key() != ownedKeyID || def.EncryptionKey.KeyType != ownedKey {
		t.Errorf("key %q: %+v", key(), def)
	}
	put(true)
	// A file says what there is to be.
	req, err := decodeRequest(t, "", "")
	mustDo(t, err)
	if _, changed, err := s.engine.Apply(ctx, req); !changed || err != nil || key() != "" {
		t.Errorf("%v %v %q", changed, err, key())
	}
	req.DeliveryStreamEncryptionConfigurationInput = &EncryptionKey{KeyType: ownedKey}
	if _, changed, err := s.engine.Apply(ctx, req); !changed || err != nil || key() != ownedKeyID {
		t.Errorf("%v %v %q", changed, err, key())
	}
	if _, changed, err := s.engine.Apply(ctx, req); changed || err != nil {
		t.Errorf("%v %v", changed, err)
	}
}

// Where nothing would be encrypted, encryption is refused by name, and nothing is left behind.
func TestEncryptionThatNobodyDoes(t *testing.T) {
	s := newSurface(t)
	s.source.seals = true
	s.refused(s.make(`"DeliveryStreamEncryptionConfigurationInput":{"KeyType":"AWS_OWNED_CMK"}`, ""), fault.Unsupported, "deliveryStreamEncryptionConfigurationInput")
	if left := s.source.Streams(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	mustDo(t, s.make("", ""))
	_, err := s.engine.StartEncryption(t.Context(), "d", nil)
	s.refused(err, fault.Unsupported, "encryption at rest is not supported by this version of Millrace on this engine")
}
