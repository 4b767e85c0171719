package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// UpgradeHAProxy puts another copy of this machine's HAProxy program, in
// programs, a directory from which programs can be run, in the place of the one
// that the nodes of the lab in d find, as the upgrade of a package does. What
// runs goes on with the old one. It gives the path of the copy.
func UpgradeHAProxy(d Dir, programs string) (string, error) {
	from, err := lookPath("haproxy", []string{"PATH=" + os.Getenv("PATH") + ":" + systemPath}, "/")
	if err != nil {
		return "", err
	}
	copied, err := copyProgram(from, programs)
	if err != nil {
		return "", fmt.Errorf("copy HAProxy: %w", err)
	}
	found := d.path("bin", "haproxy")
	next := found + ".new"
	if err = os.Remove(next); err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Symlink(copied, next)
	}
	if err == nil {
		err = os.Rename(next, found)
	}
	if err != nil {
		return "", fmt.Errorf("replace HAProxy: %w", err)
	}
	return copied, nil
}

// copyProgram copies the program at path into a directory of its own below dir,
// under the same name.
func copyProgram(path, dir string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close() //nolint:errcheck // only read
	own, err := os.MkdirTemp(dir, "program-")
	if err != nil {
		return "", err
	}
	out, err := os.OpenFile(filepath.Join(own, filepath.Base(path)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	return out.Name(), errors.Join(err, out.Close())
}
