package template

import (
	"context"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/catalog"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/glue"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// databaseSpec and tableSpec are what the file says of a database and of a table.
type (
	databaseSpec struct {
		*resource
		name string
	}
	tableSpec struct {
		*resource
		table       glue.Table
		columnNodes []*yaml.Node
	}
)

const (
	columnsNote = "columns alone are what delivery streams take from a table"
	lowerCase   = "names are folded to lower case, as in the service"
)

var databaseType = &resourceType{
	name: "AWS::Glue::Database", note: lowerCase,
	properties: map[string]string{"CatalogId": served, "DatabaseInput": served, "DatabaseName": served},
	required:   []string{"DatabaseInput"},
	generate: func(b *build, r *resource) string {
		return b.glueName(r, "DatabaseName", "DatabaseInput")
	},
	made: true,
	make: func(b *build, r *resource, p *properties) bool {
		p.ownCatalog()
		if in := p.nested("DatabaseInput"); in != nil {
			in.only("Name", "Description", "LocationUri", "Parameters", "CreateTableDefaultPermissions")
		}
		name, ok := b.physical(r)
		if !ok {
			return true
		}
		if err := glue.CheckName(name); err != nil {
			p.tell("DatabaseInput", "%s", openapi.Reason(err))
			return true
		}
		b.databases = append(b.databases, &databaseSpec{r, name})
		return true
	},
}

var tableType = &resourceType{
	name: "AWS::Glue::Table", note: lowerCase + "; " + columnsNote,
	properties: map[string]string{"CatalogId": served, "DatabaseName": served, "TableInput": served, "Name": served},
	required:   []string{"DatabaseName", "TableInput"},
	// A table is known by its database and its name; Ref gives the name.
	generate: func(b *build, r *resource) string {
		where := "Resources." + r.logical + ".Properties.DatabaseName"
		database, _ := b.text(yamldoc.Get(r.properties, "DatabaseName"), where)
		return glue.Key(strings.ToLower(database), b.glueName(r, "Name", "TableInput"))
	},
	made: true,
	ref:  func(_ *build, _ *resource, key string) string { return key[strings.IndexByte(key, '.')+1:] },
	make: func(b *build, r *resource, p *properties) bool {
		p.ownCatalog()
		key, ok := b.physical(r)
		if !ok {
			return true
		}
		database, name, _ := strings.Cut(key, ".")
		s := &tableSpec{resource: r, table: glue.Table{Database: database, Name: name}}
		in := p.nested("TableInput")
		if in == nil || !s.columns(in) {
			return true
		}
		if err := s.table.Check(); err != nil {
			n, where := locate(p.node, p.where, "TableInput.StorageDescriptor.Columns")
			b.tell(n, where, "%s", openapi.Reason(err))
			return true
		}
		b.tables = append(b.tables, s)
		return true
	},
}

// columns reads the columns of a TableInput. It is false when there is something wrong with them.
func (s *tableSpec) columns(in *properties) bool {
	before := len(in.b.problems)
	in.only("Name", "Description", "Owner", "Parameters", "PartitionKeys", "Retention", "StorageDescriptor", "TableType", "ViewExpandedText",
		"ViewOriginalText")
	storage := in.nested("StorageDescriptor")
	if storage == nil {
		in.tell("StorageDescriptor", "is required: "+columnsNote)
		return false
	}
	storage.only("Columns", "Location", "InputFormat", "OutputFormat", "SerdeInfo", "Compressed", "NumberOfBuckets", "BucketColumns",
		"SortColumns", "Parameters", "SkewedInfo", "StoredAsSubDirectories")
	for _, c := range storage.list("Columns") {
		c.only("Name", "Type", "Comment", "Parameters")
		column := glue.Column{Name: c.text("Name"), Type: c.text("Type")}
		if column.Type == "" {
			c.tell("Type", "is required: a type of Hive such as string, bigint, array<int>")
		}
		s.table.Columns = append(s.table.Columns, column)
		s.columnNodes = append(s.columnNodes, c.node)
	}
	return len(in.b.problems) == before
}

// ownCatalog refuses another account's data catalog.
func (p *properties) ownCatalog() {
	if id := p.text("CatalogId"); id != "" && id != p.b.t.opts.Account.ID {
		p.tell("CatalogId", "the data catalog of another account (%s) is not supported by this version of Millrace", id)
	}
}

// glueName gives the name that the properties say, or the one that was made up before.
func (b *build) glueName(r *resource, property, input string) string {
	where := "Resources." + r.logical + ".Properties."
	n, at := yamldoc.Get(yamldoc.Get(r.properties, input), "Name"), where+input+".Name"
	if n == nil {
		n, at = yamldoc.Get(r.properties, property), where+property
	}
	if n != nil {
		name, _ := b.text(n, at)
		return strings.ToLower(name)
	}
	if had := b.record.Resources[r.logical]; had != nil && had.Type == r.kind.name {
		return had.Physical[strings.IndexByte(had.Physical, '.')+1:]
	}
	return strings.ToLower(b.madeUp(r, 255))
}

var glueCatalog catalog.Tables

func (p *planner) database(s *databaseSpec) {
	if !p.own(s.resource, s.name) {
		return
	}
	have, err := glueCatalog.HasDatabase(p.view, s.name)
	switch {
	case err != nil:
		p.refuse(s.resource, "", "%v", err)
	case have:
		p.takenOver(s.resource, s.name)
		p.add(Keep, s.resource, s.name, "", nil)
	default:
		p.add(Create, s.resource, s.name, "", p.inCatalog(func(tx *catalog.Tx) error { return glueCatalog.PutDatabase(tx, s.name, p.target.Now()) }))
	}
}

func (p *planner) table(s *tableSpec) {
	key := glue.Key(s.table.Database, s.table.Name)
	if !p.own(s.resource, key) {
		return
	}
	there, err := glueCatalog.HasDatabase(p.view, s.table.Database)
	if err == nil && !there && !known(p.b.databases, func(d *databaseSpec) bool { return d.name == s.table.Database }) {
		p.refuse(s.resource, "DatabaseName", "there is no database %s, in the file or on the node", s.table.Database)
		return
	}
	var have *glue.Table
	if err == nil {
		have, err = glueCatalog.Table(p.view, s.table.Database, s.table.Name)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		p.refuse(s.resource, "", "%v", err)
		return
	}
	s.table.Version = catalog.NextVersion(have, &s.table)
	run := p.inCatalog(func(tx *catalog.Tx) error { return glueCatalog.Put(tx, &s.table, p.target.Now()) })
	switch {
	case have == nil:
		p.add(Create, s.resource, key, "", run)
		return
	case have.Version == s.table.Version:
		p.add(Keep, s.resource, key, "", nil)
	default:
		p.add(Update, s.resource, key, "columns; delivery streams of this file take them over, others when they are updated", run)
	}
	p.takenOver(s.resource, key)
}

// tableOf finds a table of the file, as it will be once the file is applied.
func (p *planner) tableOf(database, name string) *glue.Table {
	for _, s := range p.b.tables {
		if s.table.Database == database && s.table.Name == name {
			return &s.table
		}
	}
	return nil
}

// locateColumn finds the column, in a table of the file, that a delivery stream can't convert to: `column "tags": …`. Nil: it
// is not about one.
func (p *planner) locateColumn(req *delivery.CreateRequest, message string) (*yaml.Node, string) {
	rest, ok := strings.CutPrefix(message, `column "`)
	name, _, quoted := strings.Cut(rest, `"`)
	d := req.ExtendedS3DestinationConfiguration
	if !ok || !quoted || d == nil || !d.Converts() {
		return nil, ""
	}
	schema := d.DataFormatConversionConfiguration.SchemaConfiguration
	key := glue.Key(strings.ToLower(schema.DatabaseName), strings.ToLower(schema.TableName))
	for _, s := range p.b.tables {
		if glue.Key(s.table.Database, s.table.Name) != key {
			continue
		}
		for i, column := range s.columnNodes {
			if strings.EqualFold(s.table.Columns[i].Name, name) {
				return column, "Resources." + s.logical + ".Properties.TableInput.StorageDescriptor.Columns." + strconv.Itoa(i+1)
			}
		}
	}
	return nil, ""
}

func (p *planner) inCatalog(change func(*catalog.Tx) error) func(context.Context) error {
	return func(ctx context.Context) error { return p.target.Catalog.Update(ctx, change) }
}

// removeGlue removes a database or a table.
func (p *planner) removeGlue(ctx context.Context, e *RecordEntry) error {
	return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if e.Type == tableType.name {
			glueCatalog.Delete(tx, e.Physical)
		} else {
			glueCatalog.DeleteDatabase(tx, e.Physical)
		}
		return nil
	})
}
