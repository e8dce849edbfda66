package delivery

import (
	"regexp"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/ids"
)

// Texts that begin with a capital and end with a full stop are the service's own where they are known.

func invalid(op, format string, args ...any) error {
	return fault.New(fault.Invalid, op, "", format, args...)
}

// validateDestination checks a destination whose defaults are filled in. member is the path that its members hang on.
func validateDestination(op, member string, d *S3Destination) error {
	checks := []func(op, member string, d *S3Destination) error{
		validateObjects, validateBackup, validateS3Processing, validateConversion, validatePartitioning, validatePrefixes,
	}
	for _, check := range checks {
		if err := check(op, member, d); err != nil {
			return err
		}
	}
	return nil
}

// validateObjects checks what concerns the objects themselves.
func validateObjects(op, member string, d *S3Destination) error {
	switch {
	case len(text(d.FileExtension)) > 128:
		return violated(op, member+".fileExtension", "Member must have length less than or equal to 128")
	case !extensionRule.MatchString(text(d.FileExtension)):
		return pattern(op, member+".fileExtension", extensionRule)
	case len(text(d.CustomTimeZone)) > 50 || !zoneRule.MatchString(text(d.CustomTimeZone)):
		return pattern(op, member+".customTimeZone", zoneRule)
	}
	if _, err := zoneOf(op, text(d.CustomTimeZone)); err != nil {
		return err
	}
	return d.S3Configuration.validate(op, member)
}

var threeLetters = regexp.MustCompile(`^[A-Z]{3}$`)

// zoneOf finds a time zone. The service has a list of some 300; here any name of the time zone database will do, but for the
// three-letter ones. "Local" is Go's name for the machine's zone, and no IANA name.
func zoneOf(op, name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name != "UTC" && threeLetters.MatchString(name) {
		return nil, invalid(op, "Provided custom time zone is not supported. Custom time zones are limited to UTC and non-3-letter IANA time zones.")
	}
	return zone, nil
}

// validate checks what every bucket's configuration has, but for its prefixes.
func (c *S3Configuration) validate(op, member string) error {
	switch {
	case !roleRule.MatchString(c.RoleARN) || len(c.RoleARN) > 512:
		return pattern(op, member+".roleARN", roleRule)
	case !bucketRule.MatchString(c.BucketARN) || len(c.BucketARN) > 2048:
		return pattern(op, member+".bucketARN", bucketRule)
	}
	if err := c.BufferingHints.validate(op, member, 128); err != nil {
		return err
	}
	switch journal.Compression(c.CompressionFormat) {
	case uncompressed, gzipped, "ZIP", "Snappy", "HADOOP_SNAPPY":
	default:
		return violated(op, member+".compressionFormat", "Member must satisfy enum value set: "+
			"[ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]")
	}
	if e := c.EncryptionConfiguration; (e.NoEncryptionConfig != "") == (e.KMSEncryptionConfig != nil) {
		return invalid(op, "Exactly one of NoEncryptionConfig or KMSEncryptionConfig must be specified")
	}
	return c.CloudWatchLoggingOptions.validate(op)
}

func (l *CloudWatchLoggingOptions) validate(op string) error {
	switch {
	case !on(l.Enabled):
	case l.LogGroupName == "":
		return invalid(op, "CloudWatch Log Group Name is required if CloudWatch Logging is enabled")
	case l.LogStreamName == "":
		return invalid(op, "CloudWatch Log Stream Name is required if CloudWatch Logging is enabled")
	}
	return nil
}

func (h *BufferingHints) validate(op, member string, maxSize int) error {
	if (h.SizeInMBs == nil) != (h.IntervalInSeconds == nil) {
		return invalid(op, "BufferingHints: SizeInMBs and IntervalInSeconds must both be specified, or neither.")
	}
	if err := within(op, member+".bufferingHints.sizeInMBs", *h.SizeInMBs, 1, maxSize); err != nil {
		return err
	}
	return within(op, member+".bufferingHints.intervalInSeconds", *h.IntervalInSeconds, 0, 900)
}

// within checks the bounds of a number as the model has them.
func within(op, path string, v, least, most int) error {
	switch {
	case v < least:
		return violated(op, path, "Member must have value greater than or equal to "+itoa(least))
	case v > most:
		return violated(op, path, "Member must have value less than or equal to "+itoa(most))
	}
	return nil
}

// validateBackup checks what source records are kept with. A configuration that is not in use is checked, too: it is kept,
// and may be switched on by a later update.
func validateBackup(op, member string, d *S3Destination) error {
	switch d.S3BackupMode {
	case "Disabled":
	case "Enabled":
		if d.S3BackupConfiguration == nil {
			return invalid(op, "S3 backup destination configuration is required when enabling S3 backup.")
		}
	default:
		return violated(op, member+".s3BackupMode", "Member must satisfy enum value set: [Disabled, Enabled]")
	}
	backup := d.S3BackupConfiguration
	if backup == nil {
		return nil
	}
	member += ".s3BackupConfiguration"
	if err := backup.validate(op, member); err != nil {
		return err
	}
	if *backup.BufferingHints.IntervalInSeconds == 0 {
		return invalid(op, "BufferingHints.IntervalInSeconds must be at least 1 for S3 backup: zero buffering is not available there.")
	}
	return backup.validatePrefixes(op, member, time.UTC, nil, "")
}

// Bounds of dynamic partitioning and of format conversion, as the service has them.
const (
	minPartitionSizeInMBs         = 64
	minPartitionIntervalInSeconds = 60
	minConversionSizeInMBs        = 64
)

func validatePartitioning(op, member string, d *S3Destination) error {
	if c := d.DynamicPartitioningConfiguration; c != nil && c.RetryOptions != nil && c.RetryOptions.DurationInSeconds != nil {
		path := member + ".dynamicPartitioningConfiguration.retryOptions.durationInSeconds"
		if err := within(op, path, *c.RetryOptions.DurationInSeconds, 0, 7200); err != nil {
			return err
		}
	}
	switch {
	case !d.Partitions():
	case *d.BufferingHints.SizeInMBs < minPartitionSizeInMBs:
		return invalid(op, "BufferingHints.SizeInMBs must be at least %d when Dynamic Partitioning is enabled.", minPartitionSizeInMBs)
	case *d.BufferingHints.IntervalInSeconds < minPartitionIntervalInSeconds:
		return invalid(op, "BufferingHints.IntervalInSeconds must be at least %d when Dynamic Partitioning is enabled.", minPartitionIntervalInSeconds)
	}
	return nil
}

// validatePrefixes applies the rules of expressions (spec: firehose, 8), and those of partition keys among them.
func validatePrefixes(op, member string, d *S3Destination) error {
	zone, err := zoneOf(op, text(d.CustomTimeZone))
	if err != nil {
		return err
	}
	return d.S3Configuration.validatePrefixes(op, member, zone, d, text(d.FileExtension))
}

// suffixBytes is the most that a suffix adds to a prefix, without name and extension: version, date, UUID and dashes.
const suffixBytes = 1 + 19 + 1 + 19 + 1 + 36

// maxDefaultExtension is the longest extension that a format gives by itself: ".parquet".
const maxDefaultExtension = 8

// validatePrefixes checks the prefixes. dest is the destination that they are of; nil: a backup's, which has no partitions.
func (c *S3Configuration) validatePrefixes(op, member string, zone *time.Location, dest *S3Destination, extension string) error {
	for name, prefix := range map[string]*string{".prefix": c.Prefix, ".errorOutputPrefix": c.ErrorOutputPrefix} {
		if len([]rune(text(prefix))) > 1024 {
			return violated(op, member+name, "Member must have length less than or equal to 1024")
		}
	}
	prefix, err := objectkey.Parse(text(c.Prefix))
	if err != nil {
		return constraint(op, err)
	}
	errorPrefix, err := objectkey.ParseMember("ErrorOutputPrefix", text(c.ErrorOutputPrefix))
	if err != nil {
		return constraint(op, err)
	}
	switch {
	case prefix.HasExpression() && text(c.ErrorOutputPrefix) == "":
		return constraint(op, "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")
	case prefix.HasErrorType():
		return constraint(op, "Prefix must not contain any occurrence of !{firehose:error-output-type}")
	case errorPrefix.HasExpression() && !errorPrefix.HasErrorType():
		return constraint(op, "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}")
	}
	if err := partitionKeys(op, dest, prefix, errorPrefix); err != nil {
		return err
	}
	switch {
	case prefix.Length(zone) > objectkey.MaxPrefixLength:
		return constraint(op, "Length of evaluated prefix cannot be greater than 512")
	case errorPrefix.ErrorLength(zone) > objectkey.MaxPrefixLength:
		return constraint(op, "Length of evaluated ErrorOutputPrefix cannot be greater than 512")
	}
	longest := prefix.Append(nil, objectkey.Longest.In(zone), ids.Seeded(0))
	if failed := errorPrefix.AppendError(nil, objectkey.Longest.In(zone), ids.Seeded(0), objectkey.LongestErrorType); len(failed) > len(longest) {
		longest = failed
	}
	if n := len(longest) + 64 + suffixBytes + max(len(extension), maxDefaultExtension); n > maxKeyBytes {
		return invalid(op, "%s.prefix: object keys could have %d bytes; at most %d are allowed", member, n, maxKeyBytes)
	}
	return nil
}

// constraint words a broken rule of prefixes; the misspelling is the service's.
func constraint(op string, rule any) error {
	return invalid(op, "Ths supplied prefix(es) do not satisfy the following constraint: %v", rule)
}

// partitionKeys checks where the prefixes ask for partition keys, and that something gives them.
func partitionKeys(op string, dest *S3Destination, prefix, errorPrefix *objectkey.Prefix) error {
	partitions := dest != nil && dest.Partitions()
	switch {
	case errorPrefix.HasPartitionKeys():
		return invalid(op, "Dynamic Partitioning Namespaces can't be part of an error prefix expression")
	case prefix.HasPartitionKeys() && !partitions:
		return invalid(op, "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is enabled.")
	case partitions && !prefix.HasPartitionKeys():
		return invalid(op, "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled")
	case !partitions:
		return nil
	}
	for _, key := range prefix.Keys() {
		needs := metadataExtraction
		if key.FromLambda {
			needs = lambda
		}
		if dest.ProcessingConfiguration.find(needs) == nil {
			return invalid(op, "The expression !{%s} in Prefix needs a processor of type %s, and none is enabled.", key, needs)
		}
	}
	return nil
}
