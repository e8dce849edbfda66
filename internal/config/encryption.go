package config

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// Encryption says what records are encrypted with at rest.
type Encryption struct {
	// SecretFile holds 32 bytes in base64 or hexadecimal digits ("openssl rand -base64 32"), the same on all nodes of a
	// cluster. Empty: a node on its own makes one in its data folder. Who loses it loses what is encrypted.
	SecretFile string `yaml:"secret-file"`
}

// SecretBytes is how long the secret is.
const SecretBytes = 32

func (e *Encryption) check(bad func(field, format string, args ...any)) {
	if e.SecretFile == "" {
		return
	}
	if _, err := e.Secret(); err != nil {
		bad("encryption.secret-file", "%v", err)
	}
}

// Secret reads the file.
func (e *Encryption) Secret() ([]byte, error) {
	f, err := os.Open(e.SecretFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const enough = 4096
	text, err := io.ReadAll(io.LimitReader(f, enough))
	if err != nil {
		return nil, err
	}
	return ParseSecret(e.SecretFile, text)
}

// ParseSecret reads a secret as it lies in a file.
func ParseSecret(file string, text []byte) ([]byte, error) {
	digits := strings.TrimSpace(string(text))
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if secret, err := decode(digits); err == nil && len(secret) == SecretBytes {
			return secret, nil
		}
	}
	return nil, fmt.Errorf("%s does not hold %d bytes in base64 or hexadecimal digits (make some with: openssl rand -base64 %d)", file, SecretBytes, SecretBytes)
}
