package front

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheck is how often the files of a certificate are looked at for a change, at most.
const certCheck = 10 * time.Second

// certificate serves a key pair from files and takes up a renewed one without a restart.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // of the files, when they were read
	checked time.Time
}

// loadTLS reads a key pair and gives a configuration that follows its renewal.
func loadTLS(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: now}
	if err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}, nil
}

func (c *certificate) load() error {
	stamp, err := c.stamps()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.stamp, c.checked = &pair, stamp, c.now()
	return nil
}

func (c *certificate) stamps() (stamp [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, fmt.Errorf("look at certificate: %w", err)
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}

// get gives the newest pair that could be read; a half-written renewal keeps the old one.
func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certCheck {
		c.checked = now
		stamp, err := c.stamps()
		if err == nil && stamp != c.stamp {
			if err = c.load(); err == nil {
				c.log.Info("certificate reloaded", "file", c.certFile)
			}
		}
		if err != nil {
			c.log.Warn("certificate not reloaded; the old one stays", "file", c.certFile, "error", err)
		}
	}
	return c.current
}
