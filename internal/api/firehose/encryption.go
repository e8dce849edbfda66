package firehose

import (
	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/delivery"
)

// startDeliveryStreamEncryption encrypts the records that are put from now on. It answers when that is so, and without a
// configuration takes the key of the service's own.
//
// Source: Amazon Data Firehose API Reference, StartDeliveryStreamEncryption.
func startDeliveryStreamEncryption(s *Service, c *call) error {
	var in firehosewire.StartDeliveryStreamEncryptionInput
	if err := c.decode(&in); err != nil {
		return err
	}
	var key *delivery.EncryptionKey
	if k := in.DeliveryStreamEncryptionConfigurationInput; k != nil {
		key = &delivery.EncryptionKey{KeyType: k.KeyType, KeyARN: k.KeyARN}
	}
	if _, err := s.Engine.StartEncryption(c.ctx, in.DeliveryStreamName, key); err != nil {
		return err
	}
	return c.answerEmpty()
}

// stopDeliveryStreamEncryption leaves the records that are put from now on as they come.
func stopDeliveryStreamEncryption(s *Service, c *call) error {
	var in firehosewire.StopDeliveryStreamEncryptionInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if _, err := s.Engine.StopEncryption(c.ctx, in.DeliveryStreamName); err != nil {
		return err
	}
	return c.answerEmpty()
}
