package delivery

import (
	"strings"

	"millrace/internal/fault"
	"millrace/internal/glue"
)

// admit checks what only a running engine knows: that the function can be called, the table be found, the URL be used. It
// puts what it found into the definition, and sees whether all of it can be put to work: what can't is never ACTIVE.
func (e *Engine) admit(op string, def *Definition, made Tables) error {
	if err := first(e.admitURL(op, def), e.admitFunction(op, def), e.admitSchema(op, def, made), e.admitLogs(op, def)); err != nil {
		return err
	}
	_, err := compile(def, e.opts.Account, e.opts.GzipLevel)
	return err
}

func (e *Engine) admitURL(op string, def *Definition) error {
	if def.HTTPEndpoint != nil && e.opts.HTTP == nil {
		return notDone(op, def.Name, "httpEndpointDestinationConfiguration")
	}
	if def.HTTPEndpoint == nil || e.opts.PlainEndpoints || !strings.HasPrefix(def.HTTPEndpoint.EndpointConfiguration.Url, "http://") {
		return nil
	}
	return violated(op, "httpEndpointDestinationConfiguration.endpointConfiguration.url", "Member must satisfy regular expression pattern: https://.*")
}

// Lambda gives the ARN of the function that records go through; empty: none.
func (d *Definition) Lambda() string {
	p := d.Processing().find(lambda)
	if p == nil {
		return ""
	}
	return p.Parameter("LambdaArn")
}

func (e *Engine) admitFunction(op string, def *Definition) error {
	arn := def.Lambda()
	if arn == "" || e.opts.Function(arn) != nil {
		return nil
	}
	return fault.New(fault.Invalid, op, def.Name, "processingConfiguration.processors: nothing stands for the function %s here; "+
		"give its ARN a URL under functions in the configuration file of every node", arn)
}

// LatestVersion is the VersionId that means the newest version of a table.
const LatestVersion = "LATEST"

// admitSchema finds the table of a conversion, and keeps its columns with the definition.
//
// A table that is changed later does not change delivery by itself: an update of the destination, and applying a definition
// file, look again. That is how VersionId LATEST follows a table.
func (e *Engine) admitSchema(op string, def *Definition, made Tables) error {
	def.Schema = nil
	if def.HTTPEndpoint != nil || !def.Destination.Converts() {
		return nil
	}
	c := def.Destination.DataFormatConversionConfiguration.SchemaConfiguration
	const where = "schemaConfiguration"
	if c.CatalogId != "" && c.CatalogId != e.opts.Account.ID {
		return fault.New(fault.Unsupported, op, def.Name, "%s.catalogId: tables of another account (%s) are not supported by this version of Millrace", where, c.CatalogId)
	}
	if c.Region != "" && c.Region != e.opts.Account.Region {
		return fault.New(fault.Unsupported, op, def.Name, "%s.region: tables of another region (%s) are not supported by this version of Millrace", where, c.Region)
	}
	table, err := e.table(c, made)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, op, def.Name, "%s.tableName: Table %s.%s is not found. Define it as an AWS::Glue::Table, or "+
			"under schemas in the configuration file of every node", where, c.DatabaseName, c.TableName)
	}
	if err != nil {
		return err
	}
	version := itoa(int(table.Version))
	if c.VersionId != "" && c.VersionId != LatestVersion && c.VersionId != version {
		return fault.New(fault.Invalid, op, def.Name, "%s.versionId: Table %s.%s has no version %s: only the newest is kept, which is %s",
			where, c.DatabaseName, c.TableName, c.VersionId, version)
	}
	def.Schema = &Schema{Version: version, Columns: table.Columns}
	return nil
}

func (e *Engine) table(c *SchemaConfiguration, made Tables) (*glue.Table, error) {
	database, table := strings.ToLower(c.DatabaseName), strings.ToLower(c.TableName)
	if made != nil {
		if t := made(database, table); t != nil {
			return t, nil
		}
	}
	return e.opts.Table(database, table)
}

const s3Member = "extendedS3DestinationConfiguration."
