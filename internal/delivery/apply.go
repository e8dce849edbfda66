package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"

	"millrace/internal/fault"
)

// Apply makes a delivery stream what a definition file says: creates it when there is none, else brings destination and
// tags to exactly the given ones (a member that is absent takes its default, unlike UpdateDestination). changed is
// false, and nothing is written, when all is so already. What CloudFormation would change by replacement is Unsupported.
func (e *Engine) Apply(ctx context.Context, req *CreateRequest) (def *Definition, changed bool, err error) {
	const op = "delivery.Apply"
	want, err := req.Definition()
	if err != nil {
		return nil, false, err
	}
	have, equal, err := e.compare(op, want)
	switch {
	case err != nil:
		return nil, false, err
	case have == nil:
		def, err = e.Create(ctx, req)
		return def, err == nil, err
	case equal:
		return have, false, nil
	}
	def, err = e.change(ctx, op, want.Name, func(def *Definition) error {
		def.Tags, def.DirectPut = want.Tags, want.DirectPut
		if !same(&def.Destination, &want.Destination) {
			def.Destination = want.Destination
			def.VersionID++
			def.Updated = e.opts.Now().UTC()
		}
		return nil
	})
	return def, err == nil, err
}

// Compare tells what Apply would do: make the delivery stream (have is nil), nothing (equal), change it, or refuse.
func (e *Engine) Compare(req *CreateRequest) (have *Definition, equal bool, err error) {
	want, err := req.Definition()
	if err != nil {
		return nil, false, err
	}
	return e.compare("delivery.Compare", want)
}

func (e *Engine) compare(op string, want *Definition) (have *Definition, equal bool, err error) {
	have, err = e.Describe(want.Name)
	if fault.Is(err, fault.NotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if member := want.replaces(have); member != "" {
		return nil, false, fault.New(fault.Unsupported, op, want.Name,
			"%s can't change in place; CloudFormation would replace the delivery stream. Delete it first, or give the new one another name", member)
	}
	equal = same(&have.Destination, &want.Destination) && maps.Equal(have.Tags, want.Tags) && have.hint() == want.hint()
	return have, equal, nil
}

// replaces names the first member that is fixed for life and differs.
func (d *Definition) replaces(have *Definition) (member string) {
	switch {
	case d.Type != have.Type:
		return "DeliveryStreamType"
	case d.KinesisSource != nil && (d.KinesisSource.KinesisStreamARN != have.KinesisSource.KinesisStreamARN ||
		d.KinesisSource.RoleARN != have.KinesisSource.RoleARN):
		return "KinesisStreamSourceConfiguration"
	}
	return ""
}

func (d *Definition) hint() int {
	if d.DirectPut == nil {
		return 0
	}
	return d.DirectPut.ThroughputHintInMBs
}

// same compares by what is stored.
func same(a, b *S3Destination) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
