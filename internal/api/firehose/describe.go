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
		v.DeliveryStreamEncryptionConfiguration = &firehosewire.DeliveryStreamEncryptionConfiguration{Status: def.Encryption}
	}
	if in.ExclusiveStartDestinationId < delivery.DestinationID {
		d, err := destinationView(&def.Destination)
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
	case def.DirectPut != nil:
		return &firehosewire.SourceDescription{DirectPutSourceDescription: &firehosewire.DirectPutSourceDescription{
			ThroughputHintInMBs: def.DirectPut.ThroughputHintInMBs}}
	}
	return nil
}

// destinationView shows the destination twice, as the service does: in full, and the members that the deprecated
// shape has. The definition's JSON is the API's, so the generated decoder reads it.
func destinationView(d *delivery.S3Destination) (firehosewire.DestinationDescription, error) {
	doc, err := json.Marshal(d)
	if err != nil {
		return firehosewire.DestinationDescription{}, fault.New(fault.Internal, "firehose.Describe", "", "%w", err)
	}
	var (
		reader awswire.JSON
		s3     firehosewire.ExtendedS3DestinationConfiguration
	)
	reader.Reset(doc)
	s3.DecodeJSON(&reader)
	if err := reader.Close(); err != nil {
		return firehosewire.DestinationDescription{}, fault.New(fault.Internal, "firehose.Describe", "", "%w", err)
	}
	return firehosewire.DestinationDescription{
		DestinationId: delivery.DestinationID,
		ExtendedS3DestinationDescription: &firehosewire.ExtendedS3DestinationDescription{
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
		},
		S3DestinationDescription: &firehosewire.S3DestinationDescription{
			RoleARN:                  s3.RoleARN,
			BucketARN:                s3.BucketARN,
			Prefix:                   s3.Prefix,
			ErrorOutputPrefix:        s3.ErrorOutputPrefix,
			BufferingHints:           s3.BufferingHints,
			CompressionFormat:        s3.CompressionFormat,
			EncryptionConfiguration:  s3.EncryptionConfiguration,
			CloudWatchLoggingOptions: s3.CloudWatchLoggingOptions,
		},
	}, nil
}
