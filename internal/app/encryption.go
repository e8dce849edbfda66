package app

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"

	"millrace/internal/config"
	"millrace/internal/fault"
	"millrace/internal/stream"
	"millrace/internal/stream/seal"
)

// secretFile is where a node on its own keeps the secret that records are encrypted with, unless it is told of another.
const secretFile = "encryption.key"

// sealing puts encryption before a backend that leaves it to us.
func sealing(b stream.Backend, secret func(first bool) ([]byte, error)) stream.Backend {
	if !b.Capabilities().Seals {
		return b
	}
	return seal.Of(b, seal.Options{Secret: secret})
}

// secretOf says where the secret comes from: the configured file; else, for a node on its own, one in its data folder,
// which is made when the first stream is to be encrypted.
func secretOf(c *config.Encryption, own *folder) func(first bool) ([]byte, error) {
	return func(first bool) ([]byte, error) {
		switch {
		case c.SecretFile != "":
			return c.Secret()
		case own == nil:
			return nil, errors.New("all nodes of a cluster need the same secret: give each of them encryption.secret-file in its configuration")
		}
		return own.secret(first)
	}
}

// secret reads the folder's secret, or makes it.
func (f *folder) secret(first bool) ([]byte, error) {
	name := filepath.Join(f.path, secretFile)
	text, err := readSmall(name)
	if errors.Is(err, os.ErrNotExist) && first {
		key := make([]byte, config.SecretBytes)
		_, _ = rand.Read(key) // never fails: the runtime ends the process first
		return key, f.write(secretFile, append([]byte(base64.StdEncoding.EncodeToString(key)), '\n'))
	}
	if err != nil {
		return nil, err
	}
	return config.ParseSecret(name, text)
}

// secretCheck tells secrets apart without telling them.
func secretCheck(secret []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("millrace encryption check"))
	return h.Sum(nil)[:8]
}

// agreeOnSecret refuses a secret that is another than the cluster's: what one node writes the others could not read.
func (n *Node) agreeOnSecret(doc *clusterDoc) error {
	c := &n.opts.Config.Encryption
	if c.SecretFile == "" {
		return nil
	}
	secret, err := c.Secret()
	if err != nil {
		return fault.New(fault.Invalid, "app.Start", "", "%w", err)
	}
	check := secretCheck(secret)
	if doc.SecretCheck == nil {
		doc.SecretCheck = check
	}
	if !hmac.Equal(doc.SecretCheck, check) {
		return fault.New(fault.Invalid, "app.Start", "", "encryption.secret-file: %s holds another secret than the other nodes of this cluster have", c.SecretFile)
	}
	return nil
}
