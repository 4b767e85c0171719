package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"holdfast/internal/file"
	"holdfast/internal/haproxy"
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

// readConfig reads the configuration file. What is in it is known where this agent has
// written it, or the one that did left its model.
func (s *supervisor) readConfig() (*haproxy.Config, error) {
	text, err := os.ReadFile(s.configFile())
	if err != nil {
		return nil, err
	}
	for _, c := range []*haproxy.Config{s.written, s.config()} {
		if c.Known() && bytes.Equal(c.Bytes(), text) {
			return c, nil
		}
	}
	model, err := readIfThere(s.modelFile())
	if err != nil {
		s.log.Warn("the model of HAProxy's configuration cannot be read", "error", err)
	}
	return haproxy.ReadConfig(text, model), nil
}

// put makes cfg the configuration file.
func (s *supervisor) put(cfg *haproxy.Config) error {
	if err := file.Write(s.configFile(), cfg.Bytes(), 0o600); err != nil {
		return err
	}
	s.written = cfg
	return nil
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
