package delivery

import (
	"context"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// The states of server-side encryption, as the API spells them. A change is one durable step, so that ENABLING and DISABLING
// are never seen.
const (
	encryptionEnabled  = "ENABLED"
	encryptionDisabled = "DISABLED"
)

// The types of keys.
const (
	ownedKey    = "AWS_OWNED_CMK"
	customerKey = "CUSTOMER_MANAGED_CMK"
)

// ownedKeyID is what records are sealed under when the key is the service's own.
const ownedKeyID = "alias/aws/firehose"

// check checks a key, and gives it with its default. Nil stands for the key that is asked for by saying nothing.
func (k *EncryptionKey) check(op string) (*EncryptionKey, error) {
	if k == nil {
		return &EncryptionKey{KeyType: ownedKey}, nil
	}
	taken := *k
	switch {
	case k.KeyType == customerKey && k.KeyARN == "":
		return nil, invalid(op, "KeyARN has to be specified when KeyType is CUSTOMER_MANAGED_CMK")
	case k.KeyType == ownedKey && k.KeyARN != "":
		return nil, invalid(op, "KeyARN cannot be specified when KeyType is AWS_OWNED_CMK")
	case k.KeyType != customerKey && k.KeyType != ownedKey:
		return nil, violated(op, "deliveryStreamEncryptionConfigurationInput.keyType", "Member must satisfy enum value set: [AWS_OWNED_CMK, CUSTOMER_MANAGED_CMK]")
	}
	return &taken, nil
}

// id is what records are sealed under.
func (k *EncryptionKey) id() string {
	if k.KeyType == customerKey {
		return k.KeyARN
	}
	return ownedKeyID
}

// encryptable refuses encryption where records do not lie with the delivery stream.
func (d *Definition) encryptable(op string) error {
	if d.Type == DirectPut {
		return nil
	}
	return fault.New(fault.Invalid, op, d.Name, "Server side encryption from firehose is only allowed for direct put delivery streams "+
		"and database as a source delivery streams")
}

// Encrypts reports whether records are encrypted at rest that are put now.
func (d *Definition) Encrypts() bool { return d.Encryption == encryptionEnabled }

// StartEncryption encrypts what is put from now on; what has been put stays as it is. Another key takes the place of the
// present one. Nil is the key of the service's own. Errors: NotFound, InUse, Invalid, Unsupported on engines that can't.
func (e *Engine) StartEncryption(ctx context.Context, name string, key *EncryptionKey) (*Definition, error) {
	const op = "delivery.StartEncryption"
	key, err := key.check(op)
	if err != nil {
		return nil, err
	}
	def, err := e.changeable(op, name)
	if err != nil {
		return nil, err
	}
	// First the records, then what is said of them: no answer says that a record is encrypted that is not.
	if err := e.seal(ctx, op, def, key.id()); err != nil {
		return nil, err
	}
	return e.change(ctx, op, name, func(def *Definition) error {
		def.Encryption, def.EncryptionKey = encryptionEnabled, key
		return def.encryptable(op)
	})
}

// StopEncryption leaves what is put from now on as it comes. What is encrypted stays so, and is delivered as ever.
func (e *Engine) StopEncryption(ctx context.Context, name string) (*Definition, error) {
	const op = "delivery.StopEncryption"
	if _, err := e.changeable(op, name); err != nil {
		return nil, err
	}
	def, err := e.change(ctx, op, name, func(def *Definition) error {
		def.Encryption = encryptionDisabled
		return def.encryptable(op)
	})
	if err != nil {
		return nil, err
	}
	return def, e.seal(ctx, op, def, "")
}

// changeable finds a delivery stream whose encryption may change.
func (e *Engine) changeable(op, name string) (*Definition, error) {
	if err := e.ready(op); err != nil {
		return nil, err
	}
	d, err := e.find(op, name)
	if err != nil {
		return nil, err
	}
	def := d.definition.Load()
	if def.Status != Active {
		return nil, notActive(op, def)
	}
	return def, def.encryptable(op)
}

func notActive(op string, def *Definition) error {
	return fault.New(fault.InUse, op, def.Name, "Firehose %s is not ACTIVE, its status is %s", def.Name, def.Status)
}

// seal sets the key of the hidden stream.
func (e *Engine) seal(ctx context.Context, op string, def *Definition, key string) error {
	// Who keeps the mark of sealed records leaves the work to a layer before it; without that nothing would be encrypted.
	if key != "" && e.opts.Source.Capabilities().Seals {
		return fault.New(fault.Unsupported, op, def.Name, "deliveryStreamEncryptionConfigurationInput: encryption at rest is not supported by this version of Millrace on this engine")
	}
	_, err := e.opts.Source.UpdateStream(ctx, def.SourceStream(), func(set *stream.Settings) error {
		set.EncryptionKey = key
		return nil
	})
	return err
}
