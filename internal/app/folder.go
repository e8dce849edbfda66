package app

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"millrace/internal/fault"
)

// folder is the data folder: its format, its lock, and the node's secret.
type folder struct {
	path     string
	lock     *os.File
	tokenKey []byte
	node     string // the node's name unless it is given another
}

const (
	formatFile = "FORMAT"
	formatLine = "millrace data "
	// formatVersion rises when a build can't read what an older one has written without converting it.
	formatVersion = "1"
	lockFile      = "LOCK"
	// tokenFile holds the key that seals shard iterators and NextTokens, which must outlive a restart.
	tokenFile     = "token.key"
	tokenKeyBytes = 32
	// nodeFile holds the node's name, so that it is the same after a restart.
	nodeFile = "NODE"
	// engineFile says what keeps the records that this folder knows of.
	engineFile = "ENGINE"
)

// openFolder makes or checks the folder, and takes it for this process.
func openFolder(path string) (*folder, error) {
	const op = "app.Start"
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, path, "%w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, op, path, "the data folder can't be made: %w", err)
	}
	f := &folder{path: path}
	if f.lock, err = os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fault.New(fault.Unavailable, op, path, "the data folder can't be written: %w", err)
	}
	if err := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fault.New(fault.InUse, op, path,
			"another process has this data folder open; stop it, or choose another with --data"), f.lock.Close())
	}
	if err := f.check(op); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// check compares the format, or writes it into a new folder, and reads the secret.
func (f *folder) check(op string) error {
	text, err := readSmall(filepath.Join(f.path, formatFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := f.mustBeNew(op); err != nil {
			return err
		}
		if err := f.write(formatFile, []byte(formatLine+formatVersion+"\n")); err != nil {
			return fault.New(fault.Unavailable, op, f.path, "%w", err)
		}
	case err != nil:
		return fault.New(fault.Unavailable, op, f.path, "%w", err)
	default:
		version, ours := strings.CutPrefix(strings.TrimSpace(string(text)), strings.TrimSpace(formatLine)+" ")
		if !ours {
			return fault.New(fault.Corrupt, op, f.path, "its %s file begins %.40q, which no Millrace has written", formatFile, text)
		}
		if version != formatVersion {
			return fault.New(fault.Unsupported, op, f.path, "the data folder has format version %s; this build reads version %s",
				version, formatVersion)
		}
	}
	return errors.Join(f.loadTokenKey(op), f.loadNode(op))
}

// loadNode reads the node's name, or makes one.
func (f *folder) loadNode(op string) error {
	name, err := readSmall(filepath.Join(f.path, nodeFile))
	if errors.Is(err, os.ErrNotExist) {
		name = []byte(strings.ToLower(rand.Text()[:nodeLetters]) + "\n")
		err = f.write(nodeFile, name)
	}
	if err != nil {
		return fault.New(fault.Unavailable, op, f.path, "%w", err)
	}
	f.node = strings.TrimSpace(string(name))
	return nil
}

// nodeLetters of 32 tell nodes apart well enough.
const nodeLetters = 10

// bindEngine refuses a folder that knows of another engine's records: what it holds of them would look as if lost.
func (f *folder) bindEngine(kind string) error {
	const op = "app.Start"
	text, err := readSmall(filepath.Join(f.path, engineFile))
	if errors.Is(err, os.ErrNotExist) {
		if err := f.write(engineFile, []byte(kind+"\n")); err != nil {
			return fault.New(fault.Unavailable, op, f.path, "%w", err)
		}
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, op, f.path, "%w", err)
	}
	if had := strings.TrimSpace(string(text)); had != kind {
		return fault.New(fault.Invalid, op, f.path, "the data folder belongs to the engine %s, not to %s; choose another with --data", had, kind)
	}
	return nil
}

// mustBeNew refuses a folder that holds a stranger's files.
func (f *folder) mustBeNew(op string) error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return fault.New(fault.Unavailable, op, f.path, "%w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name != lockFile && name != formatFile+".tmp" {
			return fault.New(fault.Invalid, op, f.path,
				"the folder holds %q but no %s file: it is no data folder; choose an empty one with --data", name, formatFile)
		}
	}
	return nil
}

func (f *folder) loadTokenKey(op string) error {
	key, err := readSmall(filepath.Join(f.path, tokenFile))
	if errors.Is(err, os.ErrNotExist) {
		key = make([]byte, tokenKeyBytes)
		_, _ = rand.Read(key) // never fails: the runtime ends the process first
		err = f.write(tokenFile, key)
	}
	if err != nil {
		return fault.New(fault.Unavailable, op, f.path, "%w", err)
	}
	if len(key) != tokenKeyBytes {
		return fault.New(fault.Corrupt, op, filepath.Join(f.path, tokenFile),
			"%d bytes instead of %d; remove the file to get a new key: iterators that clients hold then expire", len(key), tokenKeyBytes)
	}
	f.tokenKey = key
	return nil
}

// write makes a small file durable, whole or not at all.
func (f *folder) write(name string, content []byte) error {
	name = filepath.Join(f.path, name)
	temp, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	d, err := os.Open(f.path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *folder) close() error { return f.lock.Close() } // which also gives the lock back

// readSmall reads a file of at most a few lines.
func readSmall(name string) ([]byte, error) {
	const enough = 4096
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, enough))
}
