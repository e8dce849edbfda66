package delivery

import (
	"slices"
	"strings"

	"millrace/internal/fault"
)

// InvalidParameter is the text of what the service answers as InvalidParameterValueException, which its model does not have.
type InvalidParameter string

func (e InvalidParameter) Error() string { return string(e) }

func invalidParameter(op string, text InvalidParameter) error {
	return fault.New(fault.Invalid, op, "", "%w", text)
}

// validateConversion checks the conversion to columns in the service's order: first its numbers, which bind a configuration
// that is switched off, too, then what it means.
func validateConversion(op, member string, d *S3Destination) error {
	c := d.DataFormatConversionConfiguration
	if c == nil {
		return nil
	}
	member += ".dataFormatConversionConfiguration."
	if c.OutputFormatConfiguration != nil && c.OutputFormatConfiguration.Serializer != nil {
		if err := c.OutputFormatConfiguration.Serializer.shape(op, member+"outputFormatConfiguration.serializer."); err != nil {
			return err
		}
	}
	if s := c.SchemaConfiguration; s != nil && s.RoleARN != "" && !roleRule.MatchString(s.RoleARN) {
		return invalidParameter(op, "Invalid role ARN.")
	}
	if !d.Converts() {
		return nil
	}
	switch {
	case d.CompressionFormat != string(uncompressed):
		return invalid(op, "The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is enabled. "+
			"To enable compression within the converted output format, set the appropriate serialization option in the output format configuration.")
	case *d.BufferingHints.SizeInMBs < minConversionSizeInMBs:
		return invalid(op, "BufferingHints.SizeInMBs must be at least %d when data format conversion is enabled.", minConversionSizeInMBs)
	case c.InputFormatConfiguration == nil:
		return invalid(op, "InputFormatConfiguration must not be null")
	case c.OutputFormatConfiguration == nil:
		return invalid(op, "OutputFormatConfiguration must not be null")
	case c.SchemaConfiguration == nil:
		return invalid(op, "SchemaConfiguration must not be null")
	}
	return c.validate(op, member)
}

// validate checks the members of a conversion that is enabled.
func (c *DataFormatConversionConfiguration) validate(op, member string) error {
	in, out, schema := c.InputFormatConfiguration.Deserializer, c.OutputFormatConfiguration.Serializer, c.SchemaConfiguration
	switch {
	case in == nil || in.OpenXJsonSerDe == nil && in.HiveJsonSerDe == nil:
		return invalid(op, "Deserializer must not be null")
	case in.OpenXJsonSerDe != nil && in.HiveJsonSerDe != nil:
		return invalid(op, "More than one deserializer specified. Only one may be chosen.")
	case out == nil || out.ParquetSerDe == nil && out.OrcSerDe == nil:
		return invalid(op, "Serializer must not be null")
	case out.ParquetSerDe != nil && out.OrcSerDe != nil:
		return invalid(op, "More than one serializer specified. Only one may be chosen.")
	case out.OrcSerDe != nil:
		return notDone(op, "", member+"outputFormatConfiguration.serializer.orcSerDe")
	}
	for name, value := range schema.required() {
		if value == "" {
			return invalid(op, "SchemaConfiguration.%s must not be null or empty", name)
		}
	}
	return nil
}

// required gives the members that a schema can't do without, as the service names them, in its order.
func (s *SchemaConfiguration) required() func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		_ = yield("RoleArn", s.RoleARN) && yield("DatabaseName", s.DatabaseName) && yield("TableName", s.TableName)
	}
}

// shape checks what the model says of serializers.
func (s *Serializer) shape(op, path string) error {
	if p := s.ParquetSerDe; p != nil {
		if err := p.shape(op, path+"parquetSerDe."); err != nil {
			return err
		}
	}
	if o := s.OrcSerDe; o != nil {
		return o.shape(op, path+"orcSerDe.")
	}
	return nil
}

func (p *ParquetSerDe) shape(op, path string) error {
	return first(
		atLeast(op, path+"maxPaddingBytes", p.MaxPaddingBytes, 0),
		atLeast(op, path+"blockSizeBytes", p.BlockSizeBytes, 64<<20),
		atLeast(op, path+"pageSizeBytes", p.PageSizeBytes, 64<<10),
		oneOf(op, path+"compression", p.Compression, "UNCOMPRESSED", "GZIP", "SNAPPY"),
		oneOf(op, path+"writerVersion", p.WriterVersion, "V1", "V2"),
	)
}

func (o *OrcSerDe) shape(op, path string) error {
	return first(
		probability(op, path+"dictionaryKeyThreshold", o.DictionaryKeyThreshold),
		atLeast(op, path+"blockSizeBytes", o.BlockSizeBytes, 64<<20),
		atLeast(op, path+"stripeSizeBytes", o.StripeSizeBytes, 8<<20),
		atLeast(op, path+"rowIndexStride", o.RowIndexStride, 1000),
		probability(op, path+"paddingTolerance", o.PaddingTolerance),
		probability(op, path+"bloomFilterFalsePositiveProbability", o.BloomFilterFalsePositiveProbability),
		oneOf(op, path+"compression", o.Compression, "NONE", "ZLIB", "SNAPPY"),
		oneOf(op, path+"formatVersion", o.FormatVersion, "V0_11", "V0_12"),
	)
}

// first gives the first error of checks that cost nothing.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func atLeast(op, path string, v *int, least int) error {
	if v == nil || *v >= least {
		return nil
	}
	return violated(op, path, "Member must have value greater than or equal to "+itoa(least))
}

func probability(op, path string, v *float64) error {
	switch {
	case v == nil || *v >= 0 && *v <= 1:
		return nil
	case *v > 1:
		return violated(op, path, "Member must have value less than or equal to 1")
	}
	return violated(op, path, "Member must have value greater than or equal to 0")
}

func oneOf(op, path, v string, values ...string) error {
	if v == "" || slices.Contains(values, v) {
		return nil
	}
	return violated(op, path, "Member must satisfy enum value set: ["+strings.Join(values, ", ")+"]")
}
