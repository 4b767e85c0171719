// Package file puts files on the disk for good. It makes one promise to all that
// keep something: after a crash or a power cut the old bytes are there or the new
// ones, never a part of either. And it reads what somebody else keeps, for whom a pipe
// or a file of any size may be in its place. It knows no format, and locks nothing: of two that
// write one file at the same time, either may be the last.
package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Write puts data at path, with exactly mode. Whoever reads path meanwhile, or after a
// power cut, finds the old bytes or the new ones; once it returns nil the new ones are
// on the disk, and so is their name.
func Write(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, (*os.File).Sync)
}

// write is Write with sync, which has the disk take a file, or the names in a
// directory.
func write(path string, data []byte, mode fs.FileMode, sync func(*os.File) error) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(mode), sync(temp), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), Remove(temp.Name()))
	}
	if err := syncDir(dir, sync); err != nil {
		return fmt.Errorf("write %s: keep its name: %w", path, err)
	}
	return nil
}

// ErrNotRegular is of what is no regular file.
var ErrNotRegular = errors.New("it is no regular file")

// Read gives what is in a regular file, and what the file system says of that: most octets and
// one more at the most, so that who asks sees that there are more. It waits for nobody who may
// write to a pipe. Errors: ErrNotRegular, with what the file system says; those of package os.
func Read(path string, most int) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, info, ErrNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	return data, info, err
}

// SyncDir has the disk take the names in dir: of files that were made there, renamed
// or removed.
func SyncDir(dir string) error { return syncDir(dir, (*os.File).Sync) }

func syncDir(dir string, sync func(*os.File) error) error {
	names, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(sync(names), names.Close())
}

// Sweep removes what Writes into dir that a crash cut short have left. Nobody may
// write there meanwhile.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		number := e.Name()[strings.LastIndexByte(e.Name(), '.')+1:]
		if strings.HasPrefix(e.Name(), ".") && number != "" && strings.Trim(number, "0123456789") == "" {
			errs = append(errs, Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Remove removes the file path. It is no error when there is none.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
