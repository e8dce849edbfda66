package delivery

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/ids"
)

// Definition checks a request and makes a definition of it, defaults filled in. Errors are Invalid with the service's
// text where it is known, or Unsupported naming the path of the member that this version does not do.
func (r *CreateRequest) Definition() (*Definition, error) {
	const op = "delivery.Create"
	if err := r.unsupported(op); err != nil {
		return nil, err
	}
	if r.HttpEndpointDestinationConfiguration != nil {
		return nil, notDone(op, r.DeliveryStreamName, "httpEndpointDestinationConfiguration")
	}
	if r.DeliveryStreamEncryptionConfigurationInput != nil {
		return nil, notDone(op, r.DeliveryStreamName, "deliveryStreamEncryptionConfigurationInput")
	}
	if !nameRule.MatchString(r.DeliveryStreamName) {
		return nil, violated(op, "deliveryStreamName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+, "+
			"and have length less than or equal to 64")
	}
	if err := validateTags(op, r.DeliveryStreamName, r.Tags); err != nil {
		return nil, err
	}
	def := &Definition{Name: r.DeliveryStreamName, Type: r.DeliveryStreamType, Tags: map[string]string{}}
	for _, t := range r.Tags {
		def.Tags[t.Key] = t.Value
	}
	if err := r.sources(op, def); err != nil {
		return nil, err
	}
	dest, member := r.ExtendedS3DestinationConfiguration, "extendedS3DestinationConfiguration"
	if (dest == nil) == (r.S3DestinationConfiguration == nil) {
		return nil, fault.New(fault.Invalid, op, def.Name, "Exactly one destination configuration is supported for a Firehose")
	}
	if dest == nil {
		dest, member = &S3Destination{S3Configuration: *r.S3DestinationConfiguration}, "s3DestinationConfiguration"
	}
	def.Destination = *dest
	def.Destination.setDefaults()
	return def, validateDestination(op, member, &def.Destination)
}

// unsupportedMember is a member that is decoded only to be refused.
type unsupportedMember struct {
	path string
	raw  json.RawMessage
}

func (r *CreateRequest) unsupported(op string) error {
	return refuse(op, r.DeliveryStreamName, []unsupportedMember{
		{"mSKSourceConfiguration", r.MSKSourceConfiguration},
		{"databaseSourceConfiguration", r.DatabaseSourceConfiguration},
		{"redshiftDestinationConfiguration", r.RedshiftDestinationConfiguration},
		{"elasticsearchDestinationConfiguration", r.ElasticsearchDestinationConfiguration},
		{"amazonopensearchserviceDestinationConfiguration", r.AmazonopensearchserviceDestinationConfiguration},
		{"amazonOpenSearchServerlessDestinationConfiguration", r.AmazonOpenSearchServerlessDestinationConfiguration},
		{"splunkDestinationConfiguration", r.SplunkDestinationConfiguration},
		{"snowflakeDestinationConfiguration", r.SnowflakeDestinationConfiguration},
		{"icebergDestinationConfiguration", r.IcebergDestinationConfiguration},
	})
}

func refuse(op, name string, members []unsupportedMember) error {
	for _, m := range members {
		if present(m.raw) {
			return notDone(op, name, m.path)
		}
	}
	return nil
}

func notDone(op, name, path string) error {
	return fault.New(fault.Unsupported, op, name, "%s is not supported by this version of Millrace", path)
}

// violated words a broken constraint as the service does.
func violated(op, path, rule string) error {
	return fault.New(fault.Invalid, op, "", "1 validation error detected: Value at '%s' failed to satisfy constraint: %s", path, rule)
}

func (r *CreateRequest) sources(op string, def *Definition) error {
	if def.Type == "" {
		def.Type = DirectPut
	}
	kinesis := r.KinesisStreamSourceConfiguration
	switch def.Type {
	case DirectPut:
		if kinesis != nil {
			return fault.New(fault.Invalid, op, def.Name, "KinesisStreamSourceConfiguration is not supported for a DirectPut delivery stream type.")
		}
		def.Encryption = "DISABLED"
		if hint := r.DirectPutSourceConfiguration; hint != nil {
			if hint.ThroughputHintInMBs < 1 || hint.ThroughputHintInMBs > 100 {
				return violated(op, "directPutSourceConfiguration.throughputHintInMBs", "Member must be between 1 and 100")
			}
			def.DirectPut = &DirectSource{hint.ThroughputHintInMBs}
		}
		return nil
	case KinesisStreamAsSource:
		if r.DirectPutSourceConfiguration != nil {
			return fault.New(fault.Invalid, op, def.Name, "DirectPutSourceConfiguration is not supported for a KinesisStreamAsSource delivery stream type.")
		}
		if kinesis == nil {
			return fault.New(fault.Invalid, op, def.Name, "KinesisStreamSourceConfiguration must be specified for a KinesisStreamAsSource delivery stream type.")
		}
		if !streamRule.MatchString(kinesis.KinesisStreamARN) {
			return pattern(op, "kinesisStreamSourceConfiguration.kinesisStreamARN", streamRule)
		}
		if !roleRule.MatchString(kinesis.RoleARN) {
			return pattern(op, "kinesisStreamSourceConfiguration.roleARN", roleRule)
		}
		def.KinesisSource = &KinesisSource{KinesisStreamARN: kinesis.KinesisStreamARN, RoleARN: kinesis.RoleARN}
		return nil
	case "MSKAsSource", "DatabaseAsSource":
		return notDone(op, def.Name, "deliveryStreamType "+string(def.Type))
	}
	return violated(op, "deliveryStreamType", "Member must satisfy enum value set: "+
		"[DirectPut, KinesisStreamAsSource, MSKAsSource, DatabaseAsSource]")
}

// The constraints of the model that a definition file could break too; the API's surface has checked them before.
var (
	nameRule      = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)
	bucketRule    = regexp.MustCompile(`^arn:.*:s3:::[\w\.\-]{1,255}$`)
	roleRule      = regexp.MustCompile(`^arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+$`)
	streamRule    = regexp.MustCompile(`^arn:.*:kinesis:[a-zA-Z0-9\-]+:\d{12}:stream/[a-zA-Z0-9_.-]+$`)
	extensionRule = regexp.MustCompile(`^$|^\.[0-9a-z!\-_.*'()]+$`)
	zoneRule      = regexp.MustCompile(`^$|^[a-zA-Z/_]+$`)
	tagRule       = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-%@]*$`)
)

func pattern(op, path string, rule *regexp.Regexp) error {
	text := strings.TrimSuffix(strings.TrimPrefix(rule.String(), "^"), "$")
	return violated(op, path, "Member must satisfy regular expression pattern: "+text)
}

func validateTags(op, name string, tags []Tag) error {
	if len(tags) > MaxTags {
		return violated(op, "tags", "Member must have length less than or equal to "+strconv.Itoa(MaxTags))
	}
	seen := map[string]bool{}
	for i, t := range tags {
		path := "tags." + strconv.Itoa(i+1) + ".member."
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > 128 || !tagRule.MatchString(t.Key):
			return violated(op, path+"key", "Member must be 1 to 128 letters, separators, digits and _.:/=+-@%")
		case utf8.RuneCountInString(t.Value) > 256 || !tagRule.MatchString(t.Value):
			return violated(op, path+"value", "Member must be 0 to 256 letters, separators, digits and _.:/=+-@%")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return fault.New(fault.Invalid, op, name, "Tag keys starting with 'aws:' are reserved: %s", t.Key)
		case seen[t.Key]:
			return fault.New(fault.Invalid, op, name, "Duplicate tag key: %s", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}

// validateDestination checks a destination whose defaults are filled in. member is the path that its members hang on.
func validateDestination(op, member string, d *S3Destination) error {
	checks := []func(op, member string, d *S3Destination) error{
		validateNames, validateHints, validateCompression, validateSwitches, validateProcessing, validatePrefixes,
	}
	for _, check := range checks {
		if err := check(op, member, d); err != nil {
			return err
		}
	}
	return nil
}

func validateNames(op, member string, d *S3Destination) error {
	switch {
	case !roleRule.MatchString(d.RoleARN) || len(d.RoleARN) > 512:
		return pattern(op, member+".roleARN", roleRule)
	case !bucketRule.MatchString(d.BucketARN) || len(d.BucketARN) > 2048:
		return pattern(op, member+".bucketARN", bucketRule)
	case len(text(d.FileExtension)) > 128:
		return violated(op, member+".fileExtension", "Member must have length less than or equal to 128")
	case !extensionRule.MatchString(text(d.FileExtension)):
		return pattern(op, member+".fileExtension", extensionRule)
	case len(text(d.CustomTimeZone)) > 50 || !zoneRule.MatchString(text(d.CustomTimeZone)):
		return pattern(op, member+".customTimeZone", zoneRule)
	}
	// "Local" is Go's name for the machine's zone, and no IANA name.
	if _, err := time.LoadLocation(text(d.CustomTimeZone)); err != nil || text(d.CustomTimeZone) == "Local" {
		return fault.New(fault.Invalid, op, "", "CustomTimeZone %s is not a valid time zone.", text(d.CustomTimeZone))
	}
	logging := d.CloudWatchLoggingOptions
	if logging.Enabled != nil && *logging.Enabled && (logging.LogGroupName == "" || logging.LogStreamName == "") {
		return fault.New(fault.Invalid, op, "", "LogGroupName and LogStreamName must be specified when CloudWatch logging is enabled.")
	}
	return nil
}

func validateHints(op, member string, d *S3Destination) error {
	hints := d.BufferingHints
	if (hints.SizeInMBs == nil) != (hints.IntervalInSeconds == nil) {
		return fault.New(fault.Invalid, op, "", "BufferingHints: SizeInMBs and IntervalInSeconds must both be specified, or neither.")
	}
	path := member + ".bufferingHints."
	switch size, interval := *hints.SizeInMBs, *hints.IntervalInSeconds; {
	case size < 1:
		return violated(op, path+"sizeInMBs", "Member must have value greater than or equal to 1")
	case size > 128:
		return violated(op, path+"sizeInMBs", "Member must have value less than or equal to 128")
	case interval < 0:
		return violated(op, path+"intervalInSeconds", "Member must have value greater than or equal to 0")
	case interval > 900:
		return violated(op, path+"intervalInSeconds", "Member must have value less than or equal to 900")
	}
	return nil
}

func validateCompression(op, member string, d *S3Destination) error {
	switch d.CompressionFormat {
	case string(uncompressed), string(gzipped):
		return nil
	case "ZIP", "Snappy", "HADOOP_SNAPPY":
		return notDone(op, "", member+".compressionFormat "+d.CompressionFormat)
	}
	return violated(op, member+".compressionFormat", "Member must satisfy enum value set: "+
		"[ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]")
}

// validateSwitches refuses what is switched on and not done.
func validateSwitches(op, member string, d *S3Destination) error {
	switch d.S3BackupMode {
	case "Disabled":
	case "Enabled":
		return notDone(op, "", member+".s3BackupMode Enabled")
	default:
		return violated(op, member+".s3BackupMode", "Member must satisfy enum value set: [Disabled, Enabled]")
	}
	if d.S3BackupConfiguration != nil {
		return notDone(op, "", member+".s3BackupConfiguration")
	}
	if c := d.DataFormatConversionConfiguration; c != nil && (c.Enabled == nil || *c.Enabled) {
		return notDone(op, "", member+".dataFormatConversionConfiguration")
	}
	if c := d.DynamicPartitioningConfiguration; c != nil && c.Enabled != nil && *c.Enabled {
		return notDone(op, "", member+".dynamicPartitioningConfiguration")
	}
	return nil
}

var processorTypes = []string{"Decompression", "Lambda", "RecordDeAggregation", "MetadataExtraction", appendDelimiter,
	"CloudWatchLogProcessing"}

func validateProcessing(op, member string, d *S3Destination) error {
	c := d.ProcessingConfiguration
	if c == nil {
		return nil
	}
	enabled := c.Enabled != nil && *c.Enabled
	seen := map[string]bool{}
	for i, p := range c.Processors {
		path := member + ".processingConfiguration.processors." + strconv.Itoa(i+1) + ".member."
		known := false
		for _, t := range processorTypes {
			known = known || t == p.Type
		}
		switch {
		case !known:
			return violated(op, path+"type", "Member must satisfy enum value set: ["+strings.Join(processorTypes, ", ")+"]")
		case enabled && p.Type != appendDelimiter:
			return notDone(op, "", path+"type "+p.Type)
		case enabled && seen[p.Type]:
			return fault.New(fault.Invalid, op, "", "More than one processor of type %s is specified.", p.Type)
		}
		seen[p.Type] = true
		if err := validateParameters(op, path, p); err != nil {
			return err
		}
	}
	return nil
}

func validateParameters(op, path string, p Processor) error {
	for j, parameter := range p.Parameters {
		at := path + "parameters." + strconv.Itoa(j+1) + ".member.parameter"
		switch {
		case parameter.ParameterValue == "" || len(parameter.ParameterValue) > 5120:
			return violated(op, at+"Value", "Member must have length between 1 and 5120")
		case p.Type == appendDelimiter && parameter.ParameterName != delimiterParameter:
			return fault.New(fault.Invalid, op, "", "%sName: the parameter %s is not one of processor %s.", at, parameter.ParameterName, p.Type)
		}
	}
	return nil
}

// suffixBytes is the most that a suffix adds to a prefix, without name and extension: version, date, UUID and dashes.
const suffixBytes = 1 + 19 + 1 + 19 + 1 + 36

// validatePrefixes applies the rules of expressions (spec: firehose, 8).
func validatePrefixes(op, member string, d *S3Destination) error {
	bad := func(which, format string, args ...any) error {
		return fault.New(fault.Invalid, op, "", which+": "+format, args...)
	}
	if len(text(d.Prefix)) > 1024 || len(text(d.ErrorOutputPrefix)) > 1024 {
		return violated(op, member+".prefix", "Member must have length less than or equal to 1024")
	}
	prefix, err := objectkey.Parse(text(d.Prefix))
	if err != nil {
		return bad("Prefix", "%w", err)
	}
	errorPrefix, err := objectkey.Parse(text(d.ErrorOutputPrefix))
	if err != nil {
		return bad("ErrorOutputPrefix", "%w", err)
	}
	zone, err := time.LoadLocation(text(d.CustomTimeZone))
	if err != nil {
		return bad("CustomTimeZone", "%w", err)
	}
	switch {
	case prefix.HasExpression() && text(d.ErrorOutputPrefix) == "":
		return fault.New(fault.Invalid, op, "", "Ths supplied prefix(es) do not satisfy the following constraint: "+
			"ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")
	case prefix.HasErrorType():
		return constraint(op, "Prefix cannot contain !{firehose:error-output-type}")
	case errorPrefix.HasExpression() && !errorPrefix.HasErrorType():
		return constraint(op, "ErrorOutputPrefix must contain !{firehose:error-output-type} when it contains expressions")
	case errorPrefix.HasPartitionKeys():
		return constraint(op, "ErrorOutputPrefix cannot contain partition keys")
	case prefix.HasPartitionKeys():
		return constraint(op, "Prefix can contain partition keys only when dynamic partitioning is enabled")
	}
	if err := prefix.CheckLength(zone); err != nil {
		return bad("Prefix", "%w", err)
	}
	if err := errorPrefix.CheckLength(zone); err != nil {
		return bad("ErrorOutputPrefix", "%w", err)
	}
	longest := len(prefix.Append(nil, objectkey.Longest.In(zone), ids.Seeded(0)))
	if n := longest + 64 + suffixBytes + len(text(d.FileExtension)); n > maxKeyBytes {
		return bad("Prefix", "object keys could have %d bytes; at most %d are allowed", n, maxKeyBytes)
	}
	return nil
}

func constraint(op, rule string) error {
	return fault.New(fault.Invalid, op, "", "Ths supplied prefix(es) do not satisfy the following constraint: %s", rule)
}

// update checks an UpdateRequest as far as that goes without the definition.
func (r *UpdateRequest) update() (*S3Update, error) {
	const op = "delivery.UpdateDestination"
	err := refuse(op, r.DeliveryStreamName, []unsupportedMember{
		{"redshiftDestinationUpdate", r.RedshiftDestinationUpdate},
		{"elasticsearchDestinationUpdate", r.ElasticsearchDestinationUpdate},
		{"amazonopensearchserviceDestinationUpdate", r.AmazonopensearchserviceDestinationUpdate},
		{"amazonOpenSearchServerlessDestinationUpdate", r.AmazonOpenSearchServerlessDestinationUpdate},
		{"splunkDestinationUpdate", r.SplunkDestinationUpdate},
		{"snowflakeDestinationUpdate", r.SnowflakeDestinationUpdate},
		{"icebergDestinationUpdate", r.IcebergDestinationUpdate},
	})
	if err != nil {
		return nil, err
	}
	if r.HttpEndpointDestinationUpdate != nil {
		return nil, notDone(op, r.DeliveryStreamName, "httpEndpointDestinationUpdate")
	}
	if (r.S3DestinationUpdate == nil) == (r.ExtendedS3DestinationUpdate == nil) {
		return nil, fault.New(fault.Invalid, op, r.DeliveryStreamName, "Exactly one destination configuration is supported for a Firehose")
	}
	if r.ExtendedS3DestinationUpdate != nil {
		return r.ExtendedS3DestinationUpdate, nil
	}
	return &S3Update{S3ConfigurationUpdate: *r.S3DestinationUpdate}, nil
}

func (r *UpdateRequest) member() string {
	if r.ExtendedS3DestinationUpdate != nil {
		return "extendedS3DestinationUpdate"
	}
	return "s3DestinationUpdate"
}
