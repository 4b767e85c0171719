// Package keyfile reads the file that has the keys of the controllers, and makes one. It
// minds that nobody but root can read it. What is in it package auth knows.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"holdfast/internal/auth"
	"holdfast/internal/file"
)

const (
	// Default is the file that is read where nobody names another, if it is there.
	Default = "/etc/holdfast/key"
	// Credential is the name of the credential (systemd.exec(5), LoadCredential) that
	// is read before Default.
	Credential = "holdfast-key"
)

// Find gives the file to read: the one that was named; or the credential in the
// directory that systemd gives this service, "" for none; or Default. It is "" where
// none was named, and neither of the others is there.
func Find(named, credentials string) string {
	if named != "" {
		return named
	}
	candidates := []string{Default}
	if credentials != "" {
		candidates = []string{filepath.Join(credentials, Credential), Default}
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path // what cannot be read is not overlooked
		}
	}
	return ""
}

// Load reads the keys in the file path. The error is one line that names it, says what
// is wrong and what to do, and has nothing of a key.
func Load(path string) (*auth.Keys, error) {
	data, info, err := file.Read(path, auth.MaxFile)
	switch {
	case errors.Is(err, file.ErrNotRegular):
		return nil, fmt.Errorf("the file of keys %s is no file", path)
	case err != nil:
		return nil, inWords(path, err)
	}
	if err := private(path, info); err != nil {
		return nil, err
	}
	keys, err := auth.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("the file of keys %s: %w", path, err)
	}
	return keys, nil
}

// private says who but its owner, root or who runs this, can read or write the file;
// nil for nobody.
func private(path string, info fs.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("the file of keys %s belongs to user %d, who could change it: chown root:root %s", path, s.Uid, path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("the file of keys %s has mode %04o, so that others than root may read it: chmod 600 %s, and make a new key if somebody may have", path, mode, path)
	}
	return nil
}

// Create makes the file path with a line of keys. One that is there is not overwritten.
func Create(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; to add a key to it: holdfast key --id ID >> %s", path, path)
	}
	if err != nil {
		return fmt.Errorf("make the file of keys: %w", err)
	}
	_, err = io.WriteString(f, line)
	// The umask may have taken from the mode.
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = file.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the file of keys %s: %w", path, err), file.Remove(path))
	}
	return nil
}

func inWords(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no file of keys %s; make one with holdfast key %s, and copy it to every controller", path, path)
	}
	return fmt.Errorf("read the file of keys: %w", err)
}
