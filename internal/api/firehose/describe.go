package firehose

import (
	"encoding/json"
	"strconv"

	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/awswire"
	"millrace/internal/delivery"
	"millrace/internal/fault"
)

// describeDeliveryStream shows a delivery stream with all defaults filled in. There is always one destination, so
// Limit has nothing to bound.
func describeDeliveryStream(s *Service, c *call) error {
	var in firehosewire.DescribeDeliveryStreamInput
	if err := c.decode(&in); err != nil {
		return err
	}
	def, err := s.Engine.Describe(in.DeliveryStreamName)
	if err != nil {
		return err
	}
	v := &firehosewire.DeliveryStreamDescription{
		DeliveryStreamName:   def.Name,
		DeliveryStreamARN:    def.ARN(s.Account),
		DeliveryStreamStatus: string(def.Status),
		DeliveryStreamType:   string(def.Type),
		VersionId:            strconv.FormatInt(def.VersionID, 10),
		CreateTimestamp:      def.Created,
		LastUpdateTimestamp:  def.Updated,
		Source:               sourceView(def),
		Destinations:         []firehosewire.DestinationDescription{},
	}
	if def.Encryption != "" {
		v.DeliveryStreamEncryptionConfiguration = encryptionView(def)
	}
	if in.ExclusiveStartDestinationId < delivery.DestinationID {
		d, err := destinationView(def)
		if err != nil {
			return err
		}
		v.Destinations = append(v.Destinations, d)
	}
	out := firehosewire.DescribeDeliveryStreamOutput{DeliveryStreamDescription: v}
	c.dst = out.AppendJSON(c.dst)
	return nil
}

func sourceView(def *delivery.Definition) *firehosewire.SourceDescription {
	switch {
	case def.KinesisSource != nil:
		return &firehosewire.SourceDescription{KinesisStreamSourceDescription: &firehosewire.KinesisStreamSourceDescription{
			KinesisStreamARN:       def.KinesisSource.KinesisStreamARN,
			RoleARN:                def.KinesisSource.RoleARN,
			DeliveryStartTimestamp: def.KinesisSource.DeliveryStartTimestamp,
		}}
	case def.MSKSource != nil:
		return &firehosewire.SourceDescription{MSKSourceDescription: topicView(def.MSKSource)}
	case def.DirectPut != nil:
		return &firehosewire.SourceDescription{DirectPutSourceDescription: &firehosewire.DirectPutSourceDescription{
			ThroughputHintInMBs: def.DirectPut.ThroughputHintInMBs}}
	}
	return nil
}

func topicView(s *delivery.MSKSource) *firehosewire.MSKSourceDescription {
	v := &firehosewire.MSKSourceDescription{
		MSKClusterARN:          s.MSKClusterARN,
		TopicName:              s.TopicName,
		DeliveryStartTimestamp: s.DeliveryStartTimestamp,
		AuthenticationConfiguration: &firehosewire.AuthenticationConfiguration{
			RoleARN: s.AuthenticationConfiguration.RoleARN, Connectivity: s.AuthenticationConfiguration.Connectivity},
	}
	if s.ReadFromTimestamp != nil {
		v.ReadFromTimestamp = s.ReadFromTimestamp.Time
	}
	return v
}

// encryptionView shows the key that is in use; one that was in use before is nobody's business any more.
func encryptionView(def *delivery.Definition) *firehosewire.DeliveryStreamEncryptionConfiguration {
	v := &firehosewire.DeliveryStreamEncryptionConfiguration{Status: def.Encryption}
	if def.Encrypts() {
		v.KeyType, v.KeyARN = def.EncryptionKey.KeyType, def.EncryptionKey.KeyARN
	}
	return v
}

// destinationView shows the one destination. An S3 destination is shown twice, as the service does it: in full, and the
// members that the deprecated shape has.
func destinationView(def *delivery.Definition) (firehosewire.DestinationDescription, error) {
	v := firehosewire.DestinationDescription{DestinationId: delivery.DestinationID}
	var s3 firehosewire.ExtendedS3DestinationConfiguration
	if err := view(&def.Destination, &s3); err != nil {
		return v, err
	}
	short := shortView(&s3)
	if def.HTTPEndpoint != nil {
		var err error
		v.HttpEndpointDestinationDescription, err = httpView(def.HTTPEndpoint, short)
		return v, err
	}
	v.S3DestinationDescription = short
	v.ExtendedS3DestinationDescription = &firehosewire.ExtendedS3DestinationDescription{
		RoleARN:                           s3.RoleARN,
		BucketARN:                         s3.BucketARN,
		Prefix:                            s3.Prefix,
		ErrorOutputPrefix:                 s3.ErrorOutputPrefix,
		BufferingHints:                    s3.BufferingHints,
		CompressionFormat:                 s3.CompressionFormat,
		EncryptionConfiguration:           s3.EncryptionConfiguration,
		CloudWatchLoggingOptions:          s3.CloudWatchLoggingOptions,
		ProcessingConfiguration:           s3.ProcessingConfiguration,
		S3BackupMode:                      s3.S3BackupMode,
		DataFormatConversionConfiguration: s3.DataFormatConversionConfiguration,
		DynamicPartitioningConfiguration:  s3.DynamicPartitioningConfiguration,
		FileExtension:                     s3.FileExtension,
		CustomTimeZone:                    s3.CustomTimeZone,
	}
	if def.Destination.S3BackupConfiguration != nil {
		var backup firehosewire.ExtendedS3DestinationConfiguration
		if err := view(def.Destination.S3BackupConfiguration, &backup); err != nil {
			return v, err
		}
		v.ExtendedS3DestinationDescription.S3BackupDescription = shortView(&backup)
	}
	return v, nil
}

// view reads a part of a definition, whose JSON is the API's, into the generated shape.
func view(part any, into interface{ DecodeJSON(*awswire.JSON) }) error {
	doc, err := json.Marshal(part)
	if err == nil {
		var reader awswire.JSON
		reader.Reset(doc)
		into.DecodeJSON(&reader)
		err = reader.Close()
	}
	if err != nil {
		return fault.New(fault.Internal, "firehose.Describe", "", "%w", err)
	}
	return nil
}

func shortView(s3 *firehosewire.ExtendedS3DestinationConfiguration) *firehosewire.S3DestinationDescription {
	return &firehosewire.S3DestinationDescription{
		RoleARN:                  s3.RoleARN,
		BucketARN:                s3.BucketARN,
		Prefix:                   s3.Prefix,
		ErrorOutputPrefix:        s3.ErrorOutputPrefix,
		BufferingHints:           s3.BufferingHints,
		CompressionFormat:        s3.CompressionFormat,
		EncryptionConfiguration:  s3.EncryptionConfiguration,
		CloudWatchLoggingOptions: s3.CloudWatchLoggingOptions,
	}
}

// httpView shows an HTTP endpoint, but for its access key.
func httpView(h *delivery.HTTPEndpointDestination, s3 *firehosewire.S3DestinationDescription) (*firehosewire.HttpEndpointDestinationDescription, error) {
	var v firehosewire.HttpEndpointDestinationConfiguration
	if err := view(h, &v); err != nil {
		return nil, err
	}
	return &firehosewire.HttpEndpointDestinationDescription{
		EndpointConfiguration:    &firehosewire.HttpEndpointDescription{Url: v.EndpointConfiguration.Url, Name: v.EndpointConfiguration.Name},
		BufferingHints:           v.BufferingHints,
		CloudWatchLoggingOptions: v.CloudWatchLoggingOptions,
		RequestConfiguration:     v.RequestConfiguration,
		ProcessingConfiguration:  v.ProcessingConfiguration,
		RoleARN:                  v.RoleARN,
		RetryOptions:             v.RetryOptions,
		S3BackupMode:             v.S3BackupMode,
		S3DestinationDescription: s3,
	}, nil
}
