package delivery

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"millrace/internal/fault"
)

// Definition checks a request and makes a definition of it, defaults filled in. Errors are Invalid with the service's
// text where it is known, or Unsupported naming the path of the member that this version does not do. What only a running
// engine knows (tables, functions) it checks itself: see [Engine.Create].
func (r *CreateRequest) Definition() (*Definition, error) {
	const op = "delivery.Create"
	if !nameRule.MatchString(r.DeliveryStreamName) {
		return nil, violated(op, "deliveryStreamName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+, "+
			"and have length less than or equal to 64")
	}
	if err := validateTags(op, r.DeliveryStreamName, r.Tags); err != nil {
		return nil, err
	}
	if r.destinations() != 1 {
		return nil, exactlyOne(op, r.DeliveryStreamName)
	}
	if err := r.unsupported(op); err != nil {
		return nil, err
	}
	def := &Definition{Name: r.DeliveryStreamName, Type: r.DeliveryStreamType, Tags: map[string]string{}}
	for _, t := range r.Tags {
		def.Tags[t.Key] = t.Value
	}
	if err := r.sources(op, def); err != nil {
		return nil, err
	}
	if err := r.encryption(op, def); err != nil {
		return nil, err
	}
	return def, def.settle(op, r.destination(def))
}

// destinations counts the destinations of every kind.
func (r *CreateRequest) destinations() (n int) {
	for _, given := range []bool{r.S3DestinationConfiguration != nil, r.ExtendedS3DestinationConfiguration != nil,
		r.HttpEndpointDestinationConfiguration != nil} {
		if given {
			n++
		}
	}
	for _, m := range r.OtherDestinations.members() {
		if present(m.raw) {
			n++
		}
	}
	return n
}

func exactlyOne(op, name string) error {
	return fault.New(fault.Invalid, op, name, "Exactly one destination configuration is supported for a Firehose")
}

// destination puts the one destination into the definition, and gives the path that its members hang on.
func (r *CreateRequest) destination(def *Definition) (member string) {
	switch {
	case r.ExtendedS3DestinationConfiguration != nil:
		def.Destination = *r.ExtendedS3DestinationConfiguration
		return "extendedS3DestinationConfiguration"
	case r.S3DestinationConfiguration != nil:
		def.Destination = S3Destination{S3Configuration: *r.S3DestinationConfiguration}
		return "s3DestinationConfiguration"
	}
	endpoint := r.HttpEndpointDestinationConfiguration.HTTPEndpointDestination
	def.HTTPEndpoint = &endpoint
	if c := r.HttpEndpointDestinationConfiguration.S3Configuration; c != nil {
		def.Destination = S3Destination{S3Configuration: *c}
	}
	return "httpEndpointDestinationConfiguration"
}

// settle fills in the destination's defaults and checks it. member is the path that its members hang on.
func (d *Definition) settle(op, member string) error {
	d.Destination.setDefaults()
	if d.HTTPEndpoint == nil {
		return validateDestination(op, member, &d.Destination)
	}
	d.HTTPEndpoint.setDefaults()
	return validateHTTP(op, member, d)
}

// encryption checks DeliveryStreamEncryptionConfigurationInput, and takes it.
func (r *CreateRequest) encryption(op string, def *Definition) error {
	key := r.DeliveryStreamEncryptionConfigurationInput
	if key == nil {
		return nil
	}
	if err := def.encryptable(op); err != nil {
		return err
	}
	taken, err := key.check(op)
	if err != nil {
		return err
	}
	def.Encryption, def.EncryptionKey = encryptionEnabled, taken
	return nil
}

// unsupportedMember is a member that is decoded only to be refused.
type unsupportedMember struct {
	path string
	raw  json.RawMessage
}

func (r *CreateRequest) unsupported(op string) error {
	members := append(r.OtherDestinations.members(), []unsupportedMember{
		{"databaseSourceConfiguration", r.DatabaseSourceConfiguration},
	}...)
	if err := refuse(op, r.DeliveryStreamName, members); err != nil {
		return err
	}
	if h := r.HttpEndpointDestinationConfiguration; h != nil {
		return h.SecretsManagerConfiguration.refuse(op, "httpEndpointDestinationConfiguration")
	}
	return nil
}

func (o *OtherDestinations) members() []unsupportedMember {
	return []unsupportedMember{
		{"redshiftDestinationConfiguration", o.RedshiftDestinationConfiguration},
		{"elasticsearchDestinationConfiguration", o.ElasticsearchDestinationConfiguration},
		{"amazonopensearchserviceDestinationConfiguration", o.AmazonopensearchserviceDestinationConfiguration},
		{"amazonOpenSearchServerlessDestinationConfiguration", o.AmazonOpenSearchServerlessDestinationConfiguration},
		{"splunkDestinationConfiguration", o.SplunkDestinationConfiguration},
		{"snowflakeDestinationConfiguration", o.SnowflakeDestinationConfiguration},
		{"icebergDestinationConfiguration", o.IcebergDestinationConfiguration},
	}
}

func (c *SecretsManagerConfiguration) refuse(op, member string) error {
	if c == nil || !c.Enabled {
		return nil
	}
	return notDone(op, "", member+".secretsManagerConfiguration")
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
	if r.MSKSourceConfiguration != nil && def.Type != MSKAsSource {
		return fault.New(fault.Invalid, op, def.Name, "MSKSourceConfiguration is not supported for a %s delivery stream type.", def.Type)
	}
	switch def.Type {
	case DirectPut:
		if kinesis != nil {
			return fault.New(fault.Invalid, op, def.Name, "KinesisStreamSourceConfiguration is not supported for a DirectPut delivery stream type.")
		}
		def.Encryption = encryptionDisabled
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
			return fault.New(fault.Invalid, op, def.Name, "KinesisSourceStreamConfig is mandatory for KinesisStreamAsSource stream type.")
		}
		if !streamRule.MatchString(kinesis.KinesisStreamARN) {
			return pattern(op, "kinesisStreamSourceConfiguration.kinesisStreamARN", streamRule)
		}
		if !roleRule.MatchString(kinesis.RoleARN) {
			return pattern(op, "kinesisStreamSourceConfiguration.roleARN", roleRule)
		}
		def.KinesisSource = &KinesisSource{KinesisStreamARN: kinesis.KinesisStreamARN, RoleARN: kinesis.RoleARN}
		return nil
	case MSKAsSource:
		return r.msk(op, def)
	case "DatabaseAsSource":
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
