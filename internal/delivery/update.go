package delivery

import (
	"context"
	"strconv"

	"millrace/internal/fault"
)

// UpdateDestination changes the destination. Members that are absent stay, unless the destination becomes one of another
// type: then nothing is taken over. What is buffered when it returns is delivered under the definition that it was buffered
// under.
func (e *Engine) UpdateDestination(ctx context.Context, req *UpdateRequest) (*Definition, error) {
	const op = "delivery.UpdateDestination"
	if err := req.check(op); err != nil {
		return nil, err
	}
	return e.change(ctx, op, req.DeliveryStreamName, func(def *Definition) error {
		if have := strconv.FormatInt(def.VersionID, 10); have != req.CurrentDeliveryStreamVersionId {
			return fault.New(fault.PreconditionFailed, op, def.Name, "Cannot update firehose: %s since the current version id: %s "+
				"and specified version id: %s do not match", def.Name, have, req.CurrentDeliveryStreamVersionId)
		}
		if req.DestinationId != DestinationID {
			return fault.New(fault.Invalid, op, def.Name, "Destination Id %s not found", req.DestinationId)
		}
		have := *def
		if err := def.settle(op, req.over(def)); err != nil {
			return err
		}
		if err := def.follows(op, &have); err != nil {
			return err
		}
		if err := e.admit(op, def, nil); err != nil {
			return err
		}
		def.VersionID++
		def.Updated = e.opts.Now().UTC()
		return nil
	})
}

// check checks an UpdateRequest as far as that goes without the definition.
func (r *UpdateRequest) check(op string) error {
	given := 0
	for _, is := range []bool{r.S3DestinationUpdate != nil, r.ExtendedS3DestinationUpdate != nil, r.HttpEndpointDestinationUpdate != nil} {
		if is {
			given++
		}
	}
	others := []unsupportedMember{
		{"redshiftDestinationUpdate", r.RedshiftDestinationUpdate},
		{"elasticsearchDestinationUpdate", r.ElasticsearchDestinationUpdate},
		{"amazonopensearchserviceDestinationUpdate", r.AmazonopensearchserviceDestinationUpdate},
		{"amazonOpenSearchServerlessDestinationUpdate", r.AmazonOpenSearchServerlessDestinationUpdate},
		{"splunkDestinationUpdate", r.SplunkDestinationUpdate},
		{"snowflakeDestinationUpdate", r.SnowflakeDestinationUpdate},
		{"icebergDestinationUpdate", r.IcebergDestinationUpdate},
	}
	for _, m := range others {
		if present(m.raw) {
			given++
		}
	}
	if given != 1 {
		return exactlyOne(op, r.DeliveryStreamName)
	}
	if err := refuse(op, r.DeliveryStreamName, others); err != nil {
		return err
	}
	if h := r.HttpEndpointDestinationUpdate; h != nil {
		return h.SecretsManagerConfiguration.refuse(op, "httpEndpointDestinationUpdate")
	}
	return nil
}

// over puts the update's members over the definition's, and gives the path that they hang on.
func (r *UpdateRequest) over(def *Definition) (member string) {
	if u := r.HttpEndpointDestinationUpdate; u != nil {
		before, dest := HTTPEndpointDestination{}, S3Destination{}
		if def.HTTPEndpoint != nil {
			before, dest = *def.HTTPEndpoint, def.Destination
		}
		def.HTTPEndpoint = u.over(before)
		if u.S3Update != nil {
			u.S3Update.over(&dest.S3Configuration)
		}
		def.Destination = dest
		return "httpEndpointDestinationUpdate"
	}
	update, member := r.ExtendedS3DestinationUpdate, "extendedS3DestinationUpdate"
	if update == nil {
		update, member = &S3Update{S3ConfigurationUpdate: *r.S3DestinationUpdate}, "s3DestinationUpdate"
	}
	before := def.Destination
	if def.HTTPEndpoint != nil {
		before = S3Destination{}
	}
	def.HTTPEndpoint, def.Destination = nil, update.over(before)
	return member
}

// follows refuses what can't become of a delivery stream that is there.
func (d *Definition) follows(op string, have *Definition) error {
	switch was, is := have.Destination.Partitions(), d.Destination.Partitions(); {
	case is && !was:
		return fault.New(fault.Invalid, op, d.Name, "Dynamic Partitioning can be enabled only when a delivery stream is created.")
	case was && !is:
		return fault.New(fault.Invalid, op, d.Name, "Dynamic Partitioning cannot be disabled once it is enabled.")
	case have.BackupConfiguration() != nil && d.BackupConfiguration() == nil:
		return fault.New(fault.Invalid, op, d.Name, "S3 backup cannot be disabled once it is enabled.")
	}
	return nil
}
