package process

import (
	"errors"
	"fmt"
	"os"
)

// replace puts data in place of path, whole to whoever reads it, but not safe
// from a crash of the host: for what is of this boot only.
func replace(path string, data []byte) error {
	tmp := path + ".new"
	err := os.WriteFile(tmp, data, 0o600)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(tmp)))
	}
	return nil
}

// readIfThere gives the content of path, nil when there is no such file.
func readIfThere(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// defaultRunMode is the mode of a run directory that is made anew, where
// nothing is known of the one before.
const defaultRunMode = 0o750

// modeOf gives the mode of directory dir, or that of one that is to be made.
func modeOf(dir string) os.FileMode {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return info.Mode().Perm()
	}
	return defaultRunMode
}

// makeRunDir makes the run directory anew where it is gone, as it was.
func (m *Manager) makeRunDir() error {
	if _, err := os.Stat(m.opt.RunDir); !errors.Is(err, os.ErrNotExist) {
		return nil // what is wrong with it otherwise, who uses it says
	}
	err := os.MkdirAll(m.opt.RunDir, m.runMode)
	if err == nil {
		err = os.Chmod(m.opt.RunDir, m.runMode) // whatever the umask
	}
	if err != nil {
		return fmt.Errorf("the run directory is gone, and cannot be made: %w", err)
	}
	m.log.Warn("the run directory was gone; it was made anew", "directory", m.opt.RunDir)
	return nil
}

// makeStateDir makes the state directory anew where it is gone.
func (m *Manager) makeStateDir() error {
	if _, err := os.Stat(m.opt.StateDir); !errors.Is(err, os.ErrNotExist) {
		return nil // what is wrong with it otherwise, who uses it says
	}
	if err := os.MkdirAll(m.opt.StateDir, defaultRunMode); err != nil {
		return fmt.Errorf("the state directory is gone, and cannot be made: %w", err)
	}
	m.log.Warn("the state directory was gone; it was made anew", "directory", m.opt.StateDir)
	return nil
}
