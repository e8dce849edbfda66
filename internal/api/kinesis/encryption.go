package kinesis

import (
	"regexp"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// startStreamEncryption encrypts the records that a stream takes from now on; those that it has stay as they are. Another
// key takes the place of the present one for later records.
//
// Source: Kinesis Data Streams API Reference, StartStreamEncryption.
var startStreamEncryption = operation{name: "StartStreamEncryption",
	note: "records are encrypted at rest with a key of the node's own, derived for each KeyId; there is no KMS here that would know which KeyIds exist",
	run: func(s *Service, c *call) error {
		var in kinesiswire.StartStreamEncryptionInput
		if err := c.decode(&in); err != nil {
			return err
		}
		if err := checkEncryption(in.EncryptionType, in.KeyId); err != nil {
			return err
		}
		return s.encrypt(c, in.StreamName, in.StreamARN, in.KeyId)
	}}

// stopStreamEncryption leaves later records as they come. Encrypted ones stay so, and readable.
//
// Source: Kinesis Data Streams API Reference, StopStreamEncryption.
var stopStreamEncryption = operation{name: "StopStreamEncryption", run: func(s *Service, c *call) error {
	var in kinesiswire.StopStreamEncryptionInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkEncryption(in.EncryptionType, in.KeyId); err != nil {
		return err
	}
	return s.encrypt(c, in.StreamName, in.StreamARN, "")
}}

func (s *Service) encrypt(c *call, name, arn, key string) error {
	st, err := s.idle(name, arn)
	if err != nil {
		return err
	}
	_, err = s.update(c, st, func(set *stream.Settings) error {
		set.EncryptionKey = key
		return nil
	})
	if fault.Is(err, fault.Denied) {
		return failure(kinesiswire.ErrKMSNotFound, "%s", s.exceptionOf(err).message)
	}
	return err
}

// keyID: an id, an alias, or the ARN of one.
//
// Source: Kinesis Data Streams API Reference, StartStreamEncryption, KeyId.
var keyID = regexp.MustCompile(`^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?(alias/[a-zA-Z0-9/_-]+|key/[a-zA-Z0-9-]+)$|^(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

func checkEncryption(encryptionType, key string) error {
	if encryptionType != kinesiswire.EncryptionTypeKMS {
		return failure(kinesiswire.ErrInvalidArgument, "Encryption type %s is not valid: the only type is KMS.", encryptionType)
	}
	if !keyID.MatchString(key) {
		return failure(kinesiswire.ErrInvalidArgument, "Invalid KeyId %s: give the id of a key, an alias (alias/aws/kinesis), or the ARN of either.", key)
	}
	return nil
}

// encryptionOf is how Describe answers show a stream's encryption.
func encryptionOf(st *stream.Stream) (encryptionType, key string) {
	if st.EncryptionKey == "" {
		return kinesiswire.EncryptionTypeNone, ""
	}
	return kinesiswire.EncryptionTypeKMS, st.EncryptionKey
}

// encrypted gives the EncryptionType of puts and of records, which plain ones lack.
func encrypted(yes bool) string {
	if yes {
		return kinesiswire.EncryptionTypeKMS
	}
	return ""
}
