package delivery

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The types of processors.
const (
	decompression      = "Decompression"
	lambda             = "Lambda"
	recordDeAggregator = "RecordDeAggregation"
	metadataExtraction = "MetadataExtraction"
	logProcessing      = "CloudWatchLogProcessing"
)

var processorTypes = []string{decompression, lambda, recordDeAggregator, metadataExtraction, appendDelimiter, logProcessing}

// processorParameters are the parameters that each type takes.
var processorParameters = map[string][]string{
	lambda:             {"LambdaArn", "NumberOfRetries", "RoleArn", "BufferSizeInMBs", "BufferIntervalInSeconds"},
	recordDeAggregator: {"SubRecordType", delimiterParameter},
	metadataExtraction: {"MetadataExtractionQuery", "JsonParsingEngine"},
	appendDelimiter:    {delimiterParameter},
	decompression:      {"CompressionFormat"},
	logProcessing:      {"DataMessageExtraction"},
}

// Bounds of the Lambda processor, as the service has them.
const (
	maxLambdaRetries         = 300
	minLambdaSizeInMBs       = 0.2
	maxLambdaSizeInMBs       = 3
	maxLambdaIntervalSeconds = 900
	maxProcessors            = 5
)

// find gives the enabled processor of a type; nil: there is none.
func (p *ProcessingConfiguration) find(kind string) *Processor {
	if p == nil || !on(p.Enabled) {
		return nil
	}
	for i := range p.Processors {
		if p.Processors[i].Type == kind {
			return &p.Processors[i]
		}
	}
	return nil
}

// Parameter gives the value of a parameter, "" when it is absent: values are never empty.
func (p *Processor) Parameter(name string) string {
	for _, parameter := range p.Parameters {
		if parameter.ParameterName == name {
			return parameter.ParameterValue
		}
	}
	return ""
}

func validateS3Processing(op, member string, d *S3Destination) error {
	return validateProcessing(op, member, d.ProcessingConfiguration, d.Partitions())
}

// validateProcessing checks processors: their shapes always, their meaning when they are enabled.
func validateProcessing(op, member string, c *ProcessingConfiguration, partitions bool) error {
	if c == nil {
		return nil
	}
	member += ".processingConfiguration.processors."
	for i := range c.Processors {
		if err := c.Processors[i].shape(op, member+itoa(i+1)+".member."); err != nil {
			return err
		}
	}
	if !on(c.Enabled) {
		return nil
	}
	if n := len(c.Processors); n < 1 || n > maxProcessors {
		return invalid(op, "A maximum of %d and a minimum of 1 processor needs to be supplied when processing is enabled.", maxProcessors)
	}
	count := map[string]int{}
	for _, p := range c.Processors {
		if count[p.Type]++; count[p.Type] > 1 {
			return invalid(op, "Cannot have more than 1 %s processor.", p.Type)
		}
		if p.repeats() {
			return invalid(op, "Duplicate ProcessorParameter passed to ProcessingConfiguration.")
		}
	}
	for i := range c.Processors {
		if err := c.Processors[i].validate(op, member+itoa(i+1)+".member.", partitions); err != nil {
			return err
		}
	}
	return nil
}

// shape checks what the model says of a processor.
func (p *Processor) shape(op, path string) error {
	if !slices.Contains(processorTypes, p.Type) {
		return violated(op, path+"type", "Member must satisfy enum value set: ["+strings.Join(processorTypes, ", ")+"]")
	}
	for j, parameter := range p.Parameters {
		at := path + "parameters." + itoa(j+1) + ".member.parameter"
		if parameter.ParameterValue == "" || len([]rune(parameter.ParameterValue)) > 5120 {
			return violated(op, at+"Value", "Member must have length between 1 and 5120")
		}
		if strings.TrimSpace(parameter.ParameterValue) == "" {
			return violated(op, at+"Value", `Member must satisfy regular expression pattern: ^(?!\s*$).+`)
		}
	}
	return nil
}

func (p *Processor) repeats() bool {
	seen := map[string]bool{}
	for _, parameter := range p.Parameters {
		if seen[parameter.ParameterName] {
			return true
		}
		seen[parameter.ParameterName] = true
	}
	return false
}

// validate checks what an enabled processor means.
func (p *Processor) validate(op, path string, partitions bool) error {
	if p.Type == decompression || p.Type == logProcessing {
		return notDone(op, "", path+"type "+p.Type)
	}
	for j, parameter := range p.Parameters {
		if !slices.Contains(processorParameters[p.Type], parameter.ParameterName) {
			return invalid(op, "%sparameters.%d.member.parameterName: the parameter %s is not one of processor %s.", path, j+1, parameter.ParameterName, p.Type)
		}
	}
	if (p.Type == recordDeAggregator || p.Type == metadataExtraction) && !partitions {
		return invalid(op, "class com.amazonaws.services.firehose.internal.model.%sProcessor can only be present when Dynamic Partitioning is enabled.", p.Type)
	}
	switch p.Type {
	case lambda:
		return p.validateLambda(op)
	case recordDeAggregator:
		return p.validateSubRecords(op)
	case metadataExtraction:
		return p.validateQuery(op)
	}
	return nil
}

var functionRule = regexp.MustCompile(`^arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:\d{12}:function:[a-zA-Z0-9_-]{1,64}(:(\$LATEST|[a-zA-Z0-9_-]{1,128}))?$`)

func (p *Processor) validateLambda(op string) error {
	arn := p.Parameter("LambdaArn")
	size, interval := p.Parameter("BufferSizeInMBs"), p.Parameter("BufferIntervalInSeconds")
	switch {
	case arn == "":
		return invalid(op, "LambdaArn is required when Lambda processor is used.")
	case !functionRule.MatchString(arn):
		return invalid(op, "Invalid lambda ARN.")
	case (size == "") != (interval == ""):
		return invalid(op, "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.")
	}
	if role := p.Parameter("RoleArn"); role != "" && !roleRule.MatchString(role) {
		return invalidParameter(op, "Invalid role ARN.")
	}
	if retries := p.Parameter("NumberOfRetries"); retries != "" {
		if n, err := strconv.Atoi(retries); err != nil || n < 0 || n > maxLambdaRetries {
			return invalid(op, "Number of retries for lambda must be between 0 and %d.", maxLambdaRetries)
		}
	}
	if size == "" {
		return nil
	}
	if n, err := strconv.ParseFloat(size, 64); err != nil || !(n >= minLambdaSizeInMBs && n <= maxLambdaSizeInMBs) {
		return invalid(op, "BufferSizeInMBs for lambda processor must be between %g and %d.", minLambdaSizeInMBs, maxLambdaSizeInMBs)
	}
	if n, err := strconv.Atoi(interval); err != nil || n < 0 || n > maxLambdaIntervalSeconds {
		return invalid(op, "BufferIntervalInSeconds for lambda processor must be between 0 and %d.", maxLambdaIntervalSeconds)
	}
	return nil
}

func (p *Processor) validateSubRecords(op string) error {
	delimiter := p.Parameter(delimiterParameter)
	switch p.Parameter("SubRecordType") {
	case "JSON":
		if delimiter != "" {
			return invalid(op, "Delimiter should be present for DELIMITED only")
		}
	case "DELIMITED":
		if delimiter == "" {
			return invalid(op, "Delimiter should be present for DELIMITED")
		}
		if raw, err := base64.StdEncoding.DecodeString(delimiter); err != nil || len(raw) == 0 {
			return invalid(op, "Delimiter of a RecordDeAggregation processor has to be Base64 encoded")
		}
	default:
		return invalid(op, "SubRecordType has to be one of JSON, DELIMITED")
	}
	return nil
}

func (p *Processor) validateQuery(op string) error {
	switch {
	case p.Parameter("JsonParsingEngine") != "JQ-1.6":
		return invalid(op, "MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6")
	case p.Parameter("MetadataExtractionQuery") == "":
		return invalid(op, "MetadataExtractionQuery is required when MetadataExtraction processor is used.")
	}
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }
