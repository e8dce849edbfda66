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
	have, equal, err := e.compare(op, want, req.Tables)
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
		if def.delivers(want) {
			return nil
		}
		if err := want.follows(op, def); err != nil {
			return err
		}
		def.Destination, def.HTTPEndpoint, def.Schema = want.Destination, want.HTTPEndpoint, want.Schema
		def.VersionID++
		def.Updated = e.opts.Now().UTC()
		return nil
	})
	if err == nil && !def.encryptsAs(want) {
		if want.Encrypts() {
			def, err = e.StartEncryption(ctx, want.Name, want.EncryptionKey)
		} else {
			def, err = e.StopEncryption(ctx, want.Name)
		}
	}
	return def, err == nil, err
}

// Compare tells what Apply would do: make the delivery stream (have is nil), nothing (equal), change it, or refuse.
func (e *Engine) Compare(req *CreateRequest) (have *Definition, equal bool, err error) {
	want, err := req.Definition()
	if err != nil {
		return nil, false, err
	}
	return e.compare("delivery.Compare", want, req.Tables)
}

func (e *Engine) compare(op string, want *Definition, made Tables) (have *Definition, equal bool, err error) {
	if err := e.admit(op, want, made); err != nil {
		return nil, false, err
	}
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
	equal = have.delivers(want) && maps.Equal(have.Tags, want.Tags) && have.hint() == want.hint() && have.encryptsAs(want)
	return have, equal, nil
}

// delivers reports whether two definitions deliver alike.
func (d *Definition) delivers(other *Definition) bool {
	return same(&d.Destination, &other.Destination) && same(d.HTTPEndpoint, other.HTTPEndpoint) && same(d.Schema, other.Schema)
}

// encryptsAs reports whether two definitions encrypt alike.
func (d *Definition) encryptsAs(other *Definition) bool {
	return d.Encryption == other.Encryption && (!d.Encrypts() || *d.EncryptionKey == *other.EncryptionKey)
}

// replaces names the first member that is fixed for life and differs.
func (d *Definition) replaces(have *Definition) (member string) {
	switch {
	case d.Type != have.Type:
		return "DeliveryStreamType"
	case d.KinesisSource != nil && (d.KinesisSource.KinesisStreamARN != have.KinesisSource.KinesisStreamARN ||
		d.KinesisSource.RoleARN != have.KinesisSource.RoleARN):
		return "KinesisStreamSourceConfiguration"
	case d.MSKSource != nil && !d.MSKSource.same(have.MSKSource):
		return "MSKSourceConfiguration"
	case d.Destination.Partitions() != have.Destination.Partitions():
		return "DynamicPartitioningConfiguration"
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
func same[T any](a, b *T) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
