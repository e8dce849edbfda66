package template

import (
	"context"
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/delivery"
	"millrace/internal/glue"
)

const gluePipeline = `Resources:
  Logs: {Type: AWS::Glue::Database, Properties: {CatalogId: !Ref AWS::AccountId, DatabaseInput: {Name: WebLogs}}}
  Events:
    Type: AWS::Glue::Table
    Properties:
      CatalogId: !Ref AWS::AccountId
      DatabaseName: !Ref Logs
      TableInput:
        Name: events
        TableType: EXTERNAL_TABLE
        StorageDescriptor:
          Columns:
            - {Name: id, Type: bigint}
            - {Name: at, Type: timestamp, Comment: arrival}
  Unnamed:
    Type: AWS::Glue::Table
    Properties: {DatabaseName: !Ref Logs, TableInput: {StorageDescriptor: {Columns: [{Name: a, Type: int}]}}}
Outputs:
  Database: {Value: !Ref Logs}
  Table: {Value: !Ref Events}
`

// Tables are made with their database, change in place, keep their names, and go with --prune.
func TestGlueTables(t *testing.T) {
	n := newNode(t)
	plan, outputs, err := n.up("t.yaml", gluePipeline, Options{Stack: "s"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"+ Glue::Database Logs (weblogs)", "+ Glue::Table Events (weblogs.events)", "+ Glue::Table Unnamed (weblogs.s-unnamed-"} {
		if !strings.Contains(plan, line) {
			t.Errorf("no %q in\n%s", line, plan)
		}
	}
	if outputs[0].Value != "weblogs" || outputs[1].Value != "events" {
		t.Errorf("%+v", outputs)
	}
	want := func(version int64, columns ...glue.Column) {
		t.Helper()
		have, err := catalog.Tables{}.Table(n.Catalog.Snapshot(), "weblogs", "events")
		if err != nil || have.Version != version || len(have.Columns) != len(columns) {
			t.Errorf("got %+v %v", have, err)
		}
	}
	id, at := glue.Column{Name: "id", Type: "bigint"}, glue.Column{Name: "at", Type: "timestamp"}
	want(1, id, at)
	if plan := n.mustUp(gluePipeline, Options{Stack: "s"}, false); strings.Contains(plan, "  + ") || strings.Contains(plan, "  ~ ") {
		t.Errorf("a second run changes something:\n%s", plan)
	}
	want(1, id, at)
	more := strings.Replace(gluePipeline, "- {Name: id, Type: bigint}", "- {Name: id, Type: bigint}\n            - {Name: more, Type: string}", 1)
	if plan := n.mustUp(more, Options{Stack: "s"}, false); !strings.Contains(plan, "~ Glue::Table Events (weblogs.events): columns") {
		t.Errorf("got\n%s", plan)
	}
	want(2, id, at, glue.Column{Name: "more", Type: "string"})
	bucketOnly := "Resources: {B: {Type: AWS::S3::Bucket}}"
	if plan := n.mustUp(bucketOnly, Options{Stack: "s"}, true); !strings.Contains(plan, "- Glue::Table Events") || !strings.Contains(plan, "- Glue::Database Logs") {
		t.Errorf("got\n%s", plan)
	}
	if _, err := (catalog.Tables{}).Table(n.Catalog.Snapshot(), "weblogs", "events"); err == nil {
		t.Error("the table is still there")
	}
	if _, _, err := n.up("t.yaml", strings.Replace(gluePipeline, "DatabaseName: !Ref Logs", "DatabaseName: other", 1), Options{Stack: "s"}, false); err == nil ||
		!strings.Contains(err.Error(), "t.yaml:7:21: Resources.Events.Properties.DatabaseName: there is no database other, in the file or on the node") {
		t.Errorf("got %v", err)
	}
}

// tableSeer is what runs delivery streams, as far as it looks at tables.
type tableSeer struct {
	DeliveryStreams
	planned *glue.Table
	applied bool
}

func (s *tableSeer) Compare(req *delivery.CreateRequest) (*delivery.Definition, bool, error) {
	s.planned = req.Tables("weblogs", "events")
	return nil, false, nil
}

func (s *tableSeer) Apply(_ context.Context, req *delivery.CreateRequest) (*delivery.Definition, bool, error) {
	s.applied = req.Tables == nil
	return nil, true, nil
}

// A delivery stream is compared with the tables that its file will have made, and applied with those that are there.
func TestDeliveryStreamsSeeTablesOfTheirFile(t *testing.T) {
	n := newNode(t)
	n.mustUp(gluePipeline, Options{Stack: "s"}, false)
	seer := &tableSeer{}
	n.DeliveryStreams = seer
	body := strings.Replace(gluePipeline, "Type: bigint", "Type: int", 1) + `
`
	body = strings.Replace(body, "Outputs:", `  D:
    Type: AWS::KinesisFirehose::DeliveryStream
    Properties:
      ExtendedS3DestinationConfiguration:
        BucketARN: arn:aws:s3:::b
        RoleARN: arn:aws:iam::000000000000:role/r
        DataFormatConversionConfiguration:
          InputFormatConfiguration: {Deserializer: {OpenXJsonSerDe: {CaseInsensitive: "false", ColumnToJsonKeyMappings: {Enabled: true, size: 1}}}}
          OutputFormatConfiguration: {Serializer: {ParquetSerDe: {BlockSizeBytes: "67108864", Compression: GZIP}}}
          SchemaConfiguration: {RoleARN: "arn:aws:iam::000000000000:role/r", DatabaseName: !Ref Logs, TableName: !Ref Events}
Outputs:`, 1)
	plan := n.mustUp(body, Options{Stack: "s"}, false)
	if seer.planned == nil || seer.planned.Version != 2 || seer.planned.Columns[0].Type != "int" || !seer.applied {
		t.Errorf("planned with %+v, applied without %v", seer.planned, seer.applied)
	}
	if table, stream := strings.Index(plan, "Glue::Table Events"), strings.Index(plan, "DeliveryStream D"); table < 0 || stream < table {
		t.Errorf("the table comes after what reads it:\n%s", plan)
	}
}
