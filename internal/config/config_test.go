package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultIsValid(t *testing.T) {
	n := Default()
	if err := n.Check(); err != nil {
		t.Error(err)
	}
}

func TestProblemsAreNamedByFlagAllAtOnce(t *testing.T) {
	n := Default()
	n.Listen, n.Account, n.Region, n.IngestTLSCert = "0.0.0.0:4566", "12", "mars", "c.pem"
	err := n.Check()
	for _, flag := range []string{"--listen", "--account", "--region", "--ingest-tls-cert"} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%v does not name %s", err, flag)
		}
	}
}

func TestOnlyLoopbackNeedsNoCredentials(t *testing.T) {
	f := func(addr string, ok bool) {
		t.Helper()
		n := Default()
		n.Listen = addr
		if err := n.Check(); (err == nil) != ok {
			t.Errorf("listen on %q without credentials: %v", addr, err)
		}
		n.Credentials = "file"
		if err := n.Check(); err != nil {
			t.Errorf("listen on %q with credentials: %v", addr, err)
		}
	}
	f("127.0.0.1:4566", true)
	f("127.3.2.1:1", true)
	f("[::1]:4566", true)
	f("localhost:4566", true)
	f("off", true)
	f(":4566", false)
	f("0.0.0.0:4566", false)
	f("[::]:4566", false)
	f("10.1.2.3:4566", false)
	f("example.com:4566", false)
}

func TestExact(t *testing.T) {
	f := func(value string, responses, limits, ok bool) {
		t.Helper()
		var n Node
		err := n.ParseExact(value)
		if (err == nil) != ok || n.ExactResponses != responses || n.ExactLimits != limits {
			t.Errorf("%q: %v %v %v", value, n.ExactResponses, n.ExactLimits, err)
		}
	}
	f("true", true, true, true)
	f("responses", true, false, true)
	f("limits", false, true, true)
	f("responses,limits", true, true, true)
	f("everything", false, false, false)
}

func TestSizes(t *testing.T) {
	f := func(value string, want uint64, ok bool) {
		t.Helper()
		got, err := ParseSize(value)
		if got != want || (err == nil) != ok {
			t.Errorf("%q: %d %v", value, got, err)
		}
	}
	f("0", 0, true)
	f("512", 512, true)
	f("64KiB", 64<<10, true)
	f("1 GiB", 1<<30, true)
	f("1GB", 0, false)
	f("-1", 0, false)
	f("99999999999TiB", 0, false)
}

func TestCredentialsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "credentials")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("[default]\naws_access_key_id = AKIA1\naws_secret_access_key=s1\n# note\n[other]\naws_access_key_id=AKIA2\naws_secret_access_key = s2=\n", 0o600)
	got, err := LoadCredentials(name)
	if err != nil || got["AKIA1"] != "s1" || got["AKIA2"] != "s2=" || len(got) != 2 {
		t.Errorf("%v %v", got, err)
	}
	write("[default]\naws_access_key_id = AKIA1\naws_secret_access_key=s1\n", 0o644)
	if _, err := LoadCredentials(name); err == nil || strings.Contains(err.Error(), "s1") {
		t.Errorf("a file that others can read must be refused without showing its secret: %v", err)
	}
	write("[default]\n", 0o600)
	if _, err := LoadCredentials(name); err == nil {
		t.Error("an empty file configures nothing")
	}
	write("nonsense\n", 0o600)
	if _, err := LoadCredentials(name); err == nil || !strings.Contains(err.Error(), ":1") {
		t.Error(err)
	}
}
